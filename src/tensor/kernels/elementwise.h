/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementwise kernels: one function of one or two operands, the second form with broadcasting. Output and input may be
 * the same memory. The same bits for any number of threads.
 */
#pragma once

#include "tensor/kernels/isa.h"
#include "tensor/shape.h"

typedef enum TsUnary {
    TS_UNARY_SCALE, /* x * parameter */
    TS_UNARY_SHIFT, /* x + parameter */
    TS_UNARY_EXP,
    TS_UNARY_LOG,
    TS_UNARY_SQRT,
    TS_UNARY_TANH,
    TS_UNARY_SIGMOID,
    TS_UNARY_RELU,
    TS_UNARY_SILU,
    TS_UNARY_GELU,
    TS_UNARY_GELU_TANH,
} TsUnary;

typedef enum TsBinary {
    TS_BINARY_ADD,
    TS_BINARY_SUB,
    TS_BINARY_MUL,
    TS_BINARY_DIV,
    TS_BINARY_MAXIMUM, /* a NaN of either operand comes through */
    TS_BINARY_MINIMUM,
    TS_BINARY_EQUAL, /* 1 or 0 */
    TS_BINARY_ABOVE, /* 1 where a > b, 1/2 where equal, else 0: what maximum passes back to a */
    /* The gradient of an activation: x or its output y, then d_out. */
    TS_BINARY_D_TANH,    /* (1 - y^2) d */
    TS_BINARY_D_SIGMOID, /* y (1 - y) d */
    TS_BINARY_D_SQRT,    /* d / (2 y) */
    TS_BINARY_D_RELU,
    TS_BINARY_D_SILU,
    TS_BINARY_D_GELU,
    TS_BINARY_D_GELU_TANH,
} TsBinary;

/* out[i0, i1, ...] = f(a[i . step_a], b[i . step_b]); out has no gaps. */
typedef struct TsBroadcast {
    int dims; /* as few as can be; the last step is 0 or 1. A scalar has one dim of size 1 */
    int64_t size[TS_MAX_DIMS], step_a[TS_MAX_DIMS], step_b[TS_MAX_DIMS];
} TsBroadcast;

/* How operands of these local shapes go through an output of local shape `out`; an operand dim is repeated where its
 * size in `whole_a`, `whole_b` is 1 and that of the whole output is not. */
TsBroadcast ts_broadcast_plan(TsShape out, TsShape whole_out, TsShape a, TsShape whole_a, TsShape b, TsShape whole_b);

/* The steps of one operand along the dims of the output. */
void ts_broadcast_steps(int64_t *step, TsShape out, TsShape whole_out, TsShape local, TsShape whole);

typedef struct TsElementwiseKernels {
    void (*unary)(TsUnary op, void *out, const void *x, int64_t count_elems, double parameter, int threads);
    void (*binary)(TsBinary op, void *out, const void *a, const void *b, const TsBroadcast *plan, int threads);

    /* The same on one thread, of `count` neighbours; an operand whose step is 0 is one value throughout. */
    void (*unary_run)(TsUnary op, void *out, const void *x, int64_t count_elems, double parameter);
    void (*spread_run)(TsUnary op, void *out, const void *x, int64_t count_elems, double parameter); /* x has step 0 */
    void (*binary_run)(TsBinary op, void *out, const void *a, const void *b, int64_t count_elems, int64_t step_a,
                       int64_t step_b);
    void (*copy_run)(void *out, const void *x, int64_t count_elems, int64_t step_x);

    /* Between what is stored and what is computed in (f32 of bf16; elsewhere copies). round_run: to what can be stored,
     * in place. */
    void (*widen)(void *out, const void *x, int64_t count_elems);
    void (*narrow_run)(void *out, const void *x, int64_t count_elems, int64_t step_x);
    void (*round_run)(void *x, int64_t count_elems);
} TsElementwiseKernels;

TS_KERNEL_TABLES(TsElementwiseKernels, ts_elementwise_kernels)
