/* SPDX-License-Identifier: Apache-2.0 */
#include "model/sample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* The largest of the values, over lanes that a vector holds. */
static float largest(const float *x, int64_t count)
{
    enum { LANES = 16 };
    float lane[LANES], best = -INFINITY;
    for (int l = 0; l < LANES; l++)
        lane[l] = -INFINITY;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (int l = 0; l < LANES; l++)
        best = lane[l] > best ? lane[l] : best;
    for (; i < count; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

int32_t ts_likeliest(const float *log_probability, int64_t vocab)
{
    float best = largest(log_probability, vocab);
    for (int64_t v = 0; v < vocab; v++)
        if (log_probability[v] == best)
            return (int32_t)v;
    return 0; /* none is a number */
}

/* Whether `a` comes before `b`: heavier, or as heavy with a lower number. */
static bool is_before(TsWeighed a, TsWeighed b)
{
    return a.weight > b.weight || (a.weight == b.weight && a.token < b.token);
}

static int by_weight(const void *a, const void *b)
{
    const TsWeighed *x = a, *y = b;
    return is_before(*x, *y) ? -1 : 1;
}

/* Puts heap[0], of a heap whose first is the last of all, where it belongs. */
static void sink(TsWeighed *heap, int64_t count)
{
    for (int64_t at = 0;;) {
        int64_t last = at, left = 2 * at + 1, right = left + 1;
        if (left < count && is_before(heap[last], heap[left]))
            last = left;
        if (right < count && is_before(heap[last], heap[right]))
            last = right;
        if (last == at)
            return;
        TsWeighed moved = heap[at];
        heap[at] = heap[last];
        heap[last] = moved;
        at = last;
    }
}

int64_t ts_likeliest_many(TsWeighed *best, int64_t count, const float *log_probability, int64_t vocab)
{
    count = count < vocab ? count : vocab;
    for (int64_t v = 0; v < count; v++)
        best[v] = (TsWeighed){log_probability[v], (int32_t)v};
    if (count < 1)
        return 0;
    qsort(best, (size_t)count, sizeof *best, by_weight);
    for (int64_t i = 0; i < count / 2; i++) { /* what is sorted backwards is such a heap */
        TsWeighed moved = best[i];
        best[i] = best[count - 1 - i];
        best[count - 1 - i] = moved;
    }
    for (int64_t v = count; v < vocab; v++)
        if (log_probability[v] > best[0].weight) {
            best[0] = (TsWeighed){log_probability[v], (int32_t)v};
            sink(best, count);
        }
    qsort(best, (size_t)count, sizeof *best, by_weight);
    return count;
}

/* The token at which the sum of weights reaches the part `uniform` of the sum of all. */
static int32_t draw(const TsWeighed *of, int64_t count, double uniform)
{
    double total = 0, sum = 0;
    for (int64_t i = 0; i < count; i++)
        total += (double)of[i].weight;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)of[i].weight;
        if (sum > uniform * total)
            return of[i].token;
    }
    while (count > 1 && !(of[count - 1].weight > 0)) /* rounding left a draw behind all */
        count--;
    return of[count - 1].token;
}

/* How many of the heaviest reach the part `top_p` of the sum of all; those, sorted, come first. */
static int64_t keep_mass(TsWeighed *of, int64_t count, double top_p)
{
    double total = 0, sum = 0;
    for (int64_t i = 0; i < count; i++)
        total += (double)of[i].weight;
    /* All that are lighter than this weigh less than 1 - top_p together: the others reach top_p without them. */
    double light = (1 - top_p) * total / (double)count;
    int64_t heavy = 0;
    for (int64_t i = 0; i < count; i++)
        if ((double)of[i].weight >= light)
            of[heavy++] = of[i];
    qsort(of, (size_t)heavy, sizeof *of, by_weight);
    for (int64_t i = 0; i < heavy; i++) {
        sum += (double)of[i].weight;
        if (sum >= top_p * total)
            return i + 1;
    }
    return heavy;
}

int32_t ts_sample(const float *log_probability, int64_t vocab, TsSampling sampling, double uniform, TsWeighed *room)
{
    if (sampling.temperature == 0 || sampling.top_k == 1)
        return ts_likeliest(log_probability, vocab);
    float best = largest(log_probability, vocab);
    if (!isfinite(best))
        return ts_likeliest(log_probability, vocab);
    int64_t count = vocab;
    if (sampling.top_k > 0 && sampling.top_k < vocab) {
        count = ts_likeliest_many(room, sampling.top_k, log_probability, vocab);
    } else {
        for (int64_t v = 0; v < vocab; v++)
            room[v] = (TsWeighed){log_probability[v], (int32_t)v};
    }
    float sharpness = (float)(1 / sampling.temperature);
    for (int64_t i = 0; i < count; i++)
        room[i].weight = expf((room[i].weight - best) * sharpness);
    if (sampling.top_p > 0 && sampling.top_p < 1)
        count = keep_mass(room, count, sampling.top_p);
    return draw(room, count, uniform);
}
