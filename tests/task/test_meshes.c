/* ranks: 1 2 3 4 6 8 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses, gradients and parameters on every mesh against those of one rank. A selection of meshes and 5 steps; with
 * TESSERA_ALL_MESHES=1 all of them, and 20.
 */
#include <stdlib.h>

#include "mesh_run.h"

enum { MOST_STEPS = 20, MOST_ARRAYS = 128 };

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

/* A vocabulary, a width, a hidden width, heads and a batch that few numbers of ranks divide. */
static const Model models[] = {
    {"run.precision=f64 backbone.dropout=0.1 backbone.heads=8 backbone.width=24 backbone.hidden=50 backbone.vocab=261 "
     "tasks.lm.data.batch=7",
     8},
    {"run.precision=f64 backbone.heads=6 backbone.key_value_heads=3 backbone.width=30 backbone.tied=false "
     "backbone.norm=rms "
     "tasks.lm.data.batch=3 tasks.lm.smoothing=0.1 tasks.lm.z_loss=0.01",
     3},
    {"run.precision=f64 backbone.dropout=0.1 backbone.experts=5 backbone.experts_top_k=2 backbone.capacity=0.7 "
     "backbone.heads=8 backbone.width=24 backbone.hidden=20 backbone.vocab=261 tasks.lm.data.batch=7 "
     "backbone.load_balance=0.1",
     8},
    {"run.precision=f64 backbone.experts=4 backbone.experts_top_k=1 backbone.experts_every=2 "
     "backbone.activation=swiglu "
     "backbone.heads=4 backbone.width=16 learner.accumulate=2 tasks.lm.data.batch=12",
     4},
};

static void compare_on(const Expected *expected, const Model *model, int data, int expert, int along_model, int degree,
                       bool sequence, int micros, double bound)
{
    char words[640];
    snprintf(words, sizeof words, "%s mesh.data=%d mesh.expert=%d mesh.model=%d %s%s learner.accumulate=%d",
             model->words, data, expert, along_model, degrees[degree], sequence ? " mesh.sequence_parallel=true" : "",
             micros);
    compare(expected, words, bound);
}

/* Micro-batches, also more than there are rows, and such as do not divide them. */
static void accumulation(void)
{
    static const int micros[] = {1, 2, 3, 4, 9};
    TsGroup *alone = ts_group_split(test_world, "alone", ts_group_rank(test_world), 0);
    Expected expected;
    run_alone(&expected, alone, models[0].words);
    for (size_t i = 0; i < sizeof micros / sizeof *micros; i++)
        for (int degree = 0; degree < 4; degree++) {
            char words[640];
            snprintf(words, sizeof words, "%s %s learner.accumulate=%d", models[0].words, degrees[degree], micros[i]);
            compare(&expected, words, 1e-12);
        }
    free_expected(&expected);
    ts_group_free(&alone);
}

/* All products of data, expert and model, with each degree of sharding; or some of them. */
static void every_mesh(void)
{
    bool all = getenv("TESSERA_ALL_MESHES") != NULL;
    int ranks = ts_group_size(test_world), index = 0, every = ranks < 3 ? 4 : 2 * ranks + 3;
    if (all)
        steps = MOST_STEPS;
    TsGroup *alone = ts_group_split(test_world, "alone", ts_group_rank(test_world), 0);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        Expected expected;
        run_alone(&expected, alone, models[m].words);
        double bound = strstr(models[m].words, "f64") ? 1e-10 : 1e-5;
        for (int along_model = 1; along_model <= ranks && along_model <= models[m].most_model; along_model++)
            for (int expert = 1; expert <= ranks; expert++)
                for (int degree = 0; degree < 4 && ranks % (along_model * expert) == 0; degree++)
                    for (int sequence = 0; sequence <= (along_model > 1); sequence++)
                        if (all || index++ % every == every / 2)
                            compare_on(&expected, &models[m], ranks / expert / along_model, expert, along_model, degree,
                                       sequence, 1 + index / every % 2, bound);
        free_expected(&expected);
    }
    ts_group_free(&alone);
}

TEST_MAIN("meshes", {"every mesh", every_mesh}, {"accumulation", accumulation})
