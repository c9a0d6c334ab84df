/* SPDX-License-Identifier: Apache-2.0
 *
 * First fit by decreasing size: the heuristic for offline storage allocation that deep-learning runtimes use (Pisarchyk
 * and Lee 2020, "greedy by size"). Several orders are tried and the smallest arena is kept.
 */
#include "tensor/passes/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

typedef struct Item {
    int32_t buffer, first, last;
    size_t size_bytes, offset_bytes;
} Item;

static int by_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_size(const void *left, const void *right)
{
    const Item *a = left, *b = right;
    int order = by_number((int64_t)b->size_bytes, (int64_t)a->size_bytes);
    return order ? order : by_number(a->buffer, b->buffer);
}

static int by_life(const void *left, const void *right)
{
    const Item *a = left, *b = right;
    int order = by_number(b->last - b->first, a->last - a->first);
    return order ? order : by_size(left, right);
}

static int by_begin(const void *left, const void *right)
{
    const Item *a = left, *b = right;
    int order = by_number(a->first, b->first);
    return order ? order : by_size(left, right);
}

/* Gives each item, in the order they stand, the lowest offset that is free during its life. `placed` has room for
 * (count) indices, kept by offset. Gives the size of the arena. */
static size_t pack(Item *item, int32_t count, int32_t *placed)
{
    size_t arena_bytes = 0;
    for (int32_t i = 0; i < count; i++) {
        size_t offset_bytes = 0;
        int32_t at = 0;
        for (int32_t p = 0; p < i; p++) {
            const Item *other = &item[placed[p]];
            if (other->last < item[i].first || item[i].last < other->first)
                continue;
            if (offset_bytes + item[i].size_bytes <= other->offset_bytes)
                break;
            if (other->offset_bytes + other->size_bytes > offset_bytes)
                offset_bytes = other->offset_bytes + other->size_bytes;
        }
        item[i].offset_bytes = offset_bytes;
        if (offset_bytes + item[i].size_bytes > arena_bytes)
            arena_bytes = offset_bytes + item[i].size_bytes;
        int32_t high = i;
        while (at < high) { /* where it belongs among those placed */
            int32_t middle = (at + high) / 2;
            if (item[placed[middle]].offset_bytes < offset_bytes)
                at = middle + 1;
            else
                high = middle;
        }
        memmove(placed + at + 1, placed + at, (size_t)(i - at) * sizeof *placed);
        placed[at] = i;
    }
    return arena_bytes;
}

static size_t largest_live_set(const Item *item, int32_t count, int32_t steps)
{
    int64_t *change = ts_calloc((size_t)steps + 2, sizeof *change), live = 0, most = 0;
    for (int32_t i = 0; i < count; i++) {
        change[item[i].first] += (int64_t)item[i].size_bytes;
        change[item[i].last + 1] -= (int64_t)item[i].size_bytes;
    }
    for (int32_t s = 0; s <= steps; s++) {
        live += change[s];
        most = live > most ? live : most;
    }
    ts_free(change);
    return (size_t)most;
}

void ts_pack_buffers(TsLayout *layout, int32_t steps)
{
    static int (*const orders[])(const void *, const void *) = {by_size, by_life, by_begin};
    Item *item = ts_alloc(((size_t)layout->buffers + 1) * sizeof *item);
    int32_t *placed = ts_alloc(((size_t)layout->buffers + 1) * sizeof *placed), count = 0;
    for (int32_t b = 0; b < layout->buffers; b++)
        if (layout->buffer[b].kind == TS_BUFFER_ARENA && layout->buffer[b].size_bytes)
            item[count++] = (Item){.buffer = b,
                                   .first = layout->buffer[b].first,
                                   .last = layout->buffer[b].last,
                                   .size_bytes = layout->buffer[b].size_bytes};
    layout->live_bytes = largest_live_set(item, count, steps);
    layout->arena_bytes = SIZE_MAX;
    for (size_t o = 0; o < sizeof orders / sizeof *orders && layout->arena_bytes > layout->live_bytes; o++) {
        qsort(item, (size_t)count, sizeof *item, orders[o]);
        size_t bytes = pack(item, count, placed);
        if (bytes >= layout->arena_bytes)
            continue;
        layout->arena_bytes = bytes;
        for (int32_t i = 0; i < count; i++)
            layout->buffer[item[i].buffer].offset_bytes = item[i].offset_bytes;
    }
    if (!count)
        layout->arena_bytes = 0;
    ts_free(item);
    ts_free(placed);
}
