/* SPDX-License-Identifier: Apache-2.0
 *
 * Cross-entropy of rows of logits against labels, of which the classes may be cut: sums over the classes that are here,
 * and what follows from the sums over all. Nothing of the size of the logits is stored but their gradient, which may
 * take their place.
 */
#pragma once

#include "tensor/kernels/isa.h"

enum { TS_CROSS_ENTROPY_SUMS = 3 }; /* of a row: exp(x - maximum); x[label]; x, only where there is smoothing */

typedef struct TsCrossEntropyRows {
    const int32_t *labels; /* (rows); rows with label `ignore` count 0 */
    int64_t rows;
    int64_t classes;              /* that are here, */
    int64_t first, whole_classes; /* from this one on, and of all */
    int32_t ignore;
    double smoothing, z_loss;
} TsCrossEntropyRows;

/* The first row whose label is neither `ignore` nor a class, or -1. */
int64_t ts_kernel_labels_check(const TsCrossEntropyRows *shape);

/* Real is f32, or f64 for f64. */
typedef struct TsCrossEntropyKernels {
    /* sums (rows, 3) Real of logits (rows, classes) and maxima (rows), which are those over all classes, or larger. */
    void (*sums)(void *sums, const void *logits, const void *maxima, const TsCrossEntropyRows *shape, int threads);

    /* The same where all classes are here: maxima (rows), stored as logits are, are found on the way, and the logits
     * are read once. A NaN among them comes through. */
    void (*rows)(void *sums, void *maxima, const void *logits, const TsCrossEntropyRows *shape, int threads);

    /* loss (rows) Real = logsumexp - (1 - smoothing) x[label] - smoothing mean(x) + z_loss logsumexp^2, from the sums
     * over all classes. maxima are stored as logits are. */
    void (*loss)(void *loss, const void *sums, const void *maxima, const TsCrossEntropyRows *shape);

    /* d_sums (rows, 3) of d_loss (rows). */
    void (*d_sums)(void *d_sums, const void *sums, const void *maxima, const void *d_loss,
                   const TsCrossEntropyRows *shape);

    /* d_logits (rows, classes), which may be logits, of d_sums. */
    void (*backward)(void *d_logits, const void *logits, const void *maxima, const void *d_sums,
                     const TsCrossEntropyRows *shape, int threads);
} TsCrossEntropyKernels;

TS_KERNEL_TABLES(TsCrossEntropyKernels, ts_cross_entropy_kernels)
