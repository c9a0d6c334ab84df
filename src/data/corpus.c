/* SPDX-License-Identifier: Apache-2.0 */
#include "data/corpus.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/pretokenizer.h"
#include "data/stream.h"

static const size_t most_line_bytes = 1 << 20; /* longer lines are cut there */

typedef struct Counting {
    TsPretokenizer *pretokenizer;
    TsWordCounts *counts;
    TsWords words;
    TsText line;
} Counting;

static void count_line(Counting *counting)
{
    ts_words_clear(&counting->words);
    ts_pretokenizer_cut(counting->pretokenizer, &counting->words, counting->line.data, counting->line.size_bytes, true);
    for (int64_t i = 0; i < counting->words.count; i++) {
        size_t bytes;
        const char *word = ts_words_at(&counting->words, i, &bytes);
        ts_word_counts_add(counting->counts, word, bytes, 1);
    }
    ts_text_cut(&counting->line, 0);
}

/* Counts the lines that begin in [first, end) of the stream; end < 0: all. */
static TsStatus count_lines(Counting *counting, TsStream *stream, int64_t first, int64_t end)
{
    int byte = '\n';
    if (first > 0) { /* the line in whose middle it would begin is another's */
        TS_TRY(ts_stream_seek(stream, first - 1));
        do
            byte = ts_stream_next(stream);
        while (byte >= 0 && byte != '\n');
    }
    while (byte >= 0 && (end < 0 || ts_stream_position(stream) < end)) {
        do {
            byte = ts_stream_next(stream);
            if (byte >= 0)
                ts_text_append_bytes(&counting->line, &(char){(char)byte}, 1);
            if (counting->line.size_bytes == most_line_bytes)
                count_line(counting);
        } while (byte >= 0 && byte != '\n');
        if (counting->line.size_bytes)
            count_line(counting);
    }
    return ts_stream_status(stream);
}

static TsStatus count_file(Counting *counting, TsGroup *group, const char *path, int number)
{
    int64_t ranks = ts_group_size(group), rank = ts_group_rank(group);
    TsStream *stream = NULL;
    struct stat info;
    bool gzipped;
    if (stat(path, &info) != 0)
        return ts_status_error(TS_CODE_NOT_FOUND, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return ts_status_error(TS_CODE_INVALID, "%s: not a file", path);
    TsStatus status = ts_stream_open(&stream, path, &gzipped);
    if (!status && gzipped)
        status = number % ranks == rank ? count_lines(counting, stream, 0, -1) : TS_OK;
    else if (!status)
        status = count_lines(counting, stream, info.st_size / ranks * rank,
                             rank + 1 == ranks ? info.st_size : info.st_size / ranks * (rank + 1));
    ts_stream_close(&stream);
    return status;
}

TsStatus ts_corpus_count(TsWordCounts **counts, TsGroup *group, const char *const *paths, int path_count)
{
    Counting counting = {.counts = ts_word_counts_create()};
    json_t *level = json_pack("{s:s, s:b}", "type", "ByteLevel", "add_prefix_space", false);
    TsStatus status = ts_pretokenizer_create(&counting.pretokenizer, level);
    for (int i = 0; i < path_count && !status; i++)
        status = count_file(&counting, group, paths[i], i);
    status = ts_comm_agree(group, status);
    if (!status)
        ts_word_counts_share(&counting.counts, group);
    if (status)
        ts_word_counts_free(&counting.counts);
    json_decref(level);
    ts_pretokenizer_free(&counting.pretokenizer);
    ts_words_free(&counting.words);
    ts_text_free(&counting.line);
    *counts = counting.counts;
    return status;
}
