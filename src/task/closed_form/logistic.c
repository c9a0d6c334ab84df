/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/logistic.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { HALVINGS = 40 };

/* W and b lie in one vector of (D + 1) K numbers, the bias last. */
typedef struct Problem {
    const TsFeatures *x;
    const TsLogistic *logistic;
    int64_t k, size;       /* K; (D + 1) K */
    double *probabilities; /* (local, K) at the last gradient */
    double *room;          /* (local, K) */
} Problem;

static double *make(int64_t elems)
{
    return ts_calloc((size_t)elems + 1, sizeof(double));
}

static double dot(const double *a, const double *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* out (local, K) = X W + b. */
static void find_logits(double *out, const Problem *p, const double *w)
{
    ts_features_times(out, p->x, w, p->k);
    for (int64_t i = 0; i < p->x->local * p->k; i++)
        out[i] += w[p->x->columns * p->k + i % p->k];
}

/* out (size) = X^T r and the sums of r, r (local, K), with l2 w, all over n. */
static void pull_back(double *out, const Problem *p, const double *r, const double *w)
{
    int64_t weights = p->x->columns * p->k;
    double *bias = out + weights;
    ts_features_transposed_times(out, p->x, r, p->k);
    memset(bias, 0, (size_t)p->k * sizeof *bias);
    for (int64_t i = 0; i < p->x->local * p->k; i++)
        bias[i % p->k] += r[i];
    ts_features_sum(bias, p->k, p->x);
    double mean = 0;
    for (int64_t c = 0; c < p->k; c++)
        mean += bias[c] / (double)p->k;
    for (int64_t c = 0; c < p->k; c++)
        bias[c] -= mean; /* 0 but for rounding, along which nothing holds a bias */
    for (int64_t i = 0; i < p->size; i++)
        out[i] = (out[i] + (i < weights ? p->logistic->l2 * w[i] : 0)) / (double)p->x->count;
}

/* The mean loss at w, and the probabilities there. */
static double find_loss(Problem *p, const double *w)
{
    double sum = 0;
    find_logits(p->probabilities, p, w);
    for (int64_t i = 0; i < p->x->local; i++) {
        double *row = p->probabilities + i * p->k, most = row[0], own = row[p->logistic->classes[i]];
        for (int64_t c = 1; c < p->k; c++)
            most = fmax(most, row[c]);
        double all = row[0] = exp(row[0] - most);
        for (int64_t c = 1; c < p->k; c++)
            all += row[c] = exp(row[c] - most);
        for (int64_t c = 0; c < p->k; c++)
            row[c] /= all;
        sum += log(all) + most - own;
    }
    ts_features_sum(&sum, 1, p->x);
    return (sum + p->logistic->l2 / 2 * dot(w, w, p->x->columns * p->k)) / (double)p->x->count;
}

/* At the probabilities of the last loss. */
static void find_gradient(double *gradient, const Problem *p, const double *w)
{
    for (int64_t i = 0; i < p->x->local * p->k; i++)
        p->room[i] = p->probabilities[i] - (p->logistic->classes[i / p->k] == i % p->k);
    pull_back(gradient, p, p->room, w);
}

/* out = H v: of each example p (z - p . z), z = X v. */
static void times_hessian(double *out, const Problem *p, const double *v)
{
    find_logits(p->room, p, v);
    for (int64_t i = 0; i < p->x->local; i++) {
        double *z = p->room + i * p->k;
        const double *q = p->probabilities + i * p->k;
        double mean = dot(z, q, p->k);
        for (int64_t c = 0; c < p->k; c++)
            z[c] = q[c] * (z[c] - mean);
    }
    pull_back(out, p, p->room, v);
}

/* step, with H step = -gradient, to a part of the gradient that shrinks with it: so Newton's steps stay quadratic. */
static void find_step(double *step, const Problem *p, const double *gradient)
{
    double *rest = make(p->size), *way = make(p->size), *turned = make(p->size);
    double squares = dot(gradient, gradient, p->size), length = sqrt(squares);
    double enough = fmin(0.1, length) * length;
    memset(step, 0, (size_t)p->size * sizeof *step);
    for (int64_t i = 0; i < p->size; i++)
        way[i] = rest[i] = -gradient[i];
    for (int64_t k = 0; k < 2 * p->size && sqrt(squares) > enough; k++) {
        times_hessian(turned, p, way);
        double curve = dot(way, turned, p->size);
        if (!(curve > 0))
            break;
        double by = squares / curve, before = squares;
        for (int64_t i = 0; i < p->size; i++) {
            step[i] += by * way[i];
            rest[i] -= by * turned[i];
        }
        squares = dot(rest, rest, p->size);
        for (int64_t i = 0; i < p->size; i++)
            way[i] = rest[i] + squares / before * way[i];
    }
    ts_free(rest);
    ts_free(way);
    ts_free(turned);
}

/* Where the search stands. */
typedef struct Place {
    double *w, *gradient; /* (size) */
    double loss, norm;
} Place;

/* Goes along `step`, half as far until the loss falls, or, where it can no more be told from rounding, the gradient
 * does. False: there is no way down. */
static bool go(Place *place, Problem *p, const double *step)
{
    double *from = ts_alloc((size_t)p->size * sizeof *from), slope = dot(place->gradient, step, p->size), t = 1;
    double loss = place->loss, norm = place->norm;
    bool found = false;
    memcpy(from, place->w, (size_t)p->size * sizeof *from);
    for (int k = 0; k < HALVINGS && !found; k++, t /= 2) {
        for (int64_t i = 0; i < p->size; i++)
            place->w[i] = from[i] + t * step[i];
        place->loss = find_loss(p, place->w);
        find_gradient(place->gradient, p, place->w);
        place->norm = sqrt(dot(place->gradient, place->gradient, p->size));
        found =
            place->loss <= loss + 1e-4 * t * slope || (place->loss <= loss + 1e-13 * fabs(loss) && place->norm < norm);
    }
    if (!found)
        memcpy(place->w, from, (size_t)p->size * sizeof *from);
    ts_free(from);
    return found;
}

/* That there are examples of two classes at least. Collective. */
static TsStatus check(const TsFeatures *x, const TsLogistic *logistic)
{
    double *counts = make(logistic->class_count);
    int64_t there = 0;
    for (int64_t i = 0; i < x->local; i++)
        counts[logistic->classes[i]]++;
    ts_features_sum(counts, logistic->class_count, x);
    for (int64_t c = 0; c < logistic->class_count; c++)
        there += counts[c] > 0;
    ts_free(counts);
    return there > 1 ? TS_OK
                     : ts_status_error(TS_CODE_INVALID, "all %lld examples are of one class: it takes two at least",
                                       (long long)x->count);
}

static TsStatus descend(TsLogisticSolution *solution, Problem *p, double *w)
{
    Place place = {.w = w, .gradient = make(p->size)};
    double *step = make(p->size);
    bool goes = true;
    place.loss = find_loss(p, w);
    find_gradient(place.gradient, p, w);
    place.norm = sqrt(dot(place.gradient, place.gradient, p->size));
    while (goes && place.norm > p->logistic->gradient_norm && solution->steps < p->logistic->steps) {
        find_step(step, p, place.gradient);
        goes = go(&place, p, step);
        solution->steps++;
    }
    solution->gradient_norm = place.norm;
    solution->loss = place.loss;
    ts_free(place.gradient);
    ts_free(step);
    if (place.norm <= p->logistic->gradient_norm)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID,
                           "after %lld steps the gradient's norm is %.3g and not yet %.3g: a larger l2, or more steps",
                           (long long)solution->steps, place.norm, p->logistic->gradient_norm);
}

TsStatus ts_logistic_solve(TsLogisticSolution *solution, TsFeatures *features, TsLogistic logistic)
{
    int64_t columns = features->columns, k = logistic.class_count, elems = features->local * k;
    *solution = (TsLogisticSolution){0};
    TS_TRY(check(features, &logistic));
    Problem p = {.x = features,
                 .logistic = &logistic,
                 .k = k,
                 .size = (columns + 1) * k,
                 .probabilities = make(elems),
                 .room = make(elems)};
    double *mean = make(columns), *w = make(p.size);
    ts_features_mean(mean, features);
    ts_features_center(features, mean);
    TsStatus status = descend(solution, &p, w);
    solution->kernel = make(columns * k);
    solution->bias = make(k);
    memcpy(solution->kernel, w, (size_t)(columns * k) * sizeof *w);
    memcpy(solution->bias, w + columns * k, (size_t)k * sizeof *w);
    for (int64_t i = 0; i < columns * k; i++)
        solution->bias[i % k] -= mean[i / k] * w[i];
    ts_free(p.probabilities);
    ts_free(p.room);
    ts_free(mean);
    ts_free(w);
    return status;
}

void ts_logistic_free(TsLogisticSolution *solution)
{
    ts_free(solution->kernel);
    ts_free(solution->bias);
    *solution = (TsLogisticSolution){0};
}
