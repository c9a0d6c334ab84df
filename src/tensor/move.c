/* SPDX-License-Identifier: Apache-2.0
 *
 * Move: one step of a redistribution on this rank: whose block lies where in what is brought and what is taken, and the
 * copies into and out of the order in which a collective wants them.
 */
#include "tensor/move_internal.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

static int64_t box_elems(const Box *box, int dims)
{
    int64_t elems = 1;
    for (int d = 0; d < dims; d++)
        elems *= box->size[d];
    return elems;
}

/* Where the box begins in an array of `shape`, in elements. */
static int64_t box_begin(const Box *box, TsShape shape)
{
    int64_t begin = 0;
    for (int d = 0; d < shape.dims; d++)
        begin = begin * shape.size[d] + box->first[d];
    return begin;
}

/* Whether the box's elements lie side by side in an array of `shape`. */
static bool box_is_solid(const Box *box, TsShape shape)
{
    int d = 0;
    while (d < shape.dims && box->size[d] == 1)
        d++;
    for (d++; d < shape.dims; d++)
        if (box->size[d] != shape.size[d])
            return false;
    return true;
}

/* Of nothing, `to` and `from` may be NULL. */
static void copy(void *to, const void *from, size_t bytes)
{
    if (bytes)
        memcpy(to, from, bytes);
}

/* Copies between a box of an array of `shape` and the same elements without gaps. */
static void copy_box(void *array, void *packed, const Box *box, TsShape shape, size_t elem_bytes, bool pack)
{
    int dims = shape.dims;
    if (!box_elems(box, dims))
        return;
    size_t run_bytes = elem_bytes;
    while (dims > 0 && box->size[dims - 1] == shape.size[dims - 1]) /* whole trailing dims are one run */
        run_bytes *= (size_t)shape.size[--dims];
    int inner = dims > 0 ? dims - 1 : 0; /* dims[0, inner) are walked; dim `inner` is part of the run */
    size_t stride_bytes[TS_MAX_DIMS] = {0}, stride = elem_bytes;
    for (int d = shape.dims - 1; d >= 0; d--) {
        stride_bytes[d] = stride;
        stride *= (size_t)shape.size[d];
    }
    unsigned char *at = (unsigned char *)array + (size_t)box_begin(box, shape) * elem_bytes, *wire = packed;
    if (dims > 0)
        run_bytes *= (size_t)box->size[inner];
    int64_t index[TS_MAX_DIMS] = {0};
    for (;;) {
        memcpy(pack ? wire : at, pack ? at : wire, run_bytes);
        wire += run_bytes;
        int d = inner - 1;
        for (; d >= 0; d--) {
            at += stride_bytes[d];
            if (++index[d] < box->size[d])
                break;
            at -= (size_t)box->size[d] * stride_bytes[d];
            index[d] = 0;
        }
        if (d < 0)
            return;
    }
}

/* ---- making ---- */

/* The coordinates of the `member`-th rank of this rank's group along `axes`. */
static void member_coord(int *coord, const TsMesh *mesh, TsAxisSet axes, int member)
{
    for (int axis = TS_AXES - 1; axis > 0; axis--) {
        coord[axis] = mesh ? ts_mesh_coord(mesh, (TsAxis)axis) : 0;
        if (mesh && (axes & TS_AXIS_BIT(axis))) {
            coord[axis] = member % ts_mesh_size(mesh, (TsAxis)axis);
            member /= ts_mesh_size(mesh, (TsAxis)axis);
        }
    }
}

/* `inner`, as a part of `outer`. */
static Box box_within(TsBlockRange inner, TsBlockRange outer)
{
    Box box;
    for (int d = 0; d < TS_MAX_DIMS; d++) {
        box.first[d] = inner.first[d] - outer.first[d];
        box.size[d] = d < inner.shape.dims ? inner.shape.size[d] : 1;
    }
    return box;
}

/* What both hold, as a part of `base`. */
static Box box_common(TsBlockRange a, TsBlockRange b, TsBlockRange base)
{
    Box box;
    for (int d = 0; d < TS_MAX_DIMS; d++) {
        int64_t first = a.first[d] > b.first[d] ? a.first[d] : b.first[d];
        int64_t a_end = a.first[d] + a.shape.size[d], b_end = b.first[d] + b.shape.size[d];
        int64_t end = a_end < b_end ? a_end : b_end;
        box.first[d] = end > first ? first - base.first[d] : 0;
        box.size[d] = d >= a.shape.dims ? 1 : end > first ? end - first : 0;
    }
    return box;
}

/* Boxes one after the other on the wire. */
typedef struct Line {
    int64_t elems;
    bool in_order; /* that is how they lie in the array */
} Line;

/* Adds a box of an array of `shape`; gives where it begins on the wire. */
static int64_t line_up(Line *line, const Box *box, TsShape shape)
{
    int64_t first = line->elems, elems = box_elems(box, shape.dims);
    line->in_order &= !elems || (box_is_solid(box, shape) && box_begin(box, shape) == first);
    line->elems += elems;
    return first;
}

/* Finds the blocks of the group's ranks. */
static void find_boxes(TsMove *move, const TsMoveStep *step, TsShape shape, const TsMesh *mesh)
{
    TsBlockRange from = ts_placement_local(step->from, shape, mesh), to = ts_placement_local(step->to, shape, mesh);
    TsMeshShape mesh_shape = mesh ? ts_mesh_shape(mesh) : (TsMeshShape){{0}};
    int coord[TS_AXES];
    move->in = from.shape;
    move->out = to.shape;
    size_t size = (size_t)move->size;
    if (move->kind == TS_MOVE_CUT) {
        move->box = ts_alloc(sizeof *move->box);
        move->box[0] = box_within(to, from);
        return;
    }
    if (move->kind == TS_MOVE_MASK || move->kind == TS_MOVE_ALL_REDUCE)
        return;
    bool all_to_all = move->kind == TS_MOVE_ALL_TO_ALL, gathers = move->kind == TS_MOVE_ALL_GATHER;
    if (move->group) {
        move->box = ts_alloc(size * sizeof *move->box);
        move->first = ts_alloc((size + 1) * sizeof *move->first);
        move->receive_box = all_to_all ? ts_alloc(size * sizeof *move->receive_box) : NULL;
        move->receive_first = all_to_all ? ts_alloc((size + 1) * sizeof *move->receive_first) : NULL;
    }
    Line line = {.in_order = true}, receive_line = {.in_order = true};
    for (int r = 0; r < move->size; r++) {
        member_coord(coord, mesh, step->axes, r);
        TsBlockRange their_from = ts_placement_block(step->from, shape, mesh_shape, coord);
        TsBlockRange their_to = ts_placement_block(step->to, shape, mesh_shape, coord);
        Box box = gathers      ? box_within(their_from, to)
                  : all_to_all ? box_common(from, their_to, from)
                               : box_within(their_to, from);
        int64_t first = line_up(&line, &box, gathers ? move->out : move->in), receive_first = 0;
        if (r == move->rank) {
            move->own_first = first;
            move->own_elems = line.elems - first;
        }
        Box receive_box = {.first = {0}};
        if (all_to_all) {
            receive_box = box_common(their_from, to, to);
            receive_first = line_up(&receive_line, &receive_box, move->out);
        }
        if (!move->group)
            continue;
        move->box[r] = box;
        move->first[r] = first;
        if (all_to_all) {
            move->receive_box[r] = receive_box;
            move->receive_first[r] = receive_first;
        }
    }
    move->wire_elems = line.elems;
    move->receive_elems = receive_line.elems;
    move->in_order = line.in_order;
    move->receive_in_order = receive_line.in_order;
    if (move->group)
        move->first[move->size] = line.elems;
    if (move->group && all_to_all)
        move->receive_first[move->size] = receive_line.elems;
}

TsMove *ts_move_create(const TsMoveStep *step, TsDtype dtype, TsShape shape, const TsMesh *mesh, const char *label)
{
    TsMove *move = ts_alloc(sizeof *move);
    *move = (TsMove){.kind = (TsMoveKind)step->kind,
                     .dtype = dtype,
                     .reduction = (TsReduction)step->from.reduction,
                     .group = mesh && ts_mesh_all(mesh) ? ts_mesh_group(mesh, step->axes) : NULL,
                     .label = label,
                     .size = 1,
                     .keeps = true};
    for (int axis = 1; axis < TS_AXES; axis++)
        if (mesh && (step->axes & TS_AXIS_BIT(axis))) {
            if (axis != TS_AXIS_MICRO) {
                move->rank = move->rank * ts_mesh_size(mesh, (TsAxis)axis) + ts_mesh_coord(mesh, (TsAxis)axis);
                move->size *= ts_mesh_size(mesh, (TsAxis)axis);
            }
            move->keeps &= ts_mesh_coord(mesh, (TsAxis)axis) == 0;
        }
    if (move->kind == TS_MOVE_MASK)
        move->reduction = (TsReduction)step->to.reduction;
    TS_CHECK(!move->group || (ts_group_rank(move->group) == move->rank && ts_group_size(move->group) == move->size),
             "the group of a move is ordered otherwise than its mesh");
    find_boxes(move, step, shape, mesh);
    return move;
}

void ts_move_set_algorithm(TsMove *move, TsAlgorithm algorithm)
{
    move->algorithm = algorithm;
}

void ts_move_free(TsMove **move)
{
    if (*move) {
        ts_free((*move)->box);
        ts_free((*move)->receive_box);
        ts_free((*move)->first);
        ts_free((*move)->receive_first);
        ts_free(*move);
    }
    *move = NULL;
}

/* ---- what it needs ---- */

/* Scratch for what is sent comes first, then, aligned, that for what is received. */
static size_t send_scratch_bytes(const TsMove *move)
{
    bool packs = (move->kind == TS_MOVE_REDUCE_SCATTER || move->kind == TS_MOVE_ALL_TO_ALL) && !move->in_order;
    return packs ? ((size_t)move->wire_elems * ts_dtype_bytes(move->dtype) + 63) / 64 * 64 : 0;
}

size_t ts_move_scratch_bytes(const TsMove *move)
{
    size_t bytes = send_scratch_bytes(move);
    if (move->kind == TS_MOVE_ALL_GATHER && !move->in_order)
        bytes += (size_t)move->wire_elems * ts_dtype_bytes(move->dtype);
    if (move->kind == TS_MOVE_ALL_TO_ALL && !move->receive_in_order)
        bytes += (size_t)move->receive_elems * ts_dtype_bytes(move->dtype);
    return bytes;
}

int64_t ts_move_alias_elems(const TsMove *move)
{
    if (move->kind == TS_MOVE_CUT)
        return box_is_solid(move->box, move->in) ? box_begin(move->box, move->in) : -1;
    if (move->kind == TS_MOVE_ALL_GATHER && move->in_order)
        return move->own_first;
    return -1;
}

double ts_move_sent_bytes(const TsMove *move)
{
    double bytes = (double)ts_dtype_bytes(move->dtype), in = (double)ts_shape_elems(move->in) * bytes;
    switch (move->kind) {
    case TS_MOVE_ALL_GATHER:
        return (double)move->own_elems * bytes * (move->size - 1);
    case TS_MOVE_ALL_REDUCE:
        return 2 * in * (move->size - 1) / move->size;
    case TS_MOVE_REDUCE_SCATTER:
    case TS_MOVE_ALL_TO_ALL: /* all but the own block */
        return in - (double)move->own_elems * bytes;
    default:
        return 0;
    }
}

/* ---- running ---- */

static void copy_boxes(const TsMove *move, void *array, void *packed, bool pack, const Box *box, const int64_t *first,
                       TsShape shape)
{
    size_t elem_bytes = ts_dtype_bytes(move->dtype);
    for (int r = 0; r < move->size; r++)
        copy_box(array, (unsigned char *)packed + (size_t)first[r] * elem_bytes, &box[r], shape, elem_bytes, pack);
}

/* The value that changes nothing in the reduction. */
static void fill_neutral(const TsMove *move, void *out)
{
    int64_t elems = ts_shape_elems(move->out);
    size_t elem_bytes = ts_dtype_bytes(move->dtype);
    if (move->reduction == TS_SUM) {
        memset(out, 0, (size_t)elems * elem_bytes);
        return;
    }
    float f32 = move->reduction == TS_MAX ? -INFINITY : INFINITY;
    double f64 = f32;
    TsBf16 bf16 = ts_bf16_from_f32(f32);
    const void *value = move->dtype == TS_F64 ? (void *)&f64 : move->dtype == TS_BF16 ? (void *)&bf16 : (void *)&f32;
    TS_CHECK(ts_dtype_is_float(move->dtype), "a partial maximum of %s", ts_dtype_name(move->dtype));
    for (int64_t i = 0; i < elems; i++)
        memcpy((unsigned char *)out + (size_t)i * elem_bytes, value, elem_bytes);
}

TsRequest *ts_move_begin(TsMove *move, void *out, const void *in, void *scratch)
{
    size_t elem_bytes = ts_dtype_bytes(move->dtype);
    TsTransfer transfer = {.out = out,
                           .in = in,
                           .count_elems = ts_shape_elems(move->in),
                           .first_elem = move->first,
                           .dtype = move->dtype,
                           .reduction = move->reduction,
                           .algorithm = move->algorithm,
                           .label = move->label};
    switch (move->kind) {
    case TS_MOVE_CUT:
        copy_box((void *)in, out, move->box, move->in, elem_bytes, true);
        return NULL;
    case TS_MOVE_MASK:
        if (!move->keeps)
            fill_neutral(move, out);
        else if (out != in)
            copy(out, in, (size_t)ts_shape_elems(move->in) * elem_bytes);
        return NULL;
    default:
        break;
    }
    TS_CHECK(move->group, "a collective on a mesh that is only described");
    switch (move->kind) {
    case TS_MOVE_ALL_REDUCE:
        return ts_all_reduce_begin(move->group, transfer);
    case TS_MOVE_ALL_GATHER:
        if (!move->in_order)
            transfer.out = scratch;
        return ts_all_gather_begin(move->group, transfer);
    case TS_MOVE_REDUCE_SCATTER:
        if (!move->in_order) {
            copy_boxes(move, (void *)in, scratch, true, move->box, move->first, move->in);
            transfer.in = scratch;
        }
        return ts_reduce_scatter_begin(move->group, transfer);
    default: {
        TsExchange exchange = {.out = move->receive_in_order ? out : (char *)scratch + send_scratch_bytes(move),
                               .in = move->in_order ? in : scratch,
                               .send_first = move->first,
                               .receive_first = move->receive_first,
                               .dtype = move->dtype,
                               .algorithm = move->algorithm,
                               .label = move->label};
        if (!move->in_order)
            copy_boxes(move, (void *)in, scratch, true, move->box, move->first, move->in);
        return ts_all_to_all_begin(move->group, exchange);
    }
    }
}

void ts_move_end(TsMove *move, void *out, void *scratch, TsRequest **request)
{
    ts_request_end(request);
    if (move->kind == TS_MOVE_ALL_GATHER && !move->in_order)
        copy_boxes(move, out, scratch, false, move->box, move->first, move->out);
    if (move->kind == TS_MOVE_ALL_TO_ALL && !move->receive_in_order)
        copy_boxes(move, out, (char *)scratch + send_scratch_bytes(move), false, move->receive_box, move->receive_first,
                   move->out);
}

/* ---- as one of several ---- */

int64_t ts_move_part_elems(const TsMove *move, int rank)
{
    if (move->kind == TS_MOVE_ALL_REDUCE)
        return rank == 0 ? ts_shape_elems(move->in) : 0;
    return move->first[rank + 1] - move->first[rank];
}

void ts_move_pack(const TsMove *move, int rank, void *packed, const void *in)
{
    size_t elem_bytes = ts_dtype_bytes(move->dtype);
    if (move->kind == TS_MOVE_REDUCE_SCATTER)
        copy_box((void *)in, packed, &move->box[rank], move->in, elem_bytes, true);
    else
        copy(packed, in, (size_t)ts_shape_elems(move->in) * elem_bytes);
}

void ts_move_unpack(const TsMove *move, int rank, void *out, const void *packed)
{
    size_t elem_bytes = ts_dtype_bytes(move->dtype);
    if (move->kind == TS_MOVE_ALL_GATHER)
        copy_box(out, (void *)packed, &move->box[rank], move->out, elem_bytes, false);
    else
        copy(out, packed, (size_t)ts_shape_elems(move->out) * elem_bytes);
}
