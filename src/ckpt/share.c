/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/share.h"

#include <math.h>

#include "base/check.h"

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

/* Sign 1, exponent 5, mantissa 10, bias 15. */
static double from_f16(uint16_t bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double size;
    if (exponent == 31)
        size = mantissa ? NAN : INFINITY;
    else if (exponent == 0)
        size = ldexp(mantissa, -24);
    else
        size = ldexp(1024 + mantissa, exponent - 25);
    return bits >> 15 ? -size : size;
}

double ts_share_value(const TsArray *array, int64_t index)
{
    switch (array->dtype) {
    case TS_F32:
        return ((const float *)array->data)[index];
    case TS_F64:
        return ((const double *)array->data)[index];
    case TS_BF16:
        return ts_bf16_to_f32(((const TsBf16 *)array->data)[index]);
    case TS_I32:
        return ((const int32_t *)array->data)[index];
    case TS_I64:
        return (double)((const int64_t *)array->data)[index];
    case TS_BOOL:
        return ((const uint8_t *)array->data)[index] != 0;
    case TS_F16:
        return from_f16(((const uint16_t *)array->data)[index]);
    case TS_DTYPES:
        break;
    }
    TS_CHECK(false, "dtype %d", (int)array->dtype);
    return 0;
}

void ts_share_set(TsArray *array, int64_t index, double value)
{
    if (array->dtype == TS_F32)
        ((float *)array->data)[index] = (float)value;
    else if (array->dtype == TS_F64)
        ((double *)array->data)[index] = value;
    else if (array->dtype == TS_BF16)
        ((TsBf16 *)array->data)[index] = ts_bf16_from_f32((float)value);
    else
        TS_CHECK(false, "%s is not set by value", ts_dtype_name(array->dtype));
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
