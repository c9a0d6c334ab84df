/* SPDX-License-Identifier: Apache-2.0
 *
 * SequenceTask: `type: sequence_to_sequence`: writes a target for a source: translation, summaries, answers.
 *
 *     data: {files: [pairs.tsv], columns: {source: english, target: german}}
 *
 * `backbone` is the encoder, causal: false, which other tasks may share; the decoder is made of the same parts and
 * belongs to all tasks of this kind. Both texts of an example are as long as the longer one, filled up.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "data/windows.h"
#include "model/sequence_model.h"
#include "model/sharding.h"
#include "task/kinds/examples.h"
#include "task/kinds/kinds.h"

typedef struct SequenceConfig {
    TsDataConfig data;
    int64_t decoder_layers;
    double smoothing;
} SequenceConfig;

static const TsKey keys[] = {
    TS_KEY_STRUCT(SequenceConfig, data, &ts_data_table, "examples: columns source and target"),
    TS_KEY_INT(SequenceConfig, decoder_layers, "of the decoder; auto is as many as backbone.layers", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, 4096)),
    TS_KEY_REAL(SequenceConfig, smoothing, "of labels", .fallback = "0", .range = TS_FROM_TO(0, 1)), TS_KEYS_END};
const TsConfigTable ts_sequence_task_table = {"sequence_to_sequence_task", "Writes a target for a source.",
                                              sizeof(SequenceConfig), keys, NULL};

typedef struct SequenceTask {
    TsExamples examples;
    TsSequenceModel model;
    int source, target; /* columns */
} SequenceTask;

enum { SOURCES, SEEN, TOKENS, LABELS };

static const TsRowColumn columns[] = {{"sources", TS_I32, TS_ROW_LENGTH},
                                      {"sources_seen", TS_BOOL, TS_ROW_LENGTH},
                                      {"tokens", TS_I32, TS_ROW_LENGTH},
                                      {"labels", TS_I32, TS_ROW_LENGTH}};

/* tokens: start, target; labels: target, end. */
static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const SequenceTask *own = examples->own;
    int32_t *tokens = row[TOKENS], *labels = row[LABELS];
    int32_t pad = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_PAD);
    int32_t end = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_END);
    ts_examples_put_text(examples, own->source, row[SOURCES], row[SEEN], length, draw.example);
    int64_t count =
        draw.example < 0 ? 0 : ts_dataset_tokens(examples->dataset, own->target, draw.example, labels, length);
    count = count < length ? count : length;
    if (draw.example >= 0 && end >= 0 && count < length)
        labels[count++] = end;
    for (int64_t i = count; i < length; i++)
        labels[i] = TS_LABEL_IGNORED;
    for (int64_t i = 0; i < length; i++)
        tokens[i] = i == 0 ? own->model.start : i < count ? labels[i - 1] : pad >= 0 ? pad : 0;
}

static int64_t tokens_of(const TsExamples *examples, int64_t example)
{
    const SequenceTask *own = examples->own;
    int64_t source = ts_examples_text_tokens(examples, own->source, example);
    int64_t target = ts_dataset_tokens(examples->dataset, own->target, example, NULL, 0) + 1;
    return source > target ? source : target;
}

/* What targets begin with: T5 takes padding. */
static int32_t start_of(const TsTokenizer *tokenizer)
{
    static const TsSpecial order[] = {TS_SPECIAL_BEGIN, TS_SPECIAL_PAD, TS_SPECIAL_END};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (ts_tokenizer_special(tokenizer, order[i]) >= 0)
            return ts_tokenizer_special(tokenizer, order[i]);
    return 0;
}

static TsBatch *sample(const TsMesh *mesh)
{
    TsBatch *batch = ts_batch_create();
    for (int i = SOURCES; i <= TOKENS; i++)
        ts_batch_put(batch, columns[i].name,
                     ts_array_create(mesh, columns[i].dtype, ts_shape(1, 1), ts_replicated, (TsArrayOptions){0}));
    return batch;
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    static const TsColumnSpec specs[] = {{.role = "source", .kind = TS_CELL_TOKENS},
                                         {.role = "target", .kind = TS_CELL_TOKENS}};
    const SequenceConfig *config = setting->keys;
    const TsTransformer *backbone = setting->backbone->value;
    SequenceTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    TS_TRY(ts_kind_check_transformer(setting, setting->backbone));
    if (backbone->causal)
        return ts_config_error(setting->config, setting->backbone->value,
                               "causal: tasks.%s reads its source in both directions: causal: false", setting->name);
    own->examples.own = own;
    own->examples.collate = collate;
    own->examples.tokens = tokens_of;
    own->examples.columns = columns;
    own->examples.column_count = sizeof columns / sizeof *columns;
    TS_TRY(ts_examples_open(&own->examples, setting, &config->data, specs, 2));
    TS_TRY(ts_examples_need_special(&own->examples, TS_SPECIAL_END));
    own->model = (TsSequenceModel){.encoder = *backbone,
                                   .decoder = *backbone,
                                   .start = start_of(own->examples.tokenizer),
                                   .smoothing = config->smoothing};
    own->model.encoder.vocab = own->model.decoder.vocab = setting->vocab;
    own->model.decoder.layers = config->decoder_layers == TS_AUTO ? backbone->layers : config->decoder_layers;
    own->model.decoder.mask_token = 0; /* the decoder is given none */
    if (!setting->without_data) {
        own->source = ts_dataset_column(own->examples.dataset, "source");
        own->target = ts_dataset_column(own->examples.dataset, "target");
        ts_examples_load(&own->examples, task);
    }
    task->sample = sample(setting->mesh);
    task->model = &ts_sequence_model;
    task->options = &own->model;
    task->tokenizer = own->examples.tokenizer;
    task->prompt_is_source = true;
    task->has_perplexity = true;
    return TS_OK;
}

static void release(TsTask *task)
{
    SequenceTask *own = task->own;
    ts_examples_close(&own->examples);
    ts_free(own);
}

static const TsDataConfig *data_of(const void *value)
{
    return &((const SequenceConfig *)value)->data;
}

/* What each row costs. */
static void give_out(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *given)
{
    (void)scope;
    (void)task;
    TsTensor loss = ts_cross_entropy(predictions, ts_column(given, "labels"), (TsCrossEntropy){.ignore = -100});
    ts_output("nats", ts_sum(loss, 1 << 1, false), ts_batch_placement());
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    (void)task;
    (void)batch;
    double nats = 0;
    ts_kind_read_row(&nats, ts_batch_find(given, "nats"), row);
    json_object_set_new(cells, "log_probability", json_real(-nats));
}

const TsTaskKind ts_sequence_task = {.needs = (const char *const[]){"source", "target", NULL},
                                     .data = data_of,
                                     .configure = configure,
                                     .release = release,
                                     .give_out = give_out,
                                     .predict = predict};
