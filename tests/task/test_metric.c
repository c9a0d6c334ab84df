/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics over all ranks against scikit-learn's, from tests/golden/metrics.txt (make_metrics.py beside it writes it);
 * nothing to measure; and the order of many numbers, of which no rank receives much more than its share.
 */
#include "task/metric/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "comm/collectives.h"
#include "task/run/histogram.h"
#include "task/metric/rank_order.h"
#include "test.h"

/* Adds the examples of a case that fall to this rank: those of number % size. */
static TsObservations read_case(FILE *file, TsObserved kind, int64_t examples, int64_t width)
{
    TsObservations observations = ts_observations_create(kind, width);
    double *truth = ts_calloc(2 * (size_t)width + 2, sizeof *truth), *scores = truth + width + 2;
    for (int64_t i = 0; i < examples; i++) {
        int64_t truths = kind == TS_OBSERVES_CLASSES ? 1 : kind == TS_OBSERVES_CLUSTERS ? 2 : width;
        for (int64_t k = 0; k < truths + width; k++)
            CU_ASSERT_EQUAL(fscanf(file, "%lf", k < truths ? &truth[k] : &scores[k - truths]), 1);
        if (i % ts_group_size(test_world) != ts_group_rank(test_world))
            continue;
        if (kind == TS_OBSERVES_CLASSES)
            ts_observations_add_class(&observations, scores, (int32_t)truth[0]);
        else if (kind == TS_OBSERVES_CLUSTERS)
            ts_observations_add_cluster(&observations, scores, width, (int32_t)truth[1], (int32_t)truth[0]);
        else
            ts_observations_add_values(&observations, scores, truth);
    }
    ts_free(truth);
    return observations;
}

static void expect_metric(const char *name, const char *metric, const TsObservations *observations, int64_t examples,
                          double expected)
{
    const TsMetricKind *kind = ts_metric_find(metric);
    CU_ASSERT_PTR_NOT_NULL(kind);
    if (!kind)
        return;
    TsWeightedScalar found = kind->compute(observations, test_world);
    bool same = isnan(expected) ? isnan(found.value) && found.weight == 0
                                : fabs(found.value - expected) <= 1e-10 && found.weight == (double)examples;
    if (!same)
        fprintf(stderr, "%s: %s is %.17g (weight %g), expected %.17g\n", name, metric, found.value, found.weight,
                expected);
    CU_ASSERT_TRUE(same);
}

static void equals_scikit_learn(void)
{
    FILE *file = fopen("tests/golden/metrics.txt", "r");
    CU_ASSERT_PTR_NOT_NULL(file);
    char word[64], name[64], kind[64];
    long examples, width;
    int cases = 0, metrics = 0;
    while (file && fscanf(file, " case %63s %63s %ld %ld", name, kind, &examples, &width) == 4) {
        TsObserved observed = strcmp(kind, "classes") == 0    ? TS_OBSERVES_CLASSES
                              : strcmp(kind, "labels") == 0   ? TS_OBSERVES_LABELS
                              : strcmp(kind, "ranking") == 0  ? TS_OBSERVES_RANKING
                              : strcmp(kind, "clusters") == 0 ? TS_OBSERVES_CLUSTERS
                                                              : TS_OBSERVES_VALUES;
        TsObservations observations = read_case(file, observed, examples, width);
        double expected;
        while (fscanf(file, "%63s", word) == 1 && strcmp(word, "metric") == 0) {
            char metric[64], number[64];
            CU_ASSERT_EQUAL(fscanf(file, "%63s %63s", metric, number), 2);
            expected = strtod(number, NULL);
            expect_metric(name, metric, &observations, examples, expected);
            metrics++;
        }
        ts_observations_free(&observations);
        cases++;
    }
    if (file)
        fclose(file);
    CU_ASSERT_EQUAL(cases, 15);
    CU_ASSERT(metrics > 100);
}

static void says_nothing_of_nothing(void)
{
    const TsObserved kinds[] = {TS_OBSERVES_CLASSES, TS_OBSERVES_LABELS, TS_OBSERVES_VALUES, TS_OBSERVES_RANKING,
                                TS_OBSERVES_CLUSTERS};
    for (int k = 0; k < 5; k++) {
        TsObservations none = ts_observations_create(kinds[k], 3);
        for (int i = 0; i < ts_metric_kind_count(); i++)
            if (ts_metric_kinds[i].observes & kinds[k]) {
                TsWeightedScalar found = ts_metric_kinds[i].compute(&none, test_world);
                CU_ASSERT_EQUAL(found.weight, 0);
                CU_ASSERT_TRUE(isnan(found.value));
            }
        ts_observations_free(&none);
    }
}

/* A net that has diverged ends no evaluation. */
static void bears_nan(void)
{
    const double nan[] = {(double)NAN, 0.5}, fine[] = {0.5, 0.5};
    for (int k = 0; k < 3; k++) {
        TsObserved kind = (TsObserved)(1 << k);
        TsObservations observations = ts_observations_create(kind, 2);
        for (int i = 0; i < 4; i++) {
            const double *scores = ts_group_rank(test_world) == 0 && i == 1 ? nan : fine, truth[] = {i % 2, 1 - i % 2};
            if (kind == TS_OBSERVES_CLASSES)
                ts_observations_add_class(&observations, scores, i % 2);
            else
                ts_observations_add_values(&observations, scores, truth);
        }
        for (int i = 0; i < ts_metric_kind_count(); i++)
            if (ts_metric_kinds[i].observes & kind)
                (void)ts_metric_kinds[i].compute(&observations, test_world);
        const char *order = kind == TS_OBSERVES_VALUES ? "spearman" : "auroc";
        TsWeightedScalar found = ts_metric_find(order)->compute(&observations, test_world);
        CU_ASSERT(isnan(found.value) && found.weight == 0);
        ts_observations_free(&observations);
    }
}

/* Of a rank that has all and ranks that have nothing, of equal parts; spread, crowded, and all alike. */
static void orders_in_equal_parts(void)
{
    enum { MOST = 30000 };
    int size = ts_group_size(test_world), rank = ts_group_rank(test_world);
    for (int crowd = 0; crowd < 3; crowd++)
        for (int lonely = 0; lonely < 2; lonely++) {
            int64_t count = lonely ? (rank == 0 ? MOST : 0) : MOST / size, all = lonely ? MOST : MOST / size * size;
            double *values = ts_calloc((size_t)count + 1, sizeof *values);
            TsStanding *standing = ts_calloc((size_t)count + 1, sizeof *standing);
            for (int64_t i = 0; i < count; i++) {
                double u = ts_stream_uniform_f64(ts_stream(5, "order", rank), i);
                values[i] = crowd == 0 ? u : crowd == 1 ? floor(10 * u * u) : 1;
            }
            int64_t received = ts_rank_order(standing, values, count, 1, test_world);
            CU_ASSERT((double)received <= 1.2 * (double)all / size);
            if (crowd == 2)
                for (int64_t i = 0; i < count; i++)
                    CU_ASSERT(standing[i].smaller == 0 && standing[i].equal == all);
            int64_t sums[2] = {0}, of_all[2]; /* each place is taken once: the places' sum is that of 0 .. all - 1 */
            for (int64_t i = 0; i < count; i++)
                sums[0] += 2 * standing[i].smaller + standing[i].equal - 1;
            ts_all_reduce(
                test_world,
                (TsTransfer){.out = of_all, .in = sums, .count_elems = 2, .dtype = TS_I64, .label = "test: places"});
            CU_ASSERT_EQUAL(of_all[0], all * (all - 1));
            ts_free(values);
            ts_free(standing);
        }
}

static void names_are_known(void)
{
    const TsMetricKind *chosen[TS_MAX_METRICS];
    const char *const twice[] = {"mae", "mae"}, *const wrong[] = {"acuracy"}, *const other[] = {"mae"};
    int count;
    TEST_OK(ts_metric_choose(chosen, &count, TS_OBSERVES_VALUES, NULL, 0));
    CU_ASSERT_EQUAL(count, 5);
    TEST_ERROR(ts_metric_choose(chosen, &count, TS_OBSERVES_CLASSES, wrong, 1), "did you mean accuracy?");
    TEST_ERROR(ts_metric_choose(chosen, &count, TS_OBSERVES_CLASSES, other, 1), "no metric mae");
    TEST_ERROR(ts_metric_choose(chosen, &count, TS_OBSERVES_VALUES, twice, 2), "stands twice");
}

static void counts_confusion(void)
{
    TsObservations observations = ts_observations_create(TS_OBSERVES_CLASSES, 2);
    const double first[] = {0.9, 0.1}, second[] = {0.2, 0.8};
    int64_t matrix[4], size = ts_group_size(test_world);
    ts_observations_add_class(&observations, first, 0);
    ts_observations_add_class(&observations, second, 0);
    ts_observations_add_class(&observations, second, 1);
    ts_observations_add_class(&observations, second, 1);
    ts_confusion_matrix(matrix, &observations, test_world);
    CU_ASSERT(matrix[0] == size && matrix[1] == size && matrix[2] == 0 && matrix[3] == 2 * size);
    ts_observations_free(&observations);
}

/* The same however the values are dealt out, and none is lost. */
static void spreads(void)
{
    enum { COUNT = 41 };
    int size = ts_group_size(test_world), rank = ts_group_rank(test_world);
    double values[2 * COUNT] = {0}, all = 0;
    int64_t count = 0;
    for (int i = 0; i < COUNT; i++)
        if (i % size == rank)
            values[2 * count++] = i; /* 0 to 40: two in each of 20 parts, and the end in the last */
    TsHistogram found = ts_histogram(values, count, 2, test_world);
    CU_ASSERT(found.count == COUNT && found.strange == 0 && found.least == 0 && found.greatest == 40);
    CU_ASSERT(fabs(found.mean - 20) < 1e-12);
    for (int b = 0; b < TS_HISTOGRAM_BINS; b++) {
        CU_ASSERT_EQUAL(found.counts[b], b + 1 < TS_HISTOGRAM_BINS ? 2 : 3);
        all += found.counts[b];
    }
    CU_ASSERT_EQUAL(all, COUNT);
    const double strange[] = {(double)NAN, HUGE_VAL, 7};
    found = ts_histogram(strange, 3, 1, test_world);
    CU_ASSERT(found.count == size && found.strange == 2 * size && found.least == 7 && found.greatest == 7);
    CU_ASSERT_EQUAL(found.counts[0], size);
    found = ts_histogram(NULL, 0, 1, test_world);
    CU_ASSERT(found.count == 0 && isnan(found.mean) && isnan(found.least) && isnan(found.greatest));
}

TEST_MAIN("metric", {"equals scikit-learn", equals_scikit_learn}, {"says nothing of nothing", says_nothing_of_nothing},
          {"bears NaN", bears_nan}, {"orders in equal parts", orders_in_equal_parts},
          {"names are known", names_are_known}, {"counts confusion", counts_confusion}, {"spreads", spreads})
