/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/early_stop.h"

#include <math.h>

#include "task/metric/metric.h"
#include "test.h"

static int64_t stops_at(TsEarlyStopConfig config, const double *values, int count)
{
    config.by = "lm/loss";
    TsEarlyStop stop = {.config = &config};
    for (int i = 0; i < count; i++) {
        ts_early_stop_note(&stop, 10 * (i + 1), "lm/accuracy", 0.5 - i); /* another metric */
        ts_early_stop_note(&stop, 10 * (i + 1), "lm/loss", values[i]);
        json_t *state = json_object(); /* through a checkpoint, each time */
        TsEarlyStop again = {.config = &config};
        ts_early_stop_pack(&stop, state);
        ts_early_stop_unpack(&again, state);
        json_decref(state);
        ts_early_stop_note(&again, 10 * (i + 1), "lm/loss", 1e9); /* the same evaluation again: counted once */
        CU_ASSERT_EQUAL(again.count, 1);
        CU_ASSERT_EQUAL(again.watched[0].worse, stop.watched[0].worse);
        CU_ASSERT_EQUAL(again.watched[0].best_step, stop.watched[0].best_step);
        ts_early_stop_free(&stop);
        stop = again;
        if (ts_early_stop_now(&stop)) {
            ts_early_stop_free(&stop);
            return 10 * (i + 1);
        }
    }
    ts_early_stop_free(&stop);
    return 0;
}

static void counts_what_is_not_better(void)
{
    static const double falls[] = {3, 2, 2.5, 2.1, 1.9, 2, 2, 2, 2};
    CU_ASSERT_EQUAL(stops_at((TsEarlyStopConfig){.patience = 2}, falls, 9), 40);
    CU_ASSERT_EQUAL(stops_at((TsEarlyStopConfig){.patience = 3}, falls, 9), 80);
    CU_ASSERT_EQUAL(stops_at((TsEarlyStopConfig){.patience = 5}, falls, 9), 0);
    CU_ASSERT_EQUAL(stops_at((TsEarlyStopConfig){.patience = 3, .least_change = 0.5}, falls, 9), 50);
    CU_ASSERT_EQUAL(stops_at((TsEarlyStopConfig){.patience = 2, .after = 40}, falls, 9), 70);
    CU_ASSERT_EQUAL(stops_at((TsEarlyStopConfig){.patience = 2, .better = TS_BETTER_HIGHER}, falls, 9), 30);
}

static void what_is_no_number_is_not_better(void)
{
    static const double broken[] = {NAN, NAN, 5, NAN, INFINITY}, worse[] = {1, NAN, NAN};
    CU_ASSERT_EQUAL(stops_at((TsEarlyStopConfig){.patience = 2}, broken, 5), 50);
    CU_ASSERT_EQUAL(stops_at((TsEarlyStopConfig){.patience = 2}, worse, 3), 30);
    TsEarlyStop none = {.config = NULL};
    ts_early_stop_note(&none, 1, "lm/loss", 1);
    CU_ASSERT(!ts_early_stop_now(&none));
}

/* Where every task decides, the run ends when none of them becomes better; the average counts for itself alone. */
static void all_and_average(void)
{
    static const double a[] = {3, 2, 2, 2, 2, 2}, b[] = {9, 8, 7, 7, 7, 7};
    static const char *const by[] = {"a/loss", "all/loss", "average/loss", "b/loss"};
    static const int64_t expected[] = {4, 5, 5, 5};
    for (int k = 0; k < 4; k++) {
        TsEarlyStopConfig config = {.by = by[k], .patience = 2};
        TsEarlyStop stop = {.config = &config};
        int64_t ended = 0;
        for (int i = 0; i < 6 && !ended; i++) {
            ts_early_stop_note(&stop, i + 1, "a/loss", a[i]);
            ts_early_stop_note(&stop, i + 1, "b/loss", b[i]);
            ts_early_stop_note(&stop, i + 1, "b/accuracy", i);
            ts_early_stop_note(&stop, i + 1, "average/loss", (a[i] + b[i]) / 2);
            ended = ts_early_stop_now(&stop) ? i + 1 : 0;
        }
        CU_ASSERT_EQUAL(ended, expected[k]);
        CU_ASSERT_EQUAL(stop.count, k == 1 ? 2 : 1);
        ts_early_stop_free(&stop);
    }
}

/* Of three tasks, one of which counts nothing: what all others have, by their weights. */
static void averages_of_scores(void)
{
    TsScores scores[3] = {{0}, {0}, {0}}, average;
    double weight[3] = {1, 0, 3};
    ts_scores_add(&scores[0], "loss", (TsWeightedScalar){2, 10});
    ts_scores_add(&scores[0], "accuracy", (TsWeightedScalar){0.5, 10});
    ts_scores_add(&scores[1], "accuracy", (TsWeightedScalar){0.1, 10});
    ts_scores_add(&scores[2], "loss", (TsWeightedScalar){4, 70});
    ts_scores_average(&average, scores, weight, 3);
    CU_ASSERT_EQUAL(average.count, 1);
    CU_ASSERT_STRING_EQUAL(average.score[0].name, "loss");
    CU_ASSERT_DOUBLE_EQUAL(average.score[0].scalar.value, 3.5, 1e-15);
    ts_scores_average(&average, scores, (double[]){0, 0, 0}, 3);
    CU_ASSERT_EQUAL(average.count, 0);
}

TEST_MAIN("early stop", {"all and average", all_and_average}, {"averages of scores", averages_of_scores},
          {"counts what is not better", counts_what_is_not_better},
          {"what is no number is not better", what_is_no_number_is_not_better})
