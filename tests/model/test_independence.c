/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What holds for every model and backbone: what it predicts of an example depends on neither its batch-mates, nor how
 * much padding stands behind it, nor on which ranks it lies; and the gradient of its loss by the inputs of the others
 * is exactly zero. Examples take their tokens from parts of the vocabulary of their own, so that a row of the table of
 * tokens belongs to one example.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/philox.h"
#include "comm/mesh.h"
#include "model/baseline.h"
#include "model/binding.h"
#include "model/headed_model.h"
#include "model/language_model.h"
#include "model/sequence_model.h"
#include "tensor/program.h"
#include "test.h"

enum { ROWS = 4, LENGTH = 5, LONGER = 9, EACH = 6, VOCAB = ROWS * EACH + 1, PAD = VOCAB - 1, CLASSES = 3 };

static const TsTransformer backbone = {.layers = 2,
                                       .heads = 4,
                                       .width = 8,
                                       .hidden = TS_AUTO,
                                       .context = LONGER,
                                       .vocab = VOCAB,
                                       .experts_top_k = 1,
                                       .experts_every = 1,
                                       .biases = true,
                                       .causal = true};

typedef struct Case {
    const char *name;
    const TsModel *model;
    const void *options;
} Case;

/* ---- columns: what stands at (row, t) of an example, whatever the length ---- */

static int64_t tokens_in(int64_t row)
{
    return row == 1 ? LENGTH : LENGTH - row % 3;
}

static int32_t token_at(int64_t row, int64_t t, int64_t variant, int column)
{
    int64_t index = ((row * LONGER + t) * 8 + column) * 4 + variant;
    return (int32_t)(row * EACH + ts_stream_below(ts_stream(5, "independence", 0), index, EACH));
}

static TsArray *put(TsBatch *batch, const TsMesh *mesh, const char *name, TsDtype dtype, TsShape shape)
{
    TsArray *array = ts_array_create(mesh, dtype, shape, ts_shard(ts_replicated, 0, TS_AXIS_DATA), (TsArrayOptions){0});
    ts_batch_put(batch, name, array);
    return array;
}

/* Columns for every model. `mates`: which tokens all rows but the first have. */
static TsBatch *make_batch(const TsMesh *mesh, const Case *of, int64_t length, int64_t mates)
{
    TsBatch *batch = ts_batch_create();
    bool sequence = of->model == &ts_sequence_model, headed = of->model == &ts_headed_model;
    TsShape shape = ts_shape(ROWS, length);
    TsArray *tokens = put(batch, mesh, "tokens", TS_I32, shape);
    TsArray *seen = sequence || headed ? put(batch, mesh, sequence ? "sources_seen" : "seen", TS_BOOL, shape) : NULL;
    TsArray *sources = sequence ? put(batch, mesh, "sources", TS_I32, shape) : NULL;
    TsArray *labels = put(batch, mesh, "labels", TS_I32, headed ? ts_shape(ROWS) : shape);
    TsArray *weights = headed ? put(batch, mesh, "weights", TS_F32, ts_shape(ROWS)) : NULL;
    for (int64_t i = 0; i < tokens->block.shape.size[0]; i++) {
        int64_t row = tokens->block.first[0] + i, variant = row ? mates : 0;
        for (int64_t t = 0; t < length; t++) {
            bool there = t < tokens_in(row);
            int64_t at = i * length + t;
            ((int32_t *)tokens->data)[at] = there ? token_at(row, t, variant, 0) : PAD;
            if (sources)
                ((int32_t *)sources->data)[at] = there ? token_at(row, t, variant, 1) : PAD;
            if (seen)
                ((bool *)seen->data)[at] = there;
            if (!headed)
                ((int32_t *)labels->data)[at] = there ? token_at(row, t, variant, 2) : -100;
        }
        if (headed) {
            ((int32_t *)labels->data)[i] = (int32_t)((row + variant) % CLASSES);
            ((float *)weights->data)[i] = 1;
        }
    }
    return batch;
}

/* ---- a model that runs ---- */

typedef struct Run {
    TsParameters *parameters;
    TsBatch *batch, *arrays, *outputs; /* predictions (ROWS, ...), gradient (VOCAB, width) of the first row's loss */
    TsProgram *program;
} Run;

static void open_run(Run *run, const TsMesh *mesh, const Case *of, int64_t length, int64_t mates)
{
    *run = (Run){.parameters = ts_parameters_create(mesh),
                 .batch = make_batch(mesh, of, length, mates),
                 .outputs = ts_batch_create()};
    TsGraph *graph = ts_graph_create();
    TsScope scope = {.graph = graph, .parameters = run->parameters, .dtype = TS_F32, .step = TS_NONE};
    TsColumns columns = ts_columns_trace(graph, run->batch);
    TsTensor predictions = of->model->compute_predictions(scope, of->options, &columns);
    TsLosses losses = of->model->compute_loss(scope, of->options, predictions, &columns);
    TsTensor first = ts_sum(ts_slice(losses.per_example, 0, 0, 1), -1, false), gradient;
    const TsParameter *row = ts_parameters_find(run->parameters, "backbone/tokens/table");
    if (row) { /* one-hot rows have none */
        TsTensor table = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement);
        ts_gradients(&gradient, first, &table, 1);
        ts_output("gradient", gradient, ts_replicated);
    }
    ts_output("predictions", predictions, ts_replicated);
    TEST_OK(ts_program_compile(&run->program, graph, (TsCompileOptions){.mesh = mesh, .threads = 1}));
    run->arrays = ts_parameters_initialize(run->parameters, 3);
    for (int i = 0; i < ts_batch_count(run->arrays); i++)
        for (int64_t e = 0; e < ts_array_local_elems(ts_batch_array(run->arrays, i)); e++)
            ((float *)ts_batch_array(run->arrays, i)->data)[e] *= 1.5f;
    ts_bind_batch(run->program, run->batch);
    ts_bind_batch(run->program, run->arrays);
    ts_bind_new(run->program, run->outputs, TS_BIND_OUTPUT, mesh);
    ts_program_run(run->program);
}

static void close_run(Run *run)
{
    ts_program_free(&run->program);
    ts_batch_free(&run->batch);
    ts_batch_free(&run->arrays);
    ts_batch_free(&run->outputs);
    ts_parameters_free(&run->parameters);
}

/* Of a row, what stands at tokens that are there; of a prediction of the row as a whole, that. */
static double farthest(const Run *a, const Run *b, int64_t first_row, int64_t rows)
{
    const TsArray *x = ts_batch_find(a->outputs, "predictions"), *y = ts_batch_find(b->outputs, "predictions");
    bool whole = x->shape.dims == 2;
    int64_t width = x->shape.size[x->shape.dims - 1];
    double most = 0;
    for (int64_t row = first_row; row < first_row + rows; row++)
        for (int64_t t = 0; t < (whole ? 1 : tokens_in(row)); t++)
            for (int64_t c = 0; c < width; c++) {
                int64_t in_x = (row * (whole ? 1 : x->shape.size[1]) + t) * width + c;
                int64_t in_y = (row * (whole ? 1 : y->shape.size[1]) + t) * width + c;
                double d = fabs((double)((float *)x->data)[in_x] - (double)((float *)y->data)[in_y]);
                most = d > most || isnan(d) ? d : most;
            }
    return most;
}

/* The largest predictions: differences mean something only beside them. */
static double spread(const Run *run)
{
    const TsArray *x = ts_batch_find(run->outputs, "predictions");
    double most = 0;
    for (int64_t e = 0; e < ts_array_local_elems(x); e++)
        most = fmax(most, fabs((double)((float *)x->data)[e]));
    return most;
}

/* Whether rows of the table that belong to other examples than the first have a gradient of exactly zero, and some of
 * the first's have one. */
static void expect_own_gradient(const Run *run, const Case *of)
{
    const TsArray *gradient = ts_batch_find(run->outputs, "gradient");
    if (!gradient)
        return;
    int64_t width = gradient->shape.size[1], others = 0;
    double own = 0;
    for (int64_t token = 0; token < PAD; token++)
        for (int64_t c = 0; c < width; c++) {
            float value = ((float *)gradient->data)[token * width + c];
            if (token < EACH)
                own += fabs((double)value);
            else
                others += value != 0;
        }
    if (others || !(own > 0))
        fprintf(stderr, "%s: %lld of others' gradients are not zero, its own come to %g\n", of->name, (long long)others,
                own);
    CU_ASSERT(others == 0 && own > 0);
}

static void expect_independent(const Case *of, const TsMesh *mesh)
{
    Run run, mates, longer, alone;
    open_run(&run, mesh, of, LENGTH, 0);
    open_run(&mates, mesh, of, LENGTH, 1);
    open_run(&longer, mesh, of, LONGER, 0);
    open_run(&alone, NULL, of, LENGTH, 0);
    if (run.program && mates.program && longer.program && alone.program) {
        double by_mates = farthest(&run, &mates, 0, 1), others = farthest(&run, &mates, 1, ROWS - 1);
        double by_padding = farthest(&run, &longer, 0, ROWS), by_rank = farthest(&run, &alone, 0, ROWS);
        if (!(by_mates < 1e-5 && by_padding < 1e-5 && by_rank < 1e-5))
            fprintf(stderr, "%s: by batch-mates %g, by padding %g, by ranks %g\n", of->name, by_mates, by_padding,
                    by_rank);
        CU_ASSERT(by_mates < 1e-5 && by_padding < 1e-5 && by_rank < 1e-5);
        CU_ASSERT(others > 1e-3 && spread(&run) > 0.1); /* the others did change, and there is something to see */
        expect_own_gradient(&run, of);
        expect_own_gradient(&longer, of);
    }
    close_run(&run);
    close_run(&mates);
    close_run(&longer);
    close_run(&alone);
}

static void expect_on_meshes(const Case *cases, size_t count)
{
    for (int along_model = 1; along_model <= ts_group_size(test_world); along_model *= 2) {
        TsMesh *mesh = NULL;
        TsMeshShape shape = {
            .size = {[TS_AXIS_DATA] = ts_group_size(test_world) / along_model, [TS_AXIS_MODEL] = along_model}};
        TEST_OK(ts_mesh_create(&mesh, test_world, shape));
        for (size_t i = 0; i < count; i++)
            expect_independent(&cases[i], mesh);
        ts_mesh_free(&mesh);
    }
}

/* ---- the models ---- */

static void language_models(void)
{
    TsLanguageModel plain = {.backbone = backbone, .ignored = -100}, rotary = plain, alibi = plain, relative = plain,
                    window = plain, experts = plain, bert = plain;
    rotary.backbone.positions = TS_POSITIONS_ROTARY;
    rotary.backbone.norm = TS_NORM_RMS;
    rotary.backbone.activation = TS_ACTIVATION_SWIGLU;
    alibi.backbone.positions = TS_POSITIONS_ALIBI;
    relative.backbone.positions = TS_POSITIONS_RELATIVE;
    window.backbone.positions = TS_POSITIONS_SINUSOIDAL;
    window.backbone.window = 2;
    experts.backbone.experts = 4;
    experts.backbone.capacity = 4; /* of a sequence, whose length it grows with: none is dropped */
    bert.backbone.post_norm = bert.backbone.head_transform = true;
    bert.backbone.token_types = 2;
    const Case cases[] = {{"language model", &ts_language_model, &plain}, {"rotary", &ts_language_model, &rotary},
                          {"alibi", &ts_language_model, &alibi},          {"relative", &ts_language_model, &relative},
                          {"window", &ts_language_model, &window},        {"experts", &ts_language_model, &experts},
                          {"post-norm", &ts_language_model, &bert}};
    expect_on_meshes(cases, sizeof cases / sizeof *cases);
}

/* A choice of a pooling adapter, read as a config has it. */
typedef struct Heads {
    TsChoice mean, max, attention, last;
} Heads;

static const TsKey head_keys[] = {
    TS_KEY_CHOICE(Heads, mean, &ts_adapters, "-", .fallback = "{type: mlp_pool, pooling: mean, hidden: [6]}"),
    TS_KEY_CHOICE(Heads, max, &ts_adapters, "-", .fallback = "{type: mlp_pool, pooling: max}"),
    TS_KEY_CHOICE(Heads, attention, &ts_adapters, "-", .fallback = "{type: mlp_pool, pooling: attention}"),
    TS_KEY_CHOICE(Heads, last, &ts_adapters, "-", .fallback = "{type: mlp_pool, pooling: last}"), TS_KEYS_END};
static const TsConfigTable head_table = {"heads", "Pooling adapters.", sizeof(Heads), head_keys, NULL};

static void headed_models(void)
{
    TsConfig *config = NULL;
    TEST_OK(ts_config_load(&config, &head_table, (TsConfigSources){0}));
    const Heads *heads = config ? ts_config_value(config) : NULL;
    TsHeadedModel models[4];
    Case cases[4];
    for (int i = 0; heads && i < 4; i++) {
        const TsChoice choices[] = {heads->mean, heads->max, heads->attention, heads->last};
        static const char *const names[] = {"mean", "max", "attention", "last"};
        models[i] = (TsHeadedModel){.backbone = backbone,
                                    .name = "t",
                                    .adapter = choices[i],
                                    .objective = TS_OBJECTIVE_CLASSES,
                                    .outputs = CLASSES};
        models[i].backbone.causal = i == 3;
        cases[i] = (Case){names[i], &ts_headed_model, &models[i]};
    }
    if (heads)
        expect_on_meshes(cases, 4);
    ts_config_free(&config);
}

/* The same objective on trunks that are no transformers. */
static void baselines(void)
{
    TsConfig *config = NULL;
    TEST_OK(ts_config_load(&config, &head_table, (TsConfigSources){0}));
    const Heads *heads = config ? ts_config_value(config) : NULL;
    TsTransformer options = {.layers = 2, .width = 8, .kernel = 3, .context = LONGER};
    TsHeadedModel onehot = {.backbone = ts_trunk_options(&options, &(TsTrunkKind){TS_TRUNK_ONEHOT, NULL}, VOCAB),
                            .name = "t",
                            .objective = TS_OBJECTIVE_CLASSES,
                            .outputs = CLASSES};
    TsHeadedModel conv1d = onehot;
    conv1d.backbone = ts_trunk_options(&options, &(TsTrunkKind){TS_TRUNK_CONV1D, NULL}, VOCAB);
    if (heads) {
        onehot.adapter = conv1d.adapter = heads->mean;
        const Case cases[] = {{"onehot", &ts_headed_model, &onehot}, {"conv1d", &ts_headed_model, &conv1d}};
        expect_on_meshes(cases, sizeof cases / sizeof *cases);
    }
    ts_config_free(&config);
}

static void sequence_models(void)
{
    TsSequenceModel plain = {.encoder = backbone, .decoder = backbone, .start = PAD}, relative = plain;
    plain.encoder.causal = relative.encoder.causal = false;
    relative.encoder.positions = relative.decoder.positions = TS_POSITIONS_RELATIVE;
    relative.encoder.norm = relative.decoder.norm = TS_NORM_RMS;
    const Case cases[] = {{"sequence model", &ts_sequence_model, &plain}, {"T5", &ts_sequence_model, &relative}};
    expect_on_meshes(cases, sizeof cases / sizeof *cases);
}

TEST_MAIN("independence", {"language models", language_models}, {"headed models", headed_models},
          {"baselines", baselines}, {"sequence models", sequence_models})
