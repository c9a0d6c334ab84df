/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Maxima and sums of cross-entropy as one node: where the classes are whole, and with the values of both.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op_test.h"

static TsTensor build_loss(const TsTensor *in)
{
    return ts_cross_entropy(in[0], in[1], (TsCrossEntropy){.ignore = 3, .smoothing = 0.1, .z_loss = 0.01});
}

static bool mentions(const TsProgram *program, const char *words)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    ts_program_describe(program, file);
    fclose(file);
    bool found = strstr(text, words) != NULL;
    free(text);
    return found;
}

static OpCase case_of(int64_t classes, double low, double high)
{
    return (OpCase){.name = "cross-entropy",
                    .build = build_loss,
                    .inputs = 1,
                    .shape = {{2, {6, classes}}},
                    .low = low,
                    .high = high,
                    .id_shape = {1, {6}},
                    .id_limit = (int)(classes < 100 ? classes : 100)};
}

/* Classes whole, batch whole or cut: one node. Classes cut: two, for maxima go over ranks in between. */
static void joins_where_classes_are_whole(void)
{
    TsMesh *mesh = NULL;
    int ranks = ts_group_size(test_world);
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_MODEL] = ranks}}));
    OpCase test = case_of(40, -1, 1);
    for (int dim = 0; dim < 2; dim++) {
        OpRun run;
        const TsPlacement cut[2] = {ts_shard(ts_replicated, dim, TS_AXIS_MODEL),
                                    dim == 0 ? ts_shard(ts_replicated, 0, TS_AXIS_MODEL) : ts_replicated};
        if (!op_run_create(&run, &test, TS_F32, cut, mesh, 1))
            continue;
        CU_ASSERT_EQUAL(mentions(run.program, "cross_entropy_rows"), dim == 0 || ranks == 1);
        op_run_free(&run);
    }
    ts_mesh_free(&mesh);
}

/* Both forms of a program: what `make` puts among the logits comes out alike. */
static void expect_alike(int64_t classes, double low, double high, void (*make)(TsArray *logits))
{
    OpCase test = case_of(classes, low, high);
    OpRun one, two;
    if (!op_run_create(&one, &test, TS_F32, NULL, NULL, 1))
        return;
    TsStatus status =
        ts_program_compile(&two.program, op_trace(&test, TS_F32, NULL), (TsCompileOptions){.without_fusion = true});
    TEST_OK(status);
    two.arrays = one.arrays;
    for (int i = 0; i < one.arrays; i++) {
        TsBinding binding = ts_program_binding(one.program, i);
        two.array[i] =
            ts_array_create(NULL, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){.shared = false});
        if (binding.kind == TS_BIND_INPUT)
            op_fill(&test, two.array[i], binding.name);
        ts_program_bind(two.program, binding.name, two.array[i]);
    }
    make(op_array(&one, "x0"));
    make(op_array(&two, "x0"));
    ts_program_run(one.program);
    ts_program_run(two.program);
    CU_ASSERT(mentions(one.program, "cross_entropy_rows") && !mentions(two.program, "cross_entropy_rows"));
    for (int i = 0; i < one.arrays; i++)
        for (int64_t j = 0; j < ts_array_local_elems(one.array[i]); j++) {
            double a = op_get(one.array[i], j), b = op_get(two.array[i], j);
            bool alike = (a != a && b != b) || a == b || fabs(a - b) <= 1e-5 * (1 + fabs(b));
            if (!alike)
                fprintf(stderr, "%d classes: %s[%d] is %g joined, %g in two\n", (int)classes,
                        ts_program_binding(one.program, i).name, (int)j, a, b);
            CU_ASSERT(alike);
        }
    op_run_free(&one);
    op_run_free(&two);
}

static void as_they_are(TsArray *logits)
{
    (void)logits;
}

/* The largest at the end, so that it rises in every strip; alone in a row of -infinity; infinite; not a number. */
static void hard(TsArray *logits)
{
    float *x = logits->data;
    int64_t classes = logits->shape.size[1];
    for (int64_t c = 0; c < classes; c++) {
        x[c] = (float)c * 0.25F;
        x[classes + c] = c == classes / 2 ? -2e30F : -INFINITY;
        x[2 * classes + c] = c == classes / 3 ? INFINITY : 1;
        x[3 * classes + c] = c == classes - 2 ? NAN : 1;
        x[4 * classes + c] = (float)(classes - c) * 100;
    }
}

static void joined_equals_both(void)
{
    static const int64_t classes[] = {1, 5, 255, 256, 257, 3000};
    for (size_t i = 0; i < sizeof classes / sizeof *classes && ts_group_size(test_world) == 1; i++) {
        expect_alike(classes[i], -1, 1, as_they_are);
        expect_alike(classes[i], -60, 80, as_they_are);
        expect_alike(classes[i], -1, 1, hard);
    }
}

TEST_MAIN("join_maxima", {"joins where classes are whole", joins_where_classes_are_whole},
          {"joined equals both", joined_equals_both})
