/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/arena.h"

#include "base/memory.h"
#include "comm/group_internal.h"

/* A rank's part: lines | small slots | incoming slots | outgoing slots. A slot is large enough that its pieces are
 * worth a hand-over, and small enough that all slots of a rank stay in its second-level cache. */
enum { SLOT_BYTES = 64 << 10, SLOT_BYTES_A_RANK = 2 << 10 };

static size_t lines_bytes(void)
{
    return TS_CHANNELS * sizeof(TsLine);
}

static size_t small_bytes(void)
{
    return (size_t)TS_CHANNELS * 2 * TS_SMALL_BYTES;
}

TsArena *ts_arena_create(TsGroup *group)
{
    int ranks = ts_group_node_size(group);
    if (ranks == 1)
        return NULL;
    TsArena *arena = ts_calloc(1, sizeof *arena);
    arena->ranks = ranks;
    arena->index = ts_group_node_rank(group);
    size_t wanted = (size_t)ranks * SLOT_BYTES_A_RANK;
    arena->slot_bytes = wanted > SLOT_BYTES ? wanted : SLOT_BYTES;
    size_t slots_bytes = 2 * (size_t)TS_CHANNELS * TS_SLOTS * arena->slot_bytes;
    arena->window = ts_window_create(group, lines_bytes() + small_bytes() + slots_bytes);
    for (int c = 0; c < TS_CHANNELS; c++) /* neighbours look at it only after the next barrier */
        atomic_init(&ts_arena_line(arena, arena->index, c)->step, 0);
    TS_MPI(MPI_Barrier(group->node_comm));
    return arena;
}

void ts_arena_free(TsArena **arena)
{
    TsArena *self = *arena;
    if (!self)
        return;
    ts_window_free(&self->window);
    ts_free(self);
    *arena = NULL;
}

TsLine *ts_arena_line(const TsArena *arena, int index, int channel)
{
    return (TsLine *)(void *)arena->window->base[index] + channel;
}

char *ts_arena_small(const TsArena *arena, int index, int channel, int parity)
{
    return arena->window->base[index] + lines_bytes() + (size_t)(channel * 2 + parity) * TS_SMALL_BYTES;
}

static char *slot_at(const TsArena *arena, int index, int slot)
{
    return arena->window->base[index] + lines_bytes() + small_bytes() + (size_t)slot * arena->slot_bytes;
}

char *ts_arena_incoming(const TsArena *arena, int index, int channel, int slot)
{
    return slot_at(arena, index, channel * TS_SLOTS + slot);
}

char *ts_arena_outgoing(const TsArena *arena, int index, int channel, int slot)
{
    return slot_at(arena, index, (TS_CHANNELS + channel) * TS_SLOTS + slot);
}
