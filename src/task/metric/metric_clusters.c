/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics of clusters: from the distances of all pairs of examples, which go by in blocks; and from how often a class
 * is in a cluster.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "task/metric/metric_table.h"

enum { BLOCK = 256 /* rows that all ranks look at together */ };

static int64_t most_of(int64_t mine, TsGroup *group)
{
    int64_t all = 0;
    ts_all_reduce(group, (TsTransfer){.out = &all,
                                      .in = &mine,
                                      .count_elems = 1,
                                      .dtype = TS_I64,
                                      .reduction = TS_MAX,
                                      .label = "metrics/clusters"});
    return all;
}

static int64_t most_in(const int32_t *numbers, int64_t count)
{
    int64_t most = -1;
    for (int64_t i = 0; i < count; i++)
        most = numbers[i] > most ? numbers[i] : most;
    return most;
}

/* ---- distances ---- */

/* Rows of one rank, on all. */
typedef struct Rows {
    double *features; /* (BLOCK, width) */
    double *clusters; /* (BLOCK) */
    int64_t count;
} Rows;

static void share(TsGroup *group, double *values, int64_t count, int root)
{
    ts_broadcast(
        group,
        (TsTransfer){.out = values, .in = values, .count_elems = count, .dtype = TS_F64, .label = "metrics/rows"},
        root);
}

/* sums (count, clusters) += the distances from this rank's examples to those rows. */
static void add_distances(double *sums, const TsObservations *own, const Rows *rows, int64_t width, int64_t clusters)
{
    for (int64_t i = 0; i < own->count; i++)
        for (int64_t r = 0; r < rows->count; r++) {
            double square = 0;
            for (int64_t j = 0; j < width; j++) {
                double off = own->scores[i * width + j] - rows->features[r * width + j];
                square += off * off;
            }
            sums[i * clusters + (int64_t)rows->clusters[r]] += sqrt(square);
        }
}

/* Goes through the rows of all ranks. Collective. */
static void meet_all(double *sums, const TsObservations *own, int64_t width, int64_t clusters, TsGroup *group)
{
    Rows rows = {ts_calloc((size_t)(BLOCK * width) + 1, sizeof(double)), ts_calloc(BLOCK, sizeof(double)), 0};
    for (int rank = 0; rank < ts_group_size(group); rank++) {
        bool mine = rank == ts_group_rank(group);
        int64_t count = most_of(mine ? own->count : 0, group);
        for (int64_t from = 0; from < count; from += BLOCK) {
            rows.count = count - from < BLOCK ? count - from : BLOCK;
            for (int64_t i = 0; i < rows.count && mine; i++)
                rows.clusters[i] = own->clusters[from + i];
            if (mine)
                memcpy(rows.features, own->scores + from * width, (size_t)(rows.count * width) * sizeof(double));
            share(group, rows.features, rows.count * width, rank);
            share(group, rows.clusters, rows.count, rank);
            add_distances(sums, own, &rows, width, clusters);
        }
    }
    ts_free(rows.features);
    ts_free(rows.clusters);
}

/* (b - a) / max(a, b): a the mean distance to the others of its cluster, b the least mean distance to another one; 0
 * where it is alone. */
static double silhouette_of(const double *sums, const double *counts, int64_t clusters, int64_t own)
{
    double inside = sums[own] / (counts[own] - 1), outside = INFINITY;
    for (int64_t c = 0; c < clusters; c++)
        if (c != own && counts[c] > 0)
            outside = fmin(outside, sums[c] / counts[c]);
    double larger = fmax(inside, outside);
    return counts[own] > 1 && larger > 0 ? (outside - inside) / larger : 0;
}

TS_METRIC(silhouette)
{
    int64_t clusters = most_of(most_in(observations->clusters, observations->count), group) + 1, there = 0;
    int64_t width = most_of(observations->width, group);
    double totals[2] = {0, (double)observations->count};
    double *counts = ts_calloc((size_t)clusters + 1, sizeof *counts);
    double *sums = ts_calloc((size_t)(observations->count * clusters) + 1, sizeof *sums);
    for (int64_t i = 0; i < observations->count; i++)
        counts[observations->clusters[i]]++;
    ts_metric_sum(counts, clusters, group);
    for (int64_t c = 0; c < clusters; c++)
        there += counts[c] > 0;
    meet_all(sums, observations, width, clusters, group);
    for (int64_t i = 0; i < observations->count; i++)
        totals[0] += silhouette_of(sums + i * clusters, counts, clusters, observations->clusters[i]);
    ts_metric_sum(totals, 2, group);
    ts_free(counts);
    ts_free(sums);
    return ts_metric_scalar(there > 1 ? totals[0] / totals[1] : (double)NAN, totals[1]);
}

/* ---- clusters and classes ---- */

/* How often a class is in a cluster, over all ranks. */
typedef struct Table {
    double *count;              /* (clusters, classes) */
    double *clusters, *classes; /* their sums */
    int64_t cluster_count, class_count;
    double all;
} Table;

static Table make_table(const TsObservations *observations, TsGroup *group)
{
    Table table = {.cluster_count = most_of(most_in(observations->clusters, observations->count), group) + 1,
                   .class_count = most_of(most_in(observations->classes, observations->count), group) + 1};
    int64_t cells = table.cluster_count * table.class_count;
    table.count = ts_calloc((size_t)cells + 1, sizeof(double));
    table.clusters = ts_calloc((size_t)table.cluster_count + 1, sizeof(double));
    table.classes = ts_calloc((size_t)table.class_count + 1, sizeof(double));
    for (int64_t i = 0; i < observations->count; i++)
        if (observations->classes[i] >= 0)
            table.count[observations->clusters[i] * table.class_count + observations->classes[i]]++;
    ts_metric_sum(table.count, cells, group);
    for (int64_t i = 0; i < cells; i++) {
        table.clusters[i / table.class_count] += table.count[i];
        table.classes[i % table.class_count] += table.count[i];
        table.all += table.count[i];
    }
    return table;
}

static void free_table(Table *table)
{
    ts_free(table->count);
    ts_free(table->clusters);
    ts_free(table->classes);
}

static double pairs(const double *counts, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += counts[i] * (counts[i] - 1) / 2;
    return sum;
}

TS_METRIC(adjusted_rand)
{
    Table table = make_table(observations, group);
    double both = pairs(table.count, table.cluster_count * table.class_count);
    double a = pairs(table.clusters, table.cluster_count), b = pairs(table.classes, table.class_count);
    double all = table.all * (table.all - 1) / 2, chance = all > 0 ? a * b / all : 0, most = (a + b) / 2;
    double weight = table.all;
    free_table(&table);
    return ts_metric_scalar(most == chance ? 1 : (both - chance) / (most - chance), weight);
}

static double entropy(const double *counts, int64_t count, double all)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum -= counts[i] > 0 ? counts[i] / all * log(counts[i] / all) : 0;
    return sum;
}

TS_METRIC(nmi)
{
    Table table = make_table(observations, group);
    double clusters = entropy(table.clusters, table.cluster_count, table.all);
    double classes = entropy(table.classes, table.class_count, table.all);
    double both = entropy(table.count, table.cluster_count * table.class_count, table.all), weight = table.all;
    free_table(&table);
    double mean = (clusters + classes) / 2;
    return ts_metric_scalar(mean > 0 ? (clusters + classes - both) / mean : 1, weight);
}
