/* SPDX-License-Identifier: Apache-2.0
 *
 * Roots: inverse roots of small symmetric matrices that lie on this rank, one after another: what Shampoo takes of its
 * factors. Those of one matrix over many ranks are ts_dist_inverse_root's.
 */
#pragma once

#include "base/dtype.h"
#include "base/status.h"

/* root[i] = (a[i] + ridge largest I)^(-1/power) of `count` matrices (side, side), f32 or f64, symmetric and positive
 * semidefinite; `largest` is the largest eigenvalue of each, eigenvalues below 0, which are roundings, count as 0, and
 * the root of zeros is zeros. Ends with an error where a matrix is not finite. Not collective. */
TS_MUST_USE TsStatus ts_inverse_roots(void *root, const void *a, int64_t count, int64_t side, int power, double ridge,
                                      TsDtype dtype);
