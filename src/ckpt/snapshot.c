/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/snapshot.h"

#include "base/copy.h"
#include "base/memory.h"
#include "ckpt/slab.h"

static size_t slab_bytes(const TsSegmentPart *part)
{
    return (size_t)ts_shape_elems(part->slab.shape) * ts_dtype_bytes(part->dtype);
}

void ts_snapshot_lend(TsSnapshot *snapshot, const TsBatch *arrays, const TsGroup *group)
{
    ts_free(snapshot->parts);
    snapshot->count = ts_batch_count(arrays);
    snapshot->parts = ts_calloc((size_t)snapshot->count, sizeof *snapshot->parts);
    for (int i = 0; i < snapshot->count; i++) {
        const TsArray *array = ts_batch_array(arrays, i);
        snapshot->parts[i] = (TsSegmentPart){.dtype = array->dtype,
                                             .shape = array->shape,
                                             .block = array->block,
                                             .slab = ts_slab_owned(array, group),
                                             .data = array->data};
    }
}

/* Copies dims `d` and further of a slab whose blocks have the strides given, in elements; the place behind the copy. */
static char *copy_dims(char *out, const char *in, const TsSegmentPart *part, const int64_t *stride, int d)
{
    int dims = part->slab.shape.dims;
    size_t elem_bytes = ts_dtype_bytes(part->dtype);
    int64_t whole = 1; /* elements of what lies together from here on */
    bool together = true;
    for (int k = dims - 1; k >= d && together; k--) {
        whole *= part->slab.shape.size[k];
        together = k == d || part->slab.shape.size[k] == part->block.shape.size[k];
    }
    if (together) {
        ts_copy_past_caches(out, in, (size_t)whole * elem_bytes);
        return out + (size_t)whole * elem_bytes;
    }
    for (int64_t i = 0; i < part->slab.shape.size[d]; i++)
        out = copy_dims(out, in + (size_t)(i * stride[d]) * elem_bytes, part, stride, d + 1);
    return out;
}

/* Copies the slab out of the block, and makes the copy the part's data. */
static char *copy_part(char *out, TsSegmentPart *part)
{
    if (ts_slab_empty(part->slab))
        return out;
    int64_t stride[TS_MAX_DIMS], from = 0, elems = 1;
    for (int d = part->shape.dims - 1; d >= 0; d--) {
        stride[d] = elems;
        from += (part->slab.first[d] - part->block.first[d]) * elems;
        elems *= part->block.shape.size[d];
    }
    char *end = copy_dims(out, (const char *)part->data + (size_t)from * ts_dtype_bytes(part->dtype), part, stride, 0);
    part->data = out;
    part->block = part->slab;
    return end;
}

void ts_snapshot_copy(TsSnapshot *snapshot, const TsBatch *arrays, const TsGroup *group)
{
    enum { LINE_BYTES = 64 };
    ts_snapshot_lend(snapshot, arrays, group);
    size_t bytes = 0;
    for (int i = 0; i < snapshot->count; i++)
        bytes += (slab_bytes(&snapshot->parts[i]) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    if (bytes > snapshot->copy_bytes) {
        ts_free(snapshot->copy);
        snapshot->copy = ts_alloc(bytes);
        snapshot->copy_bytes = bytes;
    }
    char *out = snapshot->copy;
    for (int i = 0; i < snapshot->count; i++) {
        char *end = copy_part(out, &snapshot->parts[i]);
        out += ((size_t)(end - out) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    }
}

void ts_snapshot_free(TsSnapshot *snapshot)
{
    ts_free(snapshot->parts);
    ts_free(snapshot->copy);
    *snapshot = (TsSnapshot){0};
}
