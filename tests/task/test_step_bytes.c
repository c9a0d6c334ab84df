/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What the steps of each kind of parallelism send: what a plan says, what the accounting counts, and, on virtual hosts
 * of one rank each (tests/suites/cluster.sh), what goes out through their interface e0.
 */
#include <stdlib.h>
#include <unistd.h>

#include "comm/accounting.h"
#include "mesh_run.h"
#include "task/command/plan.h"

enum { STEPS = 2 };

/* Bytes that went out through an interface ("e0:") so far; negative: there is none of that name. */
static double interface_bytes(const char *name)
{
    FILE *file = fopen("/proc/self/net/dev", "r");
    char line[512];
    double out_bytes = -1;
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        double field[9];
        if (!colon || !strstr(line, name))
            continue;
        int read = sscanf(colon + 1, "%lf %lf %lf %lf %lf %lf %lf %lf %lf", &field[0], &field[1], &field[2], &field[3],
                          &field[4], &field[5], &field[6], &field[7], &field[8]);
        out_bytes = read == 9 ? field[8] : -1;
    }
    if (file)
        fclose(file);
    return out_bytes;
}

static double planned_over(const TsPlan *plan, TsAxisSet axes)
{
    double bytes = 0;
    for (int i = 0; i < plan->estimate.collectives; i++)
        bytes += plan->estimate.collective[i].axes == axes ? plan->estimate.collective[i].bytes : 0;
    return bytes;
}

static double calls_over(const TsPlan *plan, TsAxisSet axes)
{
    double calls = 0;
    for (int i = 0; i < plan->estimate.collectives; i++)
        calls += plan->estimate.collective[i].axes == axes ? (double)plan->estimate.collective[i].calls : 0;
    return calls;
}

/* A plan is for the last rank: what that one counts, along each axis, is what was planned, to the byte but for the
 * rounding of a call whose elements ranks do not divide: less than one element each way. */
static void expect_plan(const MeshRun *run, const char *what)
{
    TsGroup *self = ts_group_split(test_world, "self", ts_group_rank(test_world), 0);
    TsPlan *plan = NULL;
    TEST_OK(ts_plan_make(&plan, self, run->config, ts_mesh_shape(run->job->mesh), (TsPlanVisitor){NULL, NULL}));
    for (TsAxisSet axes = 2; plan && axes < 1u << TS_AXES; axes += 2) {
        double counted = (double)ts_account_total(axes, TS_COMM_KINDS).bytes / STEPS;
        double planned = planned_over(plan, axes);
        if (ts_group_rank(test_world) != ts_group_size(test_world) - 1)
            continue;
        bool same = fabs(counted - planned) <= 2 * sizeof(float) * calls_over(plan, axes);
        if (!same)
            fprintf(stderr, "%s: along %s %.1f bytes are counted, %.1f are planned\n", what, ts_axes_text(axes).text,
                    counted, planned);
        CU_ASSERT(same);
    }
    ts_free(plan);
    ts_group_free(&self);
}

/* Steps of a job of that mesh and sharding. */
static void check(const char *what, const char *words)
{
    char all[640];
    MeshRun run;
    int size = ts_group_size(test_world);
    snprintf(all, sizeof all,
             "backbone.width=256 backbone.heads=4 backbone.context=32 tasks.lm.data.batch=8 run.threads=1 %s", words);
    TsStatus status = ts_comm_agree(test_world, mesh_run_create(&run, test_world, all));
    if (status) {
        TEST_OK(status);
        return;
    }
    mesh_run_pass(&run, 1); /* connections are made */
    mesh_run_learn(&run, 1, STEPS + 1);
    ts_barrier(test_world, "bytes");
    usleep(100000);
    ts_account_reset();
    double before = interface_bytes("e0:");
    for (int step = 2; step < 2 + STEPS; step++) {
        mesh_run_pass(&run, step);
        mesh_run_learn(&run, step, STEPS + 1);
    }
    expect_plan(&run, what);
    double accounted = 0;
    for (TsAxisSet axes = 2; axes < 1u << TS_AXES; axes += 2)
        accounted += (double)ts_account_total(axes, TS_COMM_KINDS).bytes;
    CU_ASSERT(size == 1 || accounted > 1e5 * STEPS);
    if (before >= 0 && size > 1 && ts_group_nodes(test_world) == size) {
        ts_barrier(test_world, "bytes");
        usleep(100000); /* what is still on its way out */
        double sent = interface_bytes("e0:") - before;
        fprintf(stderr, "rank %d: %s: %.0f bytes accounted for, %.0f went out: %.4f\n", ts_group_rank(test_world), what,
                accounted, sent, sent / accounted);
        CU_ASSERT(sent > 0.95 * accounted && sent < 1.05 * accounted);
    }
    mesh_run_free(&run);
}

/* ---- cases: each row of docs/parallelism.md ---- */

static void data(void)
{
    check("data parallel", "parameters.optimizer_shard=none");
    check("data parallel, 2 micro-batches", "parameters.optimizer_shard=none learner.accumulate=2");
    check("ZeRO-1", "");
    check("ZeRO-2, 2 micro-batches", "parameters.gradient_shard=data learner.accumulate=2");
    check("ZeRO-3", "parameters.shard=data");
    check("ZeRO-3, 2 micro-batches", "parameters.shard=data learner.accumulate=2");
    check("ZeRO-3, computed again", "parameters.shard=data memory.recompute=block");
}

static void model(void)
{
    char words[160];
    int size = ts_group_size(test_world);
    snprintf(words, sizeof words, "mesh.model=%d", size);
    check("tensor parallel", words);
    snprintf(words, sizeof words, "mesh.model=%d mesh.sequence_parallel=true", size);
    check("tensor and sequence parallel", words);
}

static void experts(void)
{
    char words[160];
    snprintf(words, sizeof words, "mesh.expert=%d backbone.experts=4 learner.accumulate=2", ts_group_size(test_world));
    check("experts", words);
}

TEST_MAIN("step_bytes", {"data", data}, {"model", model}, {"experts", experts})
