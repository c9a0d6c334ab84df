/* SPDX-License-Identifier: Apache-2.0 */
#include "data/vocabulary.h"

#include <string.h>

#include "base/memory.h"
#include "base/pool.h"

enum { MOST_TOKENS = 1 << 24 };

typedef struct Entry {
    const char *bytes; /* NULL: no such token */
    size_t size_bytes;
} Entry;

struct TsVocabulary {
    TsPool *pool;
    Entry *entry; /* (size), by token */
    int64_t size, capacity;
    int32_t *bucket; /* (buckets), a power of two, at most half full; -1: empty */
    uint64_t buckets, used;
};

/* FNV-1a. */
static uint64_t hash_of(const char *bytes, size_t size_bytes)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size_bytes; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

/* Where these bytes are, or the empty place where they belong. */
static int32_t *place_of(const TsVocabulary *vocabulary, const char *bytes, size_t size_bytes)
{
    uint64_t at = hash_of(bytes, size_bytes) & (vocabulary->buckets - 1);
    for (;; at = (at + 1) & (vocabulary->buckets - 1)) {
        int32_t token = vocabulary->bucket[at];
        if (token < 0 || (vocabulary->entry[token].size_bytes == size_bytes &&
                          memcmp(vocabulary->entry[token].bytes, bytes, size_bytes) == 0))
            return &vocabulary->bucket[at];
    }
}

static void make_buckets(TsVocabulary *vocabulary, uint64_t buckets)
{
    ts_free(vocabulary->bucket);
    vocabulary->bucket = ts_alloc(buckets * sizeof *vocabulary->bucket);
    vocabulary->buckets = buckets;
    memset(vocabulary->bucket, -1, buckets * sizeof *vocabulary->bucket);
    for (int64_t token = 0; token < vocabulary->size; token++) {
        Entry entry = vocabulary->entry[token];
        if (entry.bytes)
            *place_of(vocabulary, entry.bytes, entry.size_bytes) = (int32_t)token;
    }
}

TsVocabulary *ts_vocabulary_create(void)
{
    enum { FIRST_BUCKETS = 1024 };
    TsVocabulary *vocabulary = ts_calloc(1, sizeof *vocabulary);
    vocabulary->pool = ts_pool_create();
    make_buckets(vocabulary, FIRST_BUCKETS);
    return vocabulary;
}

void ts_vocabulary_free(TsVocabulary **vocabulary)
{
    if (!*vocabulary)
        return;
    ts_pool_free(&(*vocabulary)->pool);
    ts_free((*vocabulary)->entry);
    ts_free((*vocabulary)->bucket);
    ts_free(*vocabulary);
    *vocabulary = NULL;
}

/* Makes room for the number `token`. */
static void grow(TsVocabulary *vocabulary, int64_t token)
{
    if (token >= vocabulary->capacity) {
        int64_t capacity = 2 * token + 1024;
        vocabulary->entry = ts_realloc(vocabulary->entry, (size_t)capacity * sizeof *vocabulary->entry);
        memset(vocabulary->entry + vocabulary->capacity, 0,
               (size_t)(capacity - vocabulary->capacity) * sizeof *vocabulary->entry);
        vocabulary->capacity = capacity;
    }
    if (token >= vocabulary->size)
        vocabulary->size = token + 1;
}

bool ts_vocabulary_add(TsVocabulary *vocabulary, const char *bytes, size_t size_bytes, int32_t token)
{
    if (token < 0 || token >= MOST_TOKENS || (token < vocabulary->size && vocabulary->entry[token].bytes) ||
        *place_of(vocabulary, bytes, size_bytes) >= 0)
        return false;
    grow(vocabulary, token);
    vocabulary->entry[token] = (Entry){ts_pool_copy(vocabulary->pool, bytes, size_bytes), size_bytes};
    *place_of(vocabulary, bytes, size_bytes) = token;
    if (2 * ++vocabulary->used > vocabulary->buckets)
        make_buckets(vocabulary, 4 * vocabulary->buckets);
    return true;
}

int32_t ts_vocabulary_find(const TsVocabulary *vocabulary, const char *bytes, size_t size_bytes)
{
    return *place_of(vocabulary, bytes, size_bytes);
}

const char *ts_vocabulary_bytes(const TsVocabulary *vocabulary, int32_t token, size_t *size_bytes)
{
    Entry entry = token >= 0 && token < vocabulary->size ? vocabulary->entry[token] : (Entry){0};
    *size_bytes = entry.size_bytes;
    return entry.bytes;
}

int64_t ts_vocabulary_size(const TsVocabulary *vocabulary)
{
    return vocabulary->size;
}
