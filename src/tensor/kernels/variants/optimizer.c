/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/real_math.h"

#include "tensor/kernels/optimizer.h"

enum { GRAIN = 8192, MOST_ARRAYS = 4 };

/* A piece of the arrays of a rule, and what is the same for all elements. */
typedef struct Piece {
    Stored *out[MOST_ARRAYS];
    const Stored *in[MOST_ARRAYS];
    int64_t count;
    Real keep1, keep2; /* decays of the mean and of the mean of squares */
    Real epsilon, decay;
    Real rate, factor, scale;
    Real mean_part, root_part; /* what a mean is multiplied by for its bias, and the root of a mean of squares */
    bool nesterov;
} Piece;

/* ---- the rules: Piece in, Piece out ---- */

static void sgd(const Piece *k)
{
    Stored *out = k->out[0];
    const Stored *parameter = k->in[0], *gradient = k->in[1];
#pragma omp simd
    for (int64_t i = 0; i < k->count; i++) {
        Real p = load(parameter[i]), g = load(gradient[i]) * k->factor + k->decay * p;
        out[i] = store(p - k->rate * g);
    }
}

static void momentum(const Piece *k)
{
    Stored *out = k->out[0], *velocity_out = k->out[1];
    const Stored *parameter = k->in[0], *velocity = k->in[1], *gradient = k->in[2];
    Real ahead = k->nesterov ? 1 : 0;
#pragma omp simd
    for (int64_t i = 0; i < k->count; i++) {
        Real p = load(parameter[i]), g = load(gradient[i]) * k->factor + k->decay * p;
        Real v = k->keep1 * load(velocity[i]) + g;
        velocity_out[i] = store(v);
        out[i] = store(p - k->rate * (ahead * (g + k->keep1 * v) + (1 - ahead) * v));
    }
}

static void adam(const Piece *k)
{
    Stored *out = k->out[0], *mean_out = k->out[1], *variance_out = k->out[2];
    const Stored *parameter = k->in[0], *mean = k->in[1], *variance = k->in[2], *gradient = k->in[3];
#pragma omp simd
    for (int64_t i = 0; i < k->count; i++) {
        Real p = load(parameter[i]), g = load(gradient[i]) * k->factor + k->decay * p;
        Real m = k->keep1 * load(mean[i]) + (1 - k->keep1) * g,
             v = k->keep2 * load(variance[i]) + (1 - k->keep2) * g * g;
        mean_out[i] = store(m);
        variance_out[i] = store(v);
        out[i] = store(p - k->rate * k->mean_part * m / (real_sqrt(v) * k->root_part + k->epsilon));
    }
}

static void lion(const Piece *k)
{
    Stored *out = k->out[0], *mean_out = k->out[1];
    const Stored *parameter = k->in[0], *mean = k->in[1], *gradient = k->in[2];
#pragma omp simd
    for (int64_t i = 0; i < k->count; i++) {
        Real p = load(parameter[i]), g = load(gradient[i]) * k->factor, m = load(mean[i]);
        Real c = k->keep1 * m + (1 - k->keep1) * g;
        Real sign = (Real)(c > 0) - (Real)(c < 0);
        mean_out[i] = store(k->keep2 * m + (1 - k->keep2) * g);
        out[i] = store(p - k->rate * (sign + k->decay * p));
    }
}

static void adam_update(const Piece *k)
{
    Stored *mean_out = k->out[0], *variance_out = k->out[1], *update = k->out[2];
    const Stored *mean = k->in[0], *variance = k->in[1], *parameter = k->in[2], *gradient = k->in[3];
#pragma omp simd
    for (int64_t i = 0; i < k->count; i++) {
        Real p = load(parameter[i]), g = load(gradient[i]) * k->factor;
        Real m = k->keep1 * load(mean[i]) + (1 - k->keep1) * g,
             v = k->keep2 * load(variance[i]) + (1 - k->keep2) * g * g;
        mean_out[i] = store(m);
        variance_out[i] = store(v);
        update[i] = store(k->mean_part * m / (real_sqrt(v) * k->root_part + k->epsilon) + k->decay * p);
    }
}

static void velocity(const Piece *k)
{
    Stored *velocity_out = k->out[0], *update = k->out[1];
    const Stored *velocity = k->in[0], *gradient = k->in[1];
    Real ahead = k->nesterov ? 1 : 0;
#pragma omp simd
    for (int64_t i = 0; i < k->count; i++) {
        Real g = load(gradient[i]) * k->factor, v = k->keep1 * load(velocity[i]) + (1 - k->keep1) * g;
        velocity_out[i] = store(v);
        update[i] = store(ahead * (k->keep1 * v + (1 - k->keep1) * g) + (1 - ahead) * v);
    }
}

static void descend(const Piece *k)
{
    Stored *out = k->out[0];
    const Stored *parameter = k->in[0], *update = k->in[1];
#pragma omp simd
    for (int64_t i = 0; i < k->count; i++) {
        Real p = load(parameter[i]);
        out[i] = store(p - k->rate * (k->scale * load(update[i]) + k->decay * p));
    }
}

static void average(const Piece *k)
{
    Stored *out = k->out[0];
    const Stored *before = k->in[0], *parameter = k->in[1];
#pragma omp simd
    for (int64_t i = 0; i < k->count; i++) {
        Real a = load(before[i]);
        out[i] = store(a + (1 - k->keep1) * (load(parameter[i]) - a));
    }
}

/* ---- over whole blocks ---- */

typedef struct Form {
    void (*piece)(const Piece *k);
    int inputs, outputs;
    int kept; /* outputs that are their inputs where the step is skipped; the others are then zeros */
} Form;

static void skip(void *const *out, const void *const *in, int64_t count, const Form *form)
{
    for (int i = 0; i < form->outputs && count; i++)
        if (i >= form->kept)
            memset(out[i], 0, (size_t)count * sizeof(Stored));
        else if (out[i] != in[i])
            memcpy(out[i], in[i], (size_t)count * sizeof(Stored));
}

/* beta, or as Pax's Adam has it: beta (1 - beta^(t-1)) / (1 - beta^t), which makes each mean one without a bias. */
static double decay_at(double beta, const TsOptimizerStep *step)
{
    double t = (double)step->step;
    return step->corrected_betas ? beta * (1 - pow(beta, t - 1)) / (1 - pow(beta, t)) : beta;
}

static double bias_at(double beta, const TsOptimizerStep *step)
{
    return step->corrected_betas ? 1 : 1 - pow(beta, (double)step->step);
}

static void run(void *const *out, const void *const *in, int64_t count, const TsOptimizerStep *step, int threads,
                Form form)
{
    if (step->factor == 0) {
        skip(out, in, count, &form);
        return;
    }
    Piece whole = {.keep1 = (Real)decay_at(step->beta1, step),
                   .keep2 = (Real)decay_at(step->beta2, step),
                   .epsilon = (Real)step->epsilon,
                   .decay = (Real)step->decay,
                   .rate = (Real)step->rate,
                   .factor = (Real)step->factor,
                   .scale = (Real)step->scale,
                   .mean_part = (Real)(1 / bias_at(step->beta1, step)),
                   .root_part = (Real)(1 / sqrt(bias_at(step->beta2, step))),
                   .nesterov = step->nesterov};
    int64_t grains = (count + GRAIN - 1) / GRAIN;
    threads = threads_worth(threads, count);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t grain = 0; grain < grains; grain++) {
        Piece k = whole;
        for (int i = 0; i < form.outputs; i++)
            k.out[i] = (Stored *)out[i] + grain * GRAIN;
        for (int i = 0; i < form.inputs; i++)
            k.in[i] = (const Stored *)in[i] + grain * GRAIN;
        k.count = smaller(GRAIN, count - grain * GRAIN);
        form.piece(&k);
    }
}

#define RULE(name, inputs, outputs, kept)                                                                              \
    static void run_##name(void *const *out, const void *const *in, int64_t count, const TsOptimizerStep *step,        \
                           int threads)                                                                                \
    {                                                                                                                  \
        run(out, in, count, step, threads, (Form){name, inputs, outputs, kept});                                       \
    }
RULE(sgd, 2, 1, 1)
RULE(momentum, 3, 2, 2)
RULE(adam, 4, 3, 3)
RULE(lion, 3, 2, 2)
RULE(adam_update, 4, 3, 2)
RULE(velocity, 2, 2, 1)
RULE(descend, 2, 1, 1)

/* The averages of Polyak 1990, which begin fast: min(d, (1 + t) / (10 + t)), t the steps before this one, as
 * TensorFlow's and Pax's do. */
static void run_average(void *const *out, const void *const *in, int64_t count, const TsOptimizerStep *step,
                        int threads)
{
    TsOptimizerStep warm = *step;
    double t = (double)step->step - 1, early = (1 + t) / (10 + t);
    warm.beta1 = step->beta1 < early ? step->beta1 : early;
    run(out, in, count, &warm, threads, (Form){average, 2, 1, 1});
}

const TsOptimizerKernels TS_TABLE(ts_optimizer_kernels) = {
    .sgd = run_sgd,
    .momentum = run_momentum,
    .adam = run_adam,
    .lion = run_lion,
    .adam_update = run_adam_update,
    .velocity = run_velocity,
    .descend = run_descend,
    .average = run_average,
};
