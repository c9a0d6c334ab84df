/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/windows.h"
#include "task/kinds/language_task.h"
#include "task/metric/metric_table.h"

enum { TOKENS, LABELS, BYTES, SEEN };

static const TsRowColumn columns[] = {{"tokens", TS_I32, TS_ROW_LENGTH},
                                      {"labels", TS_I32, TS_ROW_LENGTH},
                                      {"bytes", TS_F32, 0},
                                      {"seen", TS_BOOL, TS_ROW_LENGTH}};

/* An example as one sequence: prompt, join, text, end. Those from `learned` on are to be predicted. */
typedef struct Sequence {
    int32_t *tokens; /* (count), owned */
    int64_t count, learned;
    bool ends; /* the last one is the end, and not text */
} Sequence;

static Sequence read_sequence(const TsLanguageExamples *own, int64_t example, int64_t most)
{
    const TsExamples *examples = &own->examples;
    int32_t end = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_END);
    int64_t prompt = own->prompt < 0 ? 0 : ts_dataset_tokens(examples->dataset, own->prompt, example, NULL, 0);
    int64_t join = own->prompt < 0 ? 0 : own->join_count;
    int64_t text = ts_dataset_tokens(examples->dataset, own->text, example, NULL, 0);
    Sequence sequence = {.tokens = ts_alloc((size_t)(prompt + join + text + 1) * sizeof(int32_t))};
    if (own->prompt >= 0) {
        ts_dataset_tokens(examples->dataset, own->prompt, example, sequence.tokens, prompt);
        memcpy(sequence.tokens + prompt, own->join, (size_t)join * sizeof(int32_t));
    }
    ts_dataset_tokens(examples->dataset, own->text, example, sequence.tokens + prompt + join, text);
    sequence.count = prompt + join + text;
    if (end >= 0)
        sequence.tokens[sequence.count++] = end;
    sequence.ends = end >= 0 && sequence.count <= most;
    sequence.count = sequence.count < most ? sequence.count : most;
    sequence.learned = prompt + join > 0 ? prompt + join : 1; /* nothing comes before the first */
    return sequence;
}

/* How much text is to be predicted. */
static double learned_bytes(const TsLanguageExamples *own, const Sequence *sequence)
{
    int64_t count = sequence->count - sequence->learned - sequence->ends, each;
    each = ts_tokenizer_token_bytes(own->examples.tokenizer);
    if (count <= 0 || each > 0)
        return (double)(count > 0 ? count * each : 0);
    size_t bytes = 0;
    char *text = ts_tokenizer_decode(own->examples.tokenizer, &bytes, sequence->tokens + sequence->learned, count);
    ts_free(text);
    return (double)bytes;
}

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TsLanguageExamples *own = examples->own;
    int32_t *tokens = row[TOKENS], *labels = row[LABELS],
            pad = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_PAD);
    bool *seen = row[SEEN];
    Sequence sequence = {0};
    *(float *)row[BYTES] = 0;
    if (draw.example >= 0) {
        sequence = read_sequence(own, draw.example, length + 1);
        *(float *)row[BYTES] = (float)learned_bytes(own, &sequence);
    }
    for (int64_t i = 0; i < length; i++) {
        seen[i] = i + 1 < sequence.count;
        tokens[i] = seen[i] ? sequence.tokens[i] : pad >= 0 ? pad : 0;
        labels[i] = i + 1 < sequence.count && i + 1 >= sequence.learned ? sequence.tokens[i + 1] : TS_LABEL_IGNORED;
    }
    ts_free(sequence.tokens);
}

static int64_t tokens_of(const TsExamples *examples, int64_t example)
{
    const TsLanguageExamples *own = examples->own;
    int64_t prompt =
        own->prompt < 0 ? 0 : ts_dataset_tokens(examples->dataset, own->prompt, example, NULL, 0) + own->join_count;
    int64_t end = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_END) >= 0;
    return prompt + ts_dataset_tokens(examples->dataset, own->text, example, NULL, 0) + end - 1;
}

/* ---- packed ---- */

/* A stream of each part, cut into rows, in place of loaders of examples. */
static TsStatus load_packed(TsLanguageExamples *own, TsTask *task, const TsTaskSetting *setting)
{
    TsExamples *examples = &own->examples;
    bool apart = own->config->data.pack == TS_PACK_APART;
    TS_TRY(ts_examples_need_special(examples, TS_SPECIAL_END));
    for (int part = 0; part < TS_PARTS; part++) {
        const TsSplit *split = &examples->part[part].split;
        if (split->count == 0)
            continue;
        own->documents[part] = ts_documents_create(own, split, ts_part_name((TsPart)part), apart);
        TS_TRY(ts_status_annotate(
            ts_windows_create(
                &own->windows[part], ts_documents_stream(own->documents[part]),
                (TsWindowsOptions){.length_tokens = examples->length, .apart = apart, .may_be_short = true}),
            "tasks.%s", setting->name));
    }
    task->train = ts_language_windows_loader(setting, own->windows[TS_PART_TRAIN], TS_ORDER_SHUFFLED);
    task->train_in_order = ts_language_windows_loader(setting, own->windows[TS_PART_TRAIN], TS_ORDER_SEQUENTIAL);
    if (own->windows[TS_PART_VALIDATION])
        task->validation = ts_language_windows_loader(setting, own->windows[TS_PART_VALIDATION], TS_ORDER_SEQUENTIAL);
    if (own->windows[TS_PART_TEST])
        task->test = ts_language_windows_loader(setting, own->windows[TS_PART_TEST], TS_ORDER_SEQUENTIAL);
    return TS_OK;
}

TsStatus ts_language_examples_open(TsLanguageExamples *own, TsTask *task, const TsTaskSetting *setting)
{
    static const TsColumnSpec specs[] = {{.role = "prompt", .kind = TS_CELL_TOKENS, .optional = true},
                                         {.role = "text", .kind = TS_CELL_TOKENS}};
    TsExamples *examples = &own->examples;
    own->config = setting->keys;
    examples->own = own;
    examples->collate = collate;
    examples->tokens = tokens_of;
    examples->columns = columns;
    examples->column_count = sizeof columns / sizeof *columns;
    TS_TRY(ts_examples_open(examples, setting, &own->config->data, specs, 2));
    size_t bytes = strlen(own->config->join);
    own->join = ts_calloc(bytes + 1, sizeof *own->join);
    own->join_count = ts_tokenizer_encode(examples->tokenizer, own->join, (int64_t)bytes, own->config->join, bytes);
    if (setting->without_data)
        return TS_OK;
    own->prompt = ts_dataset_column(examples->dataset, "prompt");
    own->text = ts_dataset_column(examples->dataset, "text");
    if (own->config->data.pack != TS_PACK_NONE && !setting->by_example)
        return load_packed(own, task, setting);
    ts_examples_load(examples, task);
    return TS_OK;
}

void ts_language_examples_close(TsLanguageExamples *own)
{
    for (int part = 0; part < TS_PARTS; part++) {
        ts_windows_free(&own->windows[part]);
        ts_documents_free(&own->documents[part]);
    }
    ts_examples_close(&own->examples);
    ts_free(own->join);
}

/* counts[token], and bytes, of what is to be predicted of an example. */
static void count_example(const TsLanguageExamples *own, int64_t example, double *counts, double *bytes)
{
    Sequence sequence = read_sequence(own, example, own->examples.length + 1);
    for (int64_t k = sequence.learned; k < sequence.count; k++)
        counts[sequence.tokens[k]]++;
    *bytes += learned_bytes(own, &sequence);
    ts_free(sequence.tokens);
}

/* The same of a row of what is packed. */
static void count_window(const TsWindows *windows, int64_t window, double *counts, double *bytes)
{
    int64_t length = ts_windows_length(windows);
    int32_t *tokens = ts_alloc(2 * (size_t)length * sizeof *tokens), *labels = tokens + length;
    ts_windows_read(windows, tokens, labels, window, 0, length);
    for (int64_t k = 0; k < length; k++)
        if (labels[k] != TS_LABEL_IGNORED)
            counts[labels[k]]++;
    *bytes += ts_windows_bytes(windows, window);
    ts_free(tokens);
}

/* The same of a part, each rank a share of it. Collective. */
static void count_part(const TsLanguageExamples *own, const TsSplit *split, double *counts, double *bytes,
                       TsGroup *group)
{
    int64_t begin, end, vocab = ts_tokenizer_vocab(own->examples.tokenizer);
    const TsWindows *windows = NULL;
    for (int part = 0; part < TS_PARTS; part++)
        windows = split == &own->examples.part[part].split ? own->windows[part] : windows;
    ts_examples_share(group, windows ? ts_windows_count(windows) : split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        if (windows)
            count_window(windows, i, counts, bytes);
        else
            count_example(own, ts_split_example(split, i), counts, bytes);
    ts_metric_sum(counts, vocab, group);
    ts_metric_sum(bytes, 1, group);
}

void ts_language_examples_baseline(const TsLanguageExamples *own, const TsTask *task, TsScores *scores,
                                   const TsLoader *data, TsGroup *group)
{
    int64_t vocab = ts_tokenizer_vocab(own->examples.tokenizer);
    double *trained = ts_calloc(2 * (size_t)vocab, sizeof *trained), *found = trained + vocab;
    double bytes = 0, all = 0, bits = 0;
    count_part(own, &own->examples.part[TS_PART_TRAIN].split, trained, &bytes, group);
    bytes = 0;
    count_part(own, ts_examples_split(&own->examples, task, data), found, &bytes, group);
    for (int64_t token = 0; token < vocab; token++)
        all += trained[token] + 1; /* so that none has probability 0 */
    for (int64_t token = 0; token < vocab; token++)
        bits -= found[token] * log2((trained[token] + 1) / all);
    ts_free(trained);
    ts_scores_add(scores, "unigram/bits_a_byte", ts_metric_scalar(bits / bytes, bytes));
}
