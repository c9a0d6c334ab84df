/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * The code of docs/engine.md, which test_guide.sh compares with this file: what the page shows is compiled and run.
 */
#include "test.h"

#include "base/memory.h"
#include "tensor/op.h"
#include "tensor/ops.h"
#include "tensor/program.h"

enum { ROWS = 64, COLUMNS = 3 };

static TsGraph *trace_step(void)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA); /* dim 0 is cut along the axis data */
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(ROWS, COLUMNS), rows);
    TsTensor y = ts_input(graph, "y", TS_F32, ts_shape(ROWS), rows);
    TsTensor w = ts_parameter(graph, "w", TS_F32, ts_shape(COLUMNS), ts_replicated), d_w;
    ts_graph_set_path(graph, "regression");
    TsTensor error = ts_sub(ts_dot(x, w, (TsDot){0}), y); /* (ROWS) */
    TsTensor loss = ts_mean(ts_mul(error, error), -1, false);
    ts_gradients(&d_w, loss, &w, 1);
    ts_assign(w, ts_sub(w, ts_scale(d_w, 0.1)));
    ts_output("loss", loss, ts_replicated);
    return graph;
}

static TsStatus fit(float *found /* (COLUMNS) */, float *loss, const TsMesh *mesh)
{
    static const char *const names[] = {"x", "y", "w", "loss"};
    static const float truth[COLUMNS] = {2, -1, 0.5f};
    TsArray *array[4];
    TsProgram *program = NULL;
    TS_TRY(ts_program_compile(&program, trace_step(), (TsCompileOptions){.mesh = mesh, .threads = 1}));
    for (int i = 0; i < 4; i++) {
        TsBinding binding = ts_program_binding(program, i);
        array[i] = ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){0});
        ts_program_bind(program, names[i], array[i]);
    }
    float *x = array[0]->data, *y = array[1]->data;
    for (int64_t row = 0; row < array[0]->block.shape.size[0]; row++) { /* the rows that this rank holds */
        int64_t global = array[0]->block.first[0] + row;
        y[row] = 0;
        for (int64_t c = 0; c < COLUMNS; c++) {
            x[row * COLUMNS + c] = (float)((global * (2 * c + 3)) % 7) / 3 - 1;
            y[row] += truth[c] * x[row * COLUMNS + c];
        }
    }
    for (int step = 0; step < 200; step++)
        ts_program_run(program); /* allocates nothing */
    memcpy(found, array[2]->data, COLUMNS * sizeof *found);
    *loss = *(float *)array[3]->data;
    ts_program_free(&program);
    for (int i = 0; i < 4; i++)
        ts_array_free(&array[i]);
    return TS_OK;
}

/* softsign: x / (1 + |x|). f32 alone, to be short. */
static TsStatus infer_softsign(TsInference *inference)
{
    if (inference->in_dtype[0] != TS_F32)
        return ts_status_error(TS_CODE_INVALID, "%s: expected f32", ts_dtype_name(inference->in_dtype[0]));
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_softsign(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[0].dims; d++) /* each dim may be cut, in and out alike */
        rule->in_label[0][d] = rule->out_label[0][d] = (int8_t)(d + 1);
}

static void forward_softsign(const TsCall *call)
{
    const float *x = call->in[0].data;
    float *y = call->out[0].data;
    for (int64_t i = 0; i < ts_shape_elems(call->out[0].shape); i++) /* of this rank's block */
        y[i] = x[i] / (1 + (x[i] < 0 ? -x[i] : x[i]));
}

static void gradient_softsign(TsGradientCall *call)
{
    TsTensor x = call->in[0], size = ts_maximum(x, ts_scale(x, -1));
    TsTensor slope = ts_shift(size, 1); /* d y / d x = 1 / (1 + |x|)^2 */
    if (call->needs[0])
        call->d_in[0] = ts_div(call->d_out[0], ts_mul(slope, slope));
}

static const TsOp softsign_op = {.name = "softsign",
                                 .outputs = 1,
                                 .flags = TS_OP_IN_PLACE,
                                 .infer = infer_softsign,
                                 .place = place_softsign,
                                 .forward = forward_softsign,
                                 .gradient = gradient_softsign};

static TsTensor softsign(TsTensor x)
{
    return ts_graph_add_one(&softsign_op, &x, 1, NULL);
}

static TsMesh *make_mesh(void)
{
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}}));
    return mesh;
}

static void a_graph_learns(void)
{
    TsMesh *mesh = make_mesh();
    float found[COLUMNS] = {0}, loss = 1;
    TEST_OK(fit(found, &loss, mesh));
    CU_ASSERT_DOUBLE_EQUAL(found[0], 2, 1e-3);
    CU_ASSERT_DOUBLE_EQUAL(found[1], -1, 1e-3);
    CU_ASSERT_DOUBLE_EQUAL(found[2], 0.5, 1e-3);
    CU_ASSERT(loss < 1e-6f);
    ts_mesh_free(&mesh);
}

static void an_op_of_ones_own(void)
{
    TsMesh *mesh = make_mesh();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(6, 2), rows), d;
    TsTensor y = softsign(x);
    ts_gradients(&d, ts_sum(y, -1, false), &x, 1);
    ts_output("y", y, rows);
    ts_output("d", d, rows);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh, .threads = 1}));
    TsArray *array[3];
    for (int i = 0; i < 3; i++) {
        array[i] = ts_array_create(mesh, TS_F32, ts_shape(6, 2), rows, (TsArrayOptions){0});
        ts_program_bind(program, ts_program_binding(program, i).name, array[i]);
    }
    float *in = array[0]->data, *out = array[1]->data, *slope = array[2]->data;
    for (int64_t i = 0; i < ts_array_local_elems(array[0]); i++)
        in[i] = (float)(i + array[0]->block.first[0]) - 5.5f;
    ts_program_run(program);
    for (int64_t i = 0; i < ts_array_local_elems(array[0]); i++) {
        float size = in[i] < 0 ? -in[i] : in[i];
        CU_ASSERT_DOUBLE_EQUAL(out[i], in[i] / (1 + size), 1e-6);
        CU_ASSERT_DOUBLE_EQUAL(slope[i], 1 / ((1 + size) * (1 + size)), 1e-6);
    }
    ts_program_free(&program);
    for (int i = 0; i < 3; i++)
        ts_array_free(&array[i]);
    ts_mesh_free(&mesh);

    graph = ts_graph_create();
    ts_graph_set_path(graph, "head");
    (void)softsign(ts_input(graph, "x", TS_F64, ts_shape(2), ts_replicated));
    TEST_ERROR(ts_graph_status(graph), "head: softsign: f64: expected f32");
    ts_graph_free(&graph);
}

TEST_MAIN("guide", {"a graph learns", a_graph_learns}, {"an op of one's own", an_op_of_ones_own})
