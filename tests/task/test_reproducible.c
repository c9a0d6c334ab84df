/* ranks: 1 2 4 8 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "mesh_run.h"

/* Tied embeddings, dropout, clipping; sizes that ranks do not divide. */
static const char words[] =
    "run.numerics=reproducible backbone.dropout=0.1 backbone.heads=2 backbone.width=66 "
    "backbone.hidden=530 backbone.context=24 backbone.vocab=261 learner.clip=0.1 tasks.lm.data.batch=16";

static const char *const degrees[] = {"parameters.optimizer_shard=none", "", "parameters.gradient_shard=data",
                                      "parameters.shard=data"};

enum { STEPS = 25, FEW_STEPS = 5 };

/* What a run came to: the bits of its losses and norms, and of all parameters; the same number on every rank. */
typedef struct Bits {
    int64_t losses, parameters;
} Bits;

static void mix(int64_t *bits, const void *bytes, size_t count)
{
    *bits = (int64_t)((uint64_t)*bits * 0x9e3779b97f4a7c15u + ts_crc32c(0, bytes, count) + 1);
}

/* A number for this rank's block of an array that is the same however it is cut: a sum over elements. */
static int64_t bits_of(const TsArray *array, int index)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < ts_array_local_elems(array); i++) {
        int64_t at = i, global = 0, step = 1;
        for (int d = array->shape.dims - 1; d >= 0; d--) {
            global += (at % array->block.shape.size[d] + array->block.first[d]) * step;
            step *= array->shape.size[d];
            at /= array->block.shape.size[d];
        }
        int32_t value;
        memcpy(&value, (const float *)array->data + i, sizeof value);
        uint64_t mixed = ((uint64_t)(uint32_t)value ^ ((uint64_t)index << 40)) * 0x9e3779b97f4a7c15u;
        sum += (int64_t)(mixed * (uint64_t)(2 * global + 1) >> 32); /* so that no sum overflows */
    }
    return sum;
}

/* Ranks that hold the same block count once: the parts of those that differ along data add up, if it is cut by it. */
static int64_t bits_of_all(const MeshRun *run)
{
    int64_t bits = 0;
    for (int i = 0; i < ts_batch_count(run->job->arrays); i++) {
        const TsArray *array = ts_batch_array(run->job->arrays, i);
        int64_t part = bits_of(array, i), whole = part;
        if (ts_placement_axes(array->placement) & TS_AXIS_BIT(TS_AXIS_DATA))
            ts_all_reduce(run->job->group,
                          (TsTransfer){.out = &whole, .in = &part, .count_elems = 1, .dtype = TS_I64, .label = "test"});
        bits += whole;
    }
    return bits;
}

/* Steps first + 1 to last of a run on `group`. */
static void go_on(MeshRun *run, Bits *bits, int first, int last)
{
    for (int step = first; step < last; step++) {
        TsWeightedScalar scalars[TS_MAX_LOSSES] = {{0}};
        mesh_run_pass(run, step + 1);
        mesh_run_losses(run, scalars);
        TsLearnerReport report = mesh_run_learn(run, step + 1, STEPS);
        mix(&bits->losses, &scalars[0].value, sizeof(double));
        mix(&bits->losses, &report.gradient_norm, sizeof(double));
        CU_ASSERT(isfinite(scalars[0].value) && report.factor > 0);
    }
    bits->parameters = bits_of_all(run);
}

static Bits run_on(TsGroup *group, const char *degree, int threads, int steps)
{
    MeshRun run;
    Bits bits = {0};
    char all[640];
    snprintf(all, sizeof all, "%s %s run.threads=%d", words, degree, threads);
    TsStatus status = ts_comm_agree(group, mesh_run_create(&run, group, all));
    if (status) {
        TEST_OK(status);
        return bits;
    }
    go_on(&run, &bits, 0, steps);
    mesh_run_free(&run);
    return bits;
}

/* ---- cases ---- */

static void expect_bits(Bits bits, Bits expected, const char *what, const char *degree, int threads)
{
    if (bits.losses != expected.losses || bits.parameters != expected.parameters)
        fprintf(stderr, "rank %d of %d, %s, %s, %d threads: losses %s, parameters %s\n", ts_group_rank(test_world),
                ts_group_size(test_world), what, degree, threads,
                bits.losses == expected.losses ? "the same" : "differ",
                bits.parameters == expected.parameters ? "the same" : "differ");
    CU_ASSERT_EQUAL(bits.losses, expected.losses);
    CU_ASSERT_EQUAL(bits.parameters, expected.parameters);
}

/* Each rank for itself, then all together. */
static void all_meshes_have_the_same_bits(void)
{
    TsGroup *alone = ts_group_split(test_world, "alone", ts_group_rank(test_world), 0);
    Bits expected = run_on(alone, "", 1, STEPS);
    ts_group_free(&alone);
    for (int degree = 0; degree < 4; degree++)
        for (int threads = 1; threads <= 2; threads++)
            if (threads == 1 || (degree == 1 && ts_group_size(test_world) <= 2))
                expect_bits(run_on(test_world, degrees[degree], threads, STEPS), expected, "together", degrees[degree],
                            threads);
}

/* Rules that look at whole matrices, or at norms of their own. */
static void all_optimizers_have_the_same_bits(void)
{
    static const char *const rules[] = {
        "type=adafactor", "type=muon learner.optimizers.rest.type=adamw learner.optimizers.rest.parameters=bias|scale",
        "type=lamb", "type=adam_pax", "type=shampoo"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        char rule[160];
        snprintf(rule, sizeof rule, "learner.optimizer.%s", rules[i]);
        TsGroup *alone = ts_group_split(test_world, "alone", ts_group_rank(test_world), 0);
        Bits expected = run_on(alone, rule, 1, FEW_STEPS);
        ts_group_free(&alone);
        for (int degree = 0; degree < 4; degree += 3) { /* nothing cut, and everything */
            char all[256];
            snprintf(all, sizeof all, "%s %s", rule, degrees[degree]);
            expect_bits(run_on(test_world, all, 1, FEW_STEPS), expected, "optimizers", all, 1);
        }
    }
}

TEST_MAIN("reproducible", {"all meshes have the same bits", all_meshes_have_the_same_bits},
          {"all optimizers have the same bits", all_optimizers_have_the_same_bits})
