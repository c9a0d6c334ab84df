/* SPDX-License-Identifier: Apache-2.0
 *
 * Histogram: how the values of all ranks are spread: how many, the least, the greatest, their mean, and how many lie in
 * each of equal parts between. Used by evaluation.
 */
#pragma once

#include "comm/group.h"

enum { TS_HISTOGRAM_BINS = 20 };

typedef struct TsHistogram {
    double count;                     /* of those that are finite */
    double strange;                   /* of the others */
    double least, greatest, mean;     /* NaN where count is 0 */
    double counts[TS_HISTOGRAM_BINS]; /* part i is [least + i w, least + (i + 1) w), the last one with its end */
} TsHistogram;

/* Of values[i * stride], i < count, of all ranks of group; the same on all. Collective on group. */
TsHistogram ts_histogram(const double *values, int64_t count, int64_t stride, TsGroup *group);
