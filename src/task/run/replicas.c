/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/replicas.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"

/* What a rank says of its part of an array: which part it is, and what is in it. */
typedef struct Copy {
    uint32_t part, crc;
} Copy;

/* Whether no two ranks hold the same part. */
static bool is_cut_whole(const TsArray *array)
{
    for (int axis = 1; array->mesh && axis < TS_AXES; axis++)
        if (ts_mesh_size(array->mesh, (TsAxis)axis) > 1 && axis != TS_AXIS_MICRO &&
            !(ts_placement_axes(array->placement) & TS_AXIS_BIT(axis)))
            return false;
    return array->mesh != NULL;
}

static Copy describe(const TsArray *array)
{
    size_t bytes = ts_array_local_bytes(array);
    Copy copy = {.part = 0};
    if (!bytes || is_cut_whole(array))
        return copy;
    const TsBlockRange *block = &array->block;
    for (int d = 0; d < array->shape.dims; d++) {
        int64_t range[2] = {block->first[d], block->shape.size[d]};
        copy.part = ts_crc32c(copy.part, range, sizeof range);
    }
    copy.part |= 1; /* 0 is none */
    copy.crc = ts_crc32c(0, array->data, bytes);
    return copy;
}

/* How many of all have the same bits of the same part as `copy`; and how many have that part. */
static int count_equal(int *holders, const Copy *all, int ranks, int stride, Copy copy)
{
    int equal = 0;
    *holders = 0;
    for (int r = 0; r < ranks; r++) {
        Copy other = all[(size_t)r * (size_t)stride];
        *holders += other.part == copy.part;
        equal += other.part == copy.part && other.crc == copy.crc;
    }
    return equal;
}

static void append_ranks(TsText *text, const TsHosts *hosts, const Copy *all, int ranks, int stride, uint32_t part)
{
    const char *between = "";
    for (int r = 0; r < ranks; r++)
        if (all[(size_t)r * (size_t)stride].part == part) {
            ts_text_append(text, "%s%d (%s)", between, r, hosts->name[r]);
            between = ", ";
        }
}

/* What is wrong with an array, of which all (ranks, stride) are the copies; NULL: nothing. Owned by the caller. */
static char *find_difference(const TsHosts *hosts, const Copy *all, int ranks, int stride, const char *name)
{
    TsText odd = {0};
    int holders = 0, differing = 0;
    uint32_t split = 0; /* a part without a majority */
    for (int r = 0; r < ranks; r++) {
        Copy copy = all[(size_t)r * (size_t)stride];
        int held = 0, equal = copy.part ? count_equal(&held, all, ranks, stride, copy) : 0;
        if (equal == held)
            continue;
        bool majority = false;
        for (int other = 0; other < ranks && !majority; other++) {
            Copy twin = all[(size_t)other * (size_t)stride];
            majority = twin.part == copy.part && 2 * count_equal(&held, all, ranks, stride, twin) > held;
        }
        holders = held;
        if (!majority)
            split = copy.part;
        else if (2 * equal <= held)
            ts_text_append(&odd, "%s%d (%s)", differing++ ? ", " : "", r, hosts->name[r]);
    }
    char *found = NULL;
    if (differing) {
        found = ts_format("%s of rank%s %s is not what the other ranks that hold it have", name,
                          differing > 1 ? "s" : "", odd.data);
    } else if (split) {
        append_ranks(&odd, hosts, all, ranks, stride, split);
        found = ts_format("%s is not the same on the %d ranks that hold it: %s", name, holders, odd.data);
    }
    ts_text_free(&odd);
    return found;
}

static Copy *gather(TsGroup *group, const TsBatch *arrays)
{
    int ranks = ts_group_size(group), count = ts_batch_count(arrays);
    Copy *mine = ts_calloc((size_t)count + 1, sizeof *mine);
    Copy *all = ts_calloc((size_t)ranks * (size_t)count + 1, sizeof *all);
    int64_t *first = ts_calloc((size_t)ranks + 1, sizeof *first);
    for (int i = 0; i < count; i++)
        mine[i] = describe(ts_batch_array(arrays, i));
    for (int r = 0; r <= ranks; r++)
        first[r] = (int64_t)r * count * 2;
    ts_all_gather(group,
                  (TsTransfer){.out = all, .in = mine, .first_elem = first, .dtype = TS_I32, .label = "replicas"});
    ts_free(first);
    ts_free(mine);
    return all;
}

TsStatus ts_replicas_compare(TsGroup *group, const TsHosts *hosts, const TsBatch *arrays)
{
    int ranks = ts_group_size(group), count = ts_batch_count(arrays), wrong = 0;
    if (ranks == 1)
        return TS_OK;
    Copy *all = gather(group, arrays);
    char *first = NULL;
    for (int i = 0; i < count; i++) {
        char *found = find_difference(hosts, all + i, ranks, count, ts_batch_name(arrays, i));
        wrong += found != NULL;
        if (first || !found)
            ts_free(found);
        else
            first = found;
    }
    TsStatus status = TS_OK;
    if (first && wrong > 1)
        status = ts_status_error(TS_CODE_CORRUPT, "%s, nor are %d other arrays", first, wrong - 1);
    else if (first)
        status = ts_status_error(TS_CODE_CORRUPT, "%s", first);
    ts_free(first);
    ts_free(all);
    return status;
}
