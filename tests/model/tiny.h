/* SPDX-License-Identifier: Apache-2.0
 *
 * A language model that is small enough for finite differences, with a batch and a mesh, for the tests of this folder.
 */
#pragma once

#include "base/philox.h"
#include "comm/mesh.h"
#include "model/binding.h"
#include "model/language_model.h"

enum { TINY_BATCH = 4, TINY_LENGTH = 6, TINY_VOCAB = 11, TINY_CONTEXT = 12 };

static const TsLanguageModel tiny_model = {.backbone = {.layers = 2,
                                                        .heads = 4,
                                                        .width = 8,
                                                        .hidden = TS_AUTO,
                                                        .context = TINY_CONTEXT,
                                                        .vocab = TINY_VOCAB,
                                                        .biases = true,
                                                        .tied = true,
                                                        .causal = true},
                                           .ignored = -100};

/* All ranks of `group`, `model` of them along model and the others along data. */
static inline TsMesh *tiny_mesh(TsGroup *group, int model)
{
    TsMesh *mesh = NULL;
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = ts_group_size(group) / model, [TS_AXIS_MODEL] = model}};
    TsStatus status = ts_mesh_create(&mesh, group, shape);
    if (status)
        fprintf(stderr, "%s\n", ts_status_message(status));
    ts_status_free(&status);
    return mesh;
}

/* tokens and labels (B, T) i32, cut along data: the same numbers on any mesh; one label is not counted. */
static inline TsBatch *tiny_batch(const TsMesh *mesh)
{
    static const char *const names[] = {"tokens", "labels"};
    TsBatch *batch = ts_batch_create();
    for (int k = 0; k < 2; k++) {
        TsArray *array = ts_array_create(mesh, TS_I32, ts_shape(TINY_BATCH, TINY_LENGTH),
                                         ts_shard(ts_replicated, 0, TS_AXIS_DATA), (TsArrayOptions){0});
        for (int64_t row = 0; row < array->block.shape.size[0]; row++)
            for (int64_t t = 0; t < TINY_LENGTH; t++) {
                int64_t global = (array->block.first[0] + row) * TINY_LENGTH + t;
                int64_t token = ts_stream_below(ts_stream(3, "tiny", 0), global + k, TINY_VOCAB);
                ((int32_t *)array->data)[row * TINY_LENGTH + t] = k == 1 && global == 7 ? -100 : (int32_t)token;
            }
        ts_batch_put(batch, names[k], array);
    }
    return batch;
}

/* A traced, compiled and bound loss with its gradients. */
typedef struct Tiny {
    TsParameters *parameters;
    TsBatch *batch, *arrays, *outputs; /* outputs: "loss", "weight", "gradient/PATH" */
    TsProgram *program;
} Tiny;

/* With batch, parameters and outputs as they are. */
static inline TsStatus tiny_trace(Tiny *tiny, const TsLanguageModel *model, TsDtype dtype, TsCompileOptions options)
{
    const TsMesh *mesh = options.mesh;
    TsGraph *graph = ts_graph_create();
    TsScope scope = {.graph = graph, .parameters = tiny->parameters, .dtype = dtype, .seed = 5, .training = true};
    scope.step = ts_input(graph, "step", TS_I64, ts_scalar, ts_replicated);
    TsColumns columns = ts_columns_trace(graph, tiny->batch);
    TsTensor logits = ts_language_model.compute_predictions(scope, model, &columns);
    TsLosses losses = ts_language_model.compute_loss(scope, model, logits, &columns);
    TsTensor loss = ts_loss_mean(losses.loss[0]), of[128], gradient[128];
    int count = ts_parameters_count(tiny->parameters);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(tiny->parameters, i);
        of[i] = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement);
    }
    ts_gradients(gradient, loss, of, count);
    ts_output("loss", loss, ts_replicated);
    ts_output("weight", losses.loss[0].weight, ts_replicated);
    for (int i = 0; i < count; i++) {
        char name[200];
        snprintf(name, sizeof name, "gradient/%s", ts_parameters_at(tiny->parameters, i)->path);
        ts_output(name, gradient[i], ts_replicated);
    }
    TS_TRY(ts_program_compile(&tiny->program, graph, options));
    tiny->arrays = ts_parameters_initialize(tiny->parameters, 11);
    ts_batch_put(tiny->batch, "step", ts_array_create(mesh, TS_I64, ts_scalar, ts_replicated, (TsArrayOptions){0}));
    ts_bind_batch(tiny->program, tiny->batch);
    ts_bind_batch(tiny->program, tiny->arrays);
    ts_bind_new(tiny->program, tiny->outputs, TS_BIND_OUTPUT, mesh);
    return TS_OK;
}

static inline TsStatus tiny_compile(Tiny *tiny, const TsLanguageModel *model, TsDtype dtype, TsCompileOptions options)
{
    const TsMesh *mesh = options.mesh;
    *tiny = (Tiny){.parameters = ts_parameters_create(mesh), .batch = tiny_batch(mesh), .outputs = ts_batch_create()};
    return tiny_trace(tiny, model, dtype, options);
}

static inline TsStatus tiny_create(Tiny *tiny, const TsMesh *mesh, const TsLanguageModel *model, TsDtype dtype)
{
    return tiny_compile(tiny, model, dtype, (TsCompileOptions){.mesh = mesh, .threads = 1});
}

static inline void tiny_free(Tiny *tiny)
{
    ts_program_free(&tiny->program);
    ts_batch_free(&tiny->batch);
    ts_batch_free(&tiny->arrays);
    ts_batch_free(&tiny->outputs);
    ts_parameters_free(&tiny->parameters);
}

static inline double tiny_value(const TsBatch *batch, const char *name, int64_t index)
{
    const TsArray *array = ts_batch_find(batch, name);
    return array->dtype == TS_F64 ? ((double *)array->data)[index] : (double)((float *)array->data)[index];
}
