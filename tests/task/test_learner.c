/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/learner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

enum { ROWS = 5, COLUMNS = 7, ELEMS = ROWS * COLUMNS, BIAS = 7 };

static const TsOptimizerConfig adamw = {.rate = 0.01, .decay = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8};
static const TsSchedule flat = {.warmup = 0};

static TsLearnerConfig make_config(double clip)
{
    return (TsLearnerConfig){.optimizer = {&ts_optimizers.items[0], &adamw},
                             .schedule = {&ts_schedules.items[0], &flat},
                             .clip = clip,
                             .skip_above = INFINITY,
                             .skip_limit = 3};
}

/* A kernel that decays, a bias that does not, and a frozen one, on all ranks. */
typedef struct Setup {
    TsLearnerConfig config;
    TsShardingConfig sharding;
    TsMesh *mesh;
    TsParameters *parameters;
    TsBatch *arrays;
    TsLearner *learner;
} Setup;

static TsStatus create_learner(Setup *setup)
{
    return ts_learner_create(&setup->learner, (TsLearnerSetting){.config = &setup->config,
                                                                 .parameters = setup->parameters,
                                                                 .arrays = setup->arrays,
                                                                 .threads = 1});
}

static TsLearnerReport step_once(Setup *setup, int64_t step)
{
    return ts_learner_step(setup->learner, 0, &step, step, 10);
}

static void create(Setup *setup, double clip, TsShardAxis state)
{
    *setup = (Setup){.config = make_config(clip), .sharding = {.optimizer_shard = state}};
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}};
    TEST_OK(ts_mesh_create(&setup->mesh, test_world, shape));
    setup->parameters = ts_parameters_create(setup->mesh);
    TEST_OK(ts_parameters_shard(setup->parameters, &setup->sharding));
    TEST_OK(ts_parameters_declare(setup->parameters, (TsParameter){.path = "kernel",
                                                                   .shape = ts_shape(ROWS, COLUMNS),
                                                                   .initializer = {TS_INIT_NORMAL, 1},
                                                                   .trainable = true,
                                                                   .decays = true}));
    TEST_OK(ts_parameters_declare(setup->parameters, (TsParameter){.path = "bias",
                                                                   .shape = ts_shape(BIAS),
                                                                   .initializer = {.kind = TS_INIT_ONES},
                                                                   .trainable = true}));
    TEST_OK(ts_parameters_declare(
        setup->parameters,
        (TsParameter){.path = "frozen", .shape = ts_shape(3), .initializer = {.kind = TS_INIT_ONES}}));
    setup->arrays = ts_parameters_initialize(setup->parameters, 3);
    TEST_OK(create_learner(setup));
}

static void destroy(Setup *setup)
{
    ts_learner_free(&setup->learner);
    ts_batch_free(&setup->arrays);
    ts_parameters_free(&setup->parameters);
    ts_mesh_free(&setup->mesh);
}

/* The whole gradient's element e of the kernel (k 0) or the bias (k 1). */
static double gradient_value(int k, int64_t e, int64_t step)
{
    return sin((double)(3 * e + 5 * step + 17 * k)) * (k ? 2 : 1);
}

/* Each rank fills its block. */
static void fill_gradients(Setup *setup, int64_t step, double poison)
{
    static const char *const names[] = {"gradient/kernel", "gradient/bias"};
    for (int k = 0; k < 2; k++) {
        TsArray *array = ts_batch_find(ts_learner_gradients(setup->learner), names[k]);
        CU_ASSERT_PTR_NOT_NULL(array);
        if (!array)
            continue;
        int64_t columns = array->block.shape.size[array->shape.dims - 1];
        for (int64_t i = 0; i < ts_array_local_elems(array); i++) {
            int64_t row = k ? 0 : array->block.first[0] + i / columns;
            int64_t column = (k ? array->block.first[0] : array->block.first[1]) + i % columns;
            ((float *)array->data)[i] = (float)gradient_value(k, row * COLUMNS + column, step);
            if (poison != 0 && k == 1 && column == BIAS - 1)
                ((float *)array->data)[i] = (float)poison;
        }
    }
}

/* AdamW as the paper has it, in f64. */
typedef struct Reference {
    double value[2][ELEMS], mean[2][ELEMS], variance[2][ELEMS];
} Reference;

static void reference_step(Reference *reference, double clip, int64_t step)
{
    int64_t count[] = {ELEMS, BIAS};
    double squares = 0;
    for (int k = 0; k < 2; k++)
        for (int64_t e = 0; e < count[k]; e++)
            squares += pow(gradient_value(k, e, step), 2);
    double factor = clip > 0 && sqrt(squares) > clip ? clip / sqrt(squares) : 1;
    for (int k = 0; k < 2; k++)
        for (int64_t e = 0; e < count[k]; e++) {
            double g = factor * gradient_value(k, e, step);
            double *m = &reference->mean[k][e], *v = &reference->variance[k][e], *x = &reference->value[k][e];
            *m = adamw.beta1 * *m + (1 - adamw.beta1) * g;
            *v = adamw.beta2 * *v + (1 - adamw.beta2) * g * g;
            double m_hat = *m / (1 - pow(adamw.beta1, (double)step)), v_hat = *v / (1 - pow(adamw.beta2, (double)step));
            *x -= adamw.rate * (m_hat / (sqrt(v_hat) + adamw.epsilon) + (k == 0 ? adamw.decay : 0) * *x);
        }
}

static void start_reference(Reference *reference, const Setup *setup)
{
    memset(reference, 0, sizeof *reference);
    for (int64_t e = 0; e < ELEMS; e++)
        reference->value[0][e] = (double)((float *)ts_batch_find(setup->arrays, "kernel")->data)[e];
    for (int64_t e = 0; e < BIAS; e++)
        reference->value[1][e] = 1;
}

static void expect_values(const Setup *setup, const Reference *reference)
{
    for (int64_t e = 0; e < ELEMS; e++)
        CU_ASSERT_DOUBLE_EQUAL((double)((float *)ts_batch_find(setup->arrays, "kernel")->data)[e],
                               reference->value[0][e], 2e-6);
    for (int64_t e = 0; e < BIAS; e++)
        CU_ASSERT_DOUBLE_EQUAL((double)((float *)ts_batch_find(setup->arrays, "bias")->data)[e], reference->value[1][e],
                               2e-6);
    for (int64_t e = 0; e < 3; e++)
        CU_ASSERT_EQUAL(((float *)ts_batch_find(setup->arrays, "frozen")->data)[e], 1);
}

/* Ten steps, clipped in some, with the state whole and cut: the paper's values. */
static void follows_the_paper(void)
{
    for (int state = TS_SHARD_NONE; state <= TS_SHARD_DATA; state++)
        for (int clipped = 0; clipped < 2; clipped++) {
            Setup setup;
            Reference reference;
            double clip = clipped ? 1.5 : 0;
            create(&setup, clip, (TsShardAxis)state);
            start_reference(&reference, &setup);
            for (int64_t step = 1; step <= 10; step++) {
                fill_gradients(&setup, step, 0);
                TsLearnerReport report = step_once(&setup, step);
                reference_step(&reference, clip, step);
                CU_ASSERT_DOUBLE_EQUAL(report.rate, 0.01, 1e-9);
                CU_ASSERT(clipped ? report.factor < 1 && report.factor > 0 : report.factor == 1);
                if (clipped)
                    CU_ASSERT_DOUBLE_EQUAL(report.factor * report.gradient_norm, 1.5, 1e-5);
            }
            expect_values(&setup, &reference);
            destroy(&setup);
        }
}

/* A gradient with a NaN or an infinity anywhere, on any rank, changes nothing. */
static void skips_what_is_not_finite(void)
{
    const double poisons[] = {NAN, INFINITY, -INFINITY, 1e30};
    for (int state = TS_SHARD_NONE; state <= TS_SHARD_DATA; state++) {
        Setup setup;
        Reference reference;
        create(&setup, 1, (TsShardAxis)state);
        start_reference(&reference, &setup);
        fill_gradients(&setup, 1, 0);
        step_once(&setup, 1);
        reference_step(&reference, 1, 1);
        for (int i = 0; i < 4; i++) { /* the square of 1e30 is not finite in f32 */
            fill_gradients(&setup, 2, poisons[i]);
            TsLearnerReport report = step_once(&setup, 2);
            CU_ASSERT_EQUAL(report.factor, 0);
            CU_ASSERT(!isfinite(report.gradient_norm));
            expect_values(&setup, &reference);
        }
        fill_gradients(&setup, 2, 0);
        step_once(&setup, 2);
        reference_step(&reference, 1, 2);
        expect_values(&setup, &reference);
        destroy(&setup);
    }
}

static void skips_what_is_too_large(void)
{
    Setup setup;
    Reference reference;
    create(&setup, 0, TS_SHARD_DATA);
    ts_learner_free(&setup.learner);
    setup.config.skip_above = 1;
    TEST_OK(create_learner(&setup));
    start_reference(&reference, &setup);
    fill_gradients(&setup, 1, 0);
    TsLearnerReport report = step_once(&setup, 1);
    CU_ASSERT_EQUAL(report.factor, 0);
    CU_ASSERT(report.gradient_norm > 1);
    expect_values(&setup, &reference);
    destroy(&setup);
}

/* Sharded, a rank's state is about its part of the whole. */
static void state_is_cut(void)
{
    Setup setup;
    create(&setup, 0, TS_SHARD_DATA);
    int64_t local = 0;
    TsBatch *state = ts_learner_state(setup.learner);
    for (int i = 0; i < ts_batch_count(state); i++)
        local += ts_array_local_elems(ts_batch_array(state, i));
    CU_ASSERT_EQUAL(ts_batch_count(state), 4);
    int64_t whole = 2 * (ELEMS + BIAS), ranks = ts_group_size(test_world);
    CU_ASSERT(local >= whole / ranks - 2 * (ROWS + 1) && local <= whole / ranks + 2 * (ROWS + 1));
    destroy(&setup);
}

/* Two users share the kernel; the bias is the first one's alone. A step of the second leaves it as it is, its decay and
 * state included, and the corrections for bias count the steps of those who bind a parameter. */
static void moves_what_a_user_binds(void)
{
    Setup setup;
    create(&setup, 0, TS_SHARD_NONE);
    ts_learner_free(&setup.learner);
    TsParameters *own[2];
    for (int user = 0; user < 2; user++) {
        own[user] = ts_parameters_create(setup.mesh);
        TEST_OK(ts_parameters_shard(own[user], &setup.sharding));
        for (int i = 0; i <= (user == 0); i++) {
            TsParameter row = *ts_parameters_at(setup.parameters, i);
            row.placement = row.declared;
            TEST_OK(ts_parameters_declare(own[user], row));
        }
    }
    TEST_OK(ts_learner_create(&setup.learner, (TsLearnerSetting){.config = &setup.config,
                                                                 .parameters = setup.parameters,
                                                                 .arrays = setup.arrays,
                                                                 .users = (const TsParameters *const *)own,
                                                                 .user_count = 2,
                                                                 .threads = 1}));
    int64_t steps[2] = {0};
    float *bias = ts_batch_find(setup.arrays, "bias")->data, *kernel = ts_batch_find(setup.arrays, "kernel")->data;
    double before = (double)bias[0], kernel_before = (double)kernel[0];
    for (int64_t step = 1; step <= 5; step++) {
        fill_gradients(&setup, step, 0);
        steps[1]++;
        ts_learner_step(setup.learner, 1, steps, step, 10);
        CU_ASSERT_EQUAL((double)bias[0], before);
    }
    CU_ASSERT_NOT_EQUAL((double)kernel[0], kernel_before);
    fill_gradients(&setup, 6, 0);
    steps[0]++;
    ts_learner_step(setup.learner, 0, steps, 6, 10);
    /* The first step of Adam moves each element by the rate. */
    CU_ASSERT_DOUBLE_EQUAL(fabs((double)bias[0] - before), 0.01, 1e-5);
    ts_learner_free(&setup.learner);
    ts_parameters_free(&own[0]);
    ts_parameters_free(&own[1]);
    destroy(&setup);
}

TEST_MAIN("learner", {"moves what a user binds", moves_what_a_user_binds}, {"follows the paper", follows_the_paper},
          {"skips what is not finite", skips_what_is_not_finite}, {"skips what is too large", skips_what_is_too_large},
          {"state is cut", state_is_cut})
