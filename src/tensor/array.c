/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/array.h"

#include "base/check.h"
#include "base/memory.h"
#include "comm/shared.h"

/* All but where its values are. */
static TsArray *describe(const TsMesh *mesh, TsDtype dtype, TsShape shape, TsPlacement placement,
                         TsArrayOptions options)
{
    TsArray *array = ts_alloc(sizeof *array);
    bool cut = ts_placement_axes(placement) & TS_AXIS_BIT(TS_AXIS_MICRO);
    *array = (TsArray){.shape = shape,
                       .dtype = dtype,
                       .placement = placement,
                       .mesh = mesh,
                       .micros = cut && options.micros > 1 ? options.micros : 1};
    array->block = ts_placement_local(placement, shape, mesh);
    for (int d = 0; d < shape.dims && array->micros > 1; d++) {
        if (!(ts_placement_axes_of(placement, d) & TS_AXIS_BIT(TS_AXIS_MICRO)))
            continue;
        array->block.shape.size[d] = 0;
        for (int micro = 0; micro < array->micros; micro++)
            array->block.shape.size[d] += ts_array_block(array, micro).shape.size[d];
    }
    array->shared = options.shared && mesh && ts_mesh_all(mesh); /* none where the mesh is only described */
    if (array->shared)
        array->data = ts_shared_alloc(ts_mesh_all(mesh), ts_array_local_bytes(array));
    return array;
}

TsArray *ts_array_create(const TsMesh *mesh, TsDtype dtype, TsShape shape, TsPlacement placement,
                         TsArrayOptions options)
{
    TsArray *array = describe(mesh, dtype, shape, placement, options);
    if (!array->shared)
        array->data = ts_calloc(1, ts_array_local_bytes(array));
    return array;
}

TsStatus ts_array_try_create(TsArray **created, const TsMesh *mesh, TsDtype dtype, TsShape shape, TsPlacement placement,
                             TsArrayOptions options)
{
    TsArray *array = describe(mesh, dtype, shape, placement, options);
    size_t bytes = ts_array_local_bytes(array);
    if (!array->shared)
        array->data = ts_try_calloc(1, bytes);
    *created = array;
    if (array->data)
        return TS_OK;
    ts_array_free(created);
    ts_memory_forget_shortage(); /* this error says it */
    return ts_status_error(TS_CODE_RESOURCES, "out of memory: an array %s %s takes %zu bytes on this rank",
                           ts_dtype_name(dtype), ts_shape_text(shape).text, bytes);
}

void ts_array_free(TsArray **array)
{
    if (*array) {
        if ((*array)->shared)
            ts_shared_free((*array)->data);
        else
            ts_free((*array)->data);
        ts_free(*array);
    }
    *array = NULL;
}

void ts_array_drop_values(TsArray *array)
{
    TS_CHECK(!array->shared, "an array whose values are shared cannot give them back by itself");
    ts_free(array->data);
    array->data = NULL;
}

void ts_array_take_values(TsArray *array)
{
    TS_CHECK(!array->shared, "an array whose values are shared cannot take them by itself");
    if (!array->data)
        array->data = ts_calloc(1, ts_array_local_bytes(array));
}

TsBlockRange ts_array_block(const TsArray *array, int micro)
{
    TsMesh *mesh = array->micros > 1 ? ts_mesh_at_micro(array->mesh, array->micros, micro) : NULL;
    TsBlockRange block = ts_placement_local(array->placement, array->shape, mesh ? mesh : array->mesh);
    ts_mesh_free(&mesh);
    return block;
}

void *ts_array_data(const TsArray *array, int micro)
{
    int64_t before = 0;
    for (int m = 0; m < micro; m++)
        before += ts_shape_elems(ts_array_block(array, m).shape);
    return (unsigned char *)array->data + (size_t)before * ts_dtype_bytes(array->dtype);
}

int64_t ts_array_local_elems(const TsArray *array)
{
    return ts_shape_elems(array->block.shape);
}

size_t ts_array_local_bytes(const TsArray *array)
{
    return (size_t)ts_array_local_elems(array) * ts_dtype_bytes(array->dtype);
}
