/* SPDX-License-Identifier: Apache-2.0
 *
 * EmbedTask and InferenceTask: `type: embed` gives hidden states of the trunk, `type: inference` its logits. Nothing is
 * learned: `tessera predict` writes what they give.
 */
#include <jansson.h>

#include "base/memory.h"
#include "model/headed_model.h"
#include "model/sharding.h"
#include "task/kinds/examples.h"
#include "task/kinds/kinds.h"

typedef enum Given { GIVEN_MEAN, GIVEN_CLS, GIVEN_TOKENS } Given;

typedef struct EmbedConfig {
    TsDataConfig data;
    int give; /* Given, of embed */
} EmbedConfig;

static const char *const give_words[] = {"mean", "cls", "tokens", NULL};

static const TsKey keys[] = {TS_KEY_STRUCT(EmbedConfig, data, &ts_data_table, "examples: column text"),
                             TS_KEY_ENUM(EmbedConfig, give, give_words,
                                         "of embed: the mean of a text's tokens, the first one, or each",
                                         .fallback = "mean"),
                             TS_KEYS_END};
const TsConfigTable ts_embed_task_table = {"embed_task", "What the trunk makes of a text.", sizeof(EmbedConfig), keys,
                                           NULL};

typedef struct EmbedTask {
    TsExamples examples;
    TsHeadedModel model;
    const EmbedConfig *config;
    int text; /* column */
} EmbedTask;

enum { TOKENS, SEEN };

static const TsRowColumn columns[] = {{"tokens", TS_I32, TS_ROW_LENGTH}, {"seen", TS_BOOL, TS_ROW_LENGTH}};

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const EmbedTask *own = examples->own;
    ts_examples_put_text(examples, own->text, row[TOKENS], row[SEEN], length, draw.example);
}

static int64_t tokens(const TsExamples *examples, int64_t example)
{
    return ts_examples_text_tokens(examples, ((const EmbedTask *)examples->own)->text, example);
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting, TsObjective objective)
{
    static const TsColumnSpec specs[] = {{.role = "text", .kind = TS_CELL_TOKENS}};
    EmbedTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->config = setting->keys;
    own->examples.own = own;
    own->examples.collate = collate;
    own->examples.tokens = tokens;
    own->examples.columns = columns;
    own->examples.column_count = sizeof columns / sizeof *columns;
    own->model = (TsHeadedModel){.backbone = ts_kind_backbone(setting), .name = setting->name, .objective = objective};
    TS_TRY(ts_examples_open(&own->examples, setting, &own->config->data, specs, 1));
    if (!setting->without_data) {
        own->text = ts_dataset_column(own->examples.dataset, "text");
        ts_examples_load(&own->examples, task);
        ts_loader_free(&task->train); /* nothing is learned */
    }
    task->sample = ts_examples_sample(setting->mesh);
    task->model = &ts_headed_model;
    task->options = &own->model;
    return TS_OK;
}

static TsStatus configure_embed(TsTask *task, const TsTaskSetting *setting)
{
    return configure(task, setting, TS_OBJECTIVE_NOTHING);
}

static TsStatus configure_inference(TsTask *task, const TsTaskSetting *setting)
{
    return configure(task, setting, TS_OBJECTIVE_LOGITS);
}

static void release(TsTask *task)
{
    EmbedTask *own = task->own;
    ts_examples_close(&own->examples);
    ts_free(own);
}

static const TsDataConfig *data_of(const void *value)
{
    return &((const EmbedConfig *)value)->data;
}

static void give_embedding(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns_in)
{
    const EmbedTask *own = task->own;
    TsTensor seen = ts_column(columns_in, "seen");
    if (own->config->give != GIVEN_TOKENS)
        predictions = ts_pool(ts_in(scope, "embed"), predictions, seen,
                              own->config->give == GIVEN_CLS ? TS_POOLING_CLS : TS_POOLING_MEAN);
    ts_output("embedding", predictions, ts_batch_placement());
}

static void give_logits(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns_in)
{
    (void)scope;
    (void)task;
    (void)columns_in;
    ts_output("logits", predictions, ts_batch_placement());
}

/* A row as a list, or of each token that is there as a list of lists. */
static void predict_array(json_t *cells, const char *name, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    const TsArray *array = ts_batch_find(given, name);
    bool of_tokens = array->shape.dims == 3;
    int64_t length = of_tokens ? array->shape.size[1] : 1, width = array->shape.size[array->shape.dims - 1];
    double *values = ts_calloc((size_t)(length * width) + 1, sizeof *values);
    const bool *seen =
        (const bool *)ts_batch_find(batch, "seen")->data + row * ts_batch_find(batch, "seen")->shape.size[1];
    json_t *list = json_array();
    ts_kind_read_row(values, array, row);
    for (int64_t i = 0; i < length && (!of_tokens || seen[i]); i++) {
        json_t *inner = of_tokens ? json_array() : list;
        for (int64_t k = 0; k < width; k++)
            json_array_append_new(inner, ts_kind_number(values[i * width + k]));
        if (of_tokens)
            json_array_append_new(list, inner);
    }
    json_object_set_new(cells, name, list);
    ts_free(values);
}

static void predict_embedding(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch,
                              int64_t row)
{
    (void)task;
    predict_array(cells, "embedding", given, batch, row);
}

static void predict_logits(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    (void)task;
    predict_array(cells, "logits", given, batch, row);
}

static const char *const needs[] = {"text", NULL};

const TsTaskKind ts_embed_task = {.needs = needs,
                                  .data = data_of,
                                  .configure = configure_embed,
                                  .release = release,
                                  .give_out = give_embedding,
                                  .predict = predict_embedding};
const TsTaskKind ts_inference_task = {.needs = needs,
                                      .data = data_of,
                                      .configure = configure_inference,
                                      .release = release,
                                      .give_out = give_logits,
                                      .predict = predict_logits};
