/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/shared_work.h"

#include "base/memory.h"
#include "comm/algorithm.h"
#include "comm/group_internal.h"
#include "comm/reduce.h"

enum { PHASE_SMALL, PHASE_MEET, PHASE_DIRECT, PHASE_PIECES, PHASE_PART, PHASE_OVER };

/* Results above this are written past the caches, which they would only empty. */
enum { STREAMED_BYTES = 4 << 20 };

void ts_shared_work_need(TsSharedWork *work, int ranks, int runs)
{
    if (ranks > work->ranks_capacity) {
        size_t count = (size_t)ranks;
        work->first_run = ts_realloc(work->first_run, (count + 1) * sizeof *work->first_run);
        work->in_at = ts_realloc(work->in_at, count * sizeof *work->in_at);
        work->out_at = ts_realloc(work->out_at, count * sizeof *work->out_at);
        work->sources = ts_realloc(work->sources, count * sizeof *work->sources);
        work->targets = ts_realloc(work->targets, (count + 1) * sizeof *work->targets);
        work->ranks_capacity = ranks;
    }
    if (runs > work->runs_capacity) {
        work->runs = ts_realloc(work->runs, (size_t)runs * sizeof *work->runs);
        work->runs_capacity = runs;
    }
}

void ts_shared_work_free(TsSharedWork *work)
{
    ts_free(work->runs);
    ts_free(work->first_run);
    ts_free(work->in_at);
    ts_free(work->out_at);
    ts_free(work->sources);
    ts_free(work->targets);
}

uint64_t ts_shared_work_enter(TsSharedWork *work)
{
    TsArena *arena = work->arena;
    work->channel = arena->next_channel;
    arena->next_channel = (arena->next_channel + 1) % TS_CHANNELS;
    return arena->channel[work->channel].next_ticket++;
}

bool ts_shared_work_free_now(const TsSharedWork *work)
{
    const TsChannel *next = &work->arena->channel[work->arena->next_channel];
    return atomic_load_explicit(&next->serving, memory_order_acquire) == next->next_ticket;
}

bool ts_shared_work_turn(const TsSharedWork *work, uint64_t ticket)
{
    return atomic_load_explicit(&work->arena->channel[work->channel].serving, memory_order_acquire) == ticket;
}

void ts_shared_work_leave(TsSharedWork *work)
{
    atomic_fetch_add_explicit(&work->arena->channel[work->channel].serving, 1, memory_order_release);
}

/* ---- steps */

/* This rank has done `steps` steps of the work: all it wrote before is there for whoever sees that. */
static void publish(TsSharedWork *work, uint64_t steps)
{
    TsLine *line = ts_arena_line(work->arena, work->arena->index, work->channel);
    atomic_store_explicit(&line->step, work->base + steps, memory_order_release);
}

/* Whether all neighbours have done `steps` steps of the work. */
static bool reached(TsSharedWork *work, uint64_t steps)
{
    const TsArena *arena = work->arena;
    uint64_t slowest = UINT64_MAX;
    if (work->seen >= work->base + steps)
        return true;
    for (int j = 0; j < arena->ranks; j++) {
        if (j == arena->index)
            continue;
        uint64_t step = atomic_load_explicit(&ts_arena_line(arena, j, work->channel)->step, memory_order_acquire);
        if (step < work->base + steps)
            return false;
        slowest = step < slowest ? step : slowest;
    }
    work->seen = slowest;
    return true;
}

/* The work is over after `steps` steps. */
static bool conclude(TsSharedWork *work, uint64_t steps)
{
    work->arena->channel[work->channel].steps = work->base + steps;
    work->phase = PHASE_OVER;
    return true;
}

/* ---- where things lie */

static size_t bytes_of(const TsSharedWork *work, int64_t elems)
{
    return (size_t)elems * ts_dtype_bytes(work->dtype);
}

/* A stretch of a rank's block: where it is in the whole, and in the block. */
typedef struct Stretch {
    int64_t whole, block, count;
} Stretch;

/* The next stretch of rank j's block in [stretch->block + stretch->count, end); false if there is none. */
static bool next_stretch(const TsSharedWork *work, Stretch *stretch, int j, int64_t end)
{
    int64_t at = stretch->block + stretch->count, run_begin = 0;
    for (int r = work->first_run[j]; r < work->first_run[j + 1] && at < end; r++) {
        TsSpan run = work->runs[r];
        if (at < run_begin + run.count) {
            int64_t stop = run_begin + run.count < end ? run_begin + run.count : end;
            *stretch = (Stretch){.whole = run.first + at - run_begin, .block = at, .count = stop - at};
            return true;
        }
        run_begin += run.count;
    }
    return false;
}

static int64_t block_elems(const TsSharedWork *work, int j)
{
    int64_t count = 0;
    for (int r = work->first_run[j]; r < work->first_run[j + 1]; r++)
        count += work->runs[r].count;
    return count;
}

static int64_t largest_block(const TsSharedWork *work)
{
    int64_t largest = 0;
    for (int j = 0; j < work->arena->ranks; j++) {
        int64_t count = block_elems(work, j);
        largest = count > largest ? count : largest;
    }
    return largest;
}

/* Where piece data for rank `block` begins in a slot of incoming data. */
static int64_t part_of_slot(const TsSharedWork *work, int block)
{
    return block * work->piece_elems;
}

/* ---- the pieces */

/* A(i): what the others reduce of this rank's data, into the slot. */
static void bring(TsSharedWork *work, int64_t piece)
{
    const TsArena *arena = work->arena;
    if (!work->reduces || work->in_at[arena->index])
        return;
    char *slot = ts_arena_incoming(arena, arena->index, work->channel, (int)(piece % TS_SLOTS));
    for (int step = 1; step < arena->ranks; step++) {
        int j = (arena->index + step) % arena->ranks;
        int64_t begin = piece * work->piece_elems;
        Stretch stretch = {.block = begin};
        while (next_stretch(work, &stretch, j, begin + work->piece_elems))
            ts_reduce_copy(slot + bytes_of(work, part_of_slot(work, j) + stretch.block - begin),
                           ts_at_const(work->in, stretch.whole, work->dtype), bytes_of(work, stretch.count), false);
    }
}

/* Where rank j's data for a stretch of this rank's block is read. */
static const void *source_of(const TsSharedWork *work, int j, Stretch stretch, int64_t piece)
{
    const TsArena *arena = work->arena;
    if (work->in_at[j])
        return ts_at_const(work->in_at[j], stretch.whole, work->dtype);
    if (j == arena->index)
        return ts_at_const(work->in, stretch.whole, work->dtype);
    const char *slot = ts_arena_incoming(arena, j, work->channel, (int)(piece % TS_SLOTS));
    return slot + bytes_of(work, part_of_slot(work, arena->index) + stretch.block - piece * work->piece_elems);
}

/* Reduces one stretch of the own block to wherever it is needed. */
static void reduce_stretch(TsSharedWork *work, Stretch stretch, int64_t piece)
{
    const TsArena *arena = work->arena;
    int outs = 0;
    if (work->handed) {
        char *slot = ts_arena_outgoing(arena, arena->index, work->channel, (int)(piece % TS_SLOTS));
        work->targets[outs++] = slot + bytes_of(work, stretch.block - piece * work->piece_elems);
    }
    int cached = outs; /* slots stay in the caches */
    work->targets[outs++] = ts_at(work->out, work->gathers ? stretch.whole : stretch.block, work->dtype);
    for (int j = 0; j < arena->ranks && work->gathers; j++)
        if (j != arena->index && work->out_at[j])
            work->targets[outs++] = ts_at(work->out_at[j], stretch.whole, work->dtype);
    for (int j = 0; j < arena->ranks; j++)
        work->sources[j] = source_of(work, j, stretch, piece);
    bool in_place = work->in == work->out; /* then the lines are in the cache already */
    ts_reduce_many(&(TsReduceMany){.outs = work->targets,
                                   .ins = work->sources,
                                   .out_count = outs,
                                   .in_count = arena->ranks,
                                   .first_streamed = work->streamed && !in_place ? cached : outs,
                                   .count_elems = stretch.count,
                                   .dtype = work->dtype,
                                   .reduction = work->reduction});
}

/* B(i): the own block's piece, reduced or just handed out. */
static void make(TsSharedWork *work, int64_t piece)
{
    const TsArena *arena = work->arena;
    int64_t begin = piece * work->piece_elems;
    int64_t end = work->direct ? INT64_MAX : begin + work->piece_elems;
    Stretch stretch = {.block = begin};
    while (next_stretch(work, &stretch, arena->index, end)) {
        if (work->reduces) {
            reduce_stretch(work, stretch, piece);
        } else if (work->handed && !work->in_at[arena->index]) {
            char *slot = ts_arena_outgoing(arena, arena->index, work->channel, (int)(piece % TS_SLOTS));
            ts_reduce_copy(slot + bytes_of(work, stretch.block - begin),
                           ts_at_const(work->in, stretch.block, work->dtype), bytes_of(work, stretch.count), false);
        }
    }
}

/* C(i): the others' pieces, to where they belong in this rank's whole. */
static void take(TsSharedWork *work, int64_t piece)
{
    const TsArena *arena = work->arena;
    if (!work->gathers || (work->reduces && work->out_at[arena->index]))
        return;
    int64_t begin = piece * work->piece_elems;
    for (int step = work->reduces; step < arena->ranks; step++) {
        int j = (arena->index + step) % arena->ranks;
        const char *slot = ts_arena_outgoing(arena, j, work->channel, (int)(piece % TS_SLOTS));
        const void *block = j == arena->index ? work->in : work->reduces ? NULL : work->in_at[j];
        Stretch stretch = {.block = begin};
        while (next_stretch(work, &stretch, j, work->direct ? INT64_MAX : begin + work->piece_elems)) {
            const void *from =
                block ? ts_at_const(block, stretch.block, work->dtype) : slot + bytes_of(work, stretch.block - begin);
            void *to = ts_at(work->out, stretch.whole, work->dtype);
            if (to != from)
                ts_reduce_copy(to, from, bytes_of(work, stretch.count), work->streamed);
        }
    }
}

/* ---- small work: one step */

static void bring_small(TsSharedWork *work)
{
    const TsArena *arena = work->arena;
    char *slot = ts_arena_small(arena, arena->index, work->channel, work->parity);
    int64_t count = work->reduces ? work->count_elems : block_elems(work, arena->index);
    if (count)
        memcpy(slot, work->in, bytes_of(work, count));
}

static void take_small(TsSharedWork *work)
{
    const TsArena *arena = work->arena;
    for (int j = 0; j < arena->ranks; j++) {
        const char *slot = ts_arena_small(arena, j, work->channel, work->parity);
        Stretch stretch = {0};
        while (!work->reduces && next_stretch(work, &stretch, j, INT64_MAX))
            memcpy(ts_at(work->out, stretch.whole, work->dtype), slot + bytes_of(work, stretch.block),
                   bytes_of(work, stretch.count));
        work->sources[j] = slot;
    }
    if (!work->reduces)
        return;
    TsReduceMany many = {.outs = work->targets,
                         .ins = work->sources,
                         .out_count = 1,
                         .in_count = arena->ranks,
                         .first_streamed = 1,
                         .count_elems = work->count_elems,
                         .dtype = work->dtype,
                         .reduction = work->reduction};
    if (work->gathers) {
        work->targets[0] = work->out;
        ts_reduce_many(&many);
        return;
    }
    Stretch stretch = {0};
    while (next_stretch(work, &stretch, arena->index, INT64_MAX)) {
        for (int j = 0; j < arena->ranks; j++)
            work->sources[j] = ts_arena_small(arena, j, work->channel, work->parity) + bytes_of(work, stretch.whole);
        work->targets[0] = ts_at(work->out, stretch.block, work->dtype);
        many.count_elems = stretch.count;
        ts_reduce_many(&many);
    }
}

/* ---- the course of the work */

void ts_shared_work_start(TsSharedWork *work)
{
    const TsArena *arena = work->arena;
    TsChannel *channel = &work->arena->channel[work->channel];
    work->base = work->seen = channel->steps;
    work->parity = (int)(channel->works++ % 2);
    if (bytes_of(work, work->count_elems) <= ts_algorithm_small_bytes()) {
        bring_small(work);
        work->phase = PHASE_SMALL;
    } else {
        int64_t own = block_elems(work, arena->index);
        int64_t in_elems = work->reduces ? work->count_elems : own, out_elems = work->gathers ? work->count_elems : own;
        TsLine *line = ts_arena_line(arena, arena->index, work->channel);
        line->handle = (TsHandle){.in = ts_window_place(work->group, work->in, bytes_of(work, in_elems)),
                                  .out = ts_window_place(work->group, work->out, bytes_of(work, out_elems))};
        work->phase = PHASE_MEET;
    }
    publish(work, 1);
}

/* All have told where their buffers lie: chooses the way, the same on all ranks. */
static void meet(TsSharedWork *work)
{
    const TsArena *arena = work->arena;
    bool in_everywhere = true, out_everywhere = true;
    for (int j = 0; j < arena->ranks; j++) {
        TsHandle handle = ts_arena_line(arena, j, work->channel)->handle;
        work->in_at[j] = handle.in.window ? ts_window_at(handle.in) : NULL;
        work->out_at[j] = handle.out.window ? ts_window_at(handle.out) : NULL;
        in_everywhere = in_everywhere && work->in_at[j];
        out_everywhere = out_everywhere && work->out_at[j];
    }
    work->direct = in_everywhere && (out_everywhere || !(work->reduces && work->gathers));
    work->handed = work->gathers && (work->reduces ? !out_everywhere : !in_everywhere);
    work->streamed = bytes_of(work, work->count_elems) > STREAMED_BYTES;
    size_t slot_bytes = work->reduces ? arena->slot_bytes / (size_t)arena->ranks & ~(size_t)63 : arena->slot_bytes;
    int64_t fits = (int64_t)(slot_bytes / ts_dtype_bytes(work->dtype)), limit = ts_algorithm_piece_elems(work->dtype);
    work->piece_elems = fits < limit ? fits : limit;
    work->pieces = ts_pieces(largest_block(work), work->piece_elems);
    work->turn = 0;
    work->phase = work->direct ? PHASE_DIRECT : PHASE_PIECES;
}

/* Turn 3 i + k of the pieces: A(i), B(i - 1) or C(i - 2); done at step 2 + 3 i + k. False if it must wait. */
static bool take_turn(TsSharedWork *work)
{
    int64_t i = work->turn / 3, action = work->turn % 3, piece = i - action;
    if (piece < 0 || piece >= work->pieces)
        return true;
    uint64_t a_done = 2 + 3 * (uint64_t)piece, b_done = a_done + 4, lap = 3 * TS_SLOTS; /* steps of A and B of piece */
    uint64_t c_done = a_done + 8;
    bool later = piece >= TS_SLOTS; /* the slot was used before */
    if (action == 0) {
        if (later && !reached(work, b_done - lap))
            return false;
        bring(work, piece);
    } else if (action == 1) {
        if (!reached(work, a_done) || (later && !reached(work, c_done - lap)))
            return false;
        make(work, piece);
    } else {
        if (!reached(work, b_done))
            return false;
        take(work, piece);
    }
    return true;
}

static bool poll_pieces(TsSharedWork *work, bool *moved)
{
    int64_t turns = 3 * (work->pieces + 2);
    while (work->turn < turns) {
        if (!take_turn(work))
            return false;
        *moved = true;
        work->turn++;
        if (work->turn == turns && work->streamed)
            ts_reduce_fence();
        publish(work, 1 + (uint64_t)work->turn);
    }
    work->phase = PHASE_PART;
    return true;
}

bool ts_shared_work_poll(TsSharedWork *work, bool *moved)
{
    uint64_t steps = work->direct ? 2 : 1 + 3 * ((uint64_t)work->pieces + 2); /* until all may part */
    switch (work->phase) {
    case PHASE_SMALL:
        if (!reached(work, 1))
            return false;
        take_small(work);
        *moved = true;
        return conclude(work, 1);
    case PHASE_MEET:
        if (!reached(work, 1))
            return false;
        *moved = true;
        meet(work);
        return ts_shared_work_poll(work, moved);
    case PHASE_DIRECT:
        if (work->reduces)
            make(work, 0);
        else
            take(work, 0);
        ts_reduce_fence();
        publish(work, 2);
        *moved = true;
        work->phase = PHASE_PART;
        return reached(work, 2) && conclude(work, 2);
    case PHASE_PIECES:
        return poll_pieces(work, moved) && reached(work, steps) && conclude(work, steps);
    case PHASE_PART:
        return reached(work, steps) && conclude(work, steps);
    default:
        return true;
    }
}
