/* SPDX-License-Identifier: Apache-2.0
 *
 * Cross-entropy of rows of logits against labels, fused with softmax: nothing of the size of the logits is stored but
 * their gradient, which may take their place.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsCrossEntropyRows {
    const int32_t *labels; /* (rows); rows with label `ignore` count 0 */
    int64_t rows, classes;
    int32_t ignore;
    double smoothing, z_loss;
} TsCrossEntropyRows;

/* The first row whose label is neither `ignore` nor a class, or -1. */
int64_t ts_kernel_labels_check(const TsCrossEntropyRows *shape);

typedef struct TsCrossEntropyKernels {
    /* loss (rows) f32, or f64 for f64, = logsumexp - (1 - smoothing) x[label] - smoothing mean(x) + z_loss
     * logsumexp^2. */
    void (*forward)(void *loss, const void *logits, const TsCrossEntropyRows *shape, int threads);

    /* d_logits (rows, classes), which may be logits; d_loss (rows) as loss. */
    void (*backward)(void *d_logits, const void *logits, const void *d_loss, const TsCrossEntropyRows *shape,
                     int threads);
} TsCrossEntropyKernels;

TS_KERNEL_TABLES(TsCrossEntropyKernels, ts_cross_entropy_kernels)
