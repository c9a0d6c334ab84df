/* SPDX-License-Identifier: Apache-2.0 */
#include "task/metric/rank_order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/collectives.h"

enum { SAMPLES = 128 }; /* that each rank gives, for each rank: a rank receives at most 1 + 1/SAMPLES of its share */

/* A number and where it comes from: `place` counts the numbers of all ranks. */
typedef struct Item {
    double value;
    int64_t place;
} Item;

static int compare(const void *a, const void *b)
{
    const Item *one = a, *other = b;
    if (one->value != other->value)
        return one->value < other->value ? -1 : 1;
    return one->place < other->place ? -1 : one->place > other->place;
}

/* all (size) = the number of each rank. */
static void gather_one(int64_t *all, int64_t mine, TsGroup *group, const char *label)
{
    int size = ts_group_size(group);
    int64_t *first = ts_calloc((size_t)size + 1, sizeof *first);
    for (int r = 0; r <= size; r++)
        first[r] = r;
    ts_all_gather(group, (TsTransfer){.out = all, .in = &mine, .first_elem = first, .dtype = TS_I64, .label = label});
    ts_free(first);
}

/* Moves items: Item is two words of 8 bytes, sent as such. */
static void exchange(Item *out, const Item *in, const int64_t *send_first, const int64_t *receive_first, TsGroup *group)
{
    int size = ts_group_size(group);
    int64_t *send = ts_calloc(2 * ((size_t)size + 1), sizeof *send), *receive = send + size + 1;
    for (int r = 0; r <= size; r++) {
        send[r] = 2 * send_first[r];
        receive[r] = 2 * receive_first[r];
    }
    ts_all_to_all(group, (TsExchange){.out = out,
                                      .in = in,
                                      .send_first = send,
                                      .receive_first = receive,
                                      .dtype = TS_I64,
                                      .label = "metrics/sort"});
    ts_free(send);
}

/* What a rank sorts. */
typedef struct Sort {
    TsGroup *group;
    int size;
    int64_t count, base, all;            /* this rank's numbers, those of ranks before it, and of all */
    int64_t *bases;                      /* (size + 1) of each rank */
    Item *sorted;                        /* (count) */
    int64_t *send_first, *receive_first; /* (size + 1) */
} Sort;

/* splitters (size - 1) of the whole order, from samples in the middle of equal parts of each rank's sorted items: as
 * many a rank as its part of the whole. */
static void choose_splitters(Item *splitters, const Sort *sort)
{
    int size = sort->size;
    double share = sort->all ? (double)sort->count / (double)sort->all : 0;
    int64_t wanted = (int64_t)ceil(share * SAMPLES * size * size);
    int64_t taken = wanted < sort->count ? wanted : sort->count, *counts = ts_calloc((size_t)size, sizeof *counts);
    int64_t *first = ts_calloc((size_t)size + 1, sizeof *first);
    Item *mine = ts_calloc((size_t)taken + 1, sizeof *mine);
    for (int64_t i = 0; i < taken; i++)
        mine[i] = sort->sorted[(int64_t)(((double)i + 0.5) * (double)sort->count / (double)taken)];
    gather_one(counts, taken, sort->group, "metrics/samples");
    for (int r = 0; r < size; r++)
        first[r + 1] = first[r] + 2 * counts[r];
    int64_t all = first[size] / 2;
    Item *samples = ts_calloc((size_t)all + 1, sizeof *samples);
    ts_all_gather(
        sort->group,
        (TsTransfer){.out = samples, .in = mine, .first_elem = first, .dtype = TS_I64, .label = "metrics/samples"});
    qsort(samples, (size_t)all, sizeof *samples, compare);
    for (int r = 1; r < size; r++)
        splitters[r - 1] = all ? samples[all * r / size] : (Item){0};
    ts_free(mine);
    ts_free(first);
    ts_free(counts);
    ts_free(samples);
}

/* The first item of the sorted ones that is not below the splitter. */
static int64_t lower_bound(const Item *sorted, int64_t count, const Item *splitter)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (compare(&sorted[middle], splitter) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What a rank's neighbours must know of its sorted part. */
typedef struct Edge {
    double first, last;
    int64_t count, first_equals, last_equals; /* how many equal the first, and the last */
} Edge;

static Edge edge_of(const Item *items, int64_t count)
{
    Edge edge = {.count = count};
    if (count == 0)
        return edge;
    edge.first = items[0].value;
    edge.last = items[count - 1].value;
    while (edge.first_equals < count && items[edge.first_equals].value == edge.first)
        edge.first_equals++;
    while (edge.last_equals < count && items[count - 1 - edge.last_equals].value == edge.last)
        edge.last_equals++;
    return edge;
}

/* How many items of other ranks, before (direction -1) or after this one, are equal to `value`. */
static int64_t equals_beyond(const Edge *edges, int size, int rank, int direction, double value)
{
    int64_t equals = 0;
    for (int r = rank + direction; r >= 0 && r < size; r += direction) {
        const Edge *edge = &edges[r];
        if (edge->count == 0)
            continue;
        int64_t here = direction < 0 ? (edge->last == value ? edge->last_equals : 0)
                                     : (edge->first == value ? edge->first_equals : 0);
        equals += here;
        if (here < edge->count)
            break;
    }
    return equals;
}

/* standing of each item of this rank's part of the whole order. */
static void stand(TsStanding *standing, const Item *items, int64_t count, TsGroup *group)
{
    enum { WORDS = sizeof(Edge) / sizeof(int64_t) };
    int size = ts_group_size(group), rank = ts_group_rank(group);
    Edge mine = edge_of(items, count), *edges = ts_calloc((size_t)size, sizeof *edges);
    int64_t *first = ts_calloc((size_t)size + 1, sizeof *first), before = 0;
    for (int r = 0; r <= size; r++)
        first[r] = (int64_t)r * WORDS;
    ts_all_gather(
        group, (TsTransfer){.out = edges, .in = &mine, .first_elem = first, .dtype = TS_I64, .label = "metrics/edges"});
    for (int r = 0; r < rank; r++)
        before += edges[r].count;
    for (int64_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && items[end].value == items[begin].value;)
            end++;
        double value = items[begin].value;
        int64_t left = begin == 0 ? equals_beyond(edges, size, rank, -1, value) : 0;
        int64_t right = end == count ? equals_beyond(edges, size, rank, 1, value) : 0;
        for (int64_t i = begin; i < end; i++)
            standing[i] = (TsStanding){before + begin - left, left + (end - begin) + right};
    }
    ts_free(edges);
    ts_free(first);
}

/* The rank that had this place at the beginning: the last whose base is not beyond it. */
static int owner_of(const Sort *sort, int64_t place)
{
    int low = 0, high = sort->size - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (sort->bases[middle] <= place)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Brings what was found for the received items back to those who sent them: the exchange the other way round. What
 * came from one rank came sorted, so it still stands in that order. */
static void send_back(TsStanding *standing, const Sort *sort, const Item *received, const TsStanding *found)
{
    int64_t received_count = sort->receive_first[sort->size];
    TsStanding *came = ts_calloc((size_t)sort->count + 1, sizeof *came);
    TsStanding *ordered = ts_calloc((size_t)received_count + 1, sizeof *ordered);
    int64_t *next = ts_calloc((size_t)sort->size, sizeof *next);
    memcpy(next, sort->receive_first, (size_t)sort->size * sizeof *next);
    for (int64_t i = 0; i < received_count; i++)
        ordered[next[owner_of(sort, received[i].place)]++] = found[i];
    exchange((Item *)came, (const Item *)ordered, sort->receive_first, sort->send_first, sort->group);
    for (int64_t i = 0; i < sort->count; i++)
        standing[sort->sorted[i].place - sort->base] = came[i];
    ts_free(came);
    ts_free(ordered);
    ts_free(next);
}

/* Sorts this rank's numbers, and fills in what each rank has. */
static Sort begin(const double *values, int64_t count, int64_t stride, TsGroup *group)
{
    Sort sort = {.group = group, .size = ts_group_size(group), .count = count};
    size_t ends = (size_t)sort.size + 1;
    int64_t *counts = ts_calloc(ends, sizeof *counts);
    sort.bases = ts_calloc(ends, sizeof *sort.bases);
    sort.send_first = ts_calloc(ends, sizeof *sort.send_first);
    sort.receive_first = ts_calloc(ends, sizeof *sort.receive_first);
    gather_one(counts, count, group, "metrics/counts");
    for (int r = 0; r < sort.size; r++)
        sort.bases[r + 1] = sort.bases[r] + counts[r];
    sort.base = sort.bases[ts_group_rank(group)];
    sort.all = sort.bases[sort.size];
    sort.sorted = ts_calloc((size_t)count + 1, sizeof *sort.sorted);
    for (int64_t i = 0; i < count; i++) {
        TS_CHECK(!isnan(values[i * stride]), "the order of a NaN");
        sort.sorted[i] = (Item){values[i * stride], sort.base + i};
    }
    qsort(sort.sorted, (size_t)count, sizeof *sort.sorted, compare);
    ts_free(counts);
    return sort;
}

/* Who sends how much to whom. */
static void plan(Sort *sort)
{
    int size = sort->size;
    Item *splitters = ts_calloc((size_t)size, sizeof *splitters);
    int64_t *counts = ts_calloc(3 * ((size_t)size + 1), sizeof *counts), *sizes = counts + size + 1;
    int64_t *first = sizes + size + 1;
    choose_splitters(splitters, sort);
    for (int r = 1; r < size; r++)
        sort->send_first[r] = lower_bound(sort->sorted, sort->count, &splitters[r - 1]);
    sort->send_first[size] = sort->count;
    for (int r = 0; r < size; r++) {
        counts[r] = sort->send_first[r + 1] - sort->send_first[r];
        first[r + 1] = r + 1;
    }
    ts_all_to_all(sort->group, (TsExchange){.out = sizes,
                                            .in = counts,
                                            .send_first = first,
                                            .receive_first = first,
                                            .dtype = TS_I64,
                                            .label = "metrics/sizes"});
    for (int r = 0; r < size; r++)
        sort->receive_first[r + 1] = sort->receive_first[r] + sizes[r];
    ts_free(splitters);
    ts_free(counts);
}

int64_t ts_rank_order(TsStanding *standing, const double *values, int64_t count, int64_t stride, TsGroup *group)
{
    Sort sort = begin(values, count, stride, group);
    plan(&sort);
    int64_t received_count = sort.receive_first[sort.size];
    Item *received = ts_calloc((size_t)received_count + 1, sizeof *received);
    TsStanding *found = ts_calloc((size_t)received_count + 1, sizeof *found);
    exchange(received, sort.sorted, sort.send_first, sort.receive_first, group);
    qsort(received, (size_t)received_count, sizeof *received, compare);
    stand(found, received, received_count, group);
    send_back(standing, &sort, received, found);
    ts_free(sort.bases);
    ts_free(sort.sorted);
    ts_free(sort.send_first);
    ts_free(sort.receive_first);
    ts_free(received);
    ts_free(found);
    return received_count;
}
