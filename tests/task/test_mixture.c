/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/mixture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "test.h"

enum { MANY = 31 };

/* The keys of a mixture as YAML gives them. */
static const TsMixtureConfig *read(TsConfig **config, const char *yaml)
{
    TsConfigText text = {"mixture.yaml", yaml, strlen(yaml)};
    TEST_OK(ts_config_load(config, &ts_mixture_table, (TsConfigSources){.texts = &text, .text_count = 1}));
    return ts_config_value(*config);
}

/* Tasks a, b, c ... with these weights, each of 1000 examples in batches of 10 with 50 tokens. */
static void fill(TsMixtureTask *tasks, const double *weights, int count)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < count; i++)
        tasks[i] = (TsMixtureTask){names[i], weights ? weights[i] : 1, 1, 1000, 10, 50};
}

static TsMixture *make(TsConfig **config, const char *yaml, const TsMixtureTask *tasks, int count)
{
    TsMixture *mixture = NULL;
    TEST_OK(ts_mixture_create(&mixture, read(config, yaml), tasks, count, 7));
    return mixture;
}

static const int64_t nothing_taken[MANY];

static void expect_rates(const char *yaml, const TsMixtureTask *tasks, int count, int64_t step, const double *expected)
{
    TsConfig *config;
    TsMixture *mixture = make(&config, yaml, tasks, count);
    const double *rates = ts_mixture_rates(mixture, step, nothing_taken);
    for (int i = 0; i < count; i++)
        CU_ASSERT_DOUBLE_EQUAL(rates[i], expected[i], 1e-12);
    ts_mixture_free(&mixture);
    ts_config_free(&config);
}

static void rates_follow_weights(void)
{
    TsMixtureTask tasks[3];
    fill(tasks, (double[]){1, 2, 3}, 3);
    expect_rates("sampler: {type: proportional, alpha: 2}", tasks, 3, 1, (double[]){1. / 14, 4. / 14, 9. / 14});
    expect_rates("sampler: uniform", tasks, 3, 1, (double[]){1. / 3, 1. / 3, 1. / 3});
    tasks[1].weight = 0;
    expect_rates("sampler: uniform", tasks, 3, 1, (double[]){0.5, 0, 0.5});
}

/* min(examples * scale, maximum)^(1 / temperature): 400, 10000 -> 8000, 100 at scale 1. */
static void rates_follow_examples(void)
{
    TsMixtureTask tasks[3];
    fill(tasks, NULL, 3);
    tasks[0].examples = 400, tasks[1].examples = 10000, tasks[2].examples = 100;
    expect_rates("sampler: {type: examples, maximum: 8000}", tasks, 3, 1,
                 (double[]){400. / 8500, 8000. / 8500, 100. / 8500});
    double root[] = {20, sqrt(8000), 10}, sum = root[0] + root[1] + root[2];
    expect_rates("sampler: {type: examples, maximum: 8000, temperature: 2}", tasks, 3, 1,
                 (double[]){root[0] / sum, root[1] / sum, root[2] / sum});
    expect_rates("sampler: {type: examples, temperature: inf}", tasks, 3, 1, (double[]){1. / 3, 1. / 3, 1. / 3});
}

static void expect_annealed(const char *yaml, int64_t step, double alpha)
{
    TsMixtureTask tasks[2];
    fill(tasks, (double[]){1, 5}, 2);
    double second = pow(5, alpha);
    expect_rates(yaml, tasks, 2, step, (double[]){1 / (1 + second), second / (1 + second)});
}

/* alpha from 1.0 over 0.6 to 0.2 in three epochs of ten steps; one epoch; past the end. */
static void annealing_ends_at_a_fifth(void)
{
    const char *three = "sampler: {type: annealing, epochs: 3, epoch_steps: 10}";
    expect_annealed(three, 1, 1.0);
    expect_annealed(three, 10, 1.0);
    expect_annealed(three, 11, 0.6);
    expect_annealed(three, 21, 0.2);
    expect_annealed(three, 30, 0.2);
    expect_annealed(three, 1000, 0.2);
    expect_annealed("sampler: {type: annealing, epochs: 1, epoch_steps: 10}", 1, 1.0);
    expect_annealed("sampler: {type: annealing, epochs: 1, epoch_steps: 10}", 99, 1.0);
}

static void a_schedule_says_rates(void)
{
    TsMixtureTask tasks[2];
    fill(tasks, NULL, 2);
    const char *steps = "sampler: {type: schedule, table: [{step: 1, rates: {a: 1}}, {step: 11, rates: {a: 1, b: 3}}]}";
    expect_rates(steps, tasks, 2, 10, (double[]){1, 0});
    expect_rates(steps, tasks, 2, 11, (double[]){0.25, 0.75});
    expect_rates("sampler: {type: schedule, linear: true, table: [{step: 1, rates: {a: 1}}, "
                 "{step: 11, rates: {b: 1}}]}",
                 tasks, 2, 5, (double[]){0.6, 0.4});
}

/* a and b in `inner`, which stands beside c, and in `outer` beside them: rates multiply on the way, and add up. */
static void nested_rates_multiply(void)
{
    TsMixtureTask tasks[3];
    fill(tasks, NULL, 3);
    expect_rates("of: {inner: 1, c: 1}\nmixtures: {inner: {of: {a: 3, b: 1}}}", tasks, 3, 1,
                 (double[]){0.375, 0.125, 0.5});
    expect_rates("of: {outer: 1, inner: 1}\nmixtures: {inner: {of: {a: 3, b: 1}}, outer: {of: {inner: 1, c: 3}}}",
                 tasks, 3, 1, (double[]){0.375 / 4 + 0.375, 0.125 / 4 + 0.125, 0.375});
}

static void draw(int64_t *drawn, TsMixture *mixture, int64_t steps)
{
    for (int64_t step = 1; step <= steps; step++)
        drawn[ts_mixture_task(mixture, step, nothing_taken)]++;
}

/* Pearson's statistic of 10^5 draws against the rates: above 16.3 once in a thousand times for 3 degrees of freedom.
 * Draws are a pure function of the seed, so this passes always or never. */
static void draws_follow_rates(void)
{
    TsConfig *config;
    TsMixtureTask tasks[4];
    int64_t drawn[4] = {0};
    double statistic = 0;
    fill(tasks, (double[]){1, 0, 2, 3}, 4);
    TsMixture *mixture = make(&config, "{}", tasks, 4);
    draw(drawn, mixture, 100000);
    const double *rates = ts_mixture_rates(mixture, 1, nothing_taken);
    for (int i = 0; i < 4; i++)
        statistic += rates[i] > 0 ? pow((double)drawn[i] - 1e5 * rates[i], 2) / (1e5 * rates[i]) : 0;
    CU_ASSERT_EQUAL(drawn[1], 0);
    CU_ASSERT(statistic < 16.3);
    ts_mixture_free(&mixture);
    ts_config_free(&config);
}

/* Two tasks of one weight, of which one has batches of three times the rows and half the tokens. */
static void rates_count_examples(void)
{
    TsMixtureTask tasks[2];
    fill(tasks, NULL, 2);
    tasks[1].rows = 30, tasks[1].tokens = 25;
    const char *by[] = {"by: examples", "by: tokens", "by: steps"};
    double expected[] = {0.25, 2. / 3, 0.5};
    for (int i = 0; i < 3; i++) {
        TsConfig *config;
        TsMixture *mixture = make(&config, by[i], tasks, 2);
        int64_t drawn[2] = {0};
        draw(drawn, mixture, 20000);
        CU_ASSERT_DOUBLE_EQUAL((double)drawn[1] / 20000, expected[i], 0.012);
        ts_mixture_free(&mixture);
        ts_config_free(&config);
    }
}

static void expect_batches(const char *yaml, int64_t first_rows, const int64_t *expected)
{
    TsConfig *config;
    TsMixtureTask tasks[4];
    int64_t batches[4];
    fill(tasks, (double[]){1, 0, 2, 3}, 4);
    tasks[0].rows = first_rows;
    TsMixture *mixture = make(&config, yaml, tasks, 4);
    ts_mixture_batches(mixture, batches, 1, nothing_taken);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(batches[i], expected[i]);
    ts_mixture_free(&mixture);
    ts_config_free(&config);
}

/* What is counted in all batches of a step comes as near to rates as whole batches can; nobody who has one gets none.
 */
static void a_step_takes_batches_by_rate(void)
{
    TsMixtureTask tasks[4];
    fill(tasks, NULL, 4);
    int64_t rows = tasks[0].rows;
    expect_batches("batches: 12", rows, (int64_t[]){2, 0, 4, 6});
    expect_batches("batches: 13", rows, (int64_t[]){2, 0, 4, 7});
    expect_batches("batches: 21", 2 * rows, (int64_t[]){2, 0, 8, 11});
    expect_batches("{batches: 12, by: steps}", 2 * rows, (int64_t[]){2, 0, 4, 6});
    expect_batches("batches: 2", rows, (int64_t[]){1, 0, 1, 1});
    expect_batches("{}", rows, (int64_t[]){1, 0, 1, 1});
}

static void many_equal_tasks_never_stall(void)
{
    TsMixtureTask tasks[MANY];
    char *names[MANY];
    int64_t drawn[MANY] = {0};
    TsConfig *config;
    for (int i = 0; i < MANY; i++) {
        names[i] = ts_format("task_%d", i);
        tasks[i] = (TsMixtureTask){names[i], 1, 1, 1000, 10, 50};
    }
    TsMixture *mixture = make(&config, "{}", tasks, MANY);
    draw(drawn, mixture, 100000);
    for (int i = 0; i < MANY; i++) {
        CU_ASSERT(drawn[i] > 2900 && drawn[i] < 3560); /* 3226, give or take 5.9 deviations of 56 */
        ts_free(names[i]);
    }
    ts_mixture_free(&mixture);
    ts_config_free(&config);
}

static void a_step_has_its_task(void)
{
    TsConfig *config;
    TsMixtureTask tasks[3];
    fill(tasks, NULL, 3);
    TsMixture *one = make(&config, "{}", tasks, 3), *other = NULL, *third = NULL;
    TEST_OK(ts_mixture_create(&other, ts_config_value(config), tasks, 3, 7));
    TEST_OK(ts_mixture_create(&third, ts_config_value(config), tasks, 3, 8));
    int differ = 0;
    for (int64_t step = 1000; step >= 1; step--) {
        int task = ts_mixture_task(one, step, nothing_taken);
        CU_ASSERT_EQUAL(ts_mixture_task(other, 1001 - step, nothing_taken),
                        ts_mixture_task(one, 1001 - step, nothing_taken));
        differ += task != ts_mixture_task(third, step, nothing_taken);
    }
    CU_ASSERT(differ > 500);
    ts_mixture_free(&one);
    ts_mixture_free(&other);
    ts_mixture_free(&third);
    ts_config_free(&config);
}

static void round_robin_takes_turns(void)
{
    TsConfig *config;
    TsMixtureTask tasks[3];
    fill(tasks, (double[]){1, 0, 1}, 3);
    TsMixture *mixture = make(&config, "sampler: round_robin", tasks, 3);
    for (int64_t step = 1; step < 20; step++)
        CU_ASSERT_EQUAL(ts_mixture_task(mixture, step, nothing_taken), step % 2 ? 0 : 2);
    ts_mixture_free(&mixture);
    ts_config_free(&config);
}

/* b has had all its 1000 examples. */
static void exhausted_tasks_do_as_they_are_told(void)
{
    const int64_t places[] = {10, 1000, 20};
    const char *words[] = {"exhausted: repeat", "exhausted: drop", "exhausted: stop", "{exhausted: stop, epochs: 1.5}",
                           "of: {inner: 1, c: 1}\nmixtures: {inner: {of: {b: 1}}}\nexhausted: drop"};
    for (int k = 0; k < 5; k++) {
        TsConfig *config;
        TsMixtureTask tasks[3];
        int drawn[4] = {0};
        fill(tasks, NULL, 3);
        TsMixture *mixture = make(&config, words[k], tasks, 3);
        for (int64_t step = 1; step <= 200; step++)
            drawn[1 + ts_mixture_task(mixture, step, places)]++;
        CU_ASSERT_EQUAL(drawn[0], k == 2 ? 200 : 0);
        CU_ASSERT_EQUAL(drawn[2] > 0, k == 0 || k == 3);
        CU_ASSERT(k == 2 || drawn[3] > 0);
        int last = ts_mixture_task(mixture, 1, (int64_t[]){1000, 1000, 1000});
        CU_ASSERT_EQUAL(last < 0, k == 1 || k == 2 || k == 4);
        ts_mixture_free(&mixture);
        ts_config_free(&config);
    }
}

/* Rates 3/4 and 1/4 of batches of one size; loss weights 2 and 1: 2/3 and 1/3 are what is asked for. */
static void importance_undoes_sampling(void)
{
    TsConfig *config;
    TsMixtureTask tasks[2];
    fill(tasks, (double[]){3, 1}, 2);
    tasks[0].loss_weight = 2;
    TsMixture *mixture = make(&config, "importance: true", tasks, 2);
    CU_ASSERT_DOUBLE_EQUAL(ts_mixture_loss_scale(mixture, 0, 1, nothing_taken), 2. / 3 / 0.75, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(ts_mixture_loss_scale(mixture, 1, 1, nothing_taken), 1. / 3 / 0.25, 1e-12);
    ts_mixture_free(&mixture);
    ts_config_free(&config);
    mixture = make(&config, "{}", tasks, 2);
    CU_ASSERT_EQUAL(ts_mixture_loss_scale(mixture, 0, 1, nothing_taken), 2);
    ts_mixture_free(&mixture);
    ts_config_free(&config);
}

static void expect_error(const char *yaml, const TsMixtureTask *tasks, const char *message)
{
    TsConfig *config;
    TsMixture *mixture = NULL;
    TEST_ERROR(ts_mixture_create(&mixture, read(&config, yaml), tasks, 2, 1), message);
    CU_ASSERT_PTR_NULL(mixture);
    ts_config_free(&config);
}

static void mistakes_are_named(void)
{
    TsMixtureTask tasks[2];
    fill(tasks, (double[]){1, -2}, 2);
    expect_error("{}", tasks, "the weight of b is -2");
    tasks[0].weight = NAN;
    expect_error("{}", tasks, "the weight of a is nan");
    fill(tasks, (double[]){0, 0}, 2);
    expect_error("{}", tasks, "add up to 0");
    fill(tasks, NULL, 2);
    expect_error("of: {a: 1, x: 1}", tasks, "x is neither a task nor a mixture");
    expect_error("of: {m: 1}\nmixtures: {m: {of: {n: 1}}, n: {of: {m: 1, a: 1}}}", tasks,
                 "mixtures.m contains itself, by way of n");
    expect_error("of: {m: 1}\nmixtures: {m: {of: {m: 1}}}", tasks, "mixtures.m contains itself");
    expect_error("mixtures: {a: {of: {b: 1}}}", tasks, "mixtures.a has the name of a task");
    expect_error("of: {m: 1}\nmixtures: {m: {of: {a: 0}}}", tasks, "mixtures.m: the rates of a add up to 0");
    expect_error("{sampler: round_robin, of: {m: 1}, mixtures: {m: {of: {a: 1}}}}", tasks, "takes turns of tasks");
    expect_error("sampler: {type: schedule, table: [{step: 1, rates: {c: 1}}]}", tasks, "gives a rate to c");
    expect_error("sampler: {type: schedule, table: [{step: 1, rates: {a: 1}}, {step: 5, rates: {a: 0}}]}", tasks,
                 "the rates of step 5 add up to 0");
    tasks[1].examples = 0;
    expect_error("{}", tasks, "b has nothing to learn");
}

TEST_MAIN("mixture", {"rates follow weights", rates_follow_weights}, {"rates follow examples", rates_follow_examples},
          {"annealing ends at a fifth", annealing_ends_at_a_fifth}, {"a schedule says rates", a_schedule_says_rates},
          {"nested rates multiply", nested_rates_multiply}, {"draws follow rates", draws_follow_rates},
          {"rates count examples", rates_count_examples},
          {"a step takes batches by rate", a_step_takes_batches_by_rate},
          {"many equal tasks never stall", many_equal_tasks_never_stall}, {"a step has its task", a_step_has_its_task},
          {"round robin takes turns", round_robin_takes_turns},
          {"exhausted tasks do as they are told", exhausted_tasks_do_as_they_are_told},
          {"importance undoes sampling", importance_undoes_sampling}, {"mistakes are named", mistakes_are_named})
