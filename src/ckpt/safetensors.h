/* SPDX-License-Identifier: Apache-2.0
 *
 * Safetensors: reading pre-trained weights from the files that other programs publish.
 *
 * A file is 8 bytes of header size (little-endian), a JSON header {name: {dtype, shape, data_offsets: [first, end]}},
 * and the tensors' bytes, row-major, without gaps or overlaps. Large models lie in several files, which
 * model.safetensors.index.json names in its weight_map. Files are mapped, never read whole: a rank touches the pages of
 * its own blocks alone. Nothing here is collective. Headers are not trusted: every size and offset is checked when the
 * file is opened, so what is read later lies within the file. Format: https://github.com/huggingface/safetensors
 */
#pragma once

#include "base/status.h"
#include "tensor/placement.h"

typedef struct TsSafetensors TsSafetensors;

/* Opens a file, or a directory that holds model.safetensors.index.json and the files it names, or model.safetensors.
 * Fails on what is missing, truncated, or contradicts itself, with the file and the tensor. Owned by the caller:
 * ts_safetensors_close. */
TS_MUST_USE TsStatus ts_safetensors_open(TsSafetensors **weights, const char *path);

/* Sets *weights to NULL; NULL is fine. */
void ts_safetensors_close(TsSafetensors **weights);

/* What it holds, sorted by name. */
typedef struct TsSafetensorsEntry {
    const char *name;       /* borrowed until ts_safetensors_close */
    const char *dtype_name; /* as the file says it: "F32" */
    TsDtype dtype;          /* TS_DTYPES: one that this program cannot read */
    TsShape shape;          /* (0 dims) where there are more than TS_MAX_DIMS, which cannot be read either */
} TsSafetensorsEntry;
int ts_safetensors_count(const TsSafetensors *weights);
TsSafetensorsEntry ts_safetensors_entry(const TsSafetensors *weights, int index);

/* The index of the tensor of that name, or -1. */
int ts_safetensors_find(const TsSafetensors *weights, const char *name);

/* A tensor of the file seen as an array of another shape: element i of the view is element first_elem + sum over dims
 * of i[d] * stride_elems[d] of the tensor. Transposes, parts of a fused matrix and split heads are all such views. */
typedef struct TsSafetensorsView {
    int index; /* of the tensor */
    TsShape shape;
    int64_t first_elem;
    int64_t stride_elems[TS_MAX_DIMS];
} TsSafetensorsView;

/* The tensor as it is. */
TsSafetensorsView ts_safetensors_whole(const TsSafetensors *weights, int index);

/* out[...] = the elements of `block` of the view, row-major without gaps, cast to `dtype` (f32, f64, bf16; i32 and i64
 * from integers). Fails on a view that reaches outside of its tensor, and on dtypes that cannot be cast. */
TS_MUST_USE TsStatus ts_safetensors_read(const TsSafetensors *weights, void *out, TsSafetensorsView view,
                                         TsBlockRange block, TsDtype dtype);
