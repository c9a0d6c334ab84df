/* SPDX-License-Identifier: Apache-2.0 */
#include "base/names.h"

#include <string.h>

#include "base/memory.h"

struct TsNamesSlot {
    const char *text; /* NULL: empty */
    uint64_t hash;
    int64_t number;
};

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

/* The slot of a text, or the empty one where it belongs. */
static struct TsNamesSlot *slot_of(const TsNames *names, const char *text, uint64_t hash)
{
    uint64_t mask = (uint64_t)names->capacity - 1, at = hash & mask;
    while (names->slot[at].text && (names->slot[at].hash != hash || strcmp(names->slot[at].text, text)))
        at = (at + 1) & mask;
    return &names->slot[at];
}

int64_t ts_names_find(const TsNames *names, const char *text)
{
    if (!names->capacity)
        return -1;
    const struct TsNamesSlot *slot = slot_of(names, text, hash_text(text));
    return slot->text ? slot->number : -1;
}

static void grow(TsNames *names)
{
    TsNames larger = {.count = names->count, .capacity = names->capacity ? 2 * names->capacity : 64};
    larger.slot = ts_calloc((size_t)larger.capacity, sizeof *larger.slot);
    for (int64_t i = 0; i < names->capacity; i++)
        if (names->slot[i].text)
            *slot_of(&larger, names->slot[i].text, names->slot[i].hash) = names->slot[i];
    ts_free(names->slot);
    *names = larger;
}

void ts_names_add(TsNames *names, const char *text, int64_t number)
{
    if (2 * (names->count + 1) > names->capacity)
        grow(names);
    uint64_t hash = hash_text(text);
    *slot_of(names, text, hash) = (struct TsNamesSlot){text, hash, number};
    names->count++;
}

void ts_names_free(TsNames *names)
{
    ts_free(names->slot);
    *names = (TsNames){.count = 0};
}
