/* ranks: 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics of order over many scores: exactly what the counts of their levels say, though no rank receives more than 1.2
 * of its share. TESSERA_SCORES says how many; the suite `scores` takes 10^7.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/permutation.h"
#include "base/philox.h"
#include "base/unit.h"
#include "comm/accounting.h"
#include "task/metric/metric.h"
#include "task/metric/metric_table.h"
#include "task/metric/rank_order.h"
#include "test.h"

enum { LEVELS = 997 };

static const double MOST = 1.2; /* of its share, that a rank receives */

static int64_t score_count(void)
{
    int64_t count = 100000;
    const char *given = getenv("TESSERA_SCORES");
    if (given)
        CU_ASSERT_TRUE(ts_unit_read_int(&count, given, NULL));
    return count;
}

/* This rank's part of the numbers 0 .. count - 1: neither equal nor in order. */
static void share_of(int64_t *begin, int64_t *end, int64_t count)
{
    static const double cuts[] = {0, 0.1, 0.45, 0.5, 1};
    int rank = ts_group_rank(test_world);
    *begin = (int64_t)(cuts[rank] * (double)count);
    *end = (int64_t)(cuts[rank + 1] * (double)count);
}

static int64_t bytes_sorted(void)
{
    TsAccountRow rows[64];
    int count = ts_account_rows(rows, 64);
    int64_t bytes = 0;
    for (int i = 0; i < count && i < 64; i++)
        if (rows[i].label && strcmp(rows[i].label, "metrics/sort") == 0)
            bytes += rows[i].bytes;
    return bytes;
}

/* No rank receives more than MOST of its share of these values; and the metric before did send some. */
static void expect_share(const double *values, int64_t own, int64_t stride, int64_t count)
{
    TsStanding *standing = ts_calloc((size_t)own + 1, sizeof *standing);
    CU_ASSERT(bytes_sorted() > 0);
    int64_t received = ts_rank_order(standing, values, own, stride, test_world);
    if ((double)received > MOST * (double)count / ts_group_size(test_world))
        fprintf(stderr, "received %lld of %lld\n", (long long)received, (long long)count);
    CU_ASSERT((double)received <= MOST * (double)count / ts_group_size(test_world));
    ts_free(standing);
}

/* Whether number i is positive, and its score's level: higher for positives. */
static bool is_positive(int64_t i)
{
    return ts_stream_uniform_f64(ts_stream(3, "positive", 0), i) < 0.3;
}

static int level_of(int64_t i)
{
    double u = ts_stream_uniform_f64(ts_stream(3, "level", 0), i);
    return (int)(LEVELS * (is_positive(i) ? sqrt(u) : u));
}

/* Scores in levels, so many alike: the counts of each level say what the area is. */
static void auroc_of_many_ties(void)
{
    int64_t count = score_count(), begin, end;
    double counts[2 * LEVELS] = {0}, below = 0, area = 0, positives = 0;
    TsObservations observations = ts_observations_create(TS_OBSERVES_CLASSES, 2);
    share_of(&begin, &end, count);
    for (int64_t i = begin; i < end; i++) {
        double score = (double)level_of(i) / LEVELS, scores[] = {1 - score, score};
        ts_observations_add_class(&observations, scores, is_positive(i));
        counts[2 * level_of(i) + is_positive(i)]++;
    }
    ts_metric_sum(counts, (int64_t)2 * LEVELS, test_world);
    for (int level = 0; level < LEVELS; level++) {
        area += counts[2 * level + 1] * (below + counts[2 * level] / 2);
        below += counts[2 * level];
        positives += counts[2 * level + 1];
    }
    ts_account_reset();
    TsWeightedScalar found = ts_metric_auroc(&observations, test_world);
    expect_share(observations.scores + 1, end - begin, 2, count);
    CU_ASSERT(fabs(found.value - area / (positives * below)) < 1e-10);
    CU_ASSERT(found.value > 0.6 && found.weight == (double)count);
    ts_observations_free(&observations);
}

/* Truth and guess are permutations seen through functions that rise, or fall: 1 - 6 sum d^2 / (n (n^2 - 1)). */
static void spearman_of_permutations(void)
{
    int64_t count = score_count(), begin, end;
    TsPermutation first = ts_permutation(ts_stream(3, "first", 0), count);
    TsPermutation second = ts_permutation(ts_stream(3, "second", 0), count);
    TsObservations observations = ts_observations_create(TS_OBSERVES_VALUES, 1);
    double squares = 0, n = (double)count;
    share_of(&begin, &end, count);
    for (int64_t i = begin; i < end; i++) {
        double truth = (double)ts_permute(&first, i),
               guess = i % 3 ? truth : (double)ts_permute(&second, (int64_t)truth);
        double shown = exp(-3 * truth / n), other = -cbrt(i % 3 ? 2 * guess : 2 * guess + 1);
        ts_observations_add_values(&observations, &other, &shown);
    }
    ts_account_reset();
    TsWeightedScalar found = ts_metric_spearman(&observations, test_world);
    expect_share(observations.scores, end - begin, 1, count);
    expect_share(observations.truth, end - begin, 1, count);
    CU_ASSERT(found.weight == n && found.value > 0.5 && found.value < 0.8); /* two thirds agree */
    ts_observations_clear(&observations);
    for (int64_t i = begin; i < end; i++) {
        double truth = (double)ts_permute(&first, i), guess = (double)ts_permute(&second, i);
        double shown = exp(-3 * truth / n), other = -cbrt(guess);
        ts_observations_add_values(&observations, &other, &shown);
        squares += (truth - guess) * (truth - guess);
    }
    ts_metric_sum(&squares, 1, test_world);
    found = ts_metric_spearman(&observations, test_world);
    CU_ASSERT(fabs(found.value - (1 - 6 * squares / (n * (n * n - 1)))) < 1e-9);
    ts_observations_free(&observations);
}

TEST_MAIN("metric of many scores", {"AUROC of many ties", auroc_of_many_ties},
          {"Spearman of permutations", spearman_of_permutations})
