/* ranks: 1 2 3 4 6 8 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses, gradients and parameters on every mesh against those of one rank, in f64 and in f32. A selection of meshes
 * and 5 steps; with TESSERA_ALL_MESHES=k, for model k, all of them, and 20 (tests/suites/meshes.sh).
 */
#include <stdlib.h>

#include "mesh_run.h"

enum { MOST_STEPS = 20, MOST_ARRAYS = 128, MOST_LAYOUTS = 128 };

static int steps = 5; /* that are run */

static const double RATE = 1e-3;

/* What one rank has: whole arrays in f64, on every rank. */
typedef struct Whole {
    int count;
    char name[MOST_ARRAYS][160];
    double *value[MOST_ARRAYS]; /* owned */
    int64_t elems[MOST_ARRAYS];
} Whole;

typedef struct Expected {
    double loss[MOST_STEPS][TS_MAX_LOSSES], norm[MOST_STEPS];
    int losses;
    Whole initial, gradients, parameters, batch;
} Expected;

static double element(const TsArray *array, int64_t i)
{
    return array->dtype == TS_F64   ? ((double *)array->data)[i]
           : array->dtype == TS_F32 ? (double)((float *)array->data)[i]
                                    : (double)((int32_t *)array->data)[i];
}

/* Copies rank 0's arrays to every rank. */
static void keep_whole(Whole *whole, const TsBatch *batch)
{
    int64_t count = batch ? ts_batch_count(batch) : 0;
    ts_broadcast(test_world,
                 (TsTransfer){.out = &count, .in = &count, .count_elems = 1, .dtype = TS_I64, .label = "test"}, 0);
    whole->count = (int)count;
    CU_ASSERT(count <= MOST_ARRAYS);
    for (int i = 0; i < whole->count && i < MOST_ARRAYS; i++) {
        const TsArray *array = batch ? ts_batch_array(batch, i) : NULL;
        int64_t elems = array ? ts_shape_elems(array->shape) : 0;
        int32_t name[40] = {0};
        if (array)
            snprintf((char *)name, sizeof name, "%s", ts_batch_name(batch, i));
        TsTransfer transfer = {.out = &elems, .in = &elems, .count_elems = 1, .dtype = TS_I64, .label = "test"};
        ts_broadcast(test_world, transfer, 0);
        transfer = (TsTransfer){.out = name, .in = name, .count_elems = 40, .dtype = TS_I32, .label = "test"};
        ts_broadcast(test_world, transfer, 0);
        memcpy(whole->name[i], name, sizeof name);
        whole->elems[i] = elems;
        whole->value[i] = ts_calloc((size_t)elems + 1, sizeof(double));
        for (int64_t e = 0; array && e < elems; e++)
            whole->value[i][e] = element(array, e);
        transfer = (TsTransfer){
            .out = whole->value[i], .in = whole->value[i], .count_elems = elems, .dtype = TS_F64, .label = "test"};
        ts_broadcast(test_world, transfer, 0);
    }
}

static void free_whole(Whole *whole)
{
    for (int i = 0; i < whole->count; i++)
        ts_free(whole->value[i]);
}

static void free_expected(Expected *expected)
{
    free_whole(&expected->initial);
    free_whole(&expected->gradients);
    free_whole(&expected->parameters);
    free_whole(&expected->batch);
}

static int64_t global_index(const TsArray *array, int64_t index)
{
    int64_t at[TS_MAX_DIMS] = {0}, global = 0;
    int micro = 0;
    TsBlockRange block = ts_array_block(array, 0);
    while (index >= ts_shape_elems(block.shape)) { /* one micro-batch lies behind another */
        index -= ts_shape_elems(block.shape);
        block = ts_array_block(array, ++micro);
    }
    for (int d = array->shape.dims - 1; d >= 0; d--) {
        at[d] = index % block.shape.size[d] + block.first[d];
        index /= block.shape.size[d];
    }
    for (int d = 0; d < array->shape.dims; d++)
        global = global * array->shape.size[d] + at[d];
    return global;
}

/* This rank's blocks against the whole: the norm of the difference within `bound` times that of the array, or `floor`
 * times the root of its elements. */
static void expect_batch(const char *words, const char *what, const TsBatch *batch, const Whole *whole, double bound,
                         double least)
{
    CU_ASSERT_EQUAL(ts_batch_count(batch), whole->count);
    for (int i = 0; i < whole->count; i++) {
        const TsArray *array = ts_batch_find(batch, whole->name[i]);
        CU_ASSERT_PTR_NOT_NULL(array);
        if (!array)
            continue;
        double squares = 0, all = 0;
        for (int64_t e = 0; e < whole->elems[i]; e++)
            all += whole->value[i][e] * whole->value[i][e];
        for (int64_t e = 0; e < ts_array_local_elems(array); e++) {
            double difference = element(array, e) - whole->value[i][global_index(array, e)];
            squares += difference * difference;
        }
        double allowed = bound * fmax(sqrt(all), least * sqrt((double)whole->elems[i]));
        if (!(sqrt(squares) <= allowed))
            fprintf(stderr, "rank %d, %s: %s %s differs by %.3g, %.3g is allowed\n", ts_group_rank(test_world), words,
                    what, whole->name[i], sqrt(squares), allowed);
        CU_ASSERT(sqrt(squares) <= allowed);
    }
}

/* The steps on rank 0 alone, for all. */
static void run_alone(Expected *expected, TsGroup *alone, const char *words)
{
    MeshRun run = {.config = NULL};
    bool runs = ts_group_rank(test_world) == 0;
    memset(expected, 0, sizeof *expected);
    if (runs)
        TEST_OK(mesh_run_create(&run, alone, words));
    keep_whole(&expected->initial, runs ? run.job->arrays : NULL);
    for (int step = 0; step < steps; step++) {
        TsWeightedScalar scalars[TS_MAX_LOSSES] = {{0}};
        if (runs) {
            mesh_run_pass(&run, step + 1);
            mesh_run_losses(&run, scalars);
        }
        if (step == 0) {
            keep_whole(&expected->gradients, runs ? ts_learner_gradients(run.learner) : NULL);
            keep_whole(&expected->batch, runs ? ts_loader_batch(run.job->tasks[0]->train, 0) : NULL);
        }
        if (runs)
            expected->norm[step] = mesh_run_learn(&run, step + 1, steps).gradient_norm;
        for (int i = 0; i < TS_MAX_LOSSES; i++)
            expected->loss[step][i] = scalars[i].value;
        expected->losses = runs ? ts_metrics_count(ts_step_metrics(run.step)) : 0;
    }
    keep_whole(&expected->parameters, runs ? run.job->arrays : NULL);
    TsTransfer transfer = {.out = expected->loss,
                           .in = expected->loss,
                           .count_elems = MOST_STEPS * (TS_MAX_LOSSES + 1),
                           .dtype = TS_F64,
                           .label = "test"};
    ts_broadcast(test_world, transfer, 0);
    if (runs)
        mesh_run_free(&run);
}

static void expect_near(const char *words, const char *what, int step, double ours, double right, double bound)
{
    bool near = fabs(ours - right) <= bound * fmax(1, fabs(right));
    if (!near)
        fprintf(stderr, "rank %d, %s: %s of step %d is %.15g, one rank has %.15g\n", ts_group_rank(test_world), words,
                what, step, ours, right);
    CU_ASSERT(near);
}

static void compare(const Expected *expected, const char *words, double bound)
{
    MeshRun run;
    TsStatus status = ts_comm_agree(test_world, mesh_run_create(&run, test_world, words));
    if (status) {
        if (ts_group_rank(test_world) == 0)
            fprintf(stderr, "%s\n", words);
        TEST_OK(status);
        return;
    }
    expect_batch(words, "initial", run.job->arrays, &expected->initial, 0, 0); /* the same bits */
    for (int step = 0; step < steps; step++) {
        TsWeightedScalar scalars[TS_MAX_LOSSES] = {{0}};
        mesh_run_pass(&run, step + 1);
        mesh_run_losses(&run, scalars);
        for (int i = 0; i < ts_metrics_count(ts_step_metrics(run.step)); i++)
            expect_near(words, ts_metrics_name(ts_step_metrics(run.step), i), step + 1, scalars[i].value,
                        expected->loss[step][i], bound);
        if (step == 0) {
            expect_batch(words, "batch", ts_loader_batch(run.job->tasks[0]->train, 0), &expected->batch, 0, 0);
            expect_batch(words, "gradient", ts_learner_gradients(run.learner), &expected->gradients, bound,
                         expected->norm[0]);
        }
        double norm = mesh_run_learn(&run, step + 1, steps).gradient_norm;
        expect_near(words, "the gradient's norm", step + 1, norm, expected->norm[step], bound);
    }
    /* Where a gradient is zero in theory, as a key's bias, Adam turns rounding into motion. */
    expect_batch(words, "parameter", run.job->arrays, &expected->parameters, fmax(bound, 1e-10), steps * RATE);
    mesh_run_free(&run);
}

/* ---- meshes ---- */

static const char *const degrees[] = {"parameters.optimizer_shard=none", "", "parameters.gradient_shard=data",
                                      "parameters.shard=data"};

typedef struct Model {
    const char *words;
    int most_model; /* ranks along model */
} Model;

/* A vocabulary, a width, a hidden width, heads and a batch that few numbers of ranks divide. The first has everything:
 * dropout, tied embeddings, experts, clipping (to less than the norm of any step), accumulation. */
static const Model models[] = {
    {"backbone.dropout=0.1 backbone.tied=true backbone.experts=5 backbone.experts_top_k=2 backbone.capacity=0.7 "
     "backbone.heads=8 backbone.width=24 backbone.hidden=20 backbone.vocab=261 backbone.load_balance=0.1 "
     "learner.clip=0.1 learner.accumulate=2 tasks.lm.data.batch=7",
     8},
    {"backbone.dropout=0.1 backbone.heads=8 backbone.width=24 backbone.hidden=50 backbone.vocab=261 "
     "tasks.lm.data.batch=7",
     8},
    {"backbone.heads=6 backbone.key_value_heads=3 backbone.width=30 backbone.tied=false "
     "backbone.norm=rms "
     "tasks.lm.data.batch=3 tasks.lm.smoothing=0.1 tasks.lm.z_loss=0.01",
     3},
    {"backbone.dropout=0.1 backbone.experts=5 backbone.experts_top_k=2 backbone.capacity=0.7 "
     "backbone.heads=8 backbone.width=24 backbone.hidden=20 backbone.vocab=261 tasks.lm.data.batch=7 "
     "backbone.load_balance=0.1",
     8},
    {"backbone.experts=4 backbone.experts_top_k=1 backbone.experts_every=2 "
     "backbone.activation=swiglu "
     "backbone.heads=4 backbone.width=16 learner.accumulate=2 tasks.lm.data.batch=12",
     4},
};

typedef struct Precision {
    const char *words;
    double bound; /* of relative differences */
} Precision;

/* Adam divides by the root of the mean square plus epsilon: below the rounding of f32, a gradient that is zero in
 * theory would become motion of the size of the rate. */
static const Precision precisions[] = {{"run.precision=f64", 1e-10},
                                       {"run.precision=f32 learner.optimizer.epsilon=1e-4", 1e-5}};

/* Micro-batches, also more than there are rows, and such as do not divide them. */
static void accumulation(void)
{
    static const int micros[] = {1, 2, 3, 4, 9};
    if (getenv("TESSERA_ALL_MESHES"))
        return;
    TsGroup *alone = ts_group_split(test_world, "alone", ts_group_rank(test_world), 0);
    Expected expected;
    char words[640];
    snprintf(words, sizeof words, "%s %s", models[1].words, precisions[0].words);
    run_alone(&expected, alone, words);
    for (size_t i = 0; i < sizeof micros / sizeof *micros; i++)
        for (int degree = 0; degree < 4; degree++) {
            snprintf(words, sizeof words, "%s %s %s learner.accumulate=%d", models[1].words, precisions[0].words,
                     degrees[degree], micros[i]);
            compare(&expected, words, 1e-12);
        }
    free_expected(&expected);
    ts_group_free(&alone);
}

/* The ways to lay a model out on all ranks, one after another. */
typedef struct Layout {
    int model, expert, degree, sequence;
} Layout;

/* All layouts of so many ranks; their number. */
static int list_layouts(Layout *layouts, int ranks, int most_model)
{
    int count = 0;
    for (int model = 1; model <= ranks && model <= most_model; model++)
        for (int expert = 1; expert <= ranks; expert++)
            for (int variant = 0; variant < (model > 1 ? 8 : 4) && ranks % (model * expert) == 0; variant++)
                if (count < MOST_LAYOUTS)
                    layouts[count++] = (Layout){model, expert, variant % 4, variant / 4};
    CU_ASSERT(count < MOST_LAYOUTS);
    return count;
}

/* Products of data, expert and model, with each degree of sharding, sequence parallel or not: all of them, or one in
 * `every`, beginning with `first`. */
static void compare_model(const Model *model, const Precision *precision, TsGroup *alone, int first, int every)
{
    static Layout layouts[MOST_LAYOUTS];
    int ranks = ts_group_size(test_world), count = list_layouts(layouts, ranks, model->most_model);
    char words[640];
    Expected expected;
    snprintf(words, sizeof words, "%s %s", model->words, precision->words);
    run_alone(&expected, alone, words);
    for (int i = first % every; i < count; i += every) {
        const Layout *layout = &layouts[i];
        snprintf(words, sizeof words, "%s %s mesh.data=%d mesh.expert=%d mesh.model=%d %s %s", model->words,
                 precision->words, ranks / layout->expert / layout->model, layout->expert, layout->model,
                 degrees[layout->degree], layout->sequence ? "mesh.sequence_parallel=true" : "");
        compare(&expected, words, precision->bound);
    }
    free_expected(&expected);
}

/* The model that TESSERA_ALL_MESHES numbers, on all meshes and for all steps; else some of each. */
static void every_mesh(void)
{
    const char *only = getenv("TESSERA_ALL_MESHES");
    int ranks = ts_group_size(test_world), count = (int)(sizeof models / sizeof *models);
    TsGroup *alone = ts_group_split(test_world, "alone", ts_group_rank(test_world), 0);
    steps = only ? MOST_STEPS : 5;
    CU_ASSERT(!only || (atoi(only) >= 0 && atoi(only) < count));
    for (int i = 0; i < 2 * count; i++)
        if (!only || atoi(only) == i / 2)
            compare_model(&models[i / 2], &precisions[i % 2], alone, ranks / 2 + 3 * i, only ? 1 : 2 * ranks + 3);
    ts_group_free(&alone);
}

TEST_MAIN("meshes", {"every mesh", every_mesh}, {"accumulation", accumulation})
