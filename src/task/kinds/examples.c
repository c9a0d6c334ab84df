/* SPDX-License-Identifier: Apache-2.0 */
#include "task/kinds/examples.h"

#include <string.h>

#include "base/memory.h"
#include "model/sharding.h"
#include "model/transformer.h"

static TsStatus locate(const TsTaskSetting *setting, const void *field, TsStatus status)
{
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error(setting->config, field, "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

static TsStatus check_length(TsExamples *examples)
{
    const TsTransformer *backbone = examples->setting->backbone->value;
    const TsDataConfig *config = examples->config;
    const int64_t *lengths = config->lengths.items;
    examples->length = config->length == TS_AUTO ? backbone->context : config->length;
    if (examples->length > backbone->context)
        return ts_config_error(examples->setting->config, &config->length,
                               "more than the backbone's context of %lld tokens", (long long)backbone->context);
    if (config->lengths.count && lengths[config->lengths.count - 1] >= examples->length)
        return ts_config_error(examples->setting->config, &config->lengths, "expected lengths below %lld",
                               (long long)examples->length);
    return TS_OK;
}

/* That `columns` names roles that the task has. */
static TsStatus check_roles(const TsTaskSetting *setting, const TsDataConfig *config, const TsColumnSpec *specs,
                            int spec_count)
{
    const char *roles[TS_MAX_SPECS];
    for (int i = 0; i < spec_count; i++)
        roles[i] = specs[i].role;
    for (int64_t c = 0; c < config->columns.count; c++) {
        const char *name = config->columns.names[c], *nearest = ts_text_nearest(name, roles, (size_t)spec_count);
        bool known = false;
        for (int i = 0; i < spec_count; i++)
            known = known || strcmp(roles[i], name) == 0;
        if (!known && nearest)
            return ts_config_error(setting->config, config->columns.items, "%s has no column %s; did you mean %s?",
                                   setting->type, name, nearest);
        if (!known)
            return ts_config_error(setting->config, config->columns.items, "%s has no column %s", setting->type, name);
    }
    return TS_OK;
}

bool ts_examples_are_other(const TsTaskSetting *setting)
{
    return setting->files.count > 0;
}

/* The config's data with the files that are to be predicted: all of them one part. */
static const TsDataConfig *other_files(TsExamples *examples, const TsDataConfig *config)
{
    static const TsSplitFiles all;
    examples->other = *config;
    examples->other.files = examples->setting->files;
    examples->other.text = examples->other.labels = examples->other.mask = NULL;
    examples->other.split = (TsChoice){.variant = &ts_splits.items[TS_SPLIT_FILES], .value = &all};
    return &examples->other;
}

TsStatus ts_examples_open(TsExamples *examples, const TsTaskSetting *setting, const TsDataConfig *config,
                          const TsColumnSpec *specs, int spec_count)
{
    examples->setting = setting;
    examples->config = ts_examples_are_other(setting) ? other_files(examples, config) : config;
    examples->seed = ts_stream_key(setting->seed, setting->name);
    examples->pair = -1;
    examples->two_types = ((const TsTransformer *)setting->backbone->value)->token_types > 1;
    TS_TRY(ts_comm_agree(setting->group, locate(setting, &config->tokenizer,
                                                ts_tokenizer_make(&examples->tokenizer, config->tokenizer))));
    TS_TRY(check_length(examples));
    if (!ts_examples_are_other(setting))
        TS_TRY(check_roles(setting, config, specs, spec_count));
    if (config->text)
        return ts_config_error(setting->config, &config->text, "this task learns from files of examples");
    if (setting->without_data)
        return TS_OK;
    TS_TRY(ts_status_annotate(
        ts_dataset_open(&examples->dataset, (TsDatasetSetting){.group = setting->group,
                                                               .config = examples->config,
                                                               .tokenizer = examples->tokenizer,
                                                               .specs = specs,
                                                               .spec_count = spec_count,
                                                               .prepared_dir = setting->prepared_dir}),
        "tasks.%s", setting->name));
    examples->pair = ts_dataset_column(examples->dataset, "pair");
    for (int part = 0; part < TS_PARTS; part++) {
        examples->part[part].examples = examples;
        TS_TRY(ts_comm_agree(setting->group, locate(setting, &config->split,
                                                    ts_split_open(&examples->part[part].split, examples->dataset,
                                                                  examples->config, (TsPart)part))));
    }
    return TS_OK;
}

void ts_examples_close(TsExamples *examples)
{
    for (int part = 0; part < TS_PARTS; part++)
        ts_split_close(&examples->part[part].split);
    ts_dataset_close(&examples->dataset);
    ts_tokenizer_free(&examples->tokenizer);
}

/* ---- loaders ---- */

static void fill(const void *self, void *const *row, int64_t length, int64_t index, int64_t number, bool shuffled)
{
    const TsExamplesPart *part = self;
    int64_t example = index < 0 ? -1 : ts_split_example(&part->split, index);
    part->examples->collate(part->examples, row, length,
                            (TsDraw){.example = example, .number = shuffled ? number : index, .shuffled = shuffled});
}

static void fill_shuffled(const void *self, void *const *row, int64_t length, int64_t index, int64_t number)
{
    fill(self, row, length, index, number, true);
}

static void fill_in_order(const void *self, void *const *row, int64_t length, int64_t index, int64_t number)
{
    fill(self, row, length, index, number, false);
}

static int64_t length_of(const void *self, int64_t index)
{
    const TsExamplesPart *part = self;
    int64_t tokens = part->examples->tokens(part->examples, ts_split_example(&part->split, index));
    return tokens < part->examples->length ? tokens : part->examples->length;
}

static TsLoader *make_loader(const TsExamples *examples, TsPart part, TsOrder order, int micros)
{
    const TsDataConfig *config = examples->config;
    TsRows rows = {.count = examples->part[part].split.count,
                   .columns = examples->columns,
                   .column_count = examples->column_count,
                   .self = &examples->part[part],
                   .fill = order == TS_ORDER_SHUFFLED ? fill_shuffled : fill_in_order,
                   .length = length_of};
    TsLoaderOptions options = {.rows = config->batch,
                               .placement = ts_batch_placement(),
                               .micros = micros,
                               .order = order,
                               .seed = examples->seed,
                               .sort_batches = config->lengths.count ? config->sort : 1};
    for (int64_t i = 0; i < config->lengths.count; i++)
        options.lengths[options.length_count++] = ((const int64_t *)config->lengths.items)[i];
    options.lengths[options.length_count++] = examples->length;
    return rows.count ? ts_loader_create(rows, examples->setting->mesh, options) : NULL;
}

void ts_examples_load(TsExamples *examples, TsTask *task)
{
    int micros = examples->setting->evaluation_micros;
    task->train = make_loader(examples, TS_PART_TRAIN, TS_ORDER_SHUFFLED, examples->setting->train_micros);
    task->validation = make_loader(examples, TS_PART_VALIDATION, TS_ORDER_SEQUENTIAL, micros);
    task->test = make_loader(examples, TS_PART_TEST, TS_ORDER_SEQUENTIAL, micros);
    task->train_in_order = make_loader(examples, TS_PART_TRAIN, TS_ORDER_SEQUENTIAL, micros);
    task->tokenizer = examples->tokenizer;
    task->tokens_a_batch = examples->length * examples->config->batch;
}

const TsSplit *ts_examples_split(const TsExamples *examples, const TsTask *task, const TsLoader *loader)
{
    TsPart part = loader == task->validation ? TS_PART_VALIDATION : loader == task->test ? TS_PART_TEST : TS_PART_TRAIN;
    return &examples->part[part].split;
}

/* ---- rows of text ---- */

int64_t ts_examples_before(const TsExamples *examples)
{
    return ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_BEGIN) >= 0;
}

static int64_t behind(const TsExamples *examples)
{
    return ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_END) >= 0;
}

int64_t ts_examples_text_tokens(const TsExamples *examples, int column, int64_t example)
{
    return ts_examples_before(examples) + ts_dataset_tokens(examples->dataset, column, example, NULL, 0) +
           behind(examples) +
           (examples->pair < 0 ? 0
                               : examples->config->pair_ends * behind(examples) +
                                     ts_dataset_tokens(examples->dataset, examples->pair, example, NULL, 0));
}

int64_t ts_examples_put_text(const TsExamples *examples, int column, int32_t *tokens, bool *seen, int64_t length,
                             int64_t example)
{
    const TsTokenizer *tokenizer = examples->tokenizer;
    int32_t pad = ts_tokenizer_special(tokenizer, TS_SPECIAL_PAD);
    int64_t count = 0;
    if (example >= 0) {
        int64_t before = ts_examples_before(examples), after = behind(examples);
        int64_t room = length - before - after;
        if (before && length > 0)
            tokens[0] = ts_tokenizer_special(tokenizer, TS_SPECIAL_BEGIN);
        int64_t text = room > 0 ? ts_dataset_tokens(examples->dataset, column, example, tokens + before, room) : 0;
        count = before + (text < room ? text : room > 0 ? room : 0);
        if (after && count < length)
            tokens[count++] = ts_tokenizer_special(tokenizer, TS_SPECIAL_END);
        count = count < length ? count : length;
    }
    for (int64_t i = 0; i < length; i++) {
        seen[i] = i < count;
        if (i >= count)
            tokens[i] = pad >= 0 ? pad : 0;
    }
    return count;
}

/* How many tokens of two texts of a and b a row has room for. */
static void share_room(int64_t *a, int64_t *b, int64_t room)
{
    int64_t half = room / 2, all = *a + *b;
    if (all <= room)
        return;
    if (*b <= half)
        *a = room - *b;
    else if (*a <= room - half)
        *b = room - *a;
    else
        *a = room - half, *b = half;
}

int64_t ts_examples_put_pair(const TsExamples *examples, int column, int32_t *tokens, int32_t *types, bool *seen,
                             int64_t length, int64_t example)
{
    memset(types, 0, (size_t)length * sizeof *types);
    int64_t ends = behind(examples) * (examples->config->pair_ends + 1), before = ts_examples_before(examples);
    if (examples->pair < 0 || example < 0 || length < before + ends)
        return ts_examples_put_text(examples, column, tokens, seen, length, example);
    int64_t a = ts_dataset_tokens(examples->dataset, column, example, NULL, 0), count = length;
    int64_t b = ts_dataset_tokens(examples->dataset, examples->pair, example, NULL, 0);
    share_room(&a, &b, length - before - ends);
    int64_t second = before + a + ends - behind(examples); /* where the pair begins */
    count = second + b + behind(examples);
    int32_t end = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_END);
    int32_t pad = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_PAD);
    for (int64_t i = 0; i < length; i++) {
        seen[i] = i < count;
        tokens[i] = i >= count ? (pad >= 0 ? pad : 0) : end; /* ends, and what is written over next */
        types[i] = i >= second && i < count && examples->two_types;
    }
    if (before)
        tokens[0] = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_BEGIN);
    ts_dataset_tokens(examples->dataset, column, example, tokens + before, a);
    ts_dataset_tokens(examples->dataset, examples->pair, example, tokens + second, b);
    return count;
}

TsBatch *ts_examples_sample(const TsMesh *mesh)
{
    TsBatch *sample = ts_batch_create();
    TsShape one = ts_shape(1, 1);
    ts_batch_put(sample, "tokens", ts_array_create(mesh, TS_I32, one, ts_replicated, (TsArrayOptions){0}));
    ts_batch_put(sample, "seen", ts_array_create(mesh, TS_BOOL, one, ts_replicated, (TsArrayOptions){0}));
    return sample;
}

/* ---- checks ---- */

TsStatus ts_examples_need_special(const TsExamples *examples, TsSpecial special)
{
    if (ts_tokenizer_special(examples->tokenizer, special) >= 0)
        return TS_OK;
    return ts_config_error(examples->setting->config, &examples->config->tokenizer,
                           "%s has no %s token, which tasks.%s needs: {type: bytes, specials: true} has",
                           examples->config->tokenizer.variant->name, ts_special_name(special),
                           examples->setting->name);
}

void ts_examples_share(const TsGroup *group, int64_t n, int64_t *begin, int64_t *end)
{
    int64_t size = ts_group_size(group), rank = ts_group_rank(group);
    *begin = n / size * rank + (rank < n % size ? rank : n % size);
    *end = *begin + n / size + (rank < n % size);
}

TsStatus ts_examples_check(const TsExamples *examples, TsStatus (*check)(const TsExamples *, int64_t))
{
    int64_t begin, end;
    TsStatus status = TS_OK;
    ts_examples_share(examples->setting->group, ts_dataset_count(examples->dataset), &begin, &end);
    for (int64_t i = begin; i < end && !status; i++)
        status = check(examples, i);
    return ts_comm_agree(examples->setting->group, status);
}
