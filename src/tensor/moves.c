/* SPDX-License-Identifier: Apache-2.0
 *
 * Moves: several moves of one kind as one collective.
 *
 *     on the wire:  rank 0's part of move 0, of move 1, … | rank 1's part of move 0, of move 1, … | …
 *
 * A reduce_scatter brings the whole and takes this rank's parts into room behind it; an all_gather and an all_reduce
 * work in place.
 */
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/label.h"
#include "tensor/move_internal.h"

struct TsMoves {
    TsMove **move;                            /* (count) owned */
    int64_t *first;                           /* (size + 1): where each rank's parts begin on the wire, in elements */
    int64_t wire_elems, own_first, own_elems; /* of all parts; and this rank's */
    const char *label;                        /* borrowed for the life of the process */
    int count, capacity;
};

TsMoves *ts_moves_create(int count)
{
    TsMoves *moves = ts_calloc(1, sizeof *moves);
    moves->move = ts_calloc((size_t)count + 1, sizeof(TsMove *));
    moves->capacity = count;
    return moves;
}

/* Lengthens the parts on the wire by those of one more move. */
static void lengthen(TsMoves *moves, const TsMove *move)
{
    bool reduces = move->kind == TS_MOVE_ALL_REDUCE;
    int64_t elems = reduces ? ts_shape_elems(move->in) : move->wire_elems, before = 0;
    moves->wire_elems += elems;
    moves->own_first += reduces ? 0 : move->own_first;
    moves->own_elems += reduces ? 0 : move->own_elems;
    if (!move->group)
        return;
    if (!moves->first)
        moves->first = ts_calloc((size_t)move->size + 1, sizeof *moves->first);
    for (int rank = 0; rank < move->size; rank++) {
        before += ts_move_part_elems(move, rank);
        moves->first[rank + 1] += before;
    }
}

/* What is the same at the beginning of two paths: "backbone/layer_03" of what lies in it. */
static const char *common_label(const char *a, const char *b)
{
    char common[128];
    size_t length = 0, whole = 0;
    if (!a || !b || strcmp(a, b) == 0)
        return a;
    for (; length < sizeof common - 1 && a[length] && a[length] == b[length]; length++) {
        common[length] = a[length];
        whole = a[length] == '/' ? length : whole;
    }
    if ((!a[length] || a[length] == '/') && (!b[length] || b[length] == '/'))
        whole = length; /* one lies in the other */
    common[whole] = 0;
    return whole ? ts_label(common) : "bucket";
}

void ts_moves_add(TsMoves *moves, TsMove *move)
{
    const TsMove *first = moves->count ? moves->move[0] : move;
    TS_CHECK(moves->count < moves->capacity, "more moves than there is room for");
    TS_CHECK(move->kind == first->kind && move->group == first->group && move->size == first->size &&
                 move->dtype == first->dtype && move->reduction == first->reduction,
             "moves that differ run as one");
    TS_CHECK(move->kind == TS_MOVE_ALL_GATHER || move->kind == TS_MOVE_ALL_REDUCE ||
                 move->kind == TS_MOVE_REDUCE_SCATTER,
             "moves of kind %d do not run as one", move->kind);
    lengthen(moves, move);
    moves->move[moves->count++] = move;
    moves->label = moves->count > 1 ? common_label(moves->label, move->label) : move->label;
}

void ts_moves_free(TsMoves **handle)
{
    TsMoves *moves = *handle;
    if (!moves)
        return;
    for (int k = 0; k < moves->count; k++)
        ts_move_free(&moves->move[k]);
    ts_free(moves->move);
    ts_free(moves->first);
    ts_free(moves);
    *handle = NULL;
}

static size_t elem_bytes_of(const TsMoves *moves)
{
    return ts_dtype_bytes(moves->move[0]->dtype);
}

/* The bytes on the wire, so that what follows is aligned. */
static size_t wire_bytes(const TsMoves *moves)
{
    return ((size_t)moves->wire_elems * elem_bytes_of(moves) + 63) / 64 * 64;
}

size_t ts_moves_scratch_bytes(const TsMoves *moves)
{
    size_t own_bytes = (size_t)moves->own_elems * elem_bytes_of(moves);
    return wire_bytes(moves) + (moves->move[0]->kind == TS_MOVE_REDUCE_SCATTER ? own_bytes : 0);
}

double ts_moves_sent_bytes(const TsMoves *moves)
{
    const TsMove *first = moves->move[0];
    double elems = 0;
    if (first->kind == TS_MOVE_ALL_GATHER) {
        elems = (double)moves->own_elems * (first->size - 1);
    } else if (first->kind == TS_MOVE_REDUCE_SCATTER) {
        elems = (double)(moves->wire_elems - moves->own_elems);
    } else {
        elems = 2 * (double)moves->wire_elems * (first->size - 1) / first->size;
    }
    return elems * (double)elem_bytes_of(moves);
}

/* Copies the parts of one rank between the wire and the blocks of all moves. */
static void copy_parts(const TsMoves *moves, int rank, const TsBlock *block, void *wire, bool pack)
{
    size_t elem_bytes = elem_bytes_of(moves);
    unsigned char *at = wire;
    for (int k = 0; k < moves->count; k++) {
        if (pack)
            ts_move_pack(moves->move[k], rank, at, block[k].data);
        else
            ts_move_unpack(moves->move[k], rank, block[k].data, at);
        at += (size_t)ts_move_part_elems(moves->move[k], rank) * elem_bytes;
    }
}

TsRequest *ts_moves_begin(TsMoves *moves, const TsBlock *in, void *scratch)
{
    const TsMove *first = moves->move[0];
    size_t elem_bytes = elem_bytes_of(moves);
    unsigned char *wire = scratch, *own = wire + (size_t)moves->own_first * elem_bytes;
    TsTransfer transfer = {.out = wire,
                           .in = wire,
                           .count_elems = moves->wire_elems,
                           .first_elem = moves->first,
                           .dtype = first->dtype,
                           .reduction = first->reduction,
                           .algorithm = first->algorithm,
                           .label = moves->label};
    TS_CHECK(first->group, "collectives on a mesh that is only described");
    switch (first->kind) {
    case TS_MOVE_ALL_REDUCE:
        copy_parts(moves, 0, in, wire, true);
        return ts_all_reduce_begin(first->group, transfer);
    case TS_MOVE_ALL_GATHER:
        copy_parts(moves, first->rank, in, own, true);
        transfer.in = own;
        return ts_all_gather_begin(first->group, transfer);
    default:
        for (int rank = 0; rank < first->size; rank++)
            copy_parts(moves, rank, in, wire + (size_t)moves->first[rank] * elem_bytes, true);
        transfer.out = wire + wire_bytes(moves);
        return ts_reduce_scatter_begin(first->group, transfer);
    }
}

void ts_moves_end(TsMoves *moves, const TsBlock *out, void *scratch, TsRequest **request)
{
    const TsMove *first = moves->move[0];
    unsigned char *wire = scratch;
    ts_request_end(request);
    switch (first->kind) {
    case TS_MOVE_ALL_REDUCE:
        copy_parts(moves, 0, out, wire, false);
        break;
    case TS_MOVE_ALL_GATHER:
        for (int rank = 0; rank < first->size; rank++)
            copy_parts(moves, rank, out, wire + (size_t)moves->first[rank] * elem_bytes_of(moves), false);
        break;
    default:
        copy_parts(moves, first->rank, out, wire + wire_bytes(moves), false);
    }
}
