/* SPDX-License-Identifier: Apache-2.0
 *
 * Route: rows of sequences to the slots of experts and back. Slot e * capacity + p of a sequence is place p of expert
 * e; a slot of -1 is none: the token was dropped.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsRouteShape {
    int64_t batch, length, choices; /* slots (batch, length, choices) i32 */
    int64_t experts, capacity;
    int64_t width; /* of a row */
} TsRouteShape;

/* slots of chosen experts (batch, length, choices) i32, of which negative ones are none: first choices in the order of
 * tokens, then second ones; what comes after an expert is full is dropped. counts (batch, experts) i32: who chose it;
 * dropped (batch) i32. */
void ts_kernel_assign(int32_t *slots, int32_t *counts, int32_t *dropped, const int32_t *chosen,
                      const TsRouteShape *shape);

/* weights and d_weights (batch, length, choices) are stored as rows are; weights NULL: all 1. */
typedef struct TsRouteKernels {
    /* out (experts, batch, capacity, width): the row (batch, length, width) of each slot times its weight; 0 where a
     * slot has none. */
    void (*dispatch)(void *out, const void *rows, const int32_t *slots, const void *weights, const TsRouteShape *shape,
                     int threads);

    /* out (batch, length, width): the sum over choices of what lies in their slots, times their weights. */
    void (*collect)(void *out, const void *slotted, const int32_t *slots, const void *weights,
                    const TsRouteShape *shape, int threads);

    /* d_weights: the product of each row with what lies in its slots. */
    void (*weigh)(void *d_weights, const void *slotted, const int32_t *slots, const void *rows,
                  const TsRouteShape *shape, int threads);
} TsRouteKernels;

TS_KERNEL_TABLES(TsRouteKernels, ts_route_kernels)
