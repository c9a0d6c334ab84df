/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/accounting.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/group_internal.h"

static const char *const kind_names[TS_COMM_KINDS] = {"all-reduce", "reduce-scatter", "all-gather",  "all-to-all",
                                                      "broadcast",  "barrier",        "send",        "receive",
                                                      "agree",      "make-group",     "shared-alloc"};

/* An open-addressing table, at most half full. Rows of one label text under two pointers are two entries: they are
 * merged when read, so that a call compares pointers only. */
static struct {
    TsAccountRow *entry; /* (capacity) owned; free where calls is 0 */
    uint64_t capacity;   /* a power of two */
    uint64_t used;
} table;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

const char *ts_comm_kind_name(TsCommKind kind)
{
    return kind < TS_COMM_KINDS ? kind_names[kind] : "all kinds";
}

enum { NAME_BYTES = sizeof((TsAccountRow *)0)->group - 1 }; /* of a group's name that are kept: so far it is compared */

static uint64_t hash_of(const char *group, TsAxisSet axes, TsCommKind kind, const char *label)
{
    uint64_t hash = (uint64_t)(uintptr_t)label * 0x9e3779b97f4a7c15u + (uint64_t)axes * 0xff51afd7ed558ccdu + kind;
    if (!axes)
        for (int i = 0; i < NAME_BYTES && group[i]; i++)
            hash = (hash ^ (unsigned char)group[i]) * 0x100000001b3u;
    return (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9u >> 16;
}

static bool same_group(const TsAccountRow *row, const char *group, TsAxisSet axes)
{
    return row->axes == axes && (axes || strncmp(row->group, group, NAME_BYTES) == 0);
}

/* The entry of the key, or the free one where it belongs. */
static TsAccountRow *find(const char *group, TsAxisSet axes, TsCommKind kind, const char *label)
{
    for (uint64_t i = hash_of(group, axes, kind, label);; i++) {
        TsAccountRow *row = &table.entry[i & (table.capacity - 1)];
        if (row->calls == 0 || (row->label == label && row->kind == kind && same_group(row, group, axes)))
            return row;
    }
}

static void grow(void)
{
    TsAccountRow *old = table.entry;
    uint64_t old_capacity = table.capacity;
    table.capacity = old_capacity ? 2 * old_capacity : 256;
    table.entry = ts_calloc(table.capacity, sizeof *table.entry);
    for (uint64_t i = 0; i < old_capacity; i++)
        if (old[i].calls)
            *find(old[i].group, old[i].axes, old[i].kind, old[i].label) = old[i];
    ts_free(old);
}

void ts_account(const TsGroup *group, TsCommKind kind, const char *label, int64_t bytes, int64_t messages,
                double seconds)
{
    if (!label)
        label = "";
    pthread_mutex_lock(&lock);
    if (2 * table.used >= table.capacity)
        grow();
    TsAccountRow *row = find(group->name, group->axes, kind, label);
    if (row->calls == 0) {
        table.used++;
        *row = (TsAccountRow){.axes = group->axes, .kind = kind, .label = label};
        snprintf(row->group, sizeof row->group, "%s", group->name);
    }
    row->calls++;
    row->bytes += bytes;
    row->messages += messages;
    row->seconds += seconds;
    pthread_mutex_unlock(&lock);
}

static _Thread_local double waited_s;

double ts_account_waited_s(void)
{
    return waited_s;
}

void ts_account_add_wait(double seconds)
{
    waited_s += seconds;
}

static void add(TsAccountRow *sum, const TsAccountRow *row)
{
    sum->calls += row->calls;
    sum->bytes += row->bytes;
    sum->messages += row->messages;
    sum->seconds += row->seconds;
}

static int by_key(const void *a, const void *b)
{
    const TsAccountRow *x = a, *y = b;
    if (x->axes != y->axes)
        return x->axes < y->axes ? -1 : 1;
    int order = x->axes ? 0 : strcmp(x->group, y->group);
    if (order == 0)
        order = (int)x->kind - (int)y->kind;
    return order ? order : strcmp(x->label, y->label);
}

static int by_bytes(const void *a, const void *b)
{
    const TsAccountRow *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return by_key(a, b);
}

/* All rows, equal keys merged, by key; *rows is owned by the caller. */
static int snapshot(TsAccountRow **rows)
{
    pthread_mutex_lock(&lock);
    TsAccountRow *copy = ts_alloc((size_t)table.used * sizeof *copy);
    size_t found = 0;
    for (uint64_t i = 0; i < table.capacity; i++)
        if (table.entry[i].calls)
            copy[found++] = table.entry[i];
    pthread_mutex_unlock(&lock);
    qsort(copy, found, sizeof *copy, by_key);
    int kept = 0;
    for (size_t i = 0; i < found; i++) {
        if (kept && by_key(&copy[kept - 1], &copy[i]) == 0)
            add(&copy[kept - 1], &copy[i]);
        else
            copy[kept++] = copy[i];
    }
    *rows = copy;
    return kept;
}

int ts_account_rows(TsAccountRow *rows, int capacity)
{
    TsAccountRow *all;
    int count = snapshot(&all);
    qsort(all, (size_t)count, sizeof *all, by_bytes);
    int copied = count < capacity ? count : capacity;
    if (copied > 0)
        memcpy(rows, all, (size_t)copied * sizeof *rows);
    ts_free(all);
    return count;
}

TsAccountRow ts_account_total(TsAxisSet axes, TsCommKind kind)
{
    TsAccountRow *all, total = {.axes = axes, .kind = kind};
    int count = snapshot(&all);
    for (int i = 0; i < count; i++) {
        if (all[i].axes != axes || (kind != TS_COMM_KINDS && all[i].kind != kind))
            continue;
        if (axes)
            memcpy(total.group, all[i].group, sizeof total.group);
        add(&total, &all[i]);
    }
    ts_free(all);
    return total;
}

void ts_account_reset(void)
{
    pthread_mutex_lock(&lock);
    ts_free(table.entry);
    table.entry = NULL;
    table.capacity = table.used = 0;
    pthread_mutex_unlock(&lock);
}

static void print_row(FILE *to, const char *group, const char *kind, const char *label, const TsAccountRow *row)
{
    fprintf(to, "%-16s %-15s %-28s %9lld %12.3f %10lld %10.3f\n", group, kind, label, (long long)row->calls,
            (double)row->bytes / 1e6, (long long)row->messages, row->seconds);
}

void ts_account_print(FILE *to)
{
    TsAccountRow *all;
    int count = snapshot(&all);
    bool seen[1 << TS_AXES] = {false};
    for (int i = 0; i < count; i++)
        seen[all[i].axes] = true;
    qsort(all, (size_t)count, sizeof *all, by_bytes);
    fprintf(to, "%-16s %-15s %-28s %9s %12s %10s %10s\n", "group", "kind", "label", "calls", "MB sent", "messages",
            "seconds");
    for (int i = 0; i < count; i++)
        print_row(to, all[i].group, ts_comm_kind_name(all[i].kind), all[i].label, &all[i]);
    ts_free(all);
    for (TsAxisSet axes = 0; axes < 1 << TS_AXES; axes++) {
        if (!seen[axes])
            continue;
        TsAccountRow total = ts_account_total(axes, TS_COMM_KINDS);
        print_row(to, axes ? total.group : "other groups", "total", "", &total);
    }
}
