/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/array.h"

#include "base/check.h"
#include "base/memory.h"
#include "comm/shared.h"

TsArray *ts_array_create(const TsMesh *mesh, TsDtype dtype, TsShape shape, TsPlacement placement,
                         TsArrayOptions options)
{
    TsArray *array = ts_alloc(sizeof *array);
    *array = (TsArray){.shape = shape,
                       .dtype = dtype,
                       .placement = placement,
                       .mesh = mesh,
                       .block = ts_placement_local(placement, shape, mesh)};
    TsGroup *group = mesh ? ts_mesh_all(mesh) : NULL; /* none where the mesh is only described */
    array->shared = options.shared && group;
    array->data =
        array->shared ? ts_shared_alloc(group, ts_array_local_bytes(array)) : ts_calloc(1, ts_array_local_bytes(array));
    return array;
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

int64_t ts_array_local_elems(const TsArray *array)
{
    return ts_shape_elems(array->block.shape);
}

size_t ts_array_local_bytes(const TsArray *array)
{
    return (size_t)ts_array_local_elems(array) * ts_dtype_bytes(array->dtype);
}
