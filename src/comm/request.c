/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/request.h"

#include <pthread.h>
#include <sched.h>

#include "base/memory.h"
#include "comm/algorithm.h"
#include "comm/group_internal.h"
#include "comm/reduce.h"
#include "comm/scratch.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* of both lists */
static TsRequest *live;                                       /* begun and not yet ended, in this process */

static atomic_bool crowded;

void ts_request_set_crowded(bool more_ranks_than_cores)
{
    atomic_store(&crowded, more_ranks_than_cores);
}

/* Tells the processor that this is a waiting loop. */
static inline void pause_processor(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void list_add(TsRequest **list, TsRequest *request)
{
    request->next = *list;
    request->before = list;
    if (*list)
        (*list)->before = &request->next;
    *list = request;
}

static void list_remove(TsRequest *request)
{
    *request->before = request->next;
    if (request->next)
        request->next->before = request->before;
}

static TsRequest *take_idle(TsGroup *group)
{
    TsRequest **idle = &ts_scratch_of(group)->idle;
    pthread_mutex_lock(&list_lock);
    TsRequest *request = *idle;
    if (request)
        list_remove(request);
    pthread_mutex_unlock(&list_lock);
    if (!request) {
        request = ts_calloc(1, sizeof *request);
        atomic_flag_clear(&request->busy);
    }
    return request;
}

/* A bf16 reduction becomes one of an f32 copy, rounded once at the end. */
static void widen(TsRequest *request)
{
    TsCommCall *call = &request->call;
    request->narrow = *call;
    int64_t out_elems = 0; /* beside the copy, where the result does not go over it */
    if (call->kind == TS_COMM_REDUCE_SCATTER)
        out_elems = ts_call_block(call, request->group->size, request->group->rank).count;
    if (call->count_elems + out_elems > request->wide_elems) {
        ts_free(request->wide);
        request->wide_elems = call->count_elems + out_elems;
        request->wide = ts_alloc((size_t)request->wide_elems * sizeof *request->wide);
    }
    ts_reduce_widen(request->wide, call->in, call->count_elems);
    call->in = call->out = request->wide;
    call->dtype = TS_F32;
    if (call->kind == TS_COMM_REDUCE_SCATTER)
        call->out = request->wide + call->count_elems;
}

static void narrow(TsRequest *request)
{
    TsCommCall *call = &request->narrow;
    int64_t count = call->count_elems;
    if (call->kind == TS_COMM_REDUCE_SCATTER)
        count = ts_call_block(call, request->group->size, request->group->rank).count;
    ts_reduce_narrow(call->out, request->call.out, count);
}

TsRequest *ts_request_begin(TsGroup *group, const TsImplementation *implementation, TsCommCall call)
{
    TsRequest *request = take_idle(group);
    request->group = group;
    request->call = call;
    request->implementation = implementation;
    request->phase = 0;
    request->library_count = 0;
    request->messages.sent = 0;
    atomic_store(&request->over, false);
    request->started_s = MPI_Wtime();
    request->watch = ts_watch_begin(group, call.kind, call.label, call.peer);
    request->check = 0;
    if (call.kind != TS_COMM_SEND && call.kind != TS_COMM_RECEIVE)
        request->check = ts_comm_check_begin(group, call.kind, call.count_elems, call.dtype, call.label);
    bool reduces = call.kind == TS_COMM_ALL_REDUCE || call.kind == TS_COMM_REDUCE_SCATTER;
    request->widened = reduces && call.dtype == TS_BF16 && !implementation->sums_bf16;
    if (request->widened)
        widen(request);
    implementation->start(request);
    pthread_mutex_lock(&list_lock);
    list_add(&live, request);
    pthread_mutex_unlock(&list_lock);
    return request;
}

MPI_Request *ts_request_new_library(TsRequest *request)
{
    if (request->library_count == request->library_capacity) {
        request->library_capacity = 2 * request->library_capacity + 4;
        request->library = ts_realloc(request->library, (size_t)request->library_capacity * sizeof *request->library);
    }
    return &request->library[request->library_count++];
}

void ts_request_send(TsRequest *request, const void *data, int64_t count_elems, int to, int tag)
{
    TsDtype dtype = request->call.dtype;
    int64_t limit = ts_algorithm_library_elems(dtype), pieces = ts_pieces(count_elems, limit);
    for (int64_t i = 0; i < pieces; i++) {
        TsSpan piece = ts_span_piece((TsSpan){0, count_elems}, limit, i);
        TS_MPI(MPI_Isend(ts_at_const(data, piece.first, dtype), (int)piece.count * (int)ts_dtype_bytes(dtype), MPI_BYTE,
                         to, tag, request->group->comm, ts_request_new_library(request)));
    }
    request->messages.sent += pieces;
}

void ts_request_receive(TsRequest *request, void *data, int64_t count_elems, int from, int tag)
{
    TsDtype dtype = request->call.dtype;
    int64_t limit = ts_algorithm_library_elems(dtype);
    for (int64_t i = 0; i < ts_pieces(count_elems, limit); i++) {
        TsSpan piece = ts_span_piece((TsSpan){0, count_elems}, limit, i);
        TS_MPI(MPI_Irecv(ts_at(data, piece.first, dtype), (int)piece.count * (int)ts_dtype_bytes(dtype), MPI_BYTE, from,
                         tag, request->group->comm, ts_request_new_library(request)));
    }
}

int64_t ts_call_sent_elems(const TsGroup *group, const TsCommCall *call)
{
    int64_t others = group->size - 1;
    switch (call->kind) {
    case TS_COMM_ALL_REDUCE: {
        int64_t own = ts_call_block(call, group->size, group->rank).count;
        return call->count_elems - own + own * others;
    }
    case TS_COMM_REDUCE_SCATTER:
        return call->count_elems - ts_call_block(call, group->size, group->rank).count;
    case TS_COMM_ALL_GATHER:
        return ts_call_block(call, group->size, group->rank).count * others;
    case TS_COMM_ALL_TO_ALL:
        return call->first_elem[group->size] - call->first_elem[0] -
               ts_call_block(call, group->size, group->rank).count;
    case TS_COMM_BROADCAST:
        return group->rank == call->peer ? call->count_elems * others : 0;
    case TS_COMM_SEND:
        return call->count_elems;
    default:
        return 0;
    }
}

/* The request is over: closes its books. By the thread that holds `busy`. */
static void conclude(TsRequest *request)
{
    if (request->widened)
        narrow(request);
    const TsCommCall *call = request->widened ? &request->narrow : &request->call;
    ts_watch_end(&request->watch);
    ts_account(request->group, call->kind, call->label,
               ts_call_sent_elems(request->group, call) * (int64_t)ts_dtype_bytes(call->dtype), request->messages.sent,
               MPI_Wtime() - request->started_s);
    atomic_store(&request->over, true);
}

/* Polls, by the thread that holds `busy`. `waits`: the thread has nothing else to do. */
static void poll(TsRequest *request, bool waits, bool *moved)
{
    bool stirred = false;
    if (ts_comm_check_passed(request->group, request->check) && request->implementation->poll(request, &stirred))
        conclude(request);
    else if (stirred)
        ts_watch_progress(&request->watch);
    else if (waits)
        ts_watch_wait(&request->watch);
    *moved = *moved || stirred;
}

/* As ts_request_poll; `moved` may be set also while it is not over. */
static bool move_on(TsRequest *request, bool waits, bool *moved)
{
    if (atomic_load(&request->over))
        return true;
    if (atomic_flag_test_and_set(&request->busy))
        return false; /* another thread is at it */
    if (!atomic_load(&request->over))
        poll(request, waits, moved);
    atomic_flag_clear(&request->busy);
    return atomic_load(&request->over);
}

bool ts_request_poll(TsRequest *request)
{
    bool moved = false;
    return move_on(request, false, &moved);
}

/* Another rank may wait for a request that this rank does not wait for yet. */
static void move_all_on(void)
{
    bool moved = false;
    if (pthread_mutex_trylock(&list_lock) != 0)
        return;
    for (TsRequest *request = live; request; request = request->next)
        move_on(request, false, &moved);
    pthread_mutex_unlock(&list_lock);
}

void ts_request_breathe(int64_t *turn, bool moved)
{
    enum { EAGER = 100, HOT = 4096, HOT_IN_A_CROWD = 16 };
    *turn = moved ? 0 : *turn + 1;
    if (*turn % 64 == 0)
        move_all_on();
    if (*turn > (atomic_load_explicit(&crowded, memory_order_relaxed) ? HOT_IN_A_CROWD : HOT))
        sched_yield();
    else if (*turn > EAGER)
        pause_processor();
}

static void wait_for(TsRequest *request)
{
    int64_t turn = 0;
    double start_s = 0;
    for (int64_t polls = 1;; polls++) {
        bool moved = false;
        if (move_on(request, polls >= 64, &moved))
            break;
        if (polls == 1)
            start_s = MPI_Wtime();
        ts_request_breathe(&turn, moved);
    }
    if (start_s > 0)
        ts_account_add_wait(MPI_Wtime() - start_s);
}

void ts_request_wait_native(MPI_Request *native)
{
    int64_t turn = 0;
    double start_s = MPI_Wtime();
    for (int over = 0;;) {
        TS_MPI(MPI_Test(native, &over, MPI_STATUS_IGNORE));
        if (over)
            break;
        ts_request_breathe(&turn, false);
    }
    ts_account_add_wait(MPI_Wtime() - start_s);
}

void ts_request_check(TsGroup *group, TsCommKind kind, int64_t count_elems, TsDtype dtype, const char *label)
{
    uint64_t number = ts_comm_check_begin(group, kind, count_elems, dtype, label);
    for (int64_t turn = 0; !ts_comm_check_passed(group, number);)
        ts_request_breathe(&turn, false);
}

TsWatch ts_request_meet(TsGroup *group, TsCommKind kind, const char *label)
{
    TsWatch watch = ts_watch_begin(group, kind, label, -1);
    ts_watch_wait(&watch);
    ts_request_check(group, kind, 0, TS_I32, label);
    MPI_Request native;
    TS_MPI(MPI_Ibarrier(group->comm, &native));
    ts_request_wait_native(&native);
    return watch;
}

void ts_request_end(TsRequest **request)
{
    TsRequest *self = *request;
    if (!self)
        return;
    wait_for(self);
    TsRequest **idle = &ts_scratch_of(self->group)->idle;
    pthread_mutex_lock(&list_lock);
    list_remove(self);
    list_add(idle, self);
    pthread_mutex_unlock(&list_lock);
    *request = NULL;
}

void ts_request_free_idle(const TsGroup *group, TsRequest **idle)
{
    pthread_mutex_lock(&list_lock);
    const TsRequest *open = live;
    while (open && open->group != group)
        open = open->next;
    pthread_mutex_unlock(&list_lock);
    TS_CHECK(!open, "group %s is freed before its %s \"%s\" has ended", group->name, ts_comm_kind_name(open->call.kind),
             open->call.label ? open->call.label : "");
    while (*idle) {
        TsRequest *request = *idle;
        list_remove(request);
        ts_free(request->wide);
        ts_free(request->library);
        ts_free(request->int_blocks);
        ts_free(request->messages.scratch);
        ts_shared_work_free(&request->work);
        ts_free(request->ring_members);
        ts_free(request->ring_first);
        ts_free(request->room);
        ts_free(request);
    }
}
