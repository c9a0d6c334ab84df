/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/batch.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

typedef struct Entry {
    char *name;     /* owned */
    TsArray *array; /* owned where `own` */
    uint64_t hash;
    bool own;
} Entry;

struct TsBatch {
    Entry *entry; /* (capacity) */
    int count, capacity;
};

/* FNV-1a: most entries are told apart without reading their names. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

TsBatch *ts_batch_create(void)
{
    return ts_calloc(1, sizeof(TsBatch));
}

void ts_batch_free(TsBatch **batch)
{
    if (*batch) {
        for (int i = 0; i < (*batch)->count; i++) {
            Entry *entry = &(*batch)->entry[i];
            if (entry->own)
                ts_array_free(&entry->array);
            ts_free(entry->name);
        }
        ts_free((*batch)->entry);
        ts_free(*batch);
    }
    *batch = NULL;
}

static void insert(TsBatch *batch, const char *name, TsArray *array, bool own)
{
    TS_CHECK(!ts_batch_find(batch, name), "batch: \"%s\" is put in twice", name);
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity ? 2 * batch->capacity : 16;
        batch->entry = ts_realloc(batch->entry, (size_t)batch->capacity * sizeof *batch->entry);
    }
    batch->entry[batch->count++] =
        (Entry){.name = ts_strdup(name), .array = array, .hash = hash_name(name), .own = own};
}

void ts_batch_put(TsBatch *batch, const char *name, TsArray *array)
{
    insert(batch, name, array, true);
}

void ts_batch_lend(TsBatch *batch, const char *name, TsArray *array)
{
    insert(batch, name, array, false);
}

TsArray *ts_batch_find(const TsBatch *batch, const char *name)
{
    uint64_t hash = hash_name(name);
    for (int i = 0; i < batch->count; i++)
        if (batch->entry[i].hash == hash && !strcmp(batch->entry[i].name, name))
            return batch->entry[i].array;
    return NULL;
}

void ts_batch_drop(TsBatch *batch, const char *name)
{
    int found = 0;
    while (found < batch->count && strcmp(batch->entry[found].name, name) != 0)
        found++;
    TS_CHECK(found < batch->count, "batch: there is no \"%s\"", name);
    Entry *entry = &batch->entry[found];
    if (entry->own)
        ts_array_free(&entry->array);
    ts_free(entry->name);
    memmove(entry, entry + 1, (size_t)(--batch->count - found) * sizeof *entry);
}

int ts_batch_count(const TsBatch *batch)
{
    return batch->count;
}

const char *ts_batch_name(const TsBatch *batch, int index)
{
    TS_CHECK(index >= 0 && index < batch->count, "batch: entry %d of %d", index, batch->count);
    return batch->entry[index].name;
}

TsArray *ts_batch_array(const TsBatch *batch, int index)
{
    TS_CHECK(index >= 0 && index < batch->count, "batch: entry %d of %d", index, batch->count);
    return batch->entry[index].array;
}
