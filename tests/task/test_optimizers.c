/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Every optimizer, with groups, clipping and averages, against PyTorch's, Transformers' and the papers' values in
 * tests/golden/learning.txt (make_learning.py beside it writes it): in f64 and f32, with state whole, ZeRO-1 and
 * ZeRO-3.
 */
#include "task/learner/learner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "test.h"

enum { STEPS = 6, PARAMETERS = 3, MOST_ELEMS = 64 };

typedef struct Case {
    char *name;                                 /* "adamw_ema" */
    TsConfig *config;                           /* of a TsLearnerConfig */
    double expected[2][PARAMETERS][MOST_ELEMS]; /* parameters, averages */
    bool averaged;
} Case;

static const char *const paths[PARAMETERS] = {"kernel", "heads", "bias"};

static TsShape shape_of(int k)
{
    return k == 0 ? ts_shape(6, 4) : k == 1 ? ts_shape(5, 2, 3) : ts_shape(7);
}

static double first_value(int k, int64_t e)
{
    return cos(0.7 * (double)e + k) * 0.5;
}

static double gradient_value(int k, int64_t e, int64_t step)
{
    return sin(3.0 * (double)e + 5.0 * (double)step + 17.0 * k) * (k + 1) * 0.25;
}

/* ---- arrays of any dtype and cut ---- */

static int64_t global_index(const TsArray *array, int64_t index)
{
    int64_t at[TS_MAX_DIMS] = {0}, global = 0;
    for (int d = array->shape.dims - 1; d >= 0; d--) {
        at[d] = index % array->block.shape.size[d] + array->block.first[d];
        index /= array->block.shape.size[d];
    }
    for (int d = 0; d < array->shape.dims; d++)
        global = global * array->shape.size[d] + at[d];
    return global;
}

static double get(const TsArray *array, int64_t i)
{
    return array->dtype == TS_F64 ? ((const double *)array->data)[i] : (double)((const float *)array->data)[i];
}

static void set(TsArray *array, int64_t i, double value)
{
    if (array->dtype == TS_F64)
        ((double *)array->data)[i] = value;
    else
        ((float *)array->data)[i] = (float)value;
}

/* ---- the golden file ---- */

static void read_values(double *values, const char *text)
{
    char *end;
    for (int i = 0; i < MOST_ELEMS; i++, text = end) {
        values[i] = strtod(text, &end);
        if (end == text)
            break;
    }
}

/* The next optimizer of the file; false at its end. */
static bool read_case(Case *next, FILE *file)
{
    char *line = NULL;
    size_t room = 0;
    int left = 0;
    *next = (Case){.name = NULL};
    while ((!next->name || left) && getline(&line, &room, file) > 0) {
        char *rest = line, *word = strsep(&rest, " ");
        if (strcmp(word, "learner") == 0) {
            next->name = ts_strdup(strsep(&rest, " "));
            TsConfigText text = {next->name, rest, strlen(rest)};
            TEST_OK(ts_config_load(&next->config, &ts_learner_table, (TsConfigSources){&text, 1, NULL, 0}));
            const TsLearnerConfig *config = next->config ? ts_config_value(next->config) : NULL;
            next->averaged = config && config->ema;
            left = next->averaged ? 2 * PARAMETERS : PARAMETERS;
        } else if (left) {
            bool average = strncmp(word, "average/", 8) == 0;
            for (int k = 0; k < PARAMETERS; k++)
                if (strcmp(word + (average ? 8 : 0), paths[k]) == 0)
                    read_values(next->expected[average][k], rest);
            left--;
        }
    }
    free(line);
    return next->name != NULL;
}

/* ---- a run ---- */

typedef struct Setup {
    TsShardingConfig sharding;
    TsMesh *mesh;
    TsParameters *parameters;
    TsBatch *arrays;
    TsLearner *learner;
} Setup;

static TsStatus create(Setup *setup, const TsLearnerConfig *config, TsShardingConfig sharding, TsDtype dtype)
{
    *setup = (Setup){.sharding = sharding};
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}};
    TEST_OK(ts_mesh_create(&setup->mesh, test_world, shape));
    setup->parameters = ts_parameters_create(setup->mesh);
    TEST_OK(ts_parameters_shard(setup->parameters, &setup->sharding));
    for (int k = 0; k < PARAMETERS; k++)
        TEST_OK(ts_parameters_declare(
            setup->parameters,
            (TsParameter){.path = paths[k], .dtype = dtype, .shape = shape_of(k), .trainable = true, .decays = k < 2}));
    setup->arrays = ts_parameters_initialize(setup->parameters, 3);
    for (int k = 0; k < PARAMETERS; k++) {
        TsArray *array = ts_batch_find(setup->arrays, paths[k]);
        for (int64_t i = 0; i < ts_array_local_elems(array); i++)
            set(array, i, first_value(k, global_index(array, i)));
    }
    return ts_learner_create(
        &setup->learner,
        (TsLearnerSetting){.config = config, .parameters = setup->parameters, .arrays = setup->arrays, .threads = 1});
}

static void destroy(Setup *setup)
{
    ts_learner_free(&setup->learner);
    ts_batch_free(&setup->arrays);
    ts_parameters_free(&setup->parameters);
    ts_mesh_free(&setup->mesh);
}

static TsLearnerReport step_once(Setup *setup, int64_t step, double poison)
{
    for (int k = 0; k < PARAMETERS; k++) {
        TsArray *array = ts_batch_find(ts_learner_gradients(setup->learner), ts_learner_gradient_name(paths[k]).text);
        for (int64_t i = 0; i < ts_array_local_elems(array); i++) {
            int64_t e = global_index(array, i);
            set(array, i, k == 2 && e == 6 && poison != 0 ? poison : gradient_value(k, e, step));
        }
    }
    return ts_learner_step(setup->learner, 0, &step, step, 10);
}

static void expect(const char *what, const TsArray *array, const double *expected, double bound)
{
    double worst = 0;
    for (int64_t i = 0; i < ts_array_local_elems(array); i++) {
        double difference = fabs(get(array, i) - expected[global_index(array, i)]);
        worst = difference > worst || difference != difference ? difference : worst;
    }
    if (!(worst <= bound))
        fprintf(stderr, "rank %d, %s: off by %.3g, %.3g is allowed\n", ts_group_rank(test_world), what, worst, bound);
    CU_ASSERT(worst <= bound);
}

static void run_case(const Case *one, TsShardingConfig sharding, TsDtype dtype)
{
    Setup setup;
    char what[128];
    /* Scalars are f32, and some of what Adafactor makes of them. */
    double bound = dtype == TS_F32 ? 4e-6 : strncmp(one->name, "adafactor", 9) == 0 ? 2e-8 : 2e-9;
    TEST_OK(create(&setup, ts_config_value(one->config), sharding, dtype));
    if (!setup.learner) {
        destroy(&setup);
        return;
    }
    for (int64_t step = 1; step <= STEPS; step++) {
        step_once(&setup, step, 0);
        if (step == 2) /* what is skipped leaves no trace */
            CU_ASSERT_EQUAL(step_once(&setup, step + 1, NAN).factor, 0);
    }
    if (one->averaged)
        ts_averages_gather(ts_learner_averages(setup.learner));
    for (int k = 0; k < PARAMETERS; k++) {
        snprintf(what, sizeof what, "%s %s %s, cut %d %d", one->name, ts_dtype_name(dtype), paths[k],
                 (int)sharding.optimizer_shard, (int)sharding.shard);
        expect(what, ts_batch_find(setup.arrays, paths[k]), one->expected[0][k], bound);
        if (one->averaged)
            expect(what, ts_batch_find(ts_averages_arrays(ts_learner_averages(setup.learner)), paths[k]),
                   one->expected[1][k], bound);
    }
    destroy(&setup);
}

static void values_are_the_papers(void)
{
    static const TsShardingConfig shardings[] = {
        {.shard = TS_SHARD_NONE}, {.optimizer_shard = TS_SHARD_DATA}, {.shard = TS_SHARD_DATA}};
    FILE *file = fopen("tests/golden/learning.txt", "r");
    int cases = 0;
    CU_ASSERT_PTR_NOT_NULL(file);
    for (Case one; file && read_case(&one, file); cases++) {
        for (int sharding = 0; sharding < 3 && one.config; sharding++) {
            run_case(&one, shardings[sharding], TS_F64);
            run_case(&one, shardings[sharding], TS_F32);
        }
        ts_config_free(&one.config);
        ts_free(one.name);
    }
    CU_ASSERT(cases >= 19);
    if (file)
        fclose(file);
}

static void what_cannot_be_is_said(void)
{
    static const char *const wrong[][2] = {
        {"{optimizer: muon}", "learner.optimizer: muon does not take bias (7): it is no matrix"},
        {"{optimizers: {a: {parameters: kernel, type: sgd}, b: {parameters: ker, type: lion}}}",
         "learner.optimizers.b: it takes kernel, as learner.optimizers.a does"},
        {"{optimizers: {a: {parameters: embedding, type: sgd}}}",
         "learner.optimizers.a: \"embedding\" is found in the path of no parameter"},
        {"{no_decay: [embedding]}", "learner.no_decay: \"embedding\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        TsConfig *config = NULL;
        TsConfigText text = {"wrong", wrong[i][0], strlen(wrong[i][0])};
        TEST_OK(ts_config_load(&config, &ts_learner_table, (TsConfigSources){&text, 1, NULL, 0}));
        Setup setup;
        TEST_ERROR(create(&setup, ts_config_value(config), (TsShardingConfig){.shard = TS_SHARD_NONE}, TS_F32),
                   wrong[i][1]);
        destroy(&setup);
        ts_config_free(&config);
    }
}

TEST_MAIN("optimizers", {"values are the papers'", values_are_the_papers},
          {"what cannot be is said", what_cannot_be_is_said})
