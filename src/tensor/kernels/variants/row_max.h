/* SPDX-License-Identifier: Apache-2.0
 *
 * The largest element of a row: -infinity where there is none, NaN where one is. Shared by reductions and losses.
 */
#pragma once

#include "tensor/kernels/variants/variant.h"

static inline Real row_max(const Stored *x, int64_t count)
{
    Real largest = -INFINITY;
    int nans = 0;
#pragma omp simd reduction(max : largest) reduction(+ : nans)
    for (int64_t i = 0; i < count; i++) {
        Real value = load(x[i]);
        largest = value > largest ? value : largest;
        nans += value != value;
    }
    return nans ? (Real)NAN : largest;
}
