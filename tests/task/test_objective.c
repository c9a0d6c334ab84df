/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What is differentiated: variational noise, whose gradient updates the clean parameters; losses by name; what sums are
 * divided by.
 */
#include "mesh_run.h"

#include "base/philox.h"

static double norm_of(const TsBatch *batch)
{
    double squares = 0;
    for (int i = 0; i < ts_batch_count(batch); i++)
        for (int64_t k = 0; k < ts_array_local_elems(ts_batch_array(batch, i)); k++)
            squares += pow((double)((float *)ts_batch_array(batch, i)->data)[k], 2);
    return sqrt(squares);
}

/* |a factor - b| over |b|, of all arrays of b. */
static double distance(const TsBatch *a, const TsBatch *b, double factor)
{
    double squares = 0;
    for (int i = 0; i < ts_batch_count(b); i++) {
        const TsArray *its = ts_batch_array(b, i), *mine = ts_batch_find(a, ts_batch_name(b, i));
        for (int64_t k = 0; mine && k < ts_array_local_elems(its); k++)
            squares += pow((double)((float *)mine->data)[k] * factor - (double)((float *)its->data)[k], 2);
    }
    return sqrt(squares) / fmax(norm_of(b), 1e-30);
}

/* Adds scale N(0, 1) of step `step` to the parameters of layer_01 that are whole here. */
static void add_noise(MeshRun *run, double scale, int64_t step)
{
    for (int i = 0; i < ts_batch_count(run->job->arrays); i++) {
        TsArray *array = ts_batch_array(run->job->arrays, i);
        char name[256];
        if (!strstr(ts_batch_name(run->job->arrays, i), "layer_01/"))
            continue;
        snprintf(name, sizeof name, "vn/%s", ts_batch_name(run->job->arrays, i));
        TsStream stream = ts_stream(3, name, step);
        for (int64_t k = 0; k < ts_array_local_elems(array); k++)
            ((float *)array->data)[k] += (float)scale * ts_stream_normal_f32(stream, k);
    }
}

#define VN "tasks.lm.vn.scale=0.05 tasks.lm.vn.regex=layer_01/ "

/* The gradient is that at theta', and theta itself is what is updated. */
static void noise_is_not_kept(void)
{
    static const char *const shardings[] = {"", "parameters.shard=data", "parameters.optimizer_shard=none"};
    for (size_t s = 0; s < sizeof shardings / sizeof *shardings; s++) {
        MeshRun noisy, moved;
        char words[256];
        snprintf(words, sizeof words, VN "%s learner.optimizer.type=sgd learner.optimizer.rate=0.5 learner.clip=0",
                 shardings[s]);
        TEST_OK(mesh_run_create(&noisy, test_world, words));
        TEST_OK(mesh_run_create(&moved, test_world,
                                "learner.optimizer.type=sgd learner.optimizer.rate=0.5 learner.clip=0"));
        if (!noisy.step || !moved.step)
            return;
        TsBatch *clean = ts_parameters_initialize(noisy.job->parameters, 3);
        add_noise(&moved, 0.05, 1);
        mesh_run_pass(&noisy, 1);
        mesh_run_pass(&moved, 1);
        TsWeightedScalar loss[2][TS_MAX_LOSSES];
        mesh_run_losses(&noisy, loss[0]);
        mesh_run_losses(&moved, loss[1]);
        CU_ASSERT_DOUBLE_EQUAL(loss[0][0].value, loss[1][0].value, 1e-5);
        if (s < 2) /* else the blocks are others */
            CU_ASSERT(distance(ts_learner_gradients(noisy.learner), ts_learner_gradients(moved.learner), 1) < 1e-4);
        CU_ASSERT(distance(noisy.job->arrays, clean, 1) == 0);
        mesh_run_learn(&noisy, 1, 2);
        for (int i = 0; i < ts_batch_count(clean) && ts_group_size(test_world) == 1;
             i++) { /* theta - rate * gradient */
            const char *path = ts_batch_name(clean, i);
            const TsArray *was = ts_batch_array(clean, i), *is = ts_batch_find(noisy.job->arrays, path);
            const TsArray *gradient =
                ts_batch_find(ts_learner_gradients(noisy.learner), ts_learner_gradient_name(path).text);
            double worst = 0;
            const TsOptimizerConfig *sgd = noisy.job->keys->learner.optimizer.value;
            for (int64_t k = 0; gradient && k < ts_array_local_elems(was); k++)
                worst = fmax(worst, fabs((double)((float *)is->data)[k] - (double)((float *)was->data)[k] +
                                         sgd->rate * (double)((float *)gradient->data)[k]));
            CU_ASSERT(gradient && worst < 1e-6);
        }
        ts_batch_free(&clean);
        mesh_run_free(&noisy);
        mesh_run_free(&moved);
    }
}

static double loss_at(const char *words, int64_t step)
{
    MeshRun run;
    TsWeightedScalar loss[TS_MAX_LOSSES] = {{NAN, 0}};
    TEST_OK(mesh_run_create(&run, test_world, words));
    if (run.step) {
        TsTask *task = run.job->tasks[0];
        ts_loader_next(task->train, &task->place);
        ts_step_run(run.step, step, 1);
        mesh_run_losses(&run, loss);
    }
    mesh_run_free(&run);
    return loss[0].value;
}

static void noise_begins_at_its_step(void)
{
    double clean = loss_at("", 4), before = loss_at(VN "tasks.lm.vn.start_step=5", 4);
    double at = loss_at(VN "tasks.lm.vn.start_step=4", 4), next = loss_at(VN, 5);
    CU_ASSERT_DOUBLE_EQUAL(clean, before, 1e-6);
    CU_ASSERT(fabs(clean - at) > 1e-5);
    CU_ASSERT(fabs(at - next) > 1e-5); /* other noise in each step */
}

static void sums_are_divided(void)
{
    MeshRun targets, tokens, sequences, named;
    TEST_OK(mesh_run_create(&targets, test_world, ""));
    TEST_OK(mesh_run_create(&tokens, test_world, "tasks.lm.objective.normalize=tokens"));
    TEST_OK(mesh_run_create(&sequences, test_world, "tasks.lm.objective.normalize=sequences learner.accumulate=2"));
    TEST_OK(mesh_run_create(&named, test_world, "tasks.lm.objective.losses=[loss,loss]"));
    MeshRun *runs[] = {&targets, &tokens, &sequences, &named};
    for (int i = 0; i < 4; i++)
        if (runs[i]->step)
            mesh_run_pass(runs[i], 1);
    if (targets.step && tokens.step && sequences.step && named.step) {
        const TsBatch *base = ts_learner_gradients(targets.learner);
        /* Here each of 8 sequences has 8 targets, so that tokens count as many. */
        CU_ASSERT(distance(ts_learner_gradients(tokens.learner), base, 1) < 1e-5);
        CU_ASSERT(distance(ts_learner_gradients(sequences.learner), base, 1.0 / 8) < 1e-5);
        CU_ASSERT(distance(ts_learner_gradients(named.learner), base, 0.5) < 1e-5);
    }
    for (int i = 0; i < 4; i++)
        mesh_run_free(runs[i]);
}

static void what_cannot_be_is_said(void)
{
    MeshRun run;
    TEST_ERROR(mesh_run_create(&run, test_world, "tasks.lm.vn.scale=0.1 tasks.lm.vn.regex=layer_09/"),
               "vn.regex: \"layer_09/\" is found in the path of no parameter that learns");
    mesh_run_free(&run);
    TEST_ERROR(mesh_run_create(&run, test_world, VN "learner.freeze=[layer_01/]"), "no parameter that learns");
    mesh_run_free(&run);
    TEST_ERROR(mesh_run_create(&run, test_world, "tasks.lm.objective.losses=[loss,balance]"),
               "there is no loss balance; there are loss");
    mesh_run_free(&run);
}

TEST_MAIN("objective", {"noise is not kept", noise_is_not_kept}, {"noise begins at its step", noise_begins_at_its_step},
          {"sums are divided", sums_are_divided}, {"what cannot be is said", what_cannot_be_is_said})
