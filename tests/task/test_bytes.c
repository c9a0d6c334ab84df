/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What a step sends by each kind of parallelism, as it is counted, against the formulas: exactly, where sizes divide.
 */
#include <stdlib.h>

#include "comm/accounting.h"
#include "mesh_run.h"

enum {
    ELEM = 8,
    LAYERS = 2,
    WIDTH = 16,
    LENGTH = 8,
    BATCH = 8,
    TOP_K = 2,
    LINE_BYTES = 64,
    ID_BYTES = 4,
    VOCABULARY = 256,
    MOST_ROWS = 512
};

/* Bytes of two kinds along an axis, of labels that begin so; scalars that ranks agree on are left out. */
static int64_t counted(TsAxis axis, TsCommKind one, TsCommKind other, const char *prefix)
{
    static TsAccountRow rows[MOST_ROWS];
    int count = ts_account_rows(rows, MOST_ROWS);
    int64_t bytes = 0;
    CU_ASSERT(count <= MOST_ROWS);
    for (int i = 0; i < count && i < MOST_ROWS; i++) {
        const TsAccountRow *row = &rows[i];
        bool is_kind = row->kind == one || row->kind == other,
             has_prefix = !strncmp(row->label, prefix, strlen(prefix));
        if (row->axes == TS_AXIS_BIT(axis) && is_kind && has_prefix && row->bytes > 4 * ELEM * row->calls)
            bytes += row->bytes;
    }
    return bytes;
}

static int64_t added_elems; /* of the parameters of the last run that are only added: biases, positions */
static int64_t dense_elems; /* of those that experts do not own */

static void count_elems(const TsParameters *parameters)
{
    added_elems = dense_elems = 0;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (strstr(row->path, "/bias") || strstr(row->path, "positions/"))
            added_elems += ts_shape_elems(row->shape);
        if (!(ts_placement_axes(row->declared) & TS_AXIS_BIT(TS_AXIS_EXPERT)))
            dense_elems += ts_shape_elems(row->shape);
    }
}

/* Runs a step with this config, and accounts for it. Gives how many parameters there are. */
static int64_t run_step(const char *format, bool learns)
{
    char words[512];
    MeshRun run;
    snprintf(words, sizeof words, "run.precision=f64 learner.clip=0 %s", format);
    TsStatus status = ts_comm_agree(test_world, mesh_run_create(&run, test_world, words));
    if (status) {
        TEST_OK(status);
        return 0;
    }
    mesh_run_pass(&run, 1);
    mesh_run_learn(&run, 1, 2);
    ts_account_reset();
    mesh_run_pass(&run, 2);
    if (learns)
        mesh_run_learn(&run, 2, 2);
    int64_t elems = ts_parameters_elems(run.job->parameters);
    count_elems(run.job->parameters);
    mesh_run_free(&run);
    return elems;
}

static void expect(const char *what, int64_t found, int64_t right)
{
    if (found != right)
        fprintf(stderr, "%s: %lld bytes are counted, the formula has %lld\n", what, (long long)found, (long long)right);
    CU_ASSERT_EQUAL(found, right);
}

static void data_parallel(void)
{
    int64_t d = ts_group_size(test_world);
    int64_t P = run_step("parameters.optimizer_shard=none", false);
    expect("data parallel", counted(TS_AXIS_DATA, TS_COMM_ALL_REDUCE, TS_COMM_ALL_REDUCE, ""),
           2 * P * (d - 1) / d * ELEM);
    run_step("parameters.optimizer_shard=none learner.accumulate=2", false);
    expect("data parallel, 2 micro-batches", counted(TS_AXIS_DATA, TS_COMM_ALL_REDUCE, TS_COMM_ALL_REDUCE, ""),
           2 * P * (d - 1) / d * ELEM);
}

/* What the gradient of a table that is read twice, by the embedding and for the logits, costs beside the formulas,
 * where it is scattered as it comes: the rows of the batch, and which they are. */
static int64_t rows_gathered(TsAxis axis)
{
    return counted(axis, TS_COMM_ALL_GATHER, TS_COMM_ALL_GATHER, "backbone/rows");
}

static int64_t formula_of_rows(int64_t tokens)
{
    int64_t d = ts_group_size(test_world);
    return tokens * (WIDTH * ELEM + ID_BYTES) * (d - 1) / d;
}

static int64_t scattered_and_gathered(void)
{
    return counted(TS_AXIS_DATA, TS_COMM_REDUCE_SCATTER, TS_COMM_ALL_GATHER, "") - rows_gathered(TS_AXIS_DATA);
}

static void sharded(void)
{
    int64_t d = ts_group_size(test_world), P = run_step("", true);
    expect("ZeRO-1", scattered_and_gathered(), 2 * P * (d - 1) / d * ELEM);
    run_step("learner.accumulate=2", true);
    expect("ZeRO-1, 2 micro-batches", scattered_and_gathered(), 2 * P * (d - 1) / d * ELEM);
    run_step("parameters.gradient_shard=data learner.accumulate=2", true);
    expect("ZeRO-2, 2 micro-batches", scattered_and_gathered(), 3 * P * (d - 1) / d * ELEM);
    run_step("parameters.shard=data", true);
    expect("ZeRO-3", scattered_and_gathered(), /* what is only added is not gathered for the backward pass */
           (3 * P - added_elems) * (d - 1) / d * ELEM);
    expect("ZeRO-3: rows", rows_gathered(TS_AXIS_DATA), formula_of_rows(BATCH * LENGTH));
}

/* More rows in the batch than in the table: its gradient is scattered once for each of its two readers. */
static void sharded_with_many_rows(void)
{
    int64_t d = ts_group_size(test_world), P = run_step("parameters.shard=data tasks.lm.data.batch=64", true);
    expect("ZeRO-3, many rows", scattered_and_gathered(),
           (3 * P + VOCABULARY * WIDTH - added_elems) * (d - 1) / d * ELEM);
    expect("ZeRO-3, many rows: gathered", rows_gathered(TS_AXIS_DATA), 0);
}

static void tensor_parallel(void)
{
    char words[128];
    int64_t t = ts_group_size(test_world), right = 8 * BATCH * LENGTH * WIDTH * (t - 1) / t * LAYERS * ELEM;
    snprintf(words, sizeof words, "mesh.model=%d", (int)t);
    run_step(words, false);
    expect("tensor parallel", counted(TS_AXIS_MODEL, TS_COMM_ALL_REDUCE, TS_COMM_ALL_REDUCE, "backbone/layer_"), right);
    snprintf(words, sizeof words, "mesh.model=%d mesh.sequence_parallel=true", (int)t);
    run_step(words, false);
    expect("sequence parallel", counted(TS_AXIS_MODEL, TS_COMM_REDUCE_SCATTER, TS_COMM_ALL_GATHER, "backbone/layer_"),
           right);
}

static int64_t scattered_and_gathered_by_experts(void)
{
    return counted(TS_AXIS_EXPERT, TS_COMM_REDUCE_SCATTER, TS_COMM_ALL_GATHER, "") - rows_gathered(TS_AXIS_EXPERT);
}

/* Dense gradients are sums over expert too: what data parallel says holds for all ranks that share the batch. */
static void dense_beside_experts(void)
{
    int e = ts_group_size(test_world);
    for (int micros = 1; micros <= 4; micros *= 2) {
        char words[256];
        snprintf(words, sizeof words, "mesh.expert=%d backbone.experts=4 tasks.lm.data.batch=16 learner.accumulate=%d",
                 e, micros);
        run_step(words, true);
        expect("ZeRO-1 beside experts", scattered_and_gathered_by_experts(), 2 * dense_elems * (e - 1) / e * ELEM);
        char more[320];
        snprintf(more, sizeof more, "%s parameters.gradient_shard=data", words);
        run_step(more, true);
        expect("ZeRO-2 beside experts", scattered_and_gathered_by_experts(),
               (micros + 1) * dense_elems * (e - 1) / e * ELEM);
        expect("ZeRO-2 beside experts: rows", rows_gathered(TS_AXIS_EXPERT),
               micros == 1 ? formula_of_rows(16 * LENGTH) : 0);
        snprintf(more, sizeof more, "%s parameters.optimizer_shard=none", words);
        run_step(more, false);
        /* e does not divide their number in whole cache lines: each rank is within one of the formula, both ways */
        int64_t found = counted(TS_AXIS_EXPERT, TS_COMM_ALL_REDUCE, TS_COMM_ALL_REDUCE, ""),
                right = 2 * dense_elems * (e - 1) / e * ELEM;
        expect("data parallel beside experts", llabs(found - right) <= 2 * LINE_BYTES ? right : found, right);
    }
}

static void expert_parallel(void)
{
    char words[160];
    int64_t e = ts_group_size(test_world), tokens = BATCH * LENGTH / e;
    snprintf(words, sizeof words, "mesh.expert=%d backbone.experts=4 backbone.experts_top_k=%d backbone.capacity=1",
             (int)e, TOP_K);
    run_step(words, false);
    expect("expert parallel", counted(TS_AXIS_EXPERT, TS_COMM_ALL_TO_ALL, TS_COMM_ALL_TO_ALL, ""),
           2 * 2 * TOP_K * tokens * WIDTH * (e - 1) / e * LAYERS * ELEM);
}

TEST_MAIN("bytes", {"data parallel", data_parallel}, {"sharded", sharded},
          {"sharded, with many rows", sharded_with_many_rows}, {"tensor parallel", tensor_parallel},
          {"expert parallel", expert_parallel}, {"dense beside experts", dense_beside_experts})
