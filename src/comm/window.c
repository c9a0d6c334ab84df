/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/window.h"

#include <pthread.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "comm/group_internal.h"
#include "comm/neighbour.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the list */
static TsWindow *windows;                                /* all of this process */

static char *align(char *pointer)
{
    return (char *)(((uintptr_t)pointer + 63) & ~(uintptr_t)63);
}

/* The lowest rank of the node names it. */
static uint64_t agree_on_id(const TsGroup *group)
{
    static _Atomic uint32_t named;
    uint64_t id = (uint64_t)(unsigned)group->world_rank[group->rank] << 32 | (atomic_fetch_add(&named, 1) + 1);
    TS_MPI(MPI_Bcast(&id, 1, MPI_UINT64_T, 0, group->node_comm));
    return id;
}

/* Asks for huge pages where the system leaves that to programs: a pass over a window is bound by memory, and by the
 * translation of its addresses. */
static void advise(char *part, size_t size_bytes)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 4096;
    uintptr_t first = ((uintptr_t)part + page - 1) & ~(page - 1), end = ((uintptr_t)part + size_bytes) & ~(page - 1);
    if (end > first)
        (void)madvise((void *)first, end - first, MADV_HUGEPAGE); /* a wish: what becomes of it does not matter */
#else
    (void)part, (void)size_bytes;
#endif
}

static void allocate(TsWindow *window)
{
    const TsGroup *group = window->group;
    MPI_Info info;
    TS_MPI(MPI_Info_create(&info));
    TS_MPI(MPI_Info_set(info, "alloc_shared_noncontig", "true"));
    char *mine = NULL;
    TS_MPI(MPI_Win_allocate_shared((MPI_Aint)window->size_bytes + 64, 1, info, group->node_comm, &mine, &window->win));
    TS_MPI(MPI_Info_free(&info));
    int node = group->node_of[group->rank];
    for (int i = 0; i < window->ranks; i++) {
        MPI_Aint bytes;
        int unit;
        TS_MPI(MPI_Win_shared_query(window->win, i, &bytes, &unit, &window->base[i]));
        window->base[i] = align(window->base[i]); /* pages are mapped whole: every rank rounds up alike */
        window->world_rank[i] = group->world_rank[ts_group_rank_at(group, node, i)];
    }
}

TsWindow *ts_window_create(TsGroup *group, size_t size_bytes)
{
    TsWindow *window = ts_calloc(1, sizeof *window);
    window->group = group;
    window->size_bytes = size_bytes;
    window->ranks = ts_group_node_size(group);
    window->index = ts_group_node_rank(group);
    window->base = ts_calloc((size_t)window->ranks, sizeof *window->base);
    window->world_rank = ts_calloc((size_t)window->ranks, sizeof *window->world_rank);
    window->id = agree_on_id(group);
    allocate(window);
    advise(window->base[window->index], size_bytes);
    ts_memory_count((int64_t)size_bytes);
    TS_MPI(MPI_Barrier(group->node_comm));
    pthread_mutex_lock(&lock);
    window->next = windows;
    windows = window;
    pthread_mutex_unlock(&lock);
    return window;
}

void ts_window_free(TsWindow **window)
{
    TsWindow *self = *window;
    if (!self)
        return;
    pthread_mutex_lock(&lock);
    TsWindow **link = &windows;
    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    pthread_mutex_unlock(&lock);
    TS_MPI(MPI_Win_free(&self->win));
    ts_memory_count(-(int64_t)self->size_bytes);
    ts_free(self->base);
    ts_free(self->world_rank);
    ts_free(self);
    *window = NULL;
}

/* Whether all ranks of `group` on this node have the window. */
static bool visible(TsWindow *window, const TsGroup *group)
{
    if (window->judged_group == group->id)
        return window->judged_visible;
    int node = group->node_of[group->rank];
    bool all = true;
    for (int i = 0; i < ts_group_node_size(group) && all; i++) {
        int world_rank = group->world_rank[ts_group_rank_at(group, node, i)];
        bool found = false;
        for (int j = 0; j < window->ranks && !found; j++)
            found = window->world_rank[j] == world_rank;
        all = found;
    }
    window->judged_group = group->id;
    window->judged_visible = all;
    return all;
}

TsPlace ts_window_place(const TsGroup *group, const void *pointer, size_t size_bytes)
{
    TsPlace place = {0};
    const char *begin = pointer;
    pthread_mutex_lock(&lock);
    for (TsWindow *window = windows; window && !place.window; window = window->next) {
        const char *part = window->base[window->index];
        if (begin >= part && begin + size_bytes <= part + window->size_bytes && visible(window, group))
            place = (TsPlace){.window = window->id, .owner = window->index, .offset = begin - part};
    }
    pthread_mutex_unlock(&lock);
    return place.window ? place : ts_neighbour_place(pointer, size_bytes);
}

void *ts_window_at(TsPlace place)
{
    if (place.window == TS_PLACE_NEIGHBOUR)
        return ts_neighbour_at(place);
    char *at = NULL;
    pthread_mutex_lock(&lock);
    for (TsWindow *window = windows; window && !at; window = window->next)
        if (window->id == place.window)
            at = window->base[place.owner] + place.offset;
    pthread_mutex_unlock(&lock);
    TS_CHECK(at, "a neighbour names a shared window that this rank does not have");
    return at;
}
