/* SPDX-License-Identifier: Apache-2.0
 *
 * Moves along the axis of time: a value of which each micro-batch has a part becomes whole while these run one after
 * another. `accumulate` adds the parts up, in their order or as a binary tree; `collect` puts them side by side.
 *
 * The tree over 8 micro-batches keeps three sums. Part k is added to those of as many levels as k + 1 has factors of
 * two, which are then complete:
 *
 *     0   1   2   3   4   5   6   7        level 0 keeps part 0, 2, 4, 6
 *     '-1-'   '-1-'   '-1-'   '-1-'        level 1 keeps 0-1, 4-5
 *       '---2---'       '---2---'          level 2 keeps 0-3
 *           '-------3-------'              the last is the result
 *
 * The same tree goes on between ranks (comm/tree.c).
 */
#include "tensor/redistribute.h"

#include "base/check.h"
#include "tensor/kernels/accumulate.h"
#include "tensor/ops/common.h"

enum { MAX_LEVELS = 32 };

static int levels_of(int micros)
{
    int levels = 0;
    while (1 << levels < micros)
        levels++;
    return levels;
}

/* What one level keeps. */
static size_t level_bytes(const TsBlock *out)
{
    return ((size_t)ts_shape_elems(out->shape) * ts_dtype_bytes(out->dtype) + 63) / 64 * 64;
}

size_t ts_accumulate_scratch_bytes(const TsCall *call)
{
    return call->tree ? (size_t)levels_of(call->micros) * level_bytes(&call->out[0]) : 0;
}

void ts_accumulate_forward(const TsCall *call)
{
    const TsMoveStep *step = call->attributes;
    const TsBlock *out = &call->out[0];
    const void *part[MAX_LEVELS] = {out->data};
    void *to = out->data;
    int parts = call->micro > 0;
    if (call->tree) {
        char *level = call->scratch;
        TS_CHECK((call->micros & (call->micros - 1)) == 0, "a tree over %d micro-batches", call->micros);
        for (parts = 0; (call->micro + 1) % (2 << parts) == 0; parts++)
            part[parts] = level + (size_t)parts * level_bytes(out);
        if (call->micro + 1 < call->micros)
            to = level + (size_t)parts * level_bytes(out);
    }
    ts_accumulate_kernels(out->dtype)
        ->add(to, part, parts, call->in[0].data, ts_shape_elems(out->shape), step->from.reduction == TS_SUM,
              call->threads);
}

void ts_collect_forward(const TsCall *call)
{
    static const int64_t origin[TS_MAX_DIMS];
    const TsBlock *in = &call->in[0], *out = &call->out[0];
    int64_t first[TS_MAX_DIMS];
    for (int d = 0; d < TS_MAX_DIMS; d++)
        first[d] = in->first[d] - out->first[d];
    ts_op_copy_block(out->data, out->shape, in->data, in->shape, first, origin, in->shape, in->dtype, call->threads);
}
