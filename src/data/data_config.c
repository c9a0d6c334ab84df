/* SPDX-License-Identifier: Apache-2.0 */
#include "data/data_config.h"

#include <string.h>

#include "data/tokenizer.h"

/* ---- splits ---- */

static TsStatus check_fraction(const void *value)
{
    const TsSplitFraction *split = value;
    if (split->validation + split->test < 1)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "validation and test take everything: nothing is left to learn from");
}

static TsStatus check_folds(const void *value)
{
    const TsSplitFolds *split = value;
    if (split->fold == TS_AUTO || split->fold < split->folds)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "fold %lld of %lld: they count from 0", (long long)split->fold,
                           (long long)split->folds);
}

#define WORDS(S, f, text, ...) TS_KEY_LIST(S, f, TS_ELEMENT(TS_KIND_STRING), text, __VA_ARGS__)

static const TsKey fraction_keys[] = {
    TS_KEY_REAL(TsSplitFraction, validation, "the part that is not learned from", .fallback = "0.1",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_REAL(TsSplitFraction, test, "another one, for `tessera eval --split test`", .fallback = "0",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_INT(TsSplitFraction, seed, "of the random order that is cut", .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEYS_END};
static const TsConfigTable fraction_table = {"fraction", "Parts of a random order of the examples.",
                                             sizeof(TsSplitFraction), fraction_keys, check_fraction};

static const TsKey column_keys[] = {
    TS_KEY_STRING(TsSplitColumn, column, "the column that says it", .fallback = "split"),
    WORDS(TsSplitColumn, train, "what stands there for training", .fallback = "[train]"),
    WORDS(TsSplitColumn, validation, "and for validation", .fallback = "[validation]"),
    WORDS(TsSplitColumn, test, "and for testing; rows with another word are not used", .fallback = "[test]"),
    TS_KEY_STRING(TsSplitColumn, validation_column,
                  "a second column: a row for training validates where it has a word of `validation` there"),
    TS_KEYS_END};
static const TsConfigTable column_table = {"split_column", "A column says what an example is for.",
                                           sizeof(TsSplitColumn), column_keys, NULL};

static const TsKey files_keys[] = {WORDS(TsSplitFiles, validation, "files of examples to validate with"),
                                   WORDS(TsSplitFiles, test, "files of examples to test with"), TS_KEYS_END};
static const TsConfigTable files_table = {"split_files", "Files of their own; `files` are for training.",
                                          sizeof(TsSplitFiles), files_keys, NULL};

static const TsKey folds_keys[] = {
    TS_KEY_INT(TsSplitFolds, folds, "equal parts of a random order", .fallback = "5", .range = TS_BETWEEN(2, 1000000)),
    TS_KEY_INT(TsSplitFolds, fold,
               "the one that is validated with, the others are learned from; auto: each in its turn, in run.dir/fold_0 "
               "and so on",
               .fallback = "auto", .takes_auto = true, .range = TS_AT_LEAST(0)),
    TS_KEY_INT(TsSplitFolds, seed, "of the random order", .fallback = "0", .range = TS_AT_LEAST(0)), TS_KEYS_END};
static const TsConfigTable folds_table = {"k_fold", "One of k parts is validated with.", sizeof(TsSplitFolds),
                                          folds_keys, check_folds};

static const TsVariant splits[] = {
    [TS_SPLIT_FRACTION] = {"fraction", "parts of a random order", &fraction_table, NULL},
    [TS_SPLIT_COLUMN] = {"column", "a column says what an example is for", &column_table, NULL},
    [TS_SPLIT_FILES] = {"files", "files of their own", &files_table, NULL},
    [TS_SPLIT_FOLDS] = {"k_fold", "one of k parts is validated with", &folds_table, NULL}};
const TsVariants ts_splits = {"split", splits, sizeof splits / sizeof *splits};

/* ---- data ---- */

static const char *const bad_rows_words[] = {"error", "skip", NULL};
static const char *const pack_words[] = {"none", "joined", "apart", NULL};
static const char *const encoding_words[] = {"utf8", "any", NULL};

static TsStatus check_data(const void *value)
{
    const TsDataConfig *config = value;
    if (config->files.count == 0 && !config->text)
        return ts_status_error(TS_CODE_INVALID, "files: which examples?");
    if (config->files.count && config->text)
        return ts_status_error(TS_CODE_INVALID, "text and files: expected one of them");
    if (config->separator && strlen(config->separator) != 1)
        return ts_status_error(TS_CODE_INVALID, "separator: expected one byte");
    const int64_t *lengths = config->lengths.items;
    for (int64_t i = 0; i < config->lengths.count; i++)
        if ((i && lengths[i] <= lengths[i - 1]) || (config->length != TS_AUTO && lengths[i] >= config->length))
            return ts_status_error(TS_CODE_INVALID, "lengths: expected to rise, all below length");
    if (config->pack != TS_PACK_NONE && config->text)
        return ts_status_error(TS_CODE_INVALID, "pack: of files; a text is one behind another as it stands");
    if (config->pack != TS_PACK_NONE && config->lengths.count)
        return ts_status_error(TS_CODE_INVALID, "lengths: rows of what is packed are all of one length");
    return TS_OK;
}

static const TsKey keys[] = {
    WORDS(TsDataConfig, files, "of examples: TSV, CSV, JSON lines, FASTA, plain text, each may be gzipped; HDF5"),
    TS_KEY_STRING(TsDataConfig, text,
                  "of language_model: a file of plain text, which may be gzipped, that is learned in "
                  "windows of length"),
    TS_KEY_REAL(TsDataConfig, validation, "of text: the part at its end that is not learned from", .fallback = "0.1",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_ENUM(TsDataConfig, format, ts_format_words, "of the files; auto goes by the end of their names",
                .fallback = "auto"),
    WORDS(TsDataConfig, header, "names of the columns, where the first line of a file does not give them"),
    TS_KEY_MAP(TsDataConfig, columns, TS_ELEMENT(TS_KIND_STRING),
               "which column plays which part, {text: gloss}; others are found by the part's own name"),
    TS_KEY_STRING(TsDataConfig, labels, "of FASTA: a second FASTA, of labels for each residue"),
    TS_KEY_STRING(TsDataConfig, mask, "of FASTA: a third, of 0 and 1: the label of a residue with 0 becomes -"),
    TS_KEY_CHOICE(TsDataConfig, split, &ts_splits, "what is learned from, and what validates", .fallback = "fraction"),
    TS_KEY_CHOICE(TsDataConfig, tokenizer, &ts_tokenizers, "how text becomes tokens", .fallback = "bytes"),
    TS_KEY_INT(TsDataConfig, pair_ends, "end tokens between the two texts of a pair; RoBERTa has 2", .fallback = "1",
               .range = TS_BETWEEN(0, 8)),
    TS_KEY_STRING(TsDataConfig, separator, "between several labels of an example", .fallback = "\";\""),
    TS_KEY_ENUM(TsDataConfig, bad_rows, bad_rows_words, "a row that cannot be read: the end, or left out and counted",
                .fallback = "error"),
    TS_KEY_ENUM(TsDataConfig, encoding, encoding_words, "what texts must be", .fallback = "utf8"),
    TS_KEY_STRING(TsDataConfig, prepared, "the directory of prepared data; left out: prepared, in run.dir"),
    TS_KEY_INT(TsDataConfig, length, "longest example; what is longer is cut; auto is the context of the backbone",
               .fallback = "auto", .takes_auto = true, .range = TS_AT_LEAST(1), .unit = "tokens"),
    TS_KEY_LIST(TsDataConfig, lengths, (&(const TsKey){.kind = TS_KIND_INT, .range = TS_AT_LEAST(1)}),
                "shorter ones, rising: a batch takes the shortest that holds its examples", .range = TS_BETWEEN(0, 7)),
    TS_KEY_ENUM(TsDataConfig, pack, pack_words,
                "of language_model with files: joined: examples stand one behind another, each with an end, and are "
                "cut into rows of length; apart: likewise, and see nothing of one another; none: a row has one",
                .fallback = "none"),
    TS_KEY_INT(TsDataConfig, batch, "examples of a step, all ranks together", .fallback = "16",
               .range = TS_BETWEEN(1, 1 << 24), .unit = "examples"),
    TS_KEY_INT(TsDataConfig, sort, "so many batches are sorted by length together; 1: none", .fallback = "16",
               .range = TS_BETWEEN(1, 1 << 16), .unit = "batches"),
    TS_KEYS_END};
const TsConfigTable ts_data_table = {"data", "Examples to learn from.", sizeof(TsDataConfig), keys, check_data};

static int64_t find_role(const TsDataConfig *config, const char *role)
{
    for (int64_t i = 0; i < config->columns.count; i++)
        if (strcmp(config->columns.names[i], role) == 0)
            return i;
    return -1;
}

const char *ts_data_column(const TsDataConfig *config, const char *role)
{
    int64_t found = find_role(config, role);
    return found >= 0 ? ((const char *const *)config->columns.items)[found] : role;
}

bool ts_data_has_role(const TsDataConfig *config, const char *role)
{
    return find_role(config, role) >= 0;
}
