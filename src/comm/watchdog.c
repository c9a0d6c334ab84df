/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/watchdog.h"

#include <pthread.h>
#include <stdio.h>

#include "comm/watch_internal.h"

/* One wait under way. The thread that waits writes it, the watchdog's thread reads it. */
typedef struct Slot {
    atomic_bool taken;
    TsGroup *_Atomic group; /* NULL: no wait here */
    _Atomic uint64_t sequence;
    _Atomic int kind;
    _Atomic int peer;
    const char *_Atomic label;
    _Atomic uint64_t progress; /* moves at the start of a wait and whenever something moved */
} Slot;

static Slot slots[TS_WATCH_SLOTS];
static TsGroup *groups; /* live ones, newest first */
static pthread_mutex_t groups_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t activity;
static _Atomic int last_kind = -1;
static const char *_Atomic last_label, *_Atomic alive_label;

static void moved(void)
{
    atomic_fetch_add_explicit(&activity, 1, memory_order_relaxed);
}

TsWatch ts_watch_begin(TsGroup *group, TsCommKind kind, const char *label, int peer)
{
    TsWatch watch = {.group = group, .kind = kind, .label = label ? label : "", .peer = peer, .slot = -1};
    moved();
    atomic_store_explicit(&last_kind, (int)kind, memory_order_relaxed);
    atomic_store_explicit(&last_label, watch.label, memory_order_relaxed);
    if (kind == TS_COMM_SEND || kind == TS_COMM_RECEIVE)
        return watch;
    watch.sequence = atomic_load_explicit(&group->arrivals, memory_order_relaxed) + 1;
    TsArrival *arrival = &group->recent[watch.sequence % TS_GROUP_RECENT];
    atomic_store_explicit(&arrival->kind, (int)kind, memory_order_relaxed);
    atomic_store_explicit(&arrival->label, watch.label, memory_order_relaxed);
    atomic_store_explicit(&arrival->sequence, watch.sequence, memory_order_relaxed);
    atomic_store_explicit(&group->arrivals, watch.sequence, memory_order_release);
    return watch;
}

void ts_watch_wait(TsWatch *watch)
{
    if (watch->slot >= 0)
        return;
    moved();
    for (int i = 0; i < TS_WATCH_SLOTS; i++) {
        bool expected = false;
        if (!atomic_compare_exchange_strong(&slots[i].taken, &expected, true))
            continue;
        atomic_store_explicit(&slots[i].sequence, watch->sequence, memory_order_relaxed);
        atomic_store_explicit(&slots[i].kind, (int)watch->kind, memory_order_relaxed);
        atomic_store_explicit(&slots[i].peer, watch->peer, memory_order_relaxed);
        atomic_store_explicit(&slots[i].label, watch->label, memory_order_relaxed);
        atomic_fetch_add_explicit(&slots[i].progress, 1, memory_order_relaxed);
        atomic_store_explicit(&slots[i].group, watch->group, memory_order_release);
        watch->slot = i;
        return;
    }
}

void ts_watch_progress(TsWatch *watch)
{
    moved();
    if (watch->slot >= 0)
        atomic_fetch_add_explicit(&slots[watch->slot].progress, 1, memory_order_relaxed);
}

void ts_watch_end(TsWatch *watch)
{
    moved();
    if (watch->slot < 0)
        return;
    atomic_store_explicit(&slots[watch->slot].group, NULL, memory_order_release);
    atomic_store(&slots[watch->slot].taken, false);
    watch->slot = -1;
}

void ts_watch_alive(const char *label)
{
    atomic_store_explicit(&alive_label, label, memory_order_relaxed);
    moved();
}

void ts_watch_add_group(TsGroup *group)
{
    pthread_mutex_lock(&groups_lock);
    group->previous_watched = NULL;
    group->next_watched = groups;
    if (groups)
        groups->previous_watched = group;
    groups = group;
    pthread_mutex_unlock(&groups_lock);
}

void ts_watch_remove_group(TsGroup *group)
{
    pthread_mutex_lock(&groups_lock);
    if (group->previous_watched)
        group->previous_watched->next_watched = group->next_watched;
    else
        groups = group->next_watched;
    if (group->next_watched)
        group->next_watched->previous_watched = group->previous_watched;
    pthread_mutex_unlock(&groups_lock);
}

uint64_t ts_watch_activity(void)
{
    return atomic_load_explicit(&activity, memory_order_relaxed);
}

bool ts_watch_slot(int slot, uint64_t *progress)
{
    *progress = atomic_load_explicit(&slots[slot].progress, memory_order_relaxed);
    return atomic_load_explicit(&slots[slot].group, memory_order_acquire) != NULL;
}

static void copy_text(char *to, size_t size_bytes, const char *text)
{
    snprintf(to, size_bytes, "%s", text ? text : "");
}

/* The live group at this address, or NULL: a group is freed only under the lock. */
static const TsGroup *still_live(const TsGroup *wanted)
{
    const TsGroup *group = groups;
    while (group && group != wanted)
        group = group->next_watched;
    return group;
}

bool ts_watch_describe(int slot, TsWatchWait *wait)
{
    const Slot *from = &slots[slot];
    pthread_mutex_lock(&groups_lock);
    const TsGroup *group = still_live(atomic_load_explicit(&from->group, memory_order_acquire));
    if (group) {
        int peer = atomic_load(&from->peer);
        *wait = (TsWatchWait){.group_id = group->id,
                              .sequence = atomic_load(&from->sequence),
                              .kind = atomic_load(&from->kind),
                              .group_size = group->size,
                              .rank = group->world_rank[group->rank],
                              .peer = peer >= 0 && peer < group->size ? group->world_rank[peer] : -1};
        copy_text(wait->group, sizeof wait->group, group->name);
        copy_text(wait->label, sizeof wait->label, atomic_load(&from->label));
    }
    pthread_mutex_unlock(&groups_lock);
    return group != NULL;
}

static void find_place(TsWatchPlace *place, const TsWatchWait *asked)
{
    *place = (TsWatchPlace){.kind = -1};
    const TsGroup *group = groups;
    while (group && group->id != asked->group_id)
        group = group->next_watched;
    if (!group)
        return;
    place->member = 1;
    place->arrivals = atomic_load_explicit(&group->arrivals, memory_order_acquire);
    const TsArrival *arrival = &group->recent[asked->sequence % TS_GROUP_RECENT];
    if (asked->sequence == 0 || atomic_load(&arrival->sequence) != asked->sequence)
        return;
    place->kind = atomic_load(&arrival->kind);
    copy_text(place->label, sizeof place->label, atomic_load(&arrival->label));
}

void ts_watch_answer(TsWatchAnswer *answer, const TsWatchQuery *query)
{
    answer->last_kind = atomic_load(&last_kind);
    copy_text(answer->last_label, sizeof answer->last_label, atomic_load(&last_label));
    copy_text(answer->alive_label, sizeof answer->alive_label, atomic_load(&alive_label));
    answer->waits = 0;
    for (int i = 0; i < TS_WATCH_SLOTS && answer->waits < TS_WATCH_WAITS; i++)
        answer->waits += ts_watch_describe(i, &answer->wait[answer->waits]);
    pthread_mutex_lock(&groups_lock);
    for (int q = 0; q < query->count; q++)
        find_place(&answer->place[q], &query->wait[q]);
    pthread_mutex_unlock(&groups_lock);
}
