/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/early_stop.h"

#include <math.h>

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
        CU_ASSERT_EQUAL(again.worse, stop.worse);
        CU_ASSERT_EQUAL(again.best_step, stop.best_step);
        stop = again;
        if (ts_early_stop_now(&stop))
            return 10 * (i + 1);
    }
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

TEST_MAIN("early stop", {"counts what is not better", counts_what_is_not_better},
          {"what is no number is not better", what_is_no_number_is_not_better})
