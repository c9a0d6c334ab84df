/* SPDX-License-Identifier: Apache-2.0
 *
 * The ops from which everything is written. Each gives a Tensor of the Graph of its operands; shape and dtype errors
 * are kept there (graph.h). Not collective. B batch, T sequence, C width, H heads, D head width, V vocabulary.
 */
#pragma once

#include "tensor/graph.h"

/* Elementwise, broadcast as NumPy does. ops/elementwise.c */
TsTensor ts_add(TsTensor a, TsTensor b);
TsTensor ts_sub(TsTensor a, TsTensor b);
TsTensor ts_mul(TsTensor a, TsTensor b);
TsTensor ts_div(TsTensor a, TsTensor b);
TsTensor ts_maximum(TsTensor a, TsTensor b);
TsTensor ts_minimum(TsTensor a, TsTensor b);
TsTensor ts_scale(TsTensor x, double factor);
TsTensor ts_shift(TsTensor x, double addend);
TsTensor ts_exp(TsTensor x);
TsTensor ts_ln(TsTensor x); /* the natural logarithm */
TsTensor ts_sqrt(TsTensor x);
TsTensor ts_tanh(TsTensor x);
TsTensor ts_sigmoid(TsTensor x);
TsTensor ts_relu(TsTensor x);
TsTensor ts_silu(TsTensor x);
TsTensor ts_gelu(TsTensor x);      /* x * Phi(x), by erf */
TsTensor ts_gelu_tanh(TsTensor x); /* its approximation by tanh, as in GPT-2 */
TsTensor ts_cast(TsTensor x, TsDtype dtype);

/* Gated forms: silu(gate) * x and gelu(gate) * x (Shazeer 2020). ops/activation.c */
TsTensor ts_swiglu(TsTensor gate, TsTensor x);
TsTensor ts_geglu(TsTensor gate, TsTensor x);

/* a where the bool `condition` holds, else b; and the comparisons that give bools, of two operands of one dtype,
 * without a gradient. Nothing compares with a NaN. Broadcast as NumPy does. ops/where.c */
TsTensor ts_where(TsTensor condition, TsTensor a, TsTensor b);
TsTensor ts_equal(TsTensor a, TsTensor b);
TsTensor ts_less(TsTensor a, TsTensor b);
TsTensor ts_greater(TsTensor a, TsTensor b);

/* Reductions over the dims of the bit set `dims` (bit d: dim d; negative -1: all), which stay with size 1 if `keep`.
 * ops/reduce.c */
TsTensor ts_sum(TsTensor x, int dims, bool keep);
TsTensor ts_mean(TsTensor x, int dims, bool keep);
TsTensor ts_max(TsTensor x, int dims, bool keep);

/* The sum of squares of all elements, f32 (f64 for f64): what gradient norms are made of. */
TsTensor ts_sum_squares(TsTensor x);

/* The same of each of `parts` parts of dim `dim` (0 for a scalar), which the axis rule cuts (placement.h): (parts).
 * Ranks whose blocks are such parts, or several, give these the same bits as one rank does. ops/sum_squares_parts.c */
TsTensor ts_sum_squares_parts(TsTensor x, int dim, int64_t parts);

/* Over the last dim. A row of -infinity alone has the softmax 0 and the logsumexp -infinity. logsumexp drops the dim.
 * ops/softmax.c */
TsTensor ts_softmax(TsTensor x);
TsTensor ts_log_softmax(TsTensor x);
TsTensor ts_logsumexp(TsTensor x);

/* The sums of all elements up to each along a dim, or, with `from_end`, from each on. Negative dims count from the end.
 * ops/order.c */
TsTensor ts_running_sum(TsTensor x, int dim, bool from_end);

/* The `count` largest of the last dim in falling order, or all of it sorted, and where they stood (i32). Equals stay in
 * their order; a NaN counts as the largest. Values have a gradient. ops/order.c */
typedef struct TsOrdered {
    TsTensor values, indices; /* (..., count) */
} TsOrdered;
TsOrdered ts_top_k(TsTensor x, int64_t count);
TsOrdered ts_sort(TsTensor x, bool rising);

/* Form. ops/reshape.c, ops/slice.c, ops/transpose.c */
TsTensor ts_reshape(TsTensor x, TsShape shape);
TsTensor ts_expand(TsTensor x, TsShape shape);       /* repeated as elementwise ops do. ops/expand.c */
TsTensor ts_transpose(TsTensor x, const int *order); /* order[dims(x)]: out dim i is x's dim order[i] */
TsTensor ts_slice(TsTensor x, int dim, int64_t first, int64_t size);
TsTensor ts_concatenate(const TsTensor *x, int count, int dim);

/* Matrix product over whole groups of dims, always one call of the backend: contracts the last `contract` dims of a
 * with the first `contract` dims of b; with transpose_a the first dims of a, with transpose_b the last of b. Out: the
 * dims of a that are left, then those of b. (B, T, C) . (C, H, D) -> (B, T, H, D). ops/dot.c */
typedef struct TsDot {
    int contract; /* 0 counts as 1 */
    bool transpose_a, transpose_b;
} TsDot;
TsTensor ts_dot(TsTensor a, TsTensor b, TsDot options);

/* A matrix product for each element of the dims before the last two, which are alike: a (..., M, K) by b (..., K, N),
 * or as they lie transposed. ops/batch_dot.c */
TsTensor ts_batch_dot(TsTensor a, TsTensor b, bool transpose_a, bool transpose_b);

/* A matrix product for each expert, over all its rows: x (E, ..., C) . kernel (E, C, F) -> (E, ..., F).
 * ops/expert_dot.c */
TsTensor ts_expert_dot(TsTensor x, TsTensor kernel);

/* Slots for tokens at experts, a sequence at a time: chosen (B, T, K) i32, negative: none. First choices come first, in
 * the order of tokens; what an expert has no room for is dropped. ops/route.c */
typedef struct TsRouted {
    TsTensor slots;   /* (B, T, K) i32: expert * capacity + place, or -1 */
    TsTensor counts;  /* (B, E) i32: choices, the dropped ones included */
    TsTensor dropped; /* (B) i32 */
} TsRouted;
TsRouted ts_assign_slots(TsTensor chosen, int64_t experts, int64_t capacity);

/* rows (B, T, C) to their slots: (E, B, P, C), zeros where there is none; and back, summed over choices, to (B, T, C).
 * Times weights (B, T, K), or TS_NONE: 1. ops/route.c */
TsTensor ts_dispatch(TsTensor rows, TsTensor slots, TsTensor weights, int64_t experts, int64_t capacity);
TsTensor ts_collect(TsTensor slotted, TsTensor slots, TsTensor weights);

/* Convolution along time: x (B, T, C), kernel (K, C, D) -> (B, T', D), out[t] = the sum over k of x[t - left + k]
 * kernel[k]. T' is T, but T - K + 1 with VALID. ops/conv1d.c */
typedef enum TsConv1dPadding {
    TS_CONV1D_VALID,  /* no zeros: left is 0 */
    TS_CONV1D_SAME,   /* (K - 1) / 2 zeros on the left, the rest of K - 1 on the right */
    TS_CONV1D_CAUSAL, /* K - 1 zeros on the left: no time sees a later one */
} TsConv1dPadding;
TsTensor ts_conv1d(TsTensor x, TsTensor kernel, TsConv1dPadding padding);

/* Normalises the last dim: layer norm, or RMS norm with `rms`; then * scale + bias where those are given (id >= 0).
 * x (..., C), scale (C), bias (C). ops/normalize.c */
typedef struct TsNormalize {
    double epsilon;
    bool rms;
} TsNormalize;
TsTensor ts_normalize(TsTensor x, TsTensor scale, TsTensor bias, TsNormalize options);
#define TS_NONE ((TsTensor){0, -1}) /* an operand that is not there */

/* Rows of a table: out (..., C) = table (V, C) [ids (...)]. Its gradient scatters and adds. ops/take.c */
TsTensor ts_take(TsTensor table, TsTensor ids);

/* Along `dim`, by i32 or i64 ids (...) that have all other dims of x: out (...) [.., n, ..] = x [.., ids[.., n, ..],
 * ..]; and x with source (...) added there, in order where ids repeat. An id that is not in x ends the run, named.
 * ops/gather.c */
TsTensor ts_gather(TsTensor x, TsTensor ids, int dim);
TsTensor ts_scatter_add(TsTensor x, TsTensor source, TsTensor ids, int dim);

/* Wavelengths of rotary positions that are longer than a model was first trained with, for longer contexts. Each pair
 * turns by its own frequency over `factor` (Chen et al. 2023); where `high` is above 0, only those of which fewer than
 * `low` waves fit into `original` positions do, those of more than `high` stay, and between the two it is a blend of
 * both: Llama 3.1. */
typedef struct TsRotaryScaling {
    double factor;    /* 0 counts as 1: none */
    double low, high; /* waves */
    double original;  /* positions */
} TsRotaryScaling;

/* Turns pairs of columns of x (B, T, H, D), or (B, T, Hkv, G, D), by angles that grow with the position, which is i +
 * first (an i64 scalar, or TS_NONE: 0): Su et al. 2021. ops/rotary.c */
typedef struct TsRotary {
    double base; /* 0: 10000 */
    TsRotaryScaling scaling;
    int64_t turned;   /* how many of the D, from the first on; even; 0: all */
    bool interleaved; /* pairs are neighbours, as in GPT-J; else the first half goes with the second: GPT-NeoX, Llama */
} TsRotary;
TsTensor ts_rotary(TsTensor x, TsTensor first, TsRotary options);

/* softmax(q k^T * scale + mask) v without a (T, T) matrix. q (B, Tq, H, D); k, v (B, Tk, Hkv, D); Hkv divides H. Or q
 * (B, Tq, Hkv, G, D), the same in memory, of which heads are cut where keys' are; H is then (Hkv, G) everywhere.
 * Query i stands at position i + query_first (an i64 scalar, or TS_NONE: Tk - Tq), key j at j. A query that sees no key
 * gives 0, and a logsumexp of -infinity. Options that are left out are not there. ops/attend.c */
typedef struct TsAttend {
    double scale; /* 0: 1/sqrt(D) */
    bool causal;
    int64_t window; /* of the keys up to its own position a query sees so many, the last, itself included, as in Mistral
                       7B; 0: all. Where not causal, those after it too */
    TsTensor keys_seen;              /* bool (B, Tk): false hides a key: padding */
    TsTensor segments, key_segments; /* i32 (B, Tq), (B, Tk): only equals see each other: packed rows. key_segments may
                                        be left out where it is the same */
    TsTensor slopes;  /* f32 (f64 for f64) (H): score -= slope * distance, ALiBi (Press et al. 2022); no gradient */
    TsTensor bias;    /* f32 (f64 for f64) (H, Tq, Tk): added to the scores; has a gradient */
    double drop_rate; /* of weights, dropped as ts_drop does by (batch, head, query, key); with `step`, an i64 scalar */
    TsTensor step;
    uint64_t stream;
} TsAttend;
typedef struct TsAttended {
    TsTensor out;       /* (B, Tq, H, D) */
    TsTensor logsumexp; /* (B, Tq, H), f32 */
} TsAttended;
TsAttended ts_attend(TsTensor q, TsTensor k, TsTensor v, TsTensor query_first, TsAttend options);

/* -log softmax(logits)[label] at each position; 0 where label is `ignore`. logits (..., V), labels (...) i32 ->
 * (...) f32. ops/cross_entropy.c */
typedef struct TsCrossEntropy {
    int32_t ignore;   /* a label that is not counted, e.g. -100 */
    double smoothing; /* label smoothing, 0 none */
    double z_loss;    /* z * logsumexp^2 is added */
} TsCrossEntropy;
TsTensor ts_cross_entropy(TsTensor logits, TsTensor labels, TsCrossEntropy options);

/* Zeroes elements with probability `rate` and divides the rest by 1 - rate. The mask is a function of `stream` (the
 * two halves of a Philox key, base/philox.h, low one first), `step` (i64 scalar) and the element's global index.
 * ops/random.c */
TsTensor ts_drop(TsTensor x, TsTensor step, double rate, uint64_t stream);

/* Noise of a shape, f32, of the same kind of stream: uniform in (0, 1), normal with mean 0 and variance 1, Gumbel
 * (-log(-log u)). */
TsTensor ts_uniform(TsTensor step, TsShape shape, uint64_t stream);
TsTensor ts_normal(TsTensor step, TsShape shape, uint64_t stream);
TsTensor ts_gumbel(TsTensor step, TsShape shape, uint64_t stream);

/* The index of the largest element of the last dim, the first of equals; i32. */
TsTensor ts_argmax(TsTensor x);

/* x with `block` written at `first` (an i64 scalar) of `dim`: in place where x is a state that nothing else needs. A KV
 * cache. ops/update.c */
TsTensor ts_update(TsTensor x, TsTensor block, TsTensor first, int dim);

/* One AdamW step over a whole parameter: Loshchilov and Hutter 2019, with decoupled decay and bias correction. `rate`,
 * `factor` (what the gradient is multiplied by: clipping; 0 skips the step) and `step` (from 1) are f32, f32 and i64
 * scalars. All operands have one shape. ops/adamw.c */
typedef struct TsAdamw {
    double beta1, beta2, epsilon, decay;
} TsAdamw;
typedef struct TsAdamwOut {
    TsTensor parameter, mean, variance;
} TsAdamwOut;
typedef struct TsAdamwIn {
    TsTensor parameter, gradient, mean, variance, rate, factor, step;
} TsAdamwIn;
TsAdamwOut ts_adamw(TsAdamwIn in, TsAdamw options);

/* What a gradient is multiplied by: min(1, clip / norm) of its whole norm; 0, which skips the step, where the norm is
 * not finite or above the limit. norm, limit: f32 scalars -> f32 scalar. ops/clip_factor.c */
typedef struct TsClipFactor {
    double clip; /* the largest norm that is left alone; 0: no clipping */
} TsClipFactor;
TsTensor ts_clip_factor(TsTensor norm, TsTensor limit, TsClipFactor options);
