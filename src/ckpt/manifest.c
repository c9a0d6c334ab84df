/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "ckpt/commit.h"

#define FORMAT "tessera checkpoint"

int64_t ts_manifest_segments(TsDtype dtype, TsShape shape)
{
    int64_t bytes = ts_shape_elems(shape) * (int64_t)ts_dtype_bytes(dtype);
    return (bytes + TS_SEGMENT_BYTES - 1) / TS_SEGMENT_BYTES;
}

TsManifest *ts_manifest_create(int64_t step, const TsBatch *arrays, const json_t *state)
{
    TsManifest *manifest = ts_alloc(sizeof *manifest);
    int count = ts_batch_count(arrays);
    *manifest = (TsManifest){.step = step,
                             .count = count,
                             .arrays = ts_calloc((size_t)count, sizeof *manifest->arrays),
                             .state = json_deep_copy(state)};
    for (int i = 0; i < count; i++) {
        const TsArray *array = ts_batch_array(arrays, i);
        int64_t segments = ts_manifest_segments(array->dtype, array->shape);
        manifest->arrays[i] = (TsManifestArray){.name = ts_strdup(ts_batch_name(arrays, i)),
                                                .dtype = array->dtype,
                                                .shape = array->shape,
                                                .segments = segments,
                                                .crc = ts_calloc((size_t)segments, sizeof(uint32_t)),
                                                .placement = ts_strdup(ts_placement_text(array->placement).text)};
    }
    return manifest;
}

void ts_manifest_free(TsManifest **manifest)
{
    if (!*manifest)
        return;
    for (int i = 0; i < (*manifest)->count; i++) {
        ts_free((*manifest)->arrays[i].name);
        ts_free((*manifest)->arrays[i].crc);
        ts_free((*manifest)->arrays[i].placement);
    }
    json_decref((*manifest)->state); /* NULL is fine */
    json_decref((*manifest)->provenance);
    ts_free((*manifest)->arrays);
    ts_free(*manifest);
    *manifest = NULL;
}

int ts_manifest_find(const TsManifest *manifest, const char *name)
{
    for (int i = 0; i < manifest->count; i++)
        if (strcmp(manifest->arrays[i].name, name) == 0)
            return i;
    return -1;
}

/* "89abcdef 01234567"; owned by the caller. */
static char *crc_text(const TsManifestArray *array)
{
    enum { WORD_BYTES = 9 };
    char *text = ts_alloc((size_t)array->segments * WORD_BYTES + 1);
    text[0] = '\0';
    for (int64_t i = 0; i < array->segments; i++)
        snprintf(text + i * WORD_BYTES, WORD_BYTES + 1, "%08" PRIx32 "%s", array->crc[i],
                 i + 1 < array->segments ? " " : "");
    return text;
}

static json_t *array_json(const TsManifestArray *array)
{
    json_t *shape = json_array();
    for (int d = 0; d < array->shape.dims; d++)
        json_array_append_new(shape, json_integer(array->shape.size[d]));
    char *crc = crc_text(array);
    json_t *json = json_pack("{s:s, s:s, s:o, s:s}", "name", array->name, "dtype", ts_dtype_name(array->dtype), "shape",
                             shape, "crc32c", crc);
    ts_free(crc);
    if (array->placement)
        json_object_set_new(json, "placement", json_string(array->placement));
    return json;
}

char *ts_manifest_text(const TsManifest *manifest)
{
    json_t *arrays = json_array();
    for (int i = 0; i < manifest->count; i++)
        json_array_append_new(arrays, array_json(&manifest->arrays[i]));
    json_t *json = json_pack("{s:s, s:i, s:I, s:O, s:O, s:i, s:o}", "format", FORMAT, "version", TS_CHECKPOINT_VERSION,
                             "step", (json_int_t)manifest->step, "state", manifest->state, "provenance",
                             manifest->provenance, "segment_bytes", TS_SEGMENT_BYTES, "arrays", arrays);
    char *dumped = json ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
    TS_CHECK(dumped, "the manifest cannot be put into words: are all names UTF-8?");
    char *text = ts_format("%s\n", dumped);
    free(dumped); /* jansson's own memory */
    json_decref(json);
    return text;
}

static TsDtype dtype_from_name(const char *name)
{
    TsDtype dtype = 0;
    while (dtype < TS_DTYPES && strcmp(ts_dtype_name(dtype), name) != 0)
        dtype++;
    return dtype;
}

/* Reads the sizes; false where they are not those of an array that this program can hold. */
static bool parse_shape(TsShape *shape, const json_t *sizes, TsDtype dtype)
{
    if (json_array_size(sizes) > TS_MAX_DIMS)
        return false;
    *shape = (TsShape){.dims = (int)json_array_size(sizes)};
    int64_t bytes = (int64_t)ts_dtype_bytes(dtype);
    for (int d = 0; d < shape->dims; d++) {
        const json_t *size = json_array_get(sizes, (size_t)d);
        shape->size[d] = json_integer_value(size);
        if (!json_is_integer(size) || shape->size[d] < 0 || __builtin_mul_overflow(bytes, shape->size[d], &bytes))
            return false;
    }
    return true;
}

/* Reads the checksums; false where there are not as many as the array has segments. */
static bool parse_crc(TsManifestArray *array, const char *text)
{
    array->segments = ts_manifest_segments(array->dtype, array->shape);
    if (strlen(text) != (size_t)(array->segments ? 9 * array->segments - 1 : 0))
        return false;
    array->crc = ts_calloc((size_t)array->segments, sizeof *array->crc);
    for (int64_t i = 0; i < array->segments; i++) {
        char *end;
        array->crc[i] = (uint32_t)strtoul(text + 9 * i, &end, 16);
        if (end != text + 9 * i + 8)
            return false;
    }
    return true;
}

static TsStatus parse_array(TsManifestArray *array, json_t *json, size_t index, const char *path)
{
    const char *name, *dtype, *crc;
    const json_t *shape;
    if (json_unpack(json, "{s:s, s:s, s:o, s:s}", "name", &name, "dtype", &dtype, "shape", &shape, "crc32c", &crc) != 0)
        return ts_status_error(TS_CODE_CORRUPT, "%s: array %zu lacks name, dtype, shape or crc32c", path, index);
    array->dtype = dtype_from_name(dtype);
    if (array->dtype == TS_DTYPES)
        return ts_status_error(TS_CODE_UNSUPPORTED, "%s: %s is of the unknown dtype \"%s\"", path, name, dtype);
    if (!json_is_array(shape) || !parse_shape(&array->shape, shape, array->dtype))
        return ts_status_error(TS_CODE_CORRUPT, "%s: %s has a shape that cannot be", path, name);
    if (!parse_crc(array, crc))
        return ts_status_error(TS_CODE_CORRUPT, "%s: %s has not one checksum for each %d bytes", path, name,
                               TS_SEGMENT_BYTES);
    const char *placement = json_string_value(json_object_get(json, "placement"));
    array->placement = placement ? ts_strdup(placement) : NULL;
    array->name = ts_strdup(name);
    return TS_OK;
}

static TsStatus parse_object(TsManifest *manifest, json_t *json, const char *path)
{
    const char *format = json_string_value(json_object_get(json, "format"));
    if (!format || strcmp(format, FORMAT) != 0)
        return ts_status_error(TS_CODE_INVALID, "%s: not the manifest of a checkpoint of this program", path);
    json_int_t version = json_integer_value(json_object_get(json, "version"));
    if (version > TS_CHECKPOINT_VERSION)
        return ts_status_error(TS_CODE_UNSUPPORTED, "%s: of layout %lld, newer than this program, which reads up to %d",
                               path, (long long)version, TS_CHECKPOINT_VERSION);
    json_int_t step, segment_bytes;
    json_t *state, *arrays;
    if (json_unpack(json, "{s:I, s:I, s:o, s:o}", "step", &step, "segment_bytes", &segment_bytes, "state", &state,
                    "arrays", &arrays) != 0 ||
        !json_is_object(state) || !json_is_array(arrays) || segment_bytes != TS_SEGMENT_BYTES || step < 0)
        return ts_status_error(TS_CODE_CORRUPT, "%s: step, segment_bytes, state or arrays are missing or wrong", path);
    size_t count = json_array_size(arrays);
    manifest->step = step;
    manifest->state = json_incref(state);
    json_t *provenance = json_object_get(json, "provenance");
    manifest->provenance = json_is_object(provenance) ? json_incref(provenance) : json_object();
    manifest->arrays = ts_calloc(count, sizeof *manifest->arrays);
    manifest->count = (int)count;
    for (size_t i = 0; i < count; i++)
        TS_TRY(parse_array(&manifest->arrays[i], json_array_get(arrays, i), i, path));
    return TS_OK;
}

TsStatus ts_manifest_parse(TsManifest **manifest, const char *text, size_t text_bytes, const char *path)
{
    json_error_t error;
    json_t *json = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return ts_status_error(TS_CODE_CORRUPT, "%s:%d: not JSON: %s", path, error.line, error.text);
    TsManifest *parsed = ts_calloc(1, sizeof *parsed);
    TsStatus status = parse_object(parsed, json, path);
    json_decref(json);
    if (status)
        ts_manifest_free(&parsed);
    else
        *manifest = parsed;
    return status;
}
