/* SPDX-License-Identifier: Apache-2.0 */
#include "task/kinds/class_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "base/unit.h"
#include "comm/collectives.h"

typedef struct Name {
    char *text; /* owned; may hold zeros */
    size_t bytes;
    int32_t number;
} Name;

struct TsClassNames {
    Name *by_number; /* (count), owned */
    Name *sorted;    /* (count) by bytes */
    int64_t count, capacity;
};

TsClassNames *ts_class_names_create(void)
{
    return ts_calloc(1, sizeof(TsClassNames));
}

static void clear(TsClassNames *names)
{
    for (int64_t i = 0; i < names->count; i++)
        ts_free(names->by_number[i].text);
    names->count = 0;
}

void ts_class_names_free(TsClassNames **names)
{
    if (!*names)
        return;
    clear(*names);
    ts_free((*names)->by_number);
    ts_free((*names)->sorted);
    ts_free(*names);
    *names = NULL;
}

static int compare(const Name *one, const char *text, size_t bytes)
{
    size_t least = one->bytes < bytes ? one->bytes : bytes;
    int order = least ? memcmp(one->text, text, least) : 0;
    return order ? order : one->bytes < bytes ? -1 : one->bytes > bytes;
}

/* Where the name stands among the sorted, or would stand. */
static int64_t place_of(const TsClassNames *names, const char *text, size_t bytes, bool *there)
{
    int64_t low = 0, high = names->count;
    *there = false;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = compare(&names->sorted[middle], text, bytes);
        if (order == 0) {
            *there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void ts_class_names_add(TsClassNames *names, const char *text, size_t bytes)
{
    bool there;
    int64_t place = place_of(names, text, bytes, &there);
    if (there)
        return;
    if (names->count == names->capacity) {
        names->capacity = names->capacity ? 2 * names->capacity : 16;
        names->by_number = ts_realloc(names->by_number, (size_t)names->capacity * sizeof(Name));
        names->sorted = ts_realloc(names->sorted, (size_t)names->capacity * sizeof(Name));
    }
    Name name = {.text = ts_alloc(bytes + 1), .bytes = bytes, .number = (int32_t)names->count};
    if (bytes)
        memcpy(name.text, text, bytes);
    name.text[bytes] = '\0';
    memmove(&names->sorted[place + 1], &names->sorted[place], (size_t)(names->count - place) * sizeof(Name));
    names->sorted[place] = names->by_number[names->count++] = name;
}

static int by_value(const void *a, const void *b)
{
    int64_t one = 0, other = 0;
    ts_unit_read_int(&one, ((const Name *)a)->text, NULL);
    ts_unit_read_int(&other, ((const Name *)b)->text, NULL);
    return one < other ? -1 : one > other;
}

/* Numbers the names anew: by value where all are whole numbers, else as they are sorted. */
static void number(TsClassNames *names)
{
    bool whole = true;
    int64_t value;
    for (int64_t i = 0; i < names->count; i++)
        whole = whole && ts_unit_read_int(&value, names->sorted[i].text, NULL);
    if (names->count)
        memcpy(names->by_number, names->sorted, (size_t)names->count * sizeof(Name));
    if (whole && names->count)
        qsort(names->by_number, (size_t)names->count, sizeof(Name), by_value);
    for (int64_t i = 0; i < names->count; i++) {
        bool there;
        int64_t place = place_of(names, names->by_number[i].text, names->by_number[i].bytes, &there);
        names->by_number[i].number = names->sorted[place].number = (int32_t)i;
    }
}

void ts_class_names_gather(TsClassNames *names, TsGroup *group)
{
    int size = ts_group_size(group);
    TsText mine = {0};
    for (int64_t i = 0; i < names->count; i++) {
        int64_t bytes = (int64_t)names->by_number[i].bytes;
        ts_text_append_bytes(&mine, &bytes, sizeof bytes);
        ts_text_append_bytes(&mine, names->by_number[i].text, (size_t)bytes);
    }
    int64_t *first = ts_calloc(2 * ((size_t)size + 1), sizeof *first), *sizes = first + size + 1;
    for (int r = 0; r <= size; r++)
        first[r] = r;
    int64_t words = ((int64_t)mine.size_bytes + 3) / 4, bytes = (int64_t)mine.size_bytes;
    ts_all_gather(
        group, (TsTransfer){.out = sizes, .in = &bytes, .first_elem = first, .dtype = TS_I64, .label = "data/classes"});
    for (int r = 0; r < size; r++)
        first[r + 1] = first[r] + (sizes[r] + 3) / 4;
    int32_t *in = ts_calloc((size_t)words + 1, sizeof *in), *all = ts_calloc((size_t)first[size] + 1, sizeof *all);
    if (mine.size_bytes)
        memcpy(in, mine.data, mine.size_bytes);
    ts_all_gather(group,
                  (TsTransfer){.out = all, .in = in, .first_elem = first, .dtype = TS_I32, .label = "data/classes"});
    for (int r = 0; r < size; r++)
        for (const char *at = (const char *)(all + first[r]), *end = at + sizes[r]; at < end;) {
            int64_t length;
            memcpy(&length, at, sizeof length);
            ts_class_names_add(names, at + sizeof length, (size_t)length);
            at += sizeof length + (size_t)length;
        }
    number(names);
    ts_text_free(&mine);
    ts_free(first);
    ts_free(in);
    ts_free(all);
}

int64_t ts_class_names_count(const TsClassNames *names)
{
    return names->count;
}

const char *ts_class_names_at(const TsClassNames *names, int64_t number_of)
{
    return names->by_number[number_of].text;
}

int32_t ts_class_names_find(const TsClassNames *names, const char *text, size_t bytes)
{
    bool there;
    int64_t place = place_of(names, text, bytes, &there);
    return there ? names->sorted[place].number : -1;
}
