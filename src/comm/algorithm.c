/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/algorithm.h"

#include "base/check.h"
#include "comm/group_internal.h"
#include "comm/reduce.h"

static const TsImplementation *const table[TS_ALGORITHMS] = {
    [TS_ALGORITHM_LIBRARY] = &ts_implementation_library,
    [TS_ALGORITHM_TREE] = &ts_implementation_tree,
    [TS_ALGORITHM_RING] = &ts_implementation_ring,
    [TS_ALGORITHM_SHARED] = &ts_implementation_shared,
    [TS_ALGORITHM_HIERARCHICAL] = &ts_implementation_hierarchical,
};

enum {
    PIECE_BYTES = 60 << 10, /* of a message: below 64 KiB, where TCP sends at once instead of asking first */
    SMALL_BYTES = 32 << 10, /* below, latency counts: fewer steps rather than fewer bytes */
};
static const int64_t library_bytes = (int64_t)1 << 30;

static int64_t cut_bytes; /* 0: the limits above */

void ts_algorithm_set_cuts(int64_t limit_bytes)
{
    cut_bytes = limit_bytes;
}

int64_t ts_algorithm_piece_elems(TsDtype dtype)
{
    int64_t elems = (cut_bytes ? cut_bytes : PIECE_BYTES) / (int64_t)ts_dtype_bytes(dtype);
    return elems > 0 ? elems : 1;
}

size_t ts_algorithm_small_bytes(void)
{
    return cut_bytes > 0 && cut_bytes < TS_SMALL_BYTES ? (size_t)cut_bytes : TS_SMALL_BYTES;
}

int64_t ts_algorithm_library_elems(TsDtype dtype)
{
    int64_t elems = (cut_bytes ? cut_bytes : library_bytes) / (int64_t)ts_dtype_bytes(dtype);
    return elems > 0 ? elems : 1;
}

const char *ts_algorithm_name(TsAlgorithm algorithm)
{
    return table[algorithm] ? table[algorithm]->name : "auto";
}

const TsImplementation *ts_algorithm_choose(const TsGroup *group, const TsCommCall *call, TsAlgorithm wanted)
{
    if (group->size == 1)
        return &ts_implementation_local;
    if (table[wanted] && table[wanted]->serves(group, call))
        return table[wanted];
    if (ts_implementation_shared.serves(group, call))
        return &ts_implementation_shared;
    if (call->kind == TS_COMM_ALL_TO_ALL)
        return &ts_implementation_ring;
    bool small = call->count_elems * (int64_t)ts_dtype_bytes(call->dtype) <= SMALL_BYTES;
    if (small || call->kind == TS_COMM_BROADCAST || call->kind == TS_COMM_BARRIER)
        return &ts_implementation_library;
    return group->node_size_max > 1 ? &ts_implementation_hierarchical : &ts_implementation_ring;
}
