/* SPDX-License-Identifier: Apache-2.0
 *
 * Casts between element types. Floats go to the nearest, ties to even; floats to integers towards zero, saturating, a
 * NaN to 0; to bool: whether it is not 0.
 */
#pragma once

#include "base/dtype.h"

/* out[0, count) = x[0, count). Any pair of dtypes but f16, which occurs in files only. */
void ts_kernel_cast(void *out, TsDtype out_dtype, const void *x, TsDtype x_dtype, int64_t count_elems, int threads);
