/* SPDX-License-Identifier: Apache-2.0 */
#include "data/unigram.h"

#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "data/unicode.h"

struct TsUnigram {
    const TsVocabulary *vocabulary;
    double *scores; /* (pieces), owned */
    int64_t pieces; /* tokens that are added later are none */
    double unknown_score;
    size_t longest_bytes; /* of a piece */
    int32_t unknown;
    int32_t byte_token[256]; /* -1: none */
    bool falls_back;         /* all of them are there and wanted */
};

TsUnigram *ts_unigram_create(const TsVocabulary *vocabulary, double *scores, int32_t unknown, bool byte_fallback)
{
    static const double PENALTY = 10; /* below the least likely piece */
    TsUnigram *unigram = ts_calloc(1, sizeof *unigram);
    double least = INFINITY;
    *unigram = (TsUnigram){.vocabulary = vocabulary,
                           .scores = scores,
                           .pieces = ts_vocabulary_size(vocabulary),
                           .unknown = unknown,
                           .falls_back = byte_fallback};
    for (int64_t token = 0; token < ts_vocabulary_size(vocabulary); token++) {
        size_t bytes;
        if (!ts_vocabulary_bytes(vocabulary, (int32_t)token, &bytes))
            continue;
        unigram->longest_bytes = bytes > unigram->longest_bytes ? bytes : unigram->longest_bytes;
        least = scores[token] < least ? scores[token] : least;
    }
    unigram->unknown_score = least - PENALTY;
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        int bytes = snprintf(name, sizeof name, "<0x%02X>", byte);
        unigram->byte_token[byte] = ts_vocabulary_find(vocabulary, name, (size_t)bytes);
        unigram->falls_back &= unigram->byte_token[byte] >= 0;
    }
    return unigram;
}

void ts_unigram_free(TsUnigram **unigram)
{
    if (!*unigram)
        return;
    ts_free((*unigram)->scores);
    ts_free(*unigram);
    *unigram = NULL;
}

/* The best way to an end of a piece. */
typedef struct Way {
    double score;  /* -infinity: none was found yet */
    int64_t begin; /* of the last piece */
    int32_t token; /* -1: unknown */
} Way;

static void take(Way *way, double score, int64_t begin, int32_t token)
{
    if (score > way->score)
        *way = (Way){score, begin, token};
}

/* Goes on from a character that begins at `at` and has `character_bytes`: by each piece that begins there. */
static void go_on(const TsUnigram *unigram, Way *ways, const char *word, size_t word_bytes, size_t at,
                  size_t character_bytes)
{
    bool known = false;
    size_t most = word_bytes - at < unigram->longest_bytes ? word_bytes - at : unigram->longest_bytes;
    for (size_t bytes = 1; bytes <= most; bytes++) {
        if (at + bytes < word_bytes && ((unsigned char)word[at + bytes] & 0xc0) == 0x80)
            continue; /* in the middle of a character */
        int32_t token = ts_vocabulary_find(unigram->vocabulary, word + at, bytes);
        if (token < 0 || token >= unigram->pieces)
            continue;
        take(&ways[at + bytes], ways[at].score + unigram->scores[token], (int64_t)at, token);
        known |= bytes == character_bytes;
    }
    if (!known)
        take(&ways[at + character_bytes], ways[at].score + unigram->unknown_score, (int64_t)at, -1);
}

/* Tokens of word[begin, end), which no piece is. */
static void put_unknown(const TsUnigram *unigram, const char *word, int64_t begin, int64_t end, TsTokenSink *sink,
                        void *context)
{
    for (int64_t i = begin; unigram->falls_back && i < end; i++)
        sink(context, unigram->byte_token[(unsigned char)word[i]]);
    if (!unigram->falls_back && unigram->unknown >= 0)
        sink(context, unigram->unknown);
}

void ts_unigram_encode(const TsUnigram *unigram, const char *word, size_t word_bytes, TsTokenSink *sink, void *context)
{
    Way *ways = ts_alloc((word_bytes + 1) * sizeof *ways);
    int64_t *ends = ts_alloc((word_bytes + 1) * sizeof *ends), count = 0; /* of pieces, the last first */
    for (size_t i = 0; i <= word_bytes; i++)
        ways[i] = (Way){i ? -INFINITY : 0, 0, -1};
    for (size_t at = 0, bytes; at < word_bytes; at += bytes) {
        int32_t character;
        bytes = ts_unicode_next(&character, word + at, word_bytes - at);
        go_on(unigram, ways, word, word_bytes, at, bytes);
    }
    for (int64_t end = (int64_t)word_bytes; end > 0; end = ways[end].begin)
        ends[count++] = end;
    for (int64_t i = count - 1; i >= 0; i--) {
        const Way *way = &ways[ends[i]];
        if (way->token >= 0) {
            sink(context, way->token);
            continue;
        }
        while (i > 0 && ways[ends[i - 1]].token < 0)
            i--;
        put_unknown(unigram, word, way->begin, ends[i], sink, context);
    }
    ts_free(ways);
    ts_free(ends);
}
