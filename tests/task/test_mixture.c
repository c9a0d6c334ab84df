/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture.h"

#include <math.h>
#include <string.h>

#include "test.h"

static const char *const names[] = {"a", "b", "c", "d"};

static TsChoice sampler(const char *name, const void *options)
{
    for (int64_t i = 0; i < ts_samplers.count; i++)
        if (strcmp(ts_samplers.items[i].name, name) == 0)
            return (TsChoice){&ts_samplers.items[i], options};
    return (TsChoice){0};
}

static TsMixture *make(TsChoice choice, const double *weights, int count, uint64_t seed)
{
    TsMixtureConfig config = {.sampler = choice};
    TsMixture *mixture = NULL;
    TEST_OK(ts_mixture_create(&mixture, &config, names, weights, count, seed));
    return mixture;
}

static void rates_follow_weights(void)
{
    TsProportional squared = {.alpha = 2};
    TsMixture *mixture = make(sampler("proportional", &squared), (double[]){1, 2, 3}, 3, 1);
    CU_ASSERT_DOUBLE_EQUAL(ts_mixture_rate(mixture, 0), 1.0 / 14, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(ts_mixture_rate(mixture, 1), 4.0 / 14, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(ts_mixture_rate(mixture, 2), 9.0 / 14, 1e-15);
    ts_mixture_free(&mixture);
}

/* Pearson's statistic of 10^5 draws against the rates: above 16.3 once in a thousand times for 3 degrees of freedom.
 * Draws are a pure function of the seed, so this passes always or never. */
static void draws_follow_rates(void)
{
    enum { STEPS = 100000 };
    TsProportional plain = {.alpha = 1};
    TsMixture *mixture = make(sampler("proportional", &plain), (double[]){1, 0, 2, 3}, 4, 7);
    int64_t drawn[4] = {0};
    for (int64_t step = 1; step <= STEPS; step++)
        drawn[ts_mixture_task(mixture, step)]++;
    double statistic = 0;
    for (int i = 0; i < 4; i++) {
        double expected = STEPS * ts_mixture_rate(mixture, i);
        statistic += expected > 0 ? pow((double)drawn[i] - expected, 2) / expected : 0;
    }
    CU_ASSERT_EQUAL(drawn[1], 0);
    CU_ASSERT(statistic < 16.3);
    ts_mixture_free(&mixture);
}

static void a_step_has_its_task(void)
{
    TsMixture *one = make(sampler("uniform", NULL), (double[]){1, 1, 1}, 3, 5);
    TsMixture *other = make(sampler("uniform", NULL), (double[]){1, 1, 1}, 3, 5);
    TsMixture *third = make(sampler("uniform", NULL), (double[]){1, 1, 1}, 3, 6);
    int differ = 0;
    for (int64_t step = 1000; step >= 1; step--) {
        CU_ASSERT_EQUAL(ts_mixture_task(one, step), ts_mixture_task(other, step));
        differ += ts_mixture_task(one, step) != ts_mixture_task(third, step);
    }
    CU_ASSERT(differ > 500);
    ts_mixture_free(&one);
    ts_mixture_free(&other);
    ts_mixture_free(&third);
}

static void round_robin_takes_turns(void)
{
    TsMixture *mixture = make(sampler("round_robin", NULL), (double[]){1, 1, 1}, 3, 1);
    for (int64_t step = 1; step < 20; step++)
        CU_ASSERT_EQUAL(ts_mixture_task(mixture, step), (step - 1) % 3);
    ts_mixture_free(&mixture);
}

static void bad_weights_are_named(void)
{
    TsProportional plain = {.alpha = 1};
    TsMixtureConfig config = {.sampler = sampler("proportional", &plain)};
    TsMixture *mixture = NULL;
    TEST_ERROR(ts_mixture_create(&mixture, &config, names, (double[]){1, -2}, 2, 1), "tasks.b.weight");
    TEST_ERROR(ts_mixture_create(&mixture, &config, names, (double[]){NAN, 1}, 2, 1), "tasks.a.weight");
    TEST_ERROR(ts_mixture_create(&mixture, &config, names, (double[]){0, 0}, 2, 1), "add up to 0");
    CU_ASSERT_PTR_NULL(mixture);
}

TEST_MAIN("mixture", {"rates follow weights", rates_follow_weights}, {"draws follow rates", draws_follow_rates},
          {"a step has its task", a_step_has_its_task}, {"round robin takes turns", round_robin_takes_turns},
          {"bad weights are named", bad_weights_are_named})
