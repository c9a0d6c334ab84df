/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/program_cache.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

typedef struct Entry {
    const void *function;
    unsigned char *signature; /* (signature_bytes), owned */
    size_t signature_bytes;
    TsProgram *program; /* owned */
} Entry;

struct TsProgramCache {
    Entry *entry; /* (most): the one asked for last comes first */
    int most;
    TsProgramCacheUse use;
};

TsProgramCache *ts_program_cache_create(int most_programs)
{
    TS_CHECK(most_programs > 0, "a cache of %d programs", most_programs);
    TsProgramCache *cache = ts_calloc(1, sizeof *cache);
    cache->entry = ts_calloc((size_t)most_programs, sizeof *cache->entry);
    cache->most = most_programs;
    return cache;
}

static void drop_last(TsProgramCache *cache)
{
    Entry *entry = &cache->entry[--cache->use.kept];
    ts_program_free(&entry->program);
    ts_free(entry->signature);
    *entry = (Entry){0};
}

void ts_program_cache_free(TsProgramCache **cache)
{
    if (!*cache)
        return;
    while ((*cache)->use.kept)
        drop_last(*cache);
    ts_free((*cache)->entry);
    ts_free(*cache);
    *cache = NULL;
}

static bool is_of(const Entry *entry, const TsProgramKey *key)
{
    return entry->function == key->function && entry->signature_bytes == key->signature_bytes &&
           !memcmp(entry->signature, key->signature, key->signature_bytes);
}

/* Puts it before the first `behind` entries. */
static TsProgram *put_first(TsProgramCache *cache, Entry entry, int behind)
{
    memmove(cache->entry + 1, cache->entry, (size_t)behind * sizeof entry);
    cache->entry[0] = entry;
    return entry.program;
}

TsStatus ts_program_cache_get(TsProgramCache *cache, TsProgram **program, TsProgramKey key, TsProgramTrace *trace,
                              const void *context, TsCompileOptions options)
{
    *program = NULL;
    TS_CHECK(key.signature_bytes > 0, "a program without a signature");
    for (int i = 0; i < cache->use.kept; i++)
        if (is_of(&cache->entry[i], &key)) {
            cache->use.found++;
            *program = put_first(cache, cache->entry[i], i);
            return TS_OK;
        }
    TsGraph *graph = ts_graph_create();
    trace(graph, context);
    TsProgram *made = NULL;
    TS_TRY(ts_program_compile(&made, graph, options));
    cache->use.compiled++;
    if (cache->use.kept == cache->most) {
        drop_last(cache);
        cache->use.dropped++;
    }
    Entry entry = {.function = key.function,
                   .signature = ts_alloc(key.signature_bytes),
                   .signature_bytes = key.signature_bytes,
                   .program = made};
    memcpy(entry.signature, key.signature, key.signature_bytes);
    *program = put_first(cache, entry, cache->use.kept++);
    return TS_OK;
}

TsProgramCacheUse ts_program_cache_use(const TsProgramCache *cache)
{
    return cache->use;
}
