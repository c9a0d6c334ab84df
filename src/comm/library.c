/* SPDX-License-Identifier: Apache-2.0
 *
 * Library: the MPI library's own collectives, non-blocking, on counts cut to what its `int` takes.
 *
 * All pieces are started at once, so that ranks start them in one order. What does not fit one call of a collective
 * with blocks goes as a reduction or a broadcast for each block.
 */
#include <pthread.h>

#include "base/memory.h"
#include "comm/algorithm.h"
#include "comm/group_internal.h"
#include "comm/reduce.h"

static MPI_Datatype native_type(TsDtype dtype)
{
    switch (dtype) {
    case TS_F32:
        return MPI_FLOAT;
    case TS_F64:
        return MPI_DOUBLE;
    case TS_I32:
        return MPI_INT32_T;
    case TS_I64:
        return MPI_INT64_T;
    case TS_BF16: /* only moved: its reductions are widened */
    case TS_F16:
        return MPI_UINT16_T;
    default:
        return MPI_BYTE;
    }
}

/* MPI's own MAX and MIN of floating-point numbers give a NaN or not as the order falls out, which may differ from rank
 * to rank. These give NaN, as all implementations do. */
#define NATIVE_FUNCTION(name, dtype, reduction)                                                                        \
    static void name(void *in, void *in_out, int *count_elems, MPI_Datatype *type)                                     \
    {                                                                                                                  \
        (void)type;                                                                                                    \
        ts_reduce_pair(in_out, in, in_out, *count_elems, dtype, reduction);                                            \
    }

NATIVE_FUNCTION(max_f32, TS_F32, TS_MAX)
NATIVE_FUNCTION(min_f32, TS_F32, TS_MIN)
NATIVE_FUNCTION(max_f64, TS_F64, TS_MAX)
NATIVE_FUNCTION(min_f64, TS_F64, TS_MIN)

static struct {
    MPI_Op max_f32, min_f32, max_f64, min_f64;
} native_own; /* for the life of the process */

static void make_own(void)
{
    TS_MPI(MPI_Op_create(max_f32, 1, &native_own.max_f32));
    TS_MPI(MPI_Op_create(min_f32, 1, &native_own.min_f32));
    TS_MPI(MPI_Op_create(max_f64, 1, &native_own.max_f64));
    TS_MPI(MPI_Op_create(min_f64, 1, &native_own.min_f64));
}

static MPI_Op native_op(TsReduction reduction, TsDtype dtype)
{
    static pthread_once_t made = PTHREAD_ONCE_INIT;
    bool max = reduction == TS_MAX;
    if (reduction == TS_SUM)
        return MPI_SUM;
    if (dtype != TS_F32 && dtype != TS_F64)
        return max ? MPI_MAX : MPI_MIN;
    pthread_once(&made, make_own);
    return dtype == TS_F32 ? max ? native_own.max_f32 : native_own.min_f32
           : max           ? native_own.max_f64
                           : native_own.min_f64;
}

static void start_all_reduce(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    int64_t limit = ts_algorithm_library_elems(call->dtype);
    for (int64_t i = 0; i < ts_pieces(call->count_elems, limit); i++) {
        TsSpan piece = ts_span_piece((TsSpan){0, call->count_elems}, limit, i);
        void *out = ts_at(call->out, piece.first, call->dtype);
        const void *in = call->in == call->out ? MPI_IN_PLACE : ts_at_const(call->in, piece.first, call->dtype);
        TS_MPI(MPI_Iallreduce(in, out, (int)piece.count, native_type(call->dtype),
                              native_op(call->reduction, call->dtype), request->group->comm,
                              ts_request_new_library(request)));
    }
}

/* Counts and displacements of all blocks; owned by the request until its next use. */
static const int *int_blocks(TsRequest *request)
{
    int size = request->group->size;
    if (2 * size > request->int_blocks_capacity) {
        request->int_blocks = ts_realloc(request->int_blocks, 2 * (size_t)size * sizeof(int));
        request->int_blocks_capacity = 2 * size;
    }
    for (int r = 0; r < size; r++) {
        TsSpan block = ts_call_block(&request->call, size, r);
        request->int_blocks[r] = (int)block.count;
        request->int_blocks[size + r] = (int)block.first;
    }
    return request->int_blocks;
}

/* Whether the whole fits one call. */
static bool fits(const TsCommCall *call)
{
    return call->count_elems <= ts_algorithm_library_elems(call->dtype);
}

static void start_reduce_scatter(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    TsGroup *group = request->group;
    MPI_Datatype type = native_type(call->dtype);
    MPI_Op op = native_op(call->reduction, call->dtype);
    if (fits(call)) {
        TS_MPI(MPI_Ireduce_scatter(call->in, call->out, int_blocks(request), type, op, group->comm,
                                   ts_request_new_library(request)));
        return;
    }
    int64_t limit = ts_algorithm_library_elems(call->dtype);
    for (int r = 0; r < group->size; r++) {
        TsSpan block = ts_call_block(call, group->size, r);
        for (int64_t i = 0; i < ts_pieces(block.count, limit); i++) {
            TsSpan piece = ts_span_piece(block, limit, i);
            TS_MPI(MPI_Ireduce(ts_at_const(call->in, piece.first, call->dtype),
                               ts_at(call->out, i * limit, call->dtype), (int)piece.count, type, op, r, group->comm,
                               ts_request_new_library(request)));
        }
    }
}

static void start_all_gather(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    TsGroup *group = request->group;
    MPI_Datatype type = native_type(call->dtype);
    TsSpan own = ts_call_block(call, group->size, group->rank);
    void *own_out = ts_at(call->out, own.first, call->dtype);
    if (own_out != call->in)
        memmove(own_out, call->in, (size_t)own.count * ts_dtype_bytes(call->dtype));
    if (fits(call)) {
        const int *blocks = int_blocks(request);
        TS_MPI(MPI_Iallgatherv(MPI_IN_PLACE, 0, type, call->out, blocks, blocks + group->size, type, group->comm,
                               ts_request_new_library(request)));
        return;
    }
    int64_t limit = ts_algorithm_library_elems(call->dtype);
    for (int r = 0; r < group->size; r++) {
        TsSpan block = ts_call_block(call, group->size, r);
        for (int64_t i = 0; i < ts_pieces(block.count, limit); i++) {
            TsSpan piece = ts_span_piece(block, limit, i);
            TS_MPI(MPI_Ibcast(ts_at(call->out, piece.first, call->dtype), (int)piece.count, type, r, group->comm,
                              ts_request_new_library(request)));
        }
    }
}

static void start_broadcast(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    int64_t limit = ts_algorithm_library_elems(call->dtype);
    if (request->group->rank == call->peer && call->in != call->out)
        memmove(call->out, call->in, (size_t)call->count_elems * ts_dtype_bytes(call->dtype));
    for (int64_t i = 0; i < ts_pieces(call->count_elems, limit); i++) {
        TsSpan piece = ts_span_piece((TsSpan){0, call->count_elems}, limit, i);
        TS_MPI(MPI_Ibcast(ts_at(call->out, piece.first, call->dtype), (int)piece.count, native_type(call->dtype),
                          call->peer, request->group->comm, ts_request_new_library(request)));
    }
}

/* An all-to-all is left to the ring: whether one fits an `int` differs from rank to rank. */
static bool serves(const TsGroup *group, const TsCommCall *call)
{
    (void)group;
    return call->kind == TS_COMM_ALL_REDUCE || call->kind == TS_COMM_REDUCE_SCATTER ||
           call->kind == TS_COMM_ALL_GATHER || call->kind == TS_COMM_BROADCAST || call->kind == TS_COMM_BARRIER;
}

static void start(TsRequest *request)
{
    switch (request->call.kind) {
    case TS_COMM_ALL_REDUCE:
        start_all_reduce(request);
        break;
    case TS_COMM_REDUCE_SCATTER:
        start_reduce_scatter(request);
        break;
    case TS_COMM_ALL_GATHER:
        start_all_gather(request);
        break;
    case TS_COMM_BROADCAST:
        start_broadcast(request);
        break;
    default:
        TS_MPI(MPI_Ibarrier(request->group->comm, ts_request_new_library(request)));
    }
}

static bool poll(TsRequest *request, bool *moved)
{
    int over = 1;
    for (int i = 0; i < request->library_count; i++) {
        if (request->library[i] == MPI_REQUEST_NULL)
            continue;
        int ended = 0;
        TS_MPI(MPI_Test(&request->library[i], &ended, MPI_STATUS_IGNORE));
        *moved = *moved || ended;
        over = over && ended;
    }
    return over;
}

const TsImplementation ts_implementation_library = {.name = "library", .serves = serves, .start = start, .poll = poll};
