/* SPDX-License-Identifier: Apache-2.0
 *
 * Measure: what the ranks at hand can do: products, memory, links, files.
 *
 * All ranks of the group work at the same time, as they do in a step, and the mean is taken: every function here is
 * collective on its group, gives the same on all ranks, and takes a fraction of a second (files: what the disk takes).
 */
#pragma once

#include "base/dtype.h"
#include "comm/group.h"

/* Seconds of one product of two square matrices with `size` rows, of many, on this rank: the only measure that is not
 * the mean. dtype: f32, or bf16 with f32 sums. */
double ts_measure_product(TsGroup *group, int64_t size, TsDtype dtype, int threads);

/* The mean over the ranks of the group. */
double ts_measure_mean(TsGroup *group, double value);

/* Bytes a second of sum = a + b, of arrays that no cache holds: two read, one written. */
TS_MUST_USE TsStatus ts_measure_memory(double *bandwidth, TsGroup *group, int threads);

/* latency: seconds of a message; bandwidth: bytes a second of what all ranks of a node send together. All zero: there
 * are no two nodes, or no two ranks on one. */
typedef struct TsMeasuredLink {
    double latency_s, bandwidth;
} TsMeasuredLink;

typedef struct TsMeasuredLinks {
    TsMeasuredLink between, within; /* nodes */
} TsMeasuredLinks;

/* By all-reduces of two sizes. */
TsMeasuredLinks ts_measure_links(TsGroup *group);

typedef struct TsMeasuredFiles {
    double write,
        read; /* bytes a second of all ranks together; written ones are on the disk, read ones may be cached */
} TsMeasuredFiles;

/* In the directory, which is made if it is not there: each rank writes and reads a file of so many bytes, and removes
 * it. An error names the file. */
TS_MUST_USE TsStatus ts_measure_files(TsMeasuredFiles *files, TsGroup *group, const char *directory,
                                      size_t bytes_a_rank);
