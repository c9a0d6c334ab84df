/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/parts.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "ckpt/slab.h"
#include "comm/collectives.h"

enum { ROW = 2 + 2 * TS_MAX_DIMS }; /* of one rectangle on its way: dims, a scalar's bytes, first, size */

int ts_parts_count(int ranks, int ranks_per_file)
{
    return (ranks + ranks_per_file - 1) / ranks_per_file;
}

static void pack_row(int64_t *row, const TsSegmentPart *part)
{
    row[0] = part->slab.shape.dims;
    if (part->shape.dims == 0 && !ts_slab_empty(part->slab))
        memcpy(&row[1], part->data, ts_dtype_bytes(part->dtype));
    for (int d = 0; d < part->slab.shape.dims; d++) {
        row[2 + d] = part->slab.first[d];
        row[2 + TS_MAX_DIMS + d] = part->slab.shape.size[d];
    }
}

static TsBlockRange unpack_row(const int64_t *row)
{
    TsBlockRange slab = {.shape.dims = (int)row[0]};
    for (int d = 0; d < slab.shape.dims; d++) {
        slab.first[d] = row[2 + d];
        slab.shape.size[d] = row[2 + TS_MAX_DIMS + d];
    }
    return slab;
}

TsParts *ts_parts_gather(TsGroup *group, const TsSnapshot *snapshot, int ranks_per_file)
{
    int ranks = ts_group_size(group), arrays = snapshot->count;
    int64_t row_elems = (int64_t)arrays * ROW;
    int64_t *table = ts_calloc((size_t)(row_elems * ranks) + 1, sizeof *table);
    int64_t *first_elem = ts_alloc(((size_t)ranks + 1) * sizeof *first_elem);
    for (int r = 0; r <= ranks; r++)
        first_elem[r] = r * row_elems;
    int64_t *mine = table + first_elem[ts_group_rank(group)];
    for (int i = 0; i < arrays; i++)
        pack_row(mine + (int64_t)i * ROW, &snapshot->parts[i]);
    if (arrays > 0)
        ts_all_gather(group, (TsTransfer){.out = table,
                                          .in = mine,
                                          .first_elem = first_elem,
                                          .dtype = TS_I64,
                                          .label = "checkpoint: who writes what"});
    TsParts *parts = ts_alloc(sizeof *parts);
    *parts = (TsParts){.ranks = ranks,
                       .ranks_per_file = ranks_per_file,
                       .arrays = arrays,
                       .slabs = ts_calloc((size_t)ranks * (size_t)arrays + 1, sizeof *parts->slabs),
                       .scalars = ts_calloc((size_t)arrays + 1, sizeof *parts->scalars)};
    for (int64_t k = 0; k < (int64_t)ranks * arrays; k++) {
        parts->slabs[k] = unpack_row(table + k * ROW);
        if (parts->slabs[k].shape.dims == 0)
            parts->scalars[k % arrays] = table[k * ROW + 1];
    }
    ts_free(first_elem);
    ts_free(table);
    return parts;
}

void ts_parts_free(TsParts **parts)
{
    if (!*parts)
        return;
    ts_free((*parts)->slabs);
    ts_free((*parts)->scalars);
    ts_free(*parts);
    *parts = NULL;
}

char *ts_parts_file_name(int part)
{
    return ts_format("state.%04d.h5", part);
}

bool ts_parts_is_file_name(const char *name)
{
    static const char prefix[] = "state.", suffix[] = ".h5";
    size_t digits = 0, first = sizeof prefix - 1;
    if (strncmp(name, prefix, first) != 0)
        return false;
    while (name[first + digits] >= '0' && name[first + digits] <= '9')
        digits++;
    return digits >= 4 && strcmp(name + first + digits, suffix) == 0;
}

TsBlockRange ts_parts_slab(const TsParts *parts, int rank, int index)
{
    return parts->slabs[(int64_t)rank * parts->arrays + index];
}

bool ts_parts_has(const TsParts *parts, int rank, int index)
{
    TsBlockRange slab = ts_parts_slab(parts, rank, index);
    return slab.shape.dims > 0 && !ts_slab_empty(slab);
}

char *ts_parts_dataset(const char *array, int rank)
{
    return ts_format("%s/rank_%05d", array, rank);
}

TsManifest *ts_parts_manifest(const TsParts *parts, const TsManifest *manifest, int part)
{
    int first = part * parts->ranks_per_file, end = first + parts->ranks_per_file;
    end = end < parts->ranks ? end : parts->ranks;
    TsManifest *made = ts_calloc(1, sizeof *made);
    made->step = manifest->step;
    made->arrays = ts_calloc((size_t)(end - first) * (size_t)manifest->count + 1, sizeof *made->arrays);
    for (int i = 0; i < manifest->count; i++)
        for (int rank = first; rank < end; rank++)
            if (ts_parts_has(parts, rank, i))
                made->arrays[made->count++] =
                    (TsManifestArray){.name = ts_parts_dataset(manifest->arrays[i].name, rank),
                                      .dtype = manifest->arrays[i].dtype,
                                      .shape = ts_parts_slab(parts, rank, i).shape};
    return made;
}
