/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "test.h"
#include "tiny.h"

enum { B = 5, T = 12, SEEN = 4, C = 8, E = 4 };

/* A layer of experts over sequences of which SEEN tokens are none of padding, compiled and bound. */
typedef struct Layer {
    TsParameters *parameters;
    TsBatch *arrays, *inputs, *outputs;
    TsProgram *program;
} Layer;

static bool layer_create(Layer *layer, const TsMesh *mesh, double capacity)
{
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_EXPERT);
    *layer = (Layer){ts_parameters_create(mesh), NULL, ts_batch_create(), ts_batch_create(), NULL};
    TsGraph *graph = ts_graph_create();
    TsAsides asides = {.layers = 0};
    TsScope scope = {.graph = graph,
                     .parameters = layer->parameters,
                     .dtype = TS_F64,
                     .seed = 5,
                     .training = true,
                     .asides = &asides};
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(B, T, C), rows), d;
    TsTensor seen = ts_input(graph, "seen", TS_BOOL, ts_shape(B, T), rows);
    TsMoe options = {
        .experts = E, .top_k = 2, .capacity = capacity, .hidden_width = 10, .activation = ts_gelu, .seen = seen};
    TsTensor y = ts_moe(ts_in(scope, "experts"), x, options, NULL);
    ts_gradients(&d, ts_sum(ts_mul(y, y), -1, false), &x, 1);
    ts_output("y", y, ts_replicated);
    ts_output("d", d, ts_replicated);
    ts_output("balance", asides.balance, ts_replicated);
    ts_output("dropped", asides.dropped, ts_replicated);
    TsStatus status = ts_program_compile(&layer->program, graph, (TsCompileOptions){.mesh = mesh, .threads = 1});
    bool compiled = !status;
    TEST_OK(status);
    layer->arrays = ts_parameters_initialize(layer->parameters, 11);
    if (!compiled)
        return false;
    ts_bind_batch(layer->program, layer->arrays);
    ts_bind_new(layer->program, layer->inputs, TS_BIND_INPUT, mesh);
    ts_bind_new(layer->program, layer->outputs, TS_BIND_OUTPUT, mesh);
    return true;
}

static void layer_free(Layer *layer)
{
    ts_program_free(&layer->program);
    ts_batch_free(&layer->arrays);
    ts_batch_free(&layer->inputs);
    ts_batch_free(&layer->outputs);
    ts_parameters_free(&layer->parameters);
}

/* Runs it with padding of that content. Copies y, d, balance and dropped to `out`. */
static void run(Layer *layer, double *out, double padding)
{
    static const char *const names[] = {"y", "d", "balance", "dropped"};
    TsArray *x = ts_batch_find(layer->inputs, "x"), *seen = ts_batch_find(layer->inputs, "seen");
    for (int64_t row = 0; row < seen->block.shape.size[0]; row++)
        for (int64_t t = 0; t < T; t++) {
            ((bool *)seen->data)[row * T + t] = t < SEEN;
            for (int64_t c = 0; c < C; c++)
                ((double *)x->data)[(row * T + t) * C + c] =
                    t < SEEN ? sin((double)(((seen->block.first[0] + row) * T + t) * C + c)) : padding;
        }
    ts_program_run(layer->program);
    for (int k = 0; k < 4; k++) {
        const TsArray *array = ts_batch_find(layer->outputs, names[k]);
        memcpy(out, array->data, (size_t)ts_shape_elems(array->shape) * sizeof(double));
        out += ts_shape_elems(array->shape);
    }
}

/* What stands in padding changes nothing: no expert gets it, and it takes nobody's place. Experts have room for 3 of
 * the 12 tokens of a sequence, so that eight tokens of padding that are all alike would fill those that they choose. */
static void padding_goes_nowhere(void)
{
    enum { COUNT = 2 * B * T * C + 2 * B };
    static double one[COUNT], other[COUNT];
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_EXPERT] = ts_group_size(test_world)}}));
    Layer layer;
    if (layer_create(&layer, mesh, 0.5)) {
        run(&layer, one, 0.25);
        run(&layer, other, -3);
        CU_ASSERT(memcmp(one, other, sizeof one) == 0);
        double of_seen = 0, of_padding = 0;
        for (int64_t i = 0; i < 2 * B * T * C; i++)
            *(i / C % T < SEEN ? &of_seen : &of_padding) += fabs(one[i]);
        CU_ASSERT(of_seen > 0);
        CU_ASSERT_EQUAL(of_padding, 0);
        for (int b = 0; b < B; b++) { /* balance: between 1 and E; dropped: parts of 2 * SEEN choices */
            double balance = one[2 * B * T * C + b], dropped = one[2 * B * T * C + B + b] * 2 * SEEN;
            CU_ASSERT(balance > 0 && balance <= E);
            CU_ASSERT(dropped >= 0 && fabs(dropped - rint(dropped)) < 1e-12);
        }
    }
    layer_free(&layer);
    ts_mesh_free(&mesh);
}

TEST_MAIN("moe", {"padding goes nowhere", padding_goes_nowhere})
