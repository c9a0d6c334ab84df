/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/relocate.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/kernels/copy.h"

/* What a rank has of an array: numbers that are sent as they are. */
typedef struct Block {
    int64_t dims, first[TS_MAX_DIMS], size[TS_MAX_DIMS]; /* dims -1: nothing */
} Block;

typedef struct Ends {
    Block from, to;
    int64_t dtype; /* of either; -1: of none */
} Ends;

static Block block_of(const TsArray *array)
{
    Block block = {.dims = -1};
    if (!array || !ts_array_local_elems(array))
        return block;
    TS_CHECK(!array->placement.partial && array->micros == 1 && array->data,
             "what is relocated is whole and has values");
    block.dims = array->shape.dims;
    for (int d = 0; d < array->shape.dims; d++) {
        block.first[d] = array->block.first[d];
        block.size[d] = array->block.shape.size[d];
    }
    return block;
}

static bool same(const Block *a, const Block *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* What both have; dims -1: nothing. */
static Block common(const Block *a, const Block *b)
{
    Block both = {.dims = a->dims == b->dims ? a->dims : -1};
    for (int d = 0; d < both.dims; d++) {
        int64_t a_end = a->first[d] + a->size[d], b_end = b->first[d] + b->size[d], end = a_end < b_end ? a_end : b_end;
        both.first[d] = a->first[d] > b->first[d] ? a->first[d] : b->first[d];
        both.size[d] = end - both.first[d];
        if (both.size[d] <= 0)
            return (Block){.dims = -1};
    }
    return both;
}

static int64_t elems_of(const Block *block)
{
    int64_t elems = block->dims >= 0;
    for (int d = 0; d < block->dims; d++)
        elems *= block->size[d];
    return elems;
}

/* One array on its way; ends (ranks). */
typedef struct Move {
    const Ends *ends;
    int ranks, rank;
    size_t elem_bytes;
} Move;

/* What goes from rank `from` to rank `to`: of those who have the same block, the one that wants it sends it, or the
 * first. */
static Block piece(const Move *move, int from, int to)
{
    const Block *block = &move->ends[from].from;
    Block none = {.dims = -1};
    if (block->dims < 0 || move->ends[to].to.dims < 0)
        return none;
    if (from != to && same(block, &move->ends[to].from))
        return none;
    for (int r = 0; r < from && from != to; r++)
        if (same(block, &move->ends[r].from))
            return none;
    return common(block, &move->ends[to].to);
}

/* Copies the piece between the block of an array and `packed`, where it lies without gaps. */
static void copy_piece(const Move *move, const Block *piece, const Block *block, void *values, void *packed, bool pack)
{
    TsShape shape = {.dims = (int)piece->dims}, whole = {.dims = (int)block->dims};
    int64_t begin = 0, step[TS_MAX_DIMS] = {0}, packed_step[TS_MAX_DIMS] = {0};
    for (int d = 0; d < shape.dims; d++) {
        shape.size[d] = piece->size[d];
        whole.size[d] = block->size[d];
    }
    ts_row_major_steps(step, whole);
    ts_row_major_steps(packed_step, shape);
    for (int d = 0; d < shape.dims; d++)
        begin += (piece->first[d] - block->first[d]) * step[d];
    char *at = (char *)values + (size_t)begin * move->elem_bytes;
    TsCopy copy = {.out = pack ? packed : at, .in = pack ? at : packed, .shape = shape, .elem_bytes = move->elem_bytes};
    memcpy(copy.out_step, pack ? packed_step : step, sizeof step);
    memcpy(copy.in_step, pack ? step : packed_step, sizeof step);
    ts_kernel_copy(&copy, 1);
}

/* How the pieces that this rank sends, or receives, stand one behind another: first (ranks + 1), in elements. */
static void line_up(int64_t *first, const Move *move, bool sends)
{
    first[0] = 0;
    for (int r = 0; r < move->ranks; r++) {
        Block part = sends ? piece(move, move->rank, r) : piece(move, r, move->rank);
        first[r + 1] = first[r] + elems_of(&part);
    }
}

static void run(TsGroup *group, const TsRelocation *relocation, const Move *move, TsDtype dtype, const char *label)
{
    int64_t *send = ts_calloc((size_t)move->ranks + 1, sizeof *send),
            *take = ts_calloc((size_t)move->ranks + 1, sizeof *take);
    line_up(send, move, true);
    line_up(take, move, false);
    char *out = ts_alloc((size_t)send[move->ranks] * move->elem_bytes + 1);
    char *in = ts_alloc((size_t)take[move->ranks] * move->elem_bytes + 1);
    const Ends *mine = &move->ends[move->rank];
    for (int r = 0; r < move->ranks; r++) {
        Block part = piece(move, move->rank, r);
        if (part.dims >= 0)
            copy_piece(move, &part, &mine->from, relocation->from->data, out + (size_t)send[r] * move->elem_bytes,
                       true);
    }
    ts_all_to_all(
        group,
        (TsExchange){.out = in, .in = out, .send_first = send, .receive_first = take, .dtype = dtype, .label = label});
    for (int r = 0; r < move->ranks; r++) {
        Block part = piece(move, r, move->rank);
        if (part.dims >= 0)
            copy_piece(move, &part, &mine->to, relocation->to->data, in + (size_t)take[r] * move->elem_bytes, false);
    }
    ts_free(in);
    ts_free(out);
    ts_free(take);
    ts_free(send);
}

/* Who has and wants what, of all arrays: (ranks, count). */
static Ends *gather_ends(TsGroup *group, const TsRelocation *relocation, int count, const char *label)
{
    int ranks = ts_group_size(group);
    int64_t *first = ts_calloc((size_t)ranks + 1, sizeof *first),
            words = count * (int64_t)(sizeof(Ends) / sizeof(int64_t));
    Ends *mine = ts_calloc((size_t)count + 1, sizeof *mine), *all = ts_calloc((size_t)(count * ranks) + 1, sizeof *all);
    for (int k = 0; k < count; k++) {
        const TsArray *any = relocation[k].from ? relocation[k].from : relocation[k].to;
        mine[k] = (Ends){block_of(relocation[k].from), block_of(relocation[k].to), any ? (int64_t)any->dtype : -1};
    }
    for (int r = 0; r <= ranks; r++)
        first[r] = r * words;
    ts_all_gather(group, (TsTransfer){.out = all, .in = mine, .first_elem = first, .dtype = TS_I64, .label = label});
    ts_free(mine);
    ts_free(first);
    return all;
}

void ts_relocate(TsGroup *group, const TsRelocation *relocation, int count, const char *label)
{
    int ranks = ts_group_size(group), rank = ts_group_rank(group);
    Ends *all = gather_ends(group, relocation, count, label), *ends = ts_calloc((size_t)ranks, sizeof *ends);
    for (int k = 0; k < count; k++) {
        TsDtype dtype = TS_F32;
        for (int r = 0; r < ranks; r++) {
            ends[r] = all[r * count + k];
            if (ends[r].dtype >= 0)
                dtype = (TsDtype)ends[r].dtype;
        }
        Move move = {.ends = ends, .ranks = ranks, .rank = rank, .elem_bytes = ts_dtype_bytes(dtype)};
        run(group, &relocation[k], &move, dtype, label);
    }
    ts_free(ends);
    ts_free(all);
}
