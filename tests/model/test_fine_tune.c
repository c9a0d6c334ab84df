/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What is put into a pre-trained trunk: it begins as nothing, to the bit; A and B beside a kernel give what the kernel
 * gives that they are merged into; only what was put in is learned; on every mesh the same.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "tiny.h"
#include "test.h"

static const TsFineTuneConfig lora = {.mode = TS_FINE_TUNE_LORA, .r = 3, .alpha = 6, .targets = "attention/|feed_"},
                              residual = {.mode = TS_FINE_TUNE_ADAPTERS, .width = 5};

/* Logits of a model, and gradients of what learns. */
typedef struct Traced {
    TsParameters *parameters;
    TsBatch *batch, *arrays, *outputs;
    TsProgram *program;
} Traced;

static void trace(Traced *traced, const TsMesh *mesh, const TsLanguageModel *model, const TsFineTuneConfig *fine_tune,
                  const TsShardingConfig *sharding, TsDtype dtype)
{
    TsGraph *graph = ts_graph_create();
    *traced =
        (Traced){.parameters = ts_parameters_create(mesh), .outputs = ts_batch_create(), .batch = tiny_batch(mesh)};
    if (sharding)
        TEST_OK(ts_parameters_shard(traced->parameters, sharding));
    if (fine_tune)
        TEST_OK(ts_parameters_fine_tune(traced->parameters, fine_tune, "some"));
    TsScope scope = {.graph = graph, .parameters = traced->parameters, .dtype = dtype, .seed = 5, .step = TS_NONE};
    TsColumns columns = ts_columns_trace(graph, traced->batch);
    TsTensor logits = ts_language_model.compute_predictions(scope, model, &columns);
    TsLosses losses = ts_language_model.compute_loss(scope, model, logits, &columns);
    TsTensor of[128], gradient[128];
    int learned = 0, rows = ts_parameters_count(traced->parameters);
    const TsParameter *row[128];
    for (int i = 0; i < rows; i++) {
        row[learned] = ts_parameters_at(traced->parameters, i);
        if (row[learned]->trainable) {
            of[learned] = ts_parameter(graph, row[learned]->path, row[learned]->dtype, row[learned]->shape,
                                       row[learned]->placement);
            learned++;
        }
    }
    ts_gradients(gradient, ts_loss_mean(losses.loss[0]), of, learned);
    ts_output("logits", logits, ts_replicated);
    for (int i = 0; i < learned; i++) {
        char *name = ts_format("gradient/%s", row[i]->path);
        ts_output(name, gradient[i], ts_replicated);
        ts_free(name);
    }
    TEST_OK(ts_program_compile(&traced->program, graph, (TsCompileOptions){.mesh = mesh, .threads = 1}));
    traced->arrays = ts_parameters_initialize(traced->parameters, 11);
    ts_bind_batch(traced->program, traced->batch);
    ts_bind_batch(traced->program, traced->arrays);
    ts_bind_new(traced->program, traced->outputs, TS_BIND_OUTPUT, mesh);
}

static void free_traced(Traced *traced)
{
    ts_program_free(&traced->program);
    ts_batch_free(&traced->batch);
    ts_batch_free(&traced->arrays);
    ts_batch_free(&traced->outputs);
    ts_parameters_free(&traced->parameters);
}

static const TsArray *logits_of(const Traced *traced)
{
    return ts_batch_find(traced->outputs, "logits");
}

static double worst_difference(const TsArray *one, const TsArray *other)
{
    double worst = 0;
    for (int64_t i = 0; i < ts_shape_elems(one->shape); i++) {
        double a = one->dtype == TS_F64 ? ((const double *)one->data)[i] : (double)((const float *)one->data)[i];
        double b = other->dtype == TS_F64 ? ((const double *)other->data)[i] : (double)((const float *)other->data)[i];
        worst = fmax(worst, fabs(a - b));
    }
    return worst;
}

/* GPT-2, and a Llama with groups of queries. */
static TsLanguageModel model_of(bool llama)
{
    TsLanguageModel model = tiny_model;
    if (!llama)
        return model;
    model.backbone.key_value_heads = 2;
    model.backbone.activation = TS_ACTIVATION_SWIGLU;
    model.backbone.norm = TS_NORM_RMS;
    model.backbone.positions = TS_POSITIONS_ROTARY;
    model.backbone.biases = model.backbone.tied = false;
    return model;
}

static void begins_as_nothing(void)
{
    const TsFineTuneConfig *modes[] = {&lora, &residual};
    int ranks = ts_group_size(test_world);
    for (int k = 0; k < 8; k++) {
        TsLanguageModel model = model_of(k & 1);
        TsDtype dtype = k & 2 ? TS_F64 : TS_F32;
        TsMesh *mesh = tiny_mesh(test_world, ranks > 1 ? 2 : 1);
        Traced plain, tuned;
        trace(&plain, mesh, &model, NULL, NULL, dtype);
        trace(&tuned, mesh, &model, modes[k >> 2], NULL, dtype);
        ts_program_run(plain.program);
        ts_program_run(tuned.program);
        bool same =
            memcmp(logits_of(&plain)->data, logits_of(&tuned)->data, ts_array_local_bytes(logits_of(&plain))) == 0;
        double worst = worst_difference(logits_of(&plain), logits_of(&tuned));
        CU_ASSERT_TRUE(same || (ranks > 1 && worst < (k & 2 ? 1e-13 : 1e-5))); /* sums over ranks may move */

        free_traced(&plain);
        free_traced(&tuned);
        ts_mesh_free(&mesh);
    }
}

/* Every element of B, of `up` kernels and of biases that begin as zeros: a function of its place. */
static void shake(const Traced *traced)
{
    for (int i = 0; i < ts_parameters_count(traced->parameters); i++) {
        const TsParameter *row = ts_parameters_at(traced->parameters, i);
        TsArray *array = ts_batch_find(traced->arrays, row->path);
        if (row->initializer.kind != TS_INIT_ZEROS || !ts_fine_tune_adds(row->path))
            continue;
        for (int64_t e = 0; e < ts_array_local_elems(array); e++) {
            int64_t at = 0, left = e, inside[TS_MAX_DIMS];
            for (int d = array->shape.dims - 1; d >= 0; d--) {
                inside[d] = left % array->block.shape.size[d] + array->block.first[d];
                left /= array->block.shape.size[d];
            }
            for (int d = 0; d < array->shape.dims; d++)
                at = at * array->shape.size[d] + inside[d];
            double value = sin(1.7 * (double)at + i) * 0.05;
            if (array->dtype == TS_F64)
                ((double *)array->data)[e] = value;
            else
                ((float *)array->data)[e] = (float)value;
        }
    }
}

static double get(const TsArray *array, int64_t index)
{
    return array->dtype == TS_F64 ? ((const double *)array->data)[index] : (double)((const float *)array->data)[index];
}

/* The kernel of `plain` becomes that of `tuned` with A and B in it; on one rank. */
static void merge_all(const Traced *plain, const Traced *tuned, const TsFineTuneConfig *config)
{
    int merged = 0;
    for (int i = 0; i < ts_parameters_count(tuned->parameters); i++) {
        const char *path = ts_parameters_at(tuned->parameters, i)->path, *tail = strstr(path, "/lora_a");
        if (!tail)
            continue;
        char *kernel_path = ts_format("%.*s/kernel", (int)(tail - path), path),
             *b_path = ts_format("%.*s/lora_b", (int)(tail - path), path);
        TsArray *kernel = ts_batch_find(plain->arrays, kernel_path);
        const TsArray *a = ts_batch_find(tuned->arrays, path), *b = ts_batch_find(tuned->arrays, b_path);
        int64_t r = config->r, in = ts_shape_elems(a->shape) / r, out = ts_shape_elems(b->shape) / r;
        CU_ASSERT_EQUAL(in * out, ts_shape_elems(kernel->shape));
        for (int64_t e = 0; e < in * out; e++) {
            double sum = 0;
            for (int64_t k = 0; k < r; k++)
                sum += get(a, e / out * r + k) * get(b, k * out + e % out);
            double value = get(kernel, e) + ts_fine_tune_scale(config) * sum;
            if (kernel->dtype == TS_F64)
                ((double *)kernel->data)[e] = value;
            else
                ((float *)kernel->data)[e] = (float)value;
        }
        merged++;
        ts_free(kernel_path);
        ts_free(b_path);
    }
    CU_ASSERT_TRUE(merged >= 12);
}

static void merged_equals_unmerged(void)
{
    for (int k = 0; k < 8 && ts_group_size(test_world) == 1; k++) {
        TsLanguageModel model = model_of(k & 1);
        TsFineTuneConfig config = lora;
        config.rank_stabilized = k & 4;
        config.dropout = 0.5; /* while training alone */
        TsMesh *mesh = tiny_mesh(test_world, 1);
        Traced plain, tuned, base;
        trace(&plain, mesh, &model, NULL, NULL, k & 2 ? TS_F64 : TS_F32);
        trace(&base, mesh, &model, NULL, NULL, k & 2 ? TS_F64 : TS_F32);
        trace(&tuned, mesh, &model, &config, NULL, k & 2 ? TS_F64 : TS_F32);
        shake(&tuned);
        merge_all(&plain, &tuned, &config);
        ts_program_run(plain.program);
        ts_program_run(tuned.program);
        ts_program_run(base.program);
        CU_ASSERT_TRUE(worst_difference(logits_of(&plain), logits_of(&tuned)) < (k & 2 ? 1e-12 : 1e-5));
        CU_ASSERT_TRUE(worst_difference(logits_of(&base), logits_of(&tuned)) > 1e-3); /* it does something */
        free_traced(&plain);
        free_traced(&base);
        free_traced(&tuned);
        ts_mesh_free(&mesh);
    }
}

/* All that was put in, of the trunk nothing. */
static void only_what_was_put_in_learns(void)
{
    const TsFineTuneConfig frozen = {.mode = TS_FINE_TUNE_FROZEN}, *modes[] = {&lora, &residual, &frozen};
    TsMesh *mesh = tiny_mesh(test_world, 1);
    for (int k = 0; k < 3; k++) {
        Traced tuned;
        const int expected = k == 0 ? 2 * 6 * 2 : k == 1 ? 2 * 6 : 0; /* two layers, of six each */
        int learned = 0;
        trace(&tuned, mesh, &tiny_model, modes[k], NULL, TS_F32);
        for (int i = 0; i < ts_parameters_count(tuned.parameters); i++) {
            const TsParameter *row = ts_parameters_at(tuned.parameters, i);
            CU_ASSERT_EQUAL(row->trainable, ts_fine_tune_adds(row->path));
            learned += row->trainable;
        }
        CU_ASSERT_EQUAL(learned, expected);
        free_traced(&tuned);
    }
    ts_mesh_free(&mesh);
}

/* Logits and gradients on meshes that cut heads and widths, with parameters cut along data (ZeRO-3), are those of one
 * rank. */
static void the_same_on_every_mesh(void)
{
    const TsFineTuneConfig *modes[] = {&lora, &residual};
    TsShardingConfig zero3 = {
        .shard = TS_SHARD_DATA, .gradient_shard = TS_SHARD_DATA, .optimizer_shard = TS_SHARD_DATA};
    TsGroup *self = ts_group_split(test_world, "self", ts_group_rank(test_world), 0);
    TsMesh *alone = tiny_mesh(self, 1);
    int ranks = ts_group_size(test_world);
    for (int k = 0; k < 4; k++)
        for (int model_ranks = 1; model_ranks <= ranks; model_ranks *= 2) {
            TsLanguageModel model = model_of(k & 1);
            if (model_ranks > 2 && k & 1) /* two groups of heads */
                continue;
            TsMesh *mesh = tiny_mesh(test_world, model_ranks);
            Traced one, many;
            trace(&one, alone, &model, modes[k >> 1], NULL, TS_F64);
            trace(&many, mesh, &model, modes[k >> 1], &zero3, TS_F64);
            shake(&one);
            shake(&many);
            ts_program_run(one.program);
            ts_program_run(many.program);
            for (int i = 0; i < ts_batch_count(one.outputs); i++) {
                const char *name = ts_batch_name(one.outputs, i);
                double worst = worst_difference(ts_batch_array(one.outputs, i), ts_batch_find(many.outputs, name));
                if (!(worst < 1e-11))
                    fprintf(stderr, "%d ranks along model: %s differs by %g\n", model_ranks, name, worst);
                CU_ASSERT_TRUE(worst < 1e-11);
            }
            CU_ASSERT_TRUE(ts_batch_count(one.outputs) >= 13);
            free_traced(&one);
            free_traced(&many);
            ts_mesh_free(&mesh);
        }
    ts_mesh_free(&alone);
    ts_group_free(&self);
}

static void what_layers_ask(void)
{
    TsFineTune *fine_tune;
    TsFineTuneConfig config = lora;
    config.targets = "query$";
    TEST_OK(ts_fine_tune_create(&fine_tune, &config, NULL));
    CU_ASSERT_FALSE(ts_fine_tune_found(fine_tune));
    CU_ASSERT_PTR_NULL(ts_fine_tune_lora(fine_tune, "tasks/some/adapter/query")); /* not of the trunk */
    CU_ASSERT_PTR_NULL(ts_fine_tune_lora(fine_tune, "backbone/layer_00/attention/key"));
    CU_ASSERT_FALSE(ts_fine_tune_found(fine_tune));
    CU_ASSERT_PTR_NOT_NULL(ts_fine_tune_lora(fine_tune, "backbone/layer_00/attention/query"));
    CU_ASSERT_TRUE(ts_fine_tune_found(fine_tune));
    ts_fine_tune_free(&fine_tune);
    config.targets = "(";
    TEST_ERROR(ts_fine_tune_create(&fine_tune, &config, NULL), "(");
    CU_ASSERT_DOUBLE_EQUAL(ts_fine_tune_scale(&lora), 2, 1e-15);
    config.r = 4;
    config.rank_stabilized = true;
    CU_ASSERT_DOUBLE_EQUAL(ts_fine_tune_scale(&config), 3, 1e-15);
    CU_ASSERT_TRUE(ts_fine_tune_learns(NULL, "backbone/tokens/table"));
    CU_ASSERT_FALSE(ts_fine_tune_learns(&lora, "backbone/tokens/table"));
    CU_ASSERT_TRUE(ts_fine_tune_learns(&lora, "tasks/some/adapter/out/kernel"));
}

TEST_MAIN("fine_tune", {"begins as nothing", begins_as_nothing}, {"merged equals unmerged", merged_equals_unmerged},
          {"only what was put in learns", only_what_was_put_in_learns},
          {"the same on every mesh", the_same_on_every_mesh}, {"what layers ask", what_layers_ask})
