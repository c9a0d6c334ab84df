/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared work: a reduce-scatter, an all-gather, or one after the other, among the ranks of one node through their
 * arena. The whole of SHARED and the inner steps of HIERARCHICAL.
 *
 * Each rank of the node owns a block of the whole; a block is one or several runs of elements. Reducing, a rank reads
 * its block from all ranks and adds up in rank order; gathering, it hands its block to all. Where the data lies in
 * windows it is read and written there, in one pass over memory; elsewhere it goes through slots in pieces,
 *
 *     A(i)  copy piece i of the others' blocks into incoming slots       once all have done B(i - slots)
 *     B(i)  reduce piece i of the own block, put it where it is needed    once all have done A(i), C(i - slots)
 *     C(i)  copy piece i of the others' results out of outgoing slots     once all have done B(i)
 *
 * in the order A(i) B(i - 1) C(i - 2), so that a rank seldom waits. Included by src/comm only.
 */
#pragma once

#include "comm/arena.h"

typedef struct TsSharedWork {
    /* Set by whoever starts it. */
    TsArena *arena;
    const TsGroup *group;
    void *out;           /* of a reduction alone: this rank's block, its runs one behind the other; else the whole */
    const void *in;      /* of a gathering alone: this rank's block likewise; else the whole */
    int64_t count_elems; /* of the whole */
    bool reduces, gathers;
    TsDtype dtype;
    TsReduction reduction;
    TsSpan *runs;   /* (first_run[ranks]) owned: where the blocks lie in the whole */
    int *first_run; /* (ranks + 1) owned: rank j's runs are those from first_run[j] to first_run[j + 1] */
    int runs_capacity, ranks_capacity;

    /* Its own. */
    int phase, channel, parity;
    uint64_t base, seen; /* steps before it; what the slowest neighbour had done when last looked at */
    int64_t pieces, piece_elems, turn;
    bool direct;          /* all ranks' buffers lie in windows: one piece, no copies */
    bool handed;          /* some rank takes results from slots */
    bool streamed;        /* results are too large to stay in the caches */
    const void **in_at;   /* (ranks) owned: where each rank's `in` is read; NULL: in its slots */
    void **out_at;        /* (ranks) owned: where each rank's `out` is written; NULL: from slots */
    const void **sources; /* (ranks) owned, of one ts_reduce_many */
    void **targets;       /* (ranks + 1) owned */
} TsSharedWork;

/* Room for the blocks of `ranks` ranks in `runs` runs. */
void ts_shared_work_need(TsSharedWork *work, int ranks, int runs);

/* Takes the next turn of a channel of the arena, to be given back by ts_shared_work_leave. All ranks of the node take
 * turns in the same order. */
uint64_t ts_shared_work_enter(TsSharedWork *work);

/* Whether a turn taken now would come at once. */
bool ts_shared_work_free_now(const TsSharedWork *work);

/* Whether it is turn `ticket` now. */
bool ts_shared_work_turn(const TsSharedWork *work, uint64_t ticket);

/* Gives the turn to the next. */
void ts_shared_work_leave(TsSharedWork *work);

/* Begins what the fields describe, in its turn. */
void ts_shared_work_start(TsSharedWork *work);

/* Moves on without waiting; true once over, on this rank and as far as its buffers go on all. */
bool ts_shared_work_poll(TsSharedWork *work, bool *moved);

void ts_shared_work_free(TsSharedWork *work);
