/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/watchdog.h"

#include <pthread.h>

#include "comm/group_internal.h"

enum { SLOTS = 64 }; /* waits at one time: one a thread that communicates */

/* One wait under way. The thread that waits writes it, the watchdog's thread reads it. */
typedef struct Slot {
    atomic_bool taken;
    TsGroup *_Atomic group;
    _Atomic uint64_t sequence;
    _Atomic int kind;
    _Atomic int peer;
    const char *_Atomic label;
    _Atomic uint64_t progress; /* moves at the start of a wait and whenever something moved */
} Slot;

static Slot slots[SLOTS];
static TsGroup *groups; /* live ones, newest first */
static pthread_mutex_t groups_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t alive; /* moves at each ts_watch_alive */
static const char *_Atomic alive_label;

TsWatch ts_watch_begin(TsGroup *group, TsCommKind kind, const char *label, int peer)
{
    TsWatch watch = {.group = group, .kind = kind, .label = label ? label : "", .peer = peer, .slot = -1};
    if (kind == TS_COMM_SEND || kind == TS_COMM_RECEIVE)
        return watch;
    watch.sequence = atomic_fetch_add_explicit(&group->arrivals, 1, memory_order_relaxed) + 1;
    TsArrival *arrival = &group->recent[watch.sequence % TS_GROUP_RECENT];
    atomic_store_explicit(&arrival->kind, (int)kind, memory_order_relaxed);
    atomic_store_explicit(&arrival->label, watch.label, memory_order_relaxed);
    atomic_store_explicit(&arrival->sequence, watch.sequence, memory_order_release);
    return watch;
}

void ts_watch_wait(TsWatch *watch)
{
    if (watch->slot >= 0)
        return;
    for (int i = 0; i < SLOTS; i++) {
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
    if (watch->slot >= 0)
        atomic_fetch_add_explicit(&slots[watch->slot].progress, 1, memory_order_relaxed);
}

void ts_watch_end(TsWatch *watch)
{
    if (watch->slot < 0)
        return;
    atomic_store_explicit(&slots[watch->slot].group, NULL, memory_order_release);
    atomic_store(&slots[watch->slot].taken, false);
    watch->slot = -1;
}

void ts_watch_alive(const char *label)
{
    atomic_store_explicit(&alive_label, label, memory_order_relaxed);
    atomic_fetch_add_explicit(&alive, 1, memory_order_relaxed);
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
