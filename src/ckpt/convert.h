/* SPDX-License-Identifier: Apache-2.0
 *
 * Convert: elements of any dtype that a file can hold, as doubles and as other dtypes. Plain memory; not collective.
 */
#pragma once

#include "base/dtype.h"

/* Whether values of `from` may become values of `to`: floats one another, and integers (and bool) wider ones or
 * floats. What is the same may. */
bool ts_convert_allowed(TsDtype to, TsDtype from);

/* out[0, count) = in[0, count), each rounded to the nearest value of `to`. The dtypes are allowed. */
void ts_convert(void *out, TsDtype to, const void *in, TsDtype from, int64_t count);

/* Element `index` as a double; bool is 0 or 1, i64 is rounded. */
double ts_convert_value(const void *data, TsDtype dtype, int64_t index);

/* Sets an element of a float dtype, rounded to the nearest. */
void ts_convert_set(void *data, TsDtype dtype, int64_t index, double value);
