/* SPDX-License-Identifier: Apache-2.0
 *
 * Split: which examples of a dataset are learned from, which validate, which test. Parts of a random order are
 * computed, not stored; what a column or a file says is a list. Parts share no example.
 */
#pragma once

#include "base/permutation.h"
#include "data/dataset.h"

typedef enum TsPart { TS_PART_TRAIN, TS_PART_VALIDATION, TS_PART_TEST, TS_PARTS } TsPart;

/* "train", "validation", "test". */
const char *ts_part_name(TsPart part);

typedef struct TsSplit {
    int64_t count;
    int64_t *list; /* (count), owned; NULL: places of `order` */
    TsPermutation order;
    int64_t first, hole, hole_count; /* place i is order place first + i, beyond `hole` by hole_count more */
} TsSplit;

/* The examples of a part; a part for training that is empty is an error. Not collective; the same on all ranks. */
TS_MUST_USE TsStatus ts_split_open(TsSplit *split, const TsDataset *dataset, const TsDataConfig *config, TsPart part);

void ts_split_close(TsSplit *split);

/* The example at `index`, 0 <= index < count. Safe from any thread. */
int64_t ts_split_example(const TsSplit *split, int64_t index);
