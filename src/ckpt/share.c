/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/share.h"

#include "ckpt/convert.h"

/* What a rank reads at once, but for an array that is larger. */
static const int64_t portion_bytes = (int64_t)256 << 20;

TsStatus ts_share_mesh(TsMesh **mesh, TsGroup *group)
{
    return ts_mesh_create(mesh, group, (TsMeshShape){.size[TS_AXIS_DATA] = ts_group_size(group)});
}

TsArray *ts_share_create(const TsMesh *mesh, TsCheckpointEntry entry)
{
    int longest = 0;
    for (int d = 1; d < entry.shape.dims; d++)
        if (entry.shape.size[d] > entry.shape.size[longest])
            longest = d;
    TsPlacement placement = entry.shape.dims ? ts_shard(ts_replicated, longest, TS_AXIS_DATA) : ts_replicated;
    return ts_array_create(mesh, entry.dtype, entry.shape, placement, (TsArrayOptions){0});
}

int64_t ts_share_elems(const TsArray *array)
{
    bool repeated = array->shape.dims == 0 && ts_mesh_coord(array->mesh, TS_AXIS_DATA) != 0;
    return repeated ? 0 : ts_array_local_elems(array);
}

double ts_share_value(const TsArray *array, int64_t index)
{
    return ts_convert_value(array->data, array->dtype, index);
}

void ts_share_set(TsArray *array, int64_t index, double value)
{
    ts_convert_set(array->data, array->dtype, index, value);
}

int ts_share_portion(const TsCheckpoint *checkpoint, int first, TsGroup *group)
{
    int64_t limit = portion_bytes * ts_group_size(group), bytes = 0;
    int end = first;
    do {
        TsCheckpointEntry entry = ts_checkpoint_entry(checkpoint, end++);
        bytes += ts_shape_elems(entry.shape) * (int64_t)ts_dtype_bytes(entry.dtype);
    } while (end < ts_checkpoint_count(checkpoint) && bytes < limit);
    return end;
}
