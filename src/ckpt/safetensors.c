/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/file.h"
#include "base/memory.h"
#include "ckpt/safetensors_file.h"

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME  "model.safetensors.index.json"

static const size_t most_index_bytes = (size_t)256 << 20;

struct TsSafetensors {
    char *path;              /* as it was asked for */
    TsSafetensorsFile *file; /* (files) */
    int files;
    TsSafetensorsTensor **tensor; /* (tensors), sorted by name; they belong to the files */
    int tensors;
};

/* ---- the files ---- */

/* Opens one more file; a name that is open already is left alone. */
static TsStatus add_file(TsSafetensors *weights, const char *path)
{
    for (int i = 0; i < weights->files; i++)
        if (strcmp(weights->file[i].path, path) == 0)
            return TS_OK;
    weights->file = ts_realloc(weights->file, ((size_t)weights->files + 1) * sizeof *weights->file);
    TS_TRY(ts_safetensors_file_open(&weights->file[weights->files], path));
    weights->files++;
    return TS_OK;
}

/* A shard lies beside its index: nothing that the index says leads out of the directory. */
static bool is_bare_name(const char *name)
{
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static TsStatus add_shards(TsSafetensors *weights, const json_t *map, const char *index_path)
{
    if (!json_is_object(map))
        return ts_status_error(TS_CODE_CORRUPT, "%s: has no weight_map {tensor: file}", index_path);
    const char *tensor;
    json_t *shard;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, shard)
    {
        const char *name = json_string_value(shard);
        if (!name || !is_bare_name(name))
            return ts_status_error(TS_CODE_CORRUPT, "%s: %s is not in a file of this directory", index_path, tensor);
        char *path = ts_format("%s/%s", weights->path, name);
        TsStatus status = add_file(weights, path);
        ts_free(path);
        if (status)
            return ts_status_annotate(status, "%s names %s for %s", index_path, name, tensor);
    }
    return TS_OK;
}

static TsStatus add_indexed(TsSafetensors *weights, json_t **index, const char *index_path)
{
    char *text;
    size_t text_bytes;
    TS_TRY(ts_file_read(&text, &text_bytes, index_path, most_index_bytes));
    json_error_t error;
    *index = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &error);
    ts_free(text);
    if (!*index)
        return ts_status_error(TS_CODE_CORRUPT, "%s:%d: not JSON: %s", index_path, error.line, error.text);
    return add_shards(weights, json_object_get(*index, "weight_map"), index_path);
}

/* ---- the tensors of all files ---- */

static int by_name(const void *left, const void *right)
{
    const TsSafetensorsTensor *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static TsStatus sort_tensors(TsSafetensors *weights)
{
    for (int i = 0; i < weights->files; i++)
        weights->tensors += weights->file[i].count;
    weights->tensor = ts_calloc((size_t)weights->tensors, sizeof(TsSafetensorsTensor *));
    int count = 0;
    for (int i = 0; i < weights->files; i++)
        for (int t = 0; t < weights->file[i].count; t++)
            weights->tensor[count++] = &weights->file[i].tensor[t];
    qsort(weights->tensor, (size_t)count, sizeof(TsSafetensorsTensor *), by_name);
    for (int t = 1; t < count; t++)
        if (strcmp(weights->tensor[t - 1]->name, weights->tensor[t]->name) == 0)
            return ts_status_error(TS_CODE_CORRUPT, "%s: two files hold a tensor %s", weights->path,
                                   weights->tensor[t]->name);
    return TS_OK;
}

/* What the index names must be there. */
static TsStatus check_index(const TsSafetensors *weights, const json_t *index, const char *index_path)
{
    const char *tensor;
    json_t *shard;
    json_object_foreach(json_object_get(index, "weight_map"), tensor, shard)
    {
        if (ts_safetensors_find(weights, tensor) < 0)
            return ts_status_error(TS_CODE_CORRUPT, "%s: says that %s is in %s, which has no such tensor", index_path,
                                   tensor, json_string_value(shard));
    }
    return TS_OK;
}

static TsStatus open_directory(TsSafetensors *weights)
{
    char *index_path = ts_format("%s/" INDEX_NAME, weights->path);
    char *single_path = ts_format("%s/" SINGLE_NAME, weights->path);
    json_t *index = NULL;
    TsStatus status;
    if (ts_file_exists(index_path)) {
        status = add_indexed(weights, &index, index_path);
        if (!status)
            status = sort_tensors(weights);
        if (!status)
            status = check_index(weights, index, index_path);
    } else if (ts_file_exists(single_path)) {
        status = add_file(weights, single_path);
        if (!status)
            status = sort_tensors(weights);
    } else {
        status = ts_status_error(TS_CODE_NOT_FOUND, "%s: neither " INDEX_NAME " nor " SINGLE_NAME " is in it",
                                 weights->path);
    }
    json_decref(index);
    ts_free(index_path);
    ts_free(single_path);
    return status;
}

TsStatus ts_safetensors_open(TsSafetensors **handle, const char *path)
{
    TsSafetensors *weights = ts_calloc(1, sizeof *weights);
    weights->path = ts_strdup(path);
    struct stat info;
    TsStatus status;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        status = open_directory(weights);
    } else {
        status = add_file(weights, path);
        if (!status)
            status = sort_tensors(weights);
    }
    if (status)
        ts_safetensors_close(&weights);
    *handle = weights;
    return status;
}

void ts_safetensors_close(TsSafetensors **handle)
{
    TsSafetensors *weights = *handle;
    if (!weights)
        return;
    for (int i = 0; i < weights->files; i++)
        ts_safetensors_file_close(&weights->file[i]);
    ts_free(weights->file);
    ts_free(weights->tensor);
    ts_free(weights->path);
    ts_free(weights);
    *handle = NULL;
}

int ts_safetensors_count(const TsSafetensors *weights)
{
    return weights->tensors;
}

TsSafetensorsEntry ts_safetensors_entry(const TsSafetensors *weights, int index)
{
    TS_CHECK(index >= 0 && index < weights->tensors, "tensor %d of %d", index, weights->tensors);
    const TsSafetensorsTensor *tensor = weights->tensor[index];
    return (TsSafetensorsEntry){
        .name = tensor->name, .dtype_name = tensor->dtype_name, .dtype = tensor->dtype, .shape = tensor->shape};
}

int ts_safetensors_find(const TsSafetensors *weights, const char *name)
{
    TsSafetensorsTensor wanted = {.name = (char *)(uintptr_t)name}, *key = &wanted;
    TsSafetensorsTensor **found =
        bsearch(&key, weights->tensor, (size_t)weights->tensors, sizeof(TsSafetensorsTensor *), by_name);
    return found ? (int)(found - weights->tensor) : -1;
}

/* ---- reading ---- */

TsSafetensorsView ts_safetensors_whole(const TsSafetensors *weights, int index)
{
    TsSafetensorsView view = {.index = index, .shape = ts_safetensors_entry(weights, index).shape};
    int64_t stride = 1;
    for (int d = view.shape.dims - 1; d >= 0; d--) {
        view.stride_elems[d] = stride;
        stride *= view.shape.size[d];
    }
    return view;
}

/* Whether every element of the view lies within `elems`. */
static bool view_fits(const TsSafetensorsView *view, int64_t elems)
{
    int64_t low = view->first_elem, high = low;
    for (int d = 0; d < view->shape.dims; d++) {
        int64_t reach;
        if (view->shape.size[d] == 0)
            return true;
        if (__builtin_mul_overflow(view->shape.size[d] - 1, view->stride_elems[d], &reach) ||
            __builtin_add_overflow(*(reach < 0 ? &low : &high), reach, reach < 0 ? &low : &high))
            return false;
    }
    return low >= 0 && high < elems;
}

/* Sign 1, exponent 5, mantissa 10. */
static float f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half >> 15) << 31, exponent = half >> 10 & 31, mantissa = half & 1023, bits;
    float value;
    if (exponent == 0) {
        value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | mantissa << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The element as a number that holds each of its values exactly. */
static double float_at(const unsigned char *data, TsDtype dtype, int64_t index)
{
    const unsigned char *at = data + index * (int64_t)ts_dtype_bytes(dtype); /* not aligned: headers have any length */
    double wide;
    float single;
    uint16_t half;
    switch (dtype) {
    case TS_F64:
        memcpy(&wide, at, sizeof wide);
        return wide;
    case TS_F32:
        memcpy(&single, at, sizeof single);
        return (double)single;
    case TS_BF16:
        memcpy(&half, at, sizeof half);
        return (double)ts_bf16_to_f32(half);
    default: /* f16 */
        memcpy(&half, at, sizeof half);
        return (double)f16_to_f32(half);
    }
}

static int64_t integer_at(const unsigned char *data, TsDtype dtype, int64_t index)
{
    const unsigned char *at = data + index * (int64_t)ts_dtype_bytes(dtype);
    int32_t narrow;
    int64_t wide;
    if (dtype == TS_I32) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, at, sizeof wide);
    return wide;
}

static void put(void *out, TsDtype dtype, int64_t index, double value)
{
    if (dtype == TS_F64)
        ((double *)out)[index] = value;
    else if (dtype == TS_F32)
        ((float *)out)[index] = (float)value;
    else
        ((TsBf16 *)out)[index] = ts_bf16_from_f32((float)value);
}

/* out[0, count) = count elements from `from` on, `stride` apart. */
static void read_row(void *out, TsDtype dtype, int64_t first_out, const TsSafetensorsTensor *tensor, int64_t from,
                     int64_t stride, int64_t count)
{
    size_t bytes = ts_dtype_bytes(dtype);
    unsigned char *to = (unsigned char *)out + (size_t)first_out * bytes;
    if (dtype == tensor->dtype && stride == 1) {
        memcpy(to, tensor->data + from * (int64_t)bytes, (size_t)count * bytes);
    } else if (ts_dtype_is_float(dtype)) {
        for (int64_t i = 0; i < count; i++)
            put(to, dtype, i, float_at(tensor->data, tensor->dtype, from + i * stride));
    } else {
        for (int64_t i = 0; i < count; i++) {
            int64_t value = integer_at(tensor->data, tensor->dtype, from + i * stride);
            if (dtype == TS_I32)
                ((int32_t *)(void *)to)[i] = (int32_t)value;
            else
                ((int64_t *)(void *)to)[i] = value;
        }
    }
}

static void read_block(void *out, TsDtype dtype, const TsSafetensorsTensor *tensor, const TsSafetensorsView *view,
                       const TsBlockRange *block)
{
    int last = view->shape.dims - 1;
    int64_t elems = ts_shape_elems(block->shape), row = last < 0 ? 1 : block->shape.size[last];
    int64_t at[TS_MAX_DIMS] = {0};
    for (int64_t done = 0; done < elems; done += row) {
        int64_t from = view->first_elem;
        for (int d = 0; d <= last; d++)
            from += (block->first[d] + at[d]) * view->stride_elems[d];
        read_row(out, dtype, done, tensor, from, last < 0 ? 1 : view->stride_elems[last], row);
        for (int d = last - 1; d >= 0 && ++at[d] == block->shape.size[d]; d--)
            at[d] = 0;
    }
}

TsStatus ts_safetensors_read(const TsSafetensors *weights, void *out, TsSafetensorsView view, TsBlockRange block,
                             TsDtype dtype)
{
    TS_CHECK(view.index >= 0 && view.index < weights->tensors, "tensor %d of %d", view.index, weights->tensors);
    const TsSafetensorsTensor *tensor = weights->tensor[view.index];
    if (!tensor->data)
        return ts_status_error(TS_CODE_UNSUPPORTED, "%s: %s is %s of a kind that this program does not read",
                               weights->path, tensor->name, tensor->dtype_name);
    bool floats = ts_dtype_is_float(tensor->dtype) && ts_dtype_is_float(dtype) && dtype != TS_F16;
    bool integers = (tensor->dtype == TS_I32 || tensor->dtype == TS_I64) && (dtype == TS_I32 || dtype == TS_I64);
    if (!floats && !integers)
        return ts_status_error(TS_CODE_UNSUPPORTED, "%s: %s is %s, which is not read as %s", weights->path,
                               tensor->name, tensor->dtype_name, ts_dtype_name(dtype));
    if (!view_fits(&view, ts_shape_elems(tensor->shape)))
        return ts_status_error(TS_CODE_INVALID, "%s: %s is %s, too small for what is read from it", weights->path,
                               tensor->name, ts_shape_text(tensor->shape).text);
    read_block(out, dtype, tensor, &view, &block);
    return TS_OK;
}
