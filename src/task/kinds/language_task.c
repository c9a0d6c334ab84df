/* SPDX-License-Identifier: Apache-2.0 */
#include "task/kinds/language_task.h"

#include <jansson.h>
#include <math.h>

#include "base/memory.h"
#include "data/text_tokens.h"
#include "data/unpack.h"
#include "model/language_model.h"
#include "model/sharding.h"
#include "task/kinds/kinds.h"

static const TsKey teacher_keys[] = {
    TS_KEY_CHOICE(TsTeacherConfig, backbone, &ts_backbones, "the teacher's trunk", .fallback = "transformer"),
    TS_KEY_REAL(TsTeacherConfig, temperature, "at which the two distributions are compared", .fallback = "2",
                .range = TS_ABOVE(0)),
    TS_KEY_REAL(TsTeacherConfig, weight, "of what the teacher predicts, beside 1 - weight for labels",
                .fallback = "0.5", .range = TS_BETWEEN(0, 1)),
    TS_KEYS_END};
static const TsConfigTable teacher_table = {
    "teacher", "A frozen model to learn from; its parameters are teacher/..., which init_from fills.",
    sizeof(TsTeacherConfig), teacher_keys, NULL};

static const TsKey keys[] = {
    TS_KEY_STRUCT(TsLanguageConfig, data, &ts_data_table,
                  "what is learned: a text, or examples: columns text and prompt"),
    TS_KEY_STRING(TsLanguageConfig, join, "between the prompt of an example and its text", .fallback = "\": \""),
    TS_KEY_REAL(TsLanguageConfig, smoothing, "of labels", .fallback = "0", .range = TS_FROM_TO(0, 1)),
    TS_KEY_REAL(TsLanguageConfig, z_loss, "z * log^2 Z is added to the loss", .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEY_OPTIONAL(TsLanguageConfig, teacher, &teacher_table, "what it learns from a frozen model: distillation"),
    TS_KEYS_END};
const TsConfigTable ts_language_task_table = {"language_model_task", "Predicts each next token of a text.",
                                              sizeof(TsLanguageConfig), keys, NULL};

/* A part of a text. */
typedef struct TextPart {
    TsTextTokens *tokens;
    TsWindows *windows;
} TextPart;

typedef struct LanguageTask {
    TsLanguageModel options;
    TsDistillation distillation;
    TsSource *source; /* of a text */
    TsTokenizer *tokenizer;
    TextPart train, validation;
    TsLanguageExamples examples;
} LanguageTask;

static TsStatus check_length(const TsTaskSetting *setting, const TsLanguageModel *options, int64_t *length)
{
    const TsLanguageConfig *config = setting->keys;
    *length = config->data.length == TS_AUTO ? options->backbone.context : config->data.length;
    if (*length > options->backbone.context)
        return ts_config_error(setting->config, &config->data.length, "more than the backbone's context of %lld tokens",
                               (long long)options->backbone.context);
    return TS_OK;
}

TsLoader *ts_language_windows_loader(const TsTaskSetting *setting, const TsWindows *windows, TsOrder order)
{
    const TsLanguageConfig *config = setting->keys;
    TsLoaderOptions options = {.rows = config->data.batch,
                               .placement = ts_batch_placement(),
                               .micros =
                                   order == TS_ORDER_SHUFFLED ? setting->train_micros : setting->evaluation_micros,
                               .order = order,
                               .seed = ts_stream_key(setting->seed, setting->name),
                               .lengths = {ts_windows_length(windows)},
                               .length_count = 1};
    return ts_loader_create(ts_windows_rows(windows), setting->mesh, options);
}

static const char *prepared_dir(const TsTaskSetting *setting)
{
    const char *given = ((const TsLanguageConfig *)setting->keys)->data.prepared;
    return given ? given : setting->prepared_dir;
}

/* Windows of a part of the text. */
static TsStatus open_part(TextPart *part, const TsTaskSetting *setting, const LanguageTask *own, TsTextSetting text,
                          int64_t length)
{
    const TsLanguageConfig *config = setting->keys;
    text.group = setting->group;
    text.source = own->source;
    text.tokenizer = own->tokenizer;
    text.takes_any_bytes = config->data.encoding == TS_ENCODING_ANY;
    text.prepared_dir = prepared_dir(setting);
    TS_TRY(ts_text_tokens_open(&part->tokens, text));
    return ts_windows_create(&part->windows, ts_text_tokens_stream(part->tokens),
                             (TsWindowsOptions){.length_tokens = length});
}

static TsStatus open_text(TsTask *task, const TsTaskSetting *setting, int64_t length)
{
    const TsLanguageConfig *config = setting->keys;
    LanguageTask *own = task->own;
    double split = 1 - config->data.validation;
    char *plain = NULL;
    TsStatus status = ts_unpack(&plain, setting->group, config->data.text, prepared_dir(setting));
    if (!status)
        status = ts_source_open_text(&own->source, setting->group, plain);
    ts_free(plain);
    if (status) {
        TsStatus located = ts_config_error(setting->config, &config->data.text, "%s", ts_status_message(status));
        ts_status_free(&status);
        return located;
    }
    TS_TRY(open_part(&own->train, setting, own, (TsTextSetting){.begin = 0, .end = split}, length));
    task->train = ts_language_windows_loader(setting, own->train.windows, TS_ORDER_SHUFFLED);
    if (config->data.validation == 0)
        return TS_OK;
    TS_TRY(open_part(&own->validation, setting, own, (TsTextSetting){.begin = split, .end = 1}, length));
    task->validation = ts_language_windows_loader(setting, own->validation.windows, TS_ORDER_SEQUENTIAL);
    task->nats_to_bits_a_byte = (double)ts_text_tokens_stream(own->validation.tokens).tokens /
                                (double)ts_text_tokens_bytes(own->validation.tokens) / log(2.0);
    return TS_OK;
}

/* What the teacher is, where there is one. */
static TsStatus find_teacher(LanguageTask *own, const TsTaskSetting *setting)
{
    const TsTeacherConfig *teacher = ((const TsLanguageConfig *)setting->keys)->teacher;
    if (!teacher)
        return TS_OK;
    if (((const TsLanguageConfig *)setting->keys)->data.pack == TS_PACK_APART)
        return ts_config_error(setting->config, &((const TsLanguageConfig *)setting->keys)->data.pack,
                               "apart: a teacher does not keep the documents of a row apart: joined, or none");
    const TsTransformer *backbone = teacher->backbone.value;
    TS_TRY(ts_kind_check_transformer(setting, &teacher->backbone));
    if (!backbone->causal)
        return ts_config_error(setting->config, backbone, "causal: false: a teacher of next tokens must not see them");
    if (backbone->context < own->options.backbone.context)
        return ts_config_error(setting->config, &backbone->context,
                               "the teacher reads fewer tokens than the backbone's %lld",
                               (long long)own->options.backbone.context);
    if (backbone->vocab != TS_AUTO && backbone->vocab != setting->vocab)
        return ts_config_error(setting->config, &backbone->vocab,
                               "the student has %lld tokens: theirs must be the same", (long long)setting->vocab);
    own->distillation =
        (TsDistillation){.teacher = *backbone, .temperature = teacher->temperature, .weight = teacher->weight};
    own->distillation.teacher.vocab = setting->vocab;
    own->options.distillation = &own->distillation;
    return TS_OK;
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    const TsLanguageConfig *config = setting->keys;
    LanguageTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    TS_TRY(ts_comm_agree(setting->group, ts_tokenizer_make(&own->tokenizer, config->data.tokenizer)));
    TS_TRY(ts_kind_check_transformer(setting, setting->backbone));
    own->options = (TsLanguageModel){.backbone = *(const TsTransformer *)setting->backbone->value,
                                     .ignored = TS_LABEL_IGNORED,
                                     .smoothing = config->smoothing,
                                     .z_loss = config->z_loss};
    int64_t length = 0;
    own->options.backbone.vocab = setting->vocab;
    if (!own->options.backbone.causal)
        return ts_config_error(setting->config, setting->backbone->value,
                               "causal: false: tasks.%s predicts each next token, which it must not see",
                               setting->name);
    TS_TRY(check_length(setting, &own->options, &length));
    TS_TRY(find_teacher(own, setting));
    if (config->data.files.count)
        TS_TRY(ts_language_examples_open(&own->examples, task, setting));
    else if (!setting->without_data)
        TS_TRY(open_text(task, setting, length));
    task->sample = ts_batch_create();
    ts_batch_put(task->sample, "tokens",
                 ts_array_create(setting->mesh, TS_I32, ts_shape(1, 1), ts_replicated, (TsArrayOptions){0}));
    task->model = &ts_language_model;
    task->options = &own->options;
    task->tokenizer = own->tokenizer;
    if (config->data.files.count && ts_data_has_role(&config->data, "prompt"))
        task->behind_prompt = config->join;
    task->has_perplexity = true;
    task->tokens_a_batch = length * config->data.batch;
    return TS_OK;
}

static void close_part(TextPart *part)
{
    ts_windows_free(&part->windows);
    ts_text_tokens_close(&part->tokens);
}

static void release(TsTask *task)
{
    LanguageTask *own = task->own;
    ts_language_examples_close(&own->examples);
    close_part(&own->train);
    close_part(&own->validation);
    ts_tokenizer_free(&own->tokenizer);
    ts_source_free(&own->source);
    ts_free(own);
}

static const TsDataConfig *data_of(const void *value)
{
    return &((const TsLanguageConfig *)value)->data;
}

/* What each row costs. */
static void give_out(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns)
{
    const LanguageTask *own = task->own;
    (void)scope;
    TsTensor loss =
        ts_cross_entropy(predictions, ts_column(columns, "labels"), (TsCrossEntropy){.ignore = own->options.ignored});
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

static void baseline(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group)
{
    const LanguageTask *own = task->own;
    if (own->examples.examples.dataset)
        ts_language_examples_baseline(&own->examples, task, scores, data, group);
}

const TsTaskKind ts_language_task = {.needs = (const char *const[]){"text", NULL},
                                     .data = data_of,
                                     .configure = configure,
                                     .release = release,
                                     .give_out = give_out,
                                     .predict = predict,
                                     .baseline = baseline};
