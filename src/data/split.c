/* SPDX-License-Identifier: Apache-2.0 */
#include "data/split.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "data/prepare.h"

const char *ts_part_name(TsPart part)
{
    static const char *const names[] = {"train", "validation", "test"};
    return names[part];
}

/* Of n examples in random order: validation, then test, then what is learned from. */
static void by_fraction(TsSplit *split, const TsSplitFraction *options, int64_t n, TsPart part)
{
    int64_t validation = (int64_t)(options->validation * (double)n), test = (int64_t)(options->test * (double)n);
    if (options->validation > 0 && validation == 0 && n > 1)
        validation = 1;
    split->order = ts_permutation(ts_stream((uint64_t)options->seed, "data/split", 0), n);
    split->first = part == TS_PART_VALIDATION ? 0 : part == TS_PART_TEST ? validation : validation + test;
    split->count = part == TS_PART_VALIDATION ? validation : part == TS_PART_TEST ? test : n - validation - test;
    split->hole = split->count;
}

static void by_fold(TsSplit *split, const TsSplitFolds *options, int64_t n, TsPart part)
{
    int64_t fold = options->fold == TS_AUTO ? 0 : options->fold;
    int64_t begin = n * fold / options->folds, end = n * (fold + 1) / options->folds;
    split->order = ts_permutation(ts_stream((uint64_t)options->seed, "data/split", 0), n);
    if (part == TS_PART_TRAIN)
        *split = (TsSplit){.order = split->order, .count = n - (end - begin), .hole = begin, .hole_count = end - begin};
    else
        *split = (TsSplit){.order = split->order,
                           .first = begin,
                           .count = part == TS_PART_VALIDATION ? end - begin : 0,
                           .hole = end - begin};
}

static bool is_among(TsField word, TsList words)
{
    for (int64_t i = 0; i < words.count; i++) {
        const char *one = ((const char *const *)words.items)[i];
        if (strlen(one) == word.bytes && memcmp(one, word.text, word.bytes) == 0)
            return true;
    }
    return false;
}

/* Whether a listed part has the example. */
static bool belongs(const TsDataset *dataset, const TsDataConfig *config, int64_t example, TsPart part)
{
    if (config->split.variant == &ts_splits.items[TS_SPLIT_COLUMN]) {
        const TsSplitColumn *options = config->split.value;
        const TsList words[] = {options->train, options->validation, options->test};
        TsField word = ts_dataset_text(dataset, ts_dataset_column(dataset, TS_ROLE_SPLIT), example);
        if (options->validation_column && is_among(word, options->train)) {
            int column = ts_dataset_column(dataset, TS_ROLE_VALIDATION);
            bool validates = is_among(ts_dataset_text(dataset, column, example), options->validation);
            return part == (validates ? TS_PART_VALIDATION : TS_PART_TRAIN);
        }
        return is_among(word, words[part]);
    }
    const TsSplitFiles *options = config->split.value;
    int file = ts_dataset_file(dataset, example);
    int64_t train = config->files.count, validation = train + options->validation.count;
    return (file < train ? TS_PART_TRAIN : file < validation ? TS_PART_VALIDATION : TS_PART_TEST) == part;
}

TsStatus ts_split_open(TsSplit *split, const TsDataset *dataset, const TsDataConfig *config, TsPart part)
{
    int64_t n = ts_dataset_count(dataset);
    *split = (TsSplit){0};
    switch ((TsSplitKind)(config->split.variant - ts_splits.items)) {
    case TS_SPLIT_FRACTION:
        by_fraction(split, config->split.value, n, part);
        break;
    case TS_SPLIT_FOLDS:
        by_fold(split, config->split.value, n, part);
        break;
    case TS_SPLIT_COLUMN:
    case TS_SPLIT_FILES:
        split->list = ts_calloc((size_t)n + 1, sizeof *split->list);
        for (int64_t i = 0; i < n; i++)
            if (belongs(dataset, config, i, part))
                split->list[split->count++] = i;
        break;
    }
    if (split->count > 0 || part != TS_PART_TRAIN)
        return TS_OK;
    ts_split_close(split);
    return ts_status_error(TS_CODE_INVALID, "split: of %lld example%s none is left to learn from", (long long)n,
                           n == 1 ? "" : "s");
}

void ts_split_close(TsSplit *split)
{
    ts_free(split->list);
    *split = (TsSplit){0};
}

int64_t ts_split_example(const TsSplit *split, int64_t index)
{
    TS_CHECK(index >= 0 && index < split->count, "place %lld of %lld", (long long)index, (long long)split->count);
    if (split->list)
        return split->list[index];
    int64_t place = split->first + index + (index >= split->hole ? split->hole_count : 0);
    return ts_permute(&split->order, place);
}
