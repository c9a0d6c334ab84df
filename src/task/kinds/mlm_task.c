/* SPDX-License-Identifier: Apache-2.0
 *
 * MlmTask: `type: mlm`: some tokens of a text are hidden and guessed from all others: Devlin et al. 2019. Which ones is
 * a function of (seed, draw, position): other ones each epoch, the same ones in each evaluation.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "data/windows.h"
#include "model/headed_model.h"
#include "model/sharding.h"
#include "task/kinds/examples.h"
#include "task/kinds/kinds.h"

typedef struct MlmConfig {
    TsDataConfig data;
    double rate, random, kept;
} MlmConfig;

static TsStatus check(const void *value)
{
    const MlmConfig *config = value;
    if (config->random + config->kept <= 1)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "random and kept are parts of what is chosen: more than all of it");
}

static const TsKey keys[] = {TS_KEY_STRUCT(MlmConfig, data, &ts_data_table, "examples: column text"),
                             TS_KEY_REAL(MlmConfig, rate, "the part of tokens that is chosen to be guessed",
                                         .fallback = "0.15", .range = TS_ABOVE_UP_TO(0, 1)),
                             TS_KEY_REAL(MlmConfig, random,
                                         "the part of those that becomes any token instead of the mask; BERT: 0.1",
                                         .fallback = "0", .range = TS_BETWEEN(0, 1)),
                             TS_KEY_REAL(MlmConfig, kept, "the part of those that stays as it is; BERT: 0.1",
                                         .fallback = "0", .range = TS_BETWEEN(0, 1)),
                             TS_KEYS_END};
const TsConfigTable ts_mlm_task_table = {"mlm_task", "Guesses tokens that are hidden.", sizeof(MlmConfig), keys, check};

typedef struct MlmTask {
    TsExamples examples;
    TsHeadedModel model;
    const MlmConfig *config;
    int text;       /* column */
    int64_t tokens; /* that are not special */
} MlmTask;

enum { TOKENS, SEEN, LABELS };

static const TsRowColumn columns[] = {
    {"tokens", TS_I32, TS_ROW_LENGTH}, {"seen", TS_BOOL, TS_ROW_LENGTH}, {"labels", TS_I32, TS_ROW_LENGTH}};

static bool is_special(const TsTokenizer *tokenizer, int32_t token)
{
    for (int i = 0; i < TS_SPECIALS; i++)
        if (i != TS_SPECIAL_UNKNOWN && ts_tokenizer_special(tokenizer, (TsSpecial)i) == token)
            return true;
    return false;
}

/* Hides the token at `i`, or replaces it, or leaves it. */
static void hide(const MlmTask *own, int32_t *tokens, int32_t *labels, int64_t i, int64_t draw)
{
    uint64_t seed = own->examples.seed;
    double what = ts_stream_uniform_f64(ts_stream(seed, "mlm/what", draw), i);
    labels[i] = tokens[i];
    if (what < own->config->random)
        tokens[i] = (int32_t)ts_stream_below(ts_stream(seed, "mlm/random", draw), i, own->tokens);
    else if (what >= own->config->random + own->config->kept)
        tokens[i] = ts_tokenizer_special(own->examples.tokenizer, TS_SPECIAL_MASK);
}

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const MlmTask *own = examples->own;
    int32_t *tokens = row[TOKENS], *labels = row[LABELS];
    int64_t count = ts_examples_put_text(examples, own->text, tokens, row[SEEN], length, draw.example);
    int64_t hidden = 0, candidates = 0, chosen = -1;
    for (int64_t i = 0; i < length; i++)
        labels[i] = TS_LABEL_IGNORED;
    if (draw.example < 0)
        return;
    TsStream choice = ts_stream(examples->seed, "mlm/choice", draw.number);
    for (int64_t i = 0; i < count; i++) {
        if (is_special(examples->tokenizer, tokens[i]))
            continue;
        if (ts_stream_below(ts_stream(examples->seed, "mlm/one", draw.number), i, ++candidates) == 0)
            chosen = i; /* each candidate is as likely to be the last one chosen */
        if (ts_stream_uniform_f64(choice, i) < own->config->rate) {
            hide(own, tokens, labels, i, draw.number);
            hidden++;
        }
    }
    if (hidden == 0 && chosen >= 0)
        hide(own, tokens, labels, chosen, draw.number);
}

static int64_t tokens_of(const TsExamples *examples, int64_t example)
{
    return ts_examples_text_tokens(examples, ((const MlmTask *)examples->own)->text, example);
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    static const TsColumnSpec specs[] = {{.role = "text", .kind = TS_CELL_TOKENS}};
    MlmTask *own = ts_calloc(1, sizeof *own);
    const TsTransformer *backbone = setting->backbone->value;
    task->own = own;
    own->config = setting->keys;
    own->examples.own = own;
    own->examples.collate = collate;
    own->examples.tokens = tokens_of;
    own->examples.columns = columns;
    own->examples.column_count = sizeof columns / sizeof *columns;
    own->model =
        (TsHeadedModel){.backbone = ts_kind_backbone(setting), .name = setting->name, .objective = TS_OBJECTIVE_TOKENS};
    if (backbone->causal)
        return ts_config_error(setting->config, setting->backbone->value,
                               "causal: tasks.%s guesses a token from those on both sides: causal: false",
                               setting->name);
    TS_TRY(ts_examples_open(&own->examples, setting, &own->config->data, specs, 1));
    TS_TRY(ts_examples_need_special(&own->examples, TS_SPECIAL_MASK));
    own->tokens = ts_tokenizer_vocab(own->examples.tokenizer);
    for (int i = 0; i < TS_SPECIALS; i++)
        own->tokens -= ts_tokenizer_special(own->examples.tokenizer, (TsSpecial)i) >= 0;
    if (!setting->without_data) {
        own->text = ts_dataset_column(own->examples.dataset, "text");
        ts_examples_load(&own->examples, task);
    }
    own->model.mask = ts_tokenizer_special(own->examples.tokenizer, TS_SPECIAL_MASK);
    task->tokenizer = own->examples.tokenizer;
    task->prompt_is_source = task->prompt_has_masks = true;
    task->sample = ts_examples_sample(setting->mesh);
    task->model = &ts_headed_model;
    task->options = &own->model;
    task->has_perplexity = true;
    return TS_OK;
}

static void release(TsTask *task)
{
    MlmTask *own = task->own;
    ts_examples_close(&own->examples);
    ts_free(own);
}

static const TsDataConfig *data_of(const void *value)
{
    return &((const MlmConfig *)value)->data;
}

static void give_out(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns_in)
{
    (void)scope;
    (void)task;
    (void)columns_in;
    ts_output("filled", ts_argmax(predictions), ts_batch_placement());
}

/* The text with its hidden tokens filled in. */
static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    const MlmTask *own = task->own;
    const TsArray *filled = ts_batch_find(given, "filled");
    int64_t length = filled->shape.size[1], count = 0;
    const int32_t *guesses = (const int32_t *)filled->data + row * length;
    const int32_t *tokens = (const int32_t *)ts_batch_find(batch, "tokens")->data + row * length;
    const int32_t *labels = (const int32_t *)ts_batch_find(batch, "labels")->data + row * length;
    const bool *seen = (const bool *)ts_batch_find(batch, "seen")->data + row * length;
    int32_t *whole = ts_calloc((size_t)length + 1, sizeof *whole);
    for (; count < length && seen[count]; count++)
        whole[count] = labels[count] >= 0 ? guesses[count] : tokens[count];
    size_t bytes;
    char *shown = ts_tokenizer_decode(own->examples.tokenizer, &bytes, tokens, count);
    char *text = ts_tokenizer_decode(own->examples.tokenizer, &bytes, whole, count);
    json_t *values[] = {json_string(shown), json_string(text)}; /* NULL where it is not UTF-8 */
    json_object_set_new(cells, "masked", values[0] ? values[0] : json_null());
    json_object_set_new(cells, "filled", values[1] ? values[1] : json_null());
    ts_free(shown);
    ts_free(text);
    ts_free(whole);
}

const TsTaskKind ts_mlm_task = {.needs = (const char *const[]){"text", NULL},
                                .data = data_of,
                                .configure = configure,
                                .release = release,
                                .give_out = give_out,
                                .predict = predict};
