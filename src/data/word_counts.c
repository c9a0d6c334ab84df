/* SPDX-License-Identifier: Apache-2.0 */
#include "data/word_counts.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/pool.h"
#include "base/text.h"
#include "comm/collectives.h"

typedef struct Word {
    const char *bytes;
    size_t size_bytes;
    int64_t times;
} Word;

struct TsWordCounts {
    TsPool *pool; /* of bytes */
    Word *word;   /* (count) */
    int64_t count, capacity;
    int64_t *bucket; /* (buckets), a power of two, at most half full; -1: empty */
    uint64_t buckets;
};

enum { FIRST_BUCKETS = 1 << 12 };

/* FNV-1a. */
static uint64_t hash_of(const char *bytes, size_t size_bytes)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size_bytes; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static int64_t *place_of(const TsWordCounts *counts, const char *bytes, size_t size_bytes)
{
    uint64_t at = hash_of(bytes, size_bytes) & (counts->buckets - 1);
    for (;; at = (at + 1) & (counts->buckets - 1)) {
        const Word *word = counts->bucket[at] < 0 ? NULL : &counts->word[counts->bucket[at]];
        if (!word || (word->size_bytes == size_bytes && memcmp(word->bytes, bytes, size_bytes) == 0))
            return &counts->bucket[at];
    }
}

static void make_buckets(TsWordCounts *counts, uint64_t buckets)
{
    ts_free(counts->bucket);
    counts->bucket = ts_alloc(buckets * sizeof *counts->bucket);
    counts->buckets = buckets;
    memset(counts->bucket, -1, buckets * sizeof *counts->bucket);
    for (int64_t i = 0; i < counts->count; i++)
        *place_of(counts, counts->word[i].bytes, counts->word[i].size_bytes) = i;
}

TsWordCounts *ts_word_counts_create(void)
{
    TsWordCounts *counts = ts_calloc(1, sizeof *counts);
    counts->pool = ts_pool_create();
    make_buckets(counts, FIRST_BUCKETS);
    return counts;
}

void ts_word_counts_free(TsWordCounts **counts)
{
    if (!*counts)
        return;
    ts_pool_free(&(*counts)->pool);
    ts_free((*counts)->word);
    ts_free((*counts)->bucket);
    ts_free(*counts);
    *counts = NULL;
}

void ts_word_counts_add(TsWordCounts *counts, const char *word, size_t word_bytes, int64_t times)
{
    int64_t *place = place_of(counts, word, word_bytes);
    if (*place >= 0) {
        counts->word[*place].times += times;
        return;
    }
    if (counts->count == counts->capacity) {
        counts->capacity = counts->capacity ? 2 * counts->capacity : FIRST_BUCKETS;
        counts->word = ts_realloc(counts->word, (size_t)counts->capacity * sizeof *counts->word);
    }
    *place = counts->count;
    counts->word[counts->count++] = (Word){ts_pool_copy(counts->pool, word, word_bytes), word_bytes, times};
    if (2 * (uint64_t)counts->count > counts->buckets)
        make_buckets(counts, 2 * counts->buckets);
}

int64_t ts_word_counts_size(const TsWordCounts *counts)
{
    return counts->count;
}

const char *ts_word_counts_at(const TsWordCounts *counts, int64_t index, size_t *word_bytes, int64_t *times)
{
    *word_bytes = counts->word[index].size_bytes;
    *times = counts->word[index].times;
    return counts->word[index].bytes;
}

static int by_bytes(const void *left, const void *right)
{
    const Word *a = left, *b = right;
    size_t least = a->size_bytes < b->size_bytes ? a->size_bytes : b->size_bytes;
    int order = memcmp(a->bytes, b->bytes, least);
    return order ? order : a->size_bytes < b->size_bytes ? -1 : a->size_bytes > b->size_bytes;
}

void ts_word_counts_sort(TsWordCounts *counts)
{
    if (counts->count)
        qsort(counts->word, (size_t)counts->count, sizeof *counts->word, by_bytes);
    make_buckets(counts, counts->buckets);
}

/* ---- among ranks ---- */

/* A word as it is sent: its bytes and count as i64, then its bytes, filled up to whole i32. */
static void pack(TsText *out, const Word *word)
{
    static const char blank[4];
    int64_t head[2] = {(int64_t)word->size_bytes, word->times};
    ts_text_append_bytes(out, head, sizeof head);
    ts_text_append_bytes(out, word->bytes, word->size_bytes);
    ts_text_append_bytes(out, blank, (4 - word->size_bytes % 4) % 4);
}

static void unpack(TsWordCounts *counts, const char *bytes, size_t size_bytes)
{
    for (size_t at = 0; at < size_bytes;) {
        int64_t head[2];
        memcpy(head, bytes + at, sizeof head);
        at += sizeof head;
        ts_word_counts_add(counts, bytes + at, (size_t)head[0], head[1]);
        at += ((size_t)head[0] + 3) / 4 * 4;
    }
}

/* first[r + 1] - first[r] = the i32 that rank r sends here, of `mine` that this rank sends to each; (size) and
 * (size + 1). */
static void exchange_sizes(int64_t *first, const int64_t *mine, TsGroup *group)
{
    int size = ts_group_size(group);
    int64_t *one_each = ts_calloc((size_t)size + 1, sizeof *one_each),
            *theirs = ts_calloc((size_t)size, sizeof *theirs);
    for (int r = 0; r <= size; r++)
        one_each[r] = r;
    ts_all_to_all(group, (TsExchange){.out = theirs,
                                      .in = mine,
                                      .send_first = one_each,
                                      .receive_first = one_each,
                                      .dtype = TS_I64,
                                      .label = "word counts"});
    for (int r = 0; r < size; r++)
        first[r + 1] = first[r] + theirs[r];
    ts_free(one_each);
    ts_free(theirs);
}

/* The words of `counts` whose hash is each rank's own go there: what this rank owns, of all ranks. */
static TsWordCounts *scatter(const TsWordCounts *counts, TsGroup *group)
{
    int size = ts_group_size(group);
    TsText *parts = ts_calloc((size_t)size, sizeof *parts), sent = {0};
    int64_t *mine = ts_calloc((size_t)size, sizeof *mine), *first = ts_calloc((size_t)size + 1, sizeof *first),
            *send_first = ts_calloc((size_t)size + 1, sizeof *send_first);
    for (int64_t i = 0; i < counts->count; i++)
        pack(&parts[hash_of(counts->word[i].bytes, counts->word[i].size_bytes) % (uint64_t)size], &counts->word[i]);
    for (int r = 0; r < size; r++) {
        mine[r] = (int64_t)(parts[r].size_bytes / 4);
        send_first[r + 1] = send_first[r] + mine[r];
        ts_text_append_bytes(&sent, parts[r].data ? parts[r].data : "", parts[r].size_bytes);
        ts_text_free(&parts[r]);
    }
    exchange_sizes(first, mine, group);
    char *received = ts_alloc((size_t)first[size] * 4 + 1);
    ts_all_to_all(group, (TsExchange){.out = received,
                                      .in = sent.data,
                                      .send_first = send_first,
                                      .receive_first = first,
                                      .dtype = TS_I32,
                                      .label = "word counts"});
    TsWordCounts *owned = ts_word_counts_create();
    unpack(owned, received, (size_t)first[size] * 4);
    ts_text_free(&sent);
    ts_free(received);
    ts_free(parts);
    ts_free(mine);
    ts_free(first);
    ts_free(send_first);
    return owned;
}

/* What each rank owns, on all. */
static TsWordCounts *gather(const TsWordCounts *owned, TsGroup *group)
{
    int size = ts_group_size(group);
    TsText sent = {0};
    int64_t *mine = ts_calloc((size_t)size, sizeof *mine), *first = ts_calloc((size_t)size + 1, sizeof *first);
    for (int64_t i = 0; i < owned->count; i++)
        pack(&sent, &owned->word[i]);
    for (int r = 0; r < size; r++)
        mine[r] = (int64_t)(sent.size_bytes / 4);
    exchange_sizes(first, mine, group);
    char *received = ts_alloc((size_t)first[size] * 4 + 1);
    ts_all_gather(
        group,
        (TsTransfer){.out = received, .in = sent.data, .first_elem = first, .dtype = TS_I32, .label = "word counts"});
    TsWordCounts *all = ts_word_counts_create();
    unpack(all, received, (size_t)first[size] * 4);
    ts_text_free(&sent);
    ts_free(received);
    ts_free(mine);
    ts_free(first);
    return all;
}

void ts_word_counts_share(TsWordCounts **counts, TsGroup *group)
{
    TsWordCounts *owned = scatter(*counts, group), *all = gather(owned, group);
    ts_word_counts_free(&owned);
    ts_word_counts_free(counts);
    ts_word_counts_sort(all);
    *counts = all;
}
