/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What is frozen has no gradient, no state and no messages, and stays as it is to the bit; the rest gets the gradients
 * that it gets without freezing.
 */
#include "mesh_run.h"

#include "comm/accounting.h"

static bool is_learned(const char *path)
{
    return strstr(path, "layer_01/") != NULL;
}

static bool same_bytes(const TsArray *one, const TsArray *other)
{
    return ts_array_local_bytes(one) == ts_array_local_bytes(other) &&
           memcmp(one->data, other->data, ts_array_local_bytes(one)) == 0;
}

/* To within roundings: other nodes are fused. */
static bool is_near(const TsArray *one, const TsArray *other)
{
    double squares = 0, all = 0;
    if (!other || ts_array_local_elems(one) != ts_array_local_elems(other))
        return false;
    for (int64_t i = 0; i < ts_array_local_elems(one); i++) {
        double a = (double)((const float *)one->data)[i], b = (double)((const float *)other->data)[i];
        squares += (a - b) * (a - b);
        all += b * b;
    }
    return sqrt(squares) <= 1e-5 * sqrt(all);
}

/* Two ways to say the same; all kinds of sharding. */
static void only_the_rest_is_learned(void)
{
    static const char *const words[] = {
        "learner.only=[layer_01/]",
        "learner.freeze=[layer_00/,/table$,backbone/norm/]",
        "learner.only=[layer_01/] parameters.optimizer_shard=none",
        "learner.only=[layer_01/] parameters.shard=data",
    };
    MeshRun whole;
    TEST_OK(mesh_run_create(&whole, test_world, ""));
    mesh_run_pass(&whole, 1);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        MeshRun run;
        TEST_OK(mesh_run_create(&run, test_world, words[i]));
        if (!run.learner)
            continue;
        TsBatch *before = ts_parameters_initialize(run.job->parameters, 3),
                *gradients = ts_learner_gradients(run.learner);
        mesh_run_pass(&run, 1);
        for (int k = 0; k < ts_batch_count(gradients); k++) {
            const TsArray *mine = ts_batch_array(gradients, k);
            const TsArray *its = ts_batch_find(ts_learner_gradients(whole.learner), ts_batch_name(gradients, k));
            CU_ASSERT(is_learned(ts_batch_name(gradients, k)));
            CU_ASSERT(i == 2 || is_near(mine, its)); /* where state is whole, blocks are others */
        }
        for (int k = 0; k < ts_batch_count(ts_learner_state(run.learner)); k++)
            CU_ASSERT(is_learned(ts_batch_name(ts_learner_state(run.learner), k)));
        CU_ASSERT(ts_batch_count(gradients) > 4);
        CU_ASSERT(ts_batch_count(gradients) < ts_batch_count(ts_learner_gradients(whole.learner)));
        mesh_run_learn(&run, 1, 2);
        for (int k = 0; k < ts_batch_count(before); k++) {
            const char *path = ts_batch_name(before, k);
            bool same = same_bytes(ts_batch_array(before, k), ts_batch_find(run.job->arrays, path));
            if (same == is_learned(path) && ts_array_local_elems(ts_batch_array(before, k)))
                fprintf(stderr, "%s: %s %s\n", words[i], path, same ? "did not move" : "moved");
            CU_ASSERT(same != is_learned(path) || !ts_array_local_elems(ts_batch_array(before, k)));
        }
        ts_batch_free(&before);
        mesh_run_free(&run);
    }
    mesh_run_free(&whole);
}

/* ZeRO-1 sends 2 P (d - 1) / d elements: of what is learned. Beside them only norms and decisions. */
static void what_is_frozen_is_not_sent(void)
{
    MeshRun run;
    TEST_OK(mesh_run_create(&run, test_world, "learner.only=[layer_01/]"));
    mesh_run_pass(&run, 1);
    mesh_run_learn(&run, 1, 2);
    ts_account_reset();
    mesh_run_pass(&run, 2);
    mesh_run_learn(&run, 2, 2);
    int64_t learned = 0, ranks = ts_group_size(test_world);
    for (int i = 0; i < ts_parameters_count(run.job->parameters); i++)
        if (ts_parameters_at(run.job->parameters, i)->trainable)
            learned += ts_shape_elems(ts_parameters_at(run.job->parameters, i)->shape);
    int64_t bytes = ts_account_total(TS_AXIS_BIT(TS_AXIS_DATA), TS_COMM_KINDS).bytes;
    int64_t expected = 2 * learned * (int64_t)sizeof(float) * (ranks - 1) / ranks;
    if (bytes < expected * 9 / 10 || bytes > expected + 1024)
        fprintf(stderr, "%lld bytes were sent, expected %lld\n", (long long)bytes, (long long)expected);
    CU_ASSERT(bytes >= expected * 9 / 10 && bytes <= expected + 1024);
    mesh_run_free(&run);
}

static void expect_error(const char *words, const char *message)
{
    MeshRun run;
    TEST_ERROR(mesh_run_create(&run, test_world, words), message);
    mesh_run_free(&run);
}

static void what_cannot_be_is_said(void)
{
    expect_error("learner.freeze=[layer_07/]", "\"layer_07/\" is found in the path of no parameter");
    expect_error("learner.only=[layer_07/]", "learner.only");
    expect_error("learner.only=[(]", "learner.only");
    expect_error("learner.freeze=[.]", "nothing is learned");
    expect_error("learner.freeze=[layer_00/] learner.only=[layer_01/]", "give one of them");
}

TEST_MAIN("freeze", {"only the rest is learned", only_the_rest_is_learned},
          {"what is frozen is not sent", what_is_frozen_is_not_sent},
          {"what cannot be is said", what_cannot_be_is_said})
