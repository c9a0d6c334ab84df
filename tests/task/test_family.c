/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Pre-trained families: logits, loss and gradients of tiny models with padding in the batch, as transformers computed
 * them (tests/golden/make_families.py); and configurations that this program cannot be.
 */
#include "task/pretrained/family.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/binding.h"
#include "test.h"

/* A family's model, traced with its loss and gradients, on a mesh that cuts the batch. */
typedef struct Golden {
    const TsFamily *family;
    TsTransformer options;
    TsSafetensors *weights, *gradients;
    json_t *json;
    TsMesh *mesh;
    TsParameters *parameters;
    TsBatch *arrays, *bound;
    TsProgram *program;
} Golden;

static TsTensor trace_logits(Golden *golden, TsGraph *graph, TsShape shape, TsPlacement rows, TsDtype dtype)
{
    TsScope scope = {.graph = graph, .parameters = golden->parameters, .dtype = dtype, .step = TS_NONE};
    TsTensor tokens = ts_input(graph, "tokens", TS_I32, shape, rows),
             seen = ts_input(graph, "seen", TS_BOOL, shape, rows);
    TsTensor types = json_object_get(golden->json, "types") ? ts_input(graph, "types", TS_I32, shape, rows) : TS_NONE;
    TsTensor hidden = ts_transformer_of_types(ts_in(scope, "backbone"), &golden->options, tokens, types, seen);
    return ts_transformer_logits(ts_in(scope, "backbone"), &golden->options, hidden);
}

static void trace(Golden *golden, TsShape shape, TsDtype dtype)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    golden->parameters = ts_parameters_create(golden->mesh);
    TsTensor logits = trace_logits(golden, graph, shape, rows, dtype);
    TsTensor labels = ts_input(graph, "labels", TS_I32, shape, rows);
    TsTensor counted = ts_input(graph, "counted", TS_F64, ts_scalar, ts_replicated);
    TsTensor sum = ts_sum(ts_cross_entropy(logits, labels, (TsCrossEntropy){.ignore = -100}), -1, false);
    TsTensor loss = ts_div(ts_cast(sum, TS_F64), counted), of[64], gradient[64];
    int count = ts_parameters_count(golden->parameters);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(golden->parameters, i);
        of[i] = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement);
    }
    ts_gradients(gradient, loss, of, count);
    ts_output("logits", logits, ts_replicated);
    ts_output("loss", loss, ts_replicated);
    for (int i = 0; i < count; i++) {
        char *name = ts_format("gradient/%s", ts_parameters_at(golden->parameters, i)->path);
        ts_output(name, gradient[i], ts_replicated);
        ts_free(name);
    }
    TEST_OK(ts_program_compile(&golden->program, graph, (TsCompileOptions){.mesh = golden->mesh, .threads = 1}));
}

/* Fills a (B, T) input from a list of lists. */
static void fill(TsBatch *bound, const char *name, const json_t *rows)
{
    TsArray *array = ts_batch_find(bound, name);
    for (int64_t b = 0; b < array->block.shape.size[0]; b++)
        for (int64_t t = 0; t < array->shape.size[1]; t++) {
            const json_t *row = json_array_get(rows, (size_t)(array->block.first[0] + b));
            json_int_t value = json_integer_value(json_array_get(row, (size_t)t));
            int64_t at = b * array->shape.size[1] + t;
            if (array->dtype == TS_BOOL)
                ((uint8_t *)array->data)[at] = value != 0;
            else
                ((int32_t *)array->data)[at] = (int32_t)value;
        }
}

static int64_t count_labels(const json_t *labels)
{
    int64_t counted = 0;
    for (size_t b = 0; b < json_array_size(labels); b++)
        for (size_t t = 0; t < json_array_size(json_array_get(labels, b)); t++)
            counted += json_integer_value(json_array_get(json_array_get(labels, b), t)) != -100;
    return counted;
}

static double at(const TsArray *array, int64_t index)
{
    return array->dtype == TS_F64 ? ((const double *)array->data)[index] : (double)((const float *)array->data)[index];
}

static void open_golden(Golden *golden, const char *name, TsDtype dtype)
{
    char *folder = ts_format("tests/golden/families/%s", name), *json = ts_format("%s/golden.json", folder);
    char *gradients = ts_format("%s/gradients.safetensors", folder);
    *golden = (Golden){.bound = ts_batch_create()};
    TEST_OK(ts_mesh_create(&golden->mesh, test_world, (TsMeshShape){.size[TS_AXIS_DATA] = ts_group_size(test_world)}));
    TEST_OK(ts_family_read(&golden->family, &golden->options, folder));
    CU_ASSERT_EQUAL(strncmp(name, ts_family_name(golden->family), strlen(ts_family_name(golden->family))), 0);
    golden->options.dropout = 0;
    TEST_OK(ts_safetensors_open(&golden->weights, folder));
    TEST_OK(ts_safetensors_open(&golden->gradients, gradients));
    golden->json = json_load_file(json, 0, NULL);
    const json_t *tokens = json_object_get(golden->json, "tokens");
    trace(golden, ts_shape((int64_t)json_array_size(tokens), (int64_t)json_array_size(json_array_get(tokens, 0))),
          dtype);
    golden->arrays = ts_parameters_initialize(golden->parameters, 1);
    int left;
    TEST_OK(ts_family_load(golden->family, golden->weights, golden->arrays, &left));
    CU_ASSERT_EQUAL(left, 0);
    ts_bind_batch(golden->program, golden->arrays);
    ts_bind_new(golden->program, golden->bound, TS_BIND_INPUT, golden->mesh);
    ts_bind_new(golden->program, golden->bound, TS_BIND_OUTPUT, golden->mesh);
    fill(golden->bound, "tokens", tokens);
    fill(golden->bound, "seen", json_object_get(golden->json, "mask"));
    fill(golden->bound, "labels", json_object_get(golden->json, "labels"));
    if (json_object_get(golden->json, "types"))
        fill(golden->bound, "types", json_object_get(golden->json, "types"));
    *(double *)ts_batch_find(golden->bound, "counted")->data =
        (double)count_labels(json_object_get(golden->json, "labels"));
    ts_free(folder);
    ts_free(json);
    ts_free(gradients);
}

static void close_golden(Golden *golden)
{
    ts_program_free(&golden->program);
    ts_batch_free(&golden->arrays);
    ts_batch_free(&golden->bound);
    ts_parameters_free(&golden->parameters);
    ts_safetensors_close(&golden->weights);
    ts_safetensors_close(&golden->gradients);
    json_decref(golden->json);
    ts_mesh_free(&golden->mesh);
}

/* Where the mask hides a position, its logits mean nothing, and the reference's are others. */
static void compare_logits(const char *name, Golden *golden, double bound)
{
    const TsArray *logits = ts_batch_find(golden->bound, "logits");
    const json_t *rows = json_object_get(golden->json, "logits"), *mask = json_object_get(golden->json, "mask");
    int64_t T = logits->shape.size[1], V = logits->shape.size[2];
    double worst = 0;
    CU_ASSERT_TRUE(json_number_value(json_object_get(golden->json, "spread")) >= 1);
    for (int64_t i = 0; i < logits->shape.size[0] * T; i++)
        for (int64_t v = 0; v < V; v++) {
            const json_t *row = json_array_get(rows, (size_t)i);
            if (!json_integer_value(json_array_get(json_array_get(mask, (size_t)(i / T)), (size_t)(i % T))))
                continue;
            double expected = json_number_value(json_array_get(row, (size_t)v));
            worst = fmax(worst, fabs(at(logits, i * V + v) - expected));
        }
    if (!(worst <= bound))
        fprintf(stderr, "%s: logits differ by %g\n", name, worst);
    CU_ASSERT_TRUE(worst <= bound);
}

static void compare_gradients(const char *name, Golden *golden, double bound)
{
    for (int i = 0; i < ts_parameters_count(golden->parameters); i++) {
        const TsParameter *row = ts_parameters_at(golden->parameters, i);
        char *output = ts_format("gradient/%s", row->path);
        const TsArray *gradient = ts_batch_find(golden->bound, output);
        int64_t elems = ts_shape_elems(row->shape);
        double *expected = ts_alloc((size_t)elems * sizeof *expected), worst = 0;
        TsSafetensorsView view;
        TEST_OK(ts_family_view(golden->family, &view, golden->gradients, row->path, row->shape));
        TEST_OK(ts_safetensors_read(golden->gradients, expected, view, (TsBlockRange){.shape = row->shape}, TS_F64));
        for (int64_t e = 0; e < elems; e++)
            worst = fmax(worst, fabs(at(gradient, e) - expected[e]));
        if (!(worst <= bound))
            fprintf(stderr, "%s: the gradient of %s differs by %g\n", name, row->path, worst);
        CU_ASSERT_TRUE(worst <= bound);
        ts_free(expected);
        ts_free(output);
    }
}

static void as_the_reference(void)
{
    static const char *const names[] = {"gpt2", "llama",      "llama-linear", "llama3",
                                        "bert", "bert-pairs", "roberta",      "esm"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int wide = 0; wide < 2; wide++) {
            Golden golden;
            open_golden(&golden, names[i], wide ? TS_F64 : TS_F32);
            if (golden.program) {
                ts_program_run(golden.program);
                double bound = wide ? 1e-5 : 1e-4; /* some of the reference is f32; what is asked for */
                CU_ASSERT_DOUBLE_EQUAL(*(double *)ts_batch_find(golden.bound, "loss")->data,
                                       json_number_value(json_object_get(golden.json, "loss")), bound);
                compare_logits(names[i], &golden, bound);
                compare_gradients(names[i], &golden, bound);
            }
            close_golden(&golden);
        }
}

static void expect_error(const char *json, const char *words)
{
    char folder[] = "/tmp/test_family.XXXXXX";
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(folder));
    char *path = ts_format("%s/config.json", folder);
    const TsFamily *family;
    TsTransformer options;
    TEST_OK(ts_file_write(path, json, strlen(json)));
    TEST_ERROR(ts_family_read(&family, &options, folder), words);
    TEST_OK(ts_file_remove(folder));
    ts_free(path);
}

#define GPT2 "{\"model_type\":\"gpt2\",\"vocab_size\":9,\"n_layer\":1,\"n_head\":2,\"n_embd\":4,\"n_positions\":8"
#define LLAMA                                                                                                          \
    "{\"model_type\":\"llama\",\"vocab_size\":9,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"hidden_size\":4,"  \
    "\"max_position_embeddings\":8,\"intermediate_size\":8"

static void what_is_not_supported(void)
{
    const TsFamily *family;
    TsTransformer options;
    TEST_ERROR(ts_family_read(&family, &options, "/nonexistent"), "/nonexistent/config.json");
    expect_error("{", "config.json:1: not JSON");
    expect_error("{\"model_type\":\"mamba\"}",
                 "model_type mamba is not known; there are gpt2, llama, bert, roberta, esm");
    expect_error("{}", "model_type (none) is not known");
    expect_error("{\"model_type\":\"gpt2\"}", "vocab_size: expected a whole number from 1 on");
    expect_error("{\"model_type\":\"gpt2\",\"vocab_size\":9.5}", "vocab_size: expected a whole number");
    expect_error(GPT2 ",\"activation_function\":\"mish\"}", "activation_function mish is not known; there are");
    expect_error(GPT2 ",\"scale_attn_by_inverse_layer_idx\":true}", "scale_attn_by_inverse_layer_idx: only false");
    expect_error("{\"model_type\":\"gpt2\",\"vocab_size\":9,\"n_layer\":1,\"n_head\":3,\"n_embd\":4,\"n_ctx\":8}",
                 "3 heads do not divide the width 4");
    expect_error(LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", "rope_scaling: factor: expected a number from 1 on");
    expect_error(LLAMA ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2}}",
                 "rope_scaling: type yarn is not supported; there are default, linear, dynamic, llama3");
    expect_error(LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}}", "low_freq_factor: expected");
    expect_error(LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
                       "\"high_freq_factor\":4,\"original_max_position_embeddings\":8}}",
                 "high_freq_factor: expected more than low_freq_factor");
    expect_error(LLAMA ",\"rope_scaling\":[1]}", "rope_scaling: type (none) is not supported");
    expect_error(LLAMA ",\"attention_bias\":true}", "attention_bias: only false is supported");
}

/* Weights of another shape than config.json says, and weights that lack some. */
static void weights_that_do_not_fit(void)
{
    TsSafetensors *weights;
    TsSafetensorsView view;
    const TsFamily *family;
    TsTransformer options;
    TEST_OK(ts_family_read(&family, &options, "tests/golden/families/bert"));
    TEST_OK(ts_safetensors_open(&weights, "tests/golden/families/gpt2"));
    TEST_ERROR(ts_family_view(family, &view, weights, "backbone/tokens/table", ts_shape(29, 24)),
               "backbone/tokens/table has no place in weights of bert");
    TEST_OK(ts_family_read(&family, &options, "tests/golden/families/gpt2"));
    TEST_ERROR(ts_family_view(family, &view, weights, "backbone/tokens/table", ts_shape(30, 24)),
               "transformer.wte.weight is (29, 24) there and (30, 24) by config.json");
    ts_safetensors_close(&weights);
}

TEST_MAIN("family", {"as the reference", as_the_reference}, {"what is not supported", what_is_not_supported},
          {"weights that do not fit", weights_that_do_not_fit})
