/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/label.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

/* An open-addressing table, at most half full. */
static struct {
    char **entry;      /* (capacity) owned, and so is each text; NULL: free */
    uint64_t capacity; /* a power of two */
    uint64_t used;
} table;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The entry of the text, or the free one where it belongs. */
static char **find(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *c = text; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    for (uint64_t i = hash ^ hash >> 32;; i++) {
        char **entry = &table.entry[i & (table.capacity - 1)];
        if (!*entry || strcmp(*entry, text) == 0)
            return entry;
    }
}

static void grow(void)
{
    char **old = table.entry;
    uint64_t old_capacity = table.capacity;
    table.capacity = old_capacity ? 2 * old_capacity : 256;
    table.entry = ts_calloc(table.capacity, sizeof *table.entry);
    for (uint64_t i = 0; i < old_capacity; i++)
        if (old[i])
            *find(old[i]) = old[i];
    ts_free(old);
}

const char *ts_label(const char *text)
{
    pthread_mutex_lock(&lock);
    if (2 * table.used >= table.capacity)
        grow();
    char **entry = find(text);
    if (!*entry) {
        *entry = ts_strdup(text);
        table.used++;
    }
    const char *label = *entry;
    pthread_mutex_unlock(&lock);
    return label;
}

void ts_label_free_all(void)
{
    pthread_mutex_lock(&lock);
    for (uint64_t i = 0; i < table.capacity; i++)
        ts_free(table.entry[i]);
    ts_free(table.entry);
    table.entry = NULL;
    table.capacity = table.used = 0;
    pthread_mutex_unlock(&lock);
}
