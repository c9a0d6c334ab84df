/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera data tokenizer CORPUS... --vocab-size N --output DIR [--special TOKEN...] [--min-count N]
 */
#include "cli/data_tokenizer.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/unit.h"
#include "data/bpe_trainer.h"
#include "data/corpus.h"

typedef struct TokenizerWords {
    const char **paths, **special; /* (path_count), (training.specials); owned */
    int path_count;
    const char *output;
    TsBpeTraining training;
} TokenizerWords;

static TsStatus read_count(int64_t *count, const char *option, const char *word, int64_t least)
{
    if (!ts_unit_read_int(count, word, NULL) || *count < least || *count > 1 << 24)
        return ts_status_error(TS_CODE_INVALID, "data tokenizer: %s %s: a whole number from %lld to %d", option, word,
                               (long long)least, 1 << 24);
    return TS_OK;
}

static TsStatus read_words(TokenizerWords *read, int count, const char *const *words)
{
    static const char *const options[] = {"--vocab-size", "--min-count", "--output", "--special"};
    for (int i = 0; i < count; i++) {
        int option = -1;
        for (int k = 0; k < 4; k++)
            if (strcmp(words[i], options[k]) == 0)
                option = k;
        if (option < 0 && words[i][0] == '-')
            return ts_status_error(TS_CODE_INVALID, "data tokenizer: unknown option %s; see tessera help data",
                                   words[i]);
        if (option >= 0 && ++i == count)
            return ts_status_error(TS_CODE_INVALID, "data tokenizer: %s needs a value", options[option]);
        if (option < 0)
            read->paths[read->path_count++] = words[i];
        else if (option == 0)
            TS_TRY(read_count(&read->training.vocab, options[0], words[i], 257));
        else if (option == 1)
            TS_TRY(read_count(&read->training.min_count, options[1], words[i], 1));
        else if (option == 2)
            read->output = words[i];
        else
            read->special[read->training.specials++] = words[i];
    }
    if (read->path_count == 0 || !read->output || !read->training.vocab)
        return ts_status_error(TS_CODE_INVALID, "data tokenizer: %s; see tessera help data",
                               read->path_count == 0 ? "from which files?"
                               : !read->output       ? "--output DIR is needed"
                                                     : "--vocab-size N is needed");
    if (read->training.specials == 0)
        read->special[read->training.specials++] = "<|endoftext|>";
    read->training.special = read->special;
    return TS_OK;
}

/* Where a tokenizer is already, none is written. */
static TsStatus make_output(const char *dir)
{
    char *path = ts_format("%s/tokenizer.json", dir);
    TsStatus status = ts_file_exists(path) ? ts_status_error(TS_CODE_INVALID, "%s is there already", path) : TS_OK;
    ts_free(path);
    return status ? status : ts_file_make_directory(dir);
}

static TsStatus train_and_write(const TokenizerWords *read, const TsWordCounts *counts)
{
    TsBpeTrained *trained = NULL;
    TS_TRY(ts_bpe_train(&trained, counts, read->training));
    TsStatus status = ts_bpe_trained_write(trained, read->output);
    if (!status)
        printf("%lld tokens with %lld merges, from %lld different words, are in %s\n",
               (long long)ts_vocabulary_size(trained->vocabulary), (long long)trained->merges,
               (long long)ts_word_counts_size(counts), read->output);
    ts_bpe_trained_free(&trained);
    return status;
}

TsStatus ts_data_tokenizer(TsGroup *world, int count, const char *const *words)
{
    TokenizerWords read = {.paths = ts_calloc((size_t)count + 1, sizeof *read.paths),
                           .special = ts_calloc((size_t)count + 1, sizeof *read.special),
                           .training = {.min_count = 2}};
    TsWordCounts *counts = NULL;
    bool first = ts_group_rank(world) == 0;
    TsStatus status = read_words(&read, count, words);
    if (!status)
        status = ts_comm_agree(world, first ? make_output(read.output) : TS_OK);
    if (!status)
        status = ts_corpus_count(&counts, world, read.paths, read.path_count);
    if (!status)
        status = ts_comm_agree(world, first ? train_and_write(&read, counts) : TS_OK);
    ts_word_counts_free(&counts);
    ts_free(read.paths);
    ts_free(read.special);
    return status;
}
