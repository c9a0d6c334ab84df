/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/safetensors_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"

enum { PREFIX_BYTES = 8 };

static const uint64_t most_header_bytes = 100000000; /* what the reference accepts */

/* Where a tensor lies behind the header. */
typedef struct Extent {
    uint64_t first_byte, end_byte;
    const char *name;
} Extent;

/* ---- mapping ---- */

static TsStatus map_open_file(TsSafetensorsFile *file, int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return ts_status_error(TS_CODE_IO, "%s: %s", file->path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return ts_status_error(TS_CODE_INVALID, "%s: not a file", file->path);
    if (info.st_size < PREFIX_BYTES)
        return ts_status_error(TS_CODE_CORRUPT,
                               "%s: %lld bytes, and a safetensors file begins with %d that say how long its header is",
                               file->path, (long long)info.st_size, PREFIX_BYTES);
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return ts_status_error(TS_CODE_IO, "%s: cannot be mapped: %s", file->path, strerror(errno));
    file->map = map;
    file->map_bytes = (size_t)info.st_size;
    return TS_OK;
}

static TsStatus map_file(TsSafetensorsFile *file)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ts_status_error(errno == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: %s", file->path, strerror(errno));
    TsStatus status = map_open_file(file, fd);
    close(fd);
    return status;
}

/* ---- the header ---- */

/* TS_DTYPES where this program has none of that kind. */
static TsDtype dtype_from_name(const char *name)
{
    static const struct {
        const char *name;
        TsDtype dtype;
    } known[] = {{"F32", TS_F32}, {"F64", TS_F64}, {"BF16", TS_BF16}, {"F16", TS_F16},
                 {"I32", TS_I32}, {"I64", TS_I64}, {"BOOL", TS_BOOL}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].dtype;
    return TS_DTYPES;
}

/* Reads the sizes, and how many bytes the tensor must have; 0 dims where there are more than can be read, and then no
 * bytes are known. */
static TsStatus parse_shape(TsSafetensorsTensor *tensor, uint64_t *bytes, const json_t *sizes, const char *path)
{
    int64_t elems = tensor->dtype < TS_DTYPES ? (int64_t)ts_dtype_bytes(tensor->dtype) : 1;
    size_t dims = json_array_size(sizes);
    for (size_t d = 0; d < dims; d++) {
        const json_t *size = json_array_get(sizes, d);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return ts_status_error(TS_CODE_CORRUPT, "%s: %s: size %zu of its shape is not a whole number from 0 on",
                                   path, tensor->name, d);
        if (__builtin_mul_overflow(elems, (int64_t)json_integer_value(size), &elems))
            return ts_status_error(TS_CODE_CORRUPT, "%s: %s: its shape has more than 2^63 bytes", path, tensor->name);
        if (dims <= TS_MAX_DIMS)
            tensor->shape.size[d] = json_integer_value(size);
    }
    tensor->shape.dims = dims <= TS_MAX_DIMS ? (int)dims : 0;
    *bytes = (uint64_t)elems;
    return TS_OK;
}

static TsStatus parse_tensor(TsSafetensorsTensor *tensor, Extent *extent, const char *name, json_t *json,
                             const unsigned char *data, uint64_t data_bytes, const char *path)
{
    const char *dtype;
    json_t *shape;
    json_int_t first, end;
    tensor->name = ts_strdup(name);
    if (json_unpack(json, "{s:s, s:o, s:[I,I!]}", "dtype", &dtype, "shape", &shape, "data_offsets", &first, &end) ||
        !json_is_array(shape))
        return ts_status_error(
            TS_CODE_CORRUPT,
            "%s: %s: lacks dtype, shape or data_offsets, or they are not a word, a list of sizes and "
            "a pair of whole numbers",
            path, name);
    tensor->dtype_name = ts_strdup(dtype);
    tensor->dtype = dtype_from_name(dtype);
    uint64_t bytes = 0;
    TS_TRY(parse_shape(tensor, &bytes, shape, path));
    if (first < 0 || end < first || (uint64_t)end > data_bytes)
        return ts_status_error(TS_CODE_CORRUPT,
                               "%s: %s: bytes %lld to %lld, and the file has %" PRIu64 " after its header", path, name,
                               (long long)first, (long long)end, data_bytes);
    if (tensor->dtype < TS_DTYPES && (uint64_t)(end - first) != bytes)
        return ts_status_error(TS_CODE_CORRUPT, "%s: %s: %s %s has %" PRIu64 " bytes, and %lld are given to it", path,
                               name, dtype, ts_shape_text(tensor->shape).text, bytes, (long long)(end - first));
    *extent = (Extent){.first_byte = (uint64_t)first, .end_byte = (uint64_t)end, .name = tensor->name};
    if (tensor->dtype < TS_DTYPES && json_array_size(shape) <= TS_MAX_DIMS)
        tensor->data = data + first;
    return TS_OK;
}

static int by_place(const void *left, const void *right)
{
    const Extent *a = left, *b = right;
    if (a->first_byte != b->first_byte)
        return a->first_byte < b->first_byte ? -1 : 1;
    return a->end_byte < b->end_byte ? -1 : a->end_byte > b->end_byte;
}

/* The tensors must follow one another to the end of the file. */
static TsStatus check_extents(Extent *extent, int count, uint64_t data_bytes, const char *path)
{
    uint64_t end = 0;
    const char *before = "the header";
    qsort(extent, (size_t)count, sizeof *extent, by_place);
    for (int i = 0; i < count; i++) {
        if (extent[i].first_byte < end)
            return ts_status_error(TS_CODE_CORRUPT, "%s: %s and %s overlap at byte %" PRIu64, path, before,
                                   extent[i].name, extent[i].first_byte);
        if (extent[i].first_byte > end)
            return ts_status_error(TS_CODE_CORRUPT,
                                   "%s: bytes %" PRIu64 " to %" PRIu64 ", after %s, belong to no tensor", path, end,
                                   extent[i].first_byte, before);
        end = extent[i].end_byte;
        before = extent[i].name;
    }
    if (end != data_bytes)
        return ts_status_error(TS_CODE_CORRUPT, "%s: bytes %" PRIu64 " to %" PRIu64 ", after %s, belong to no tensor",
                               path, end, data_bytes, before);
    return TS_OK;
}

static TsStatus parse_tensors(TsSafetensorsFile *file, json_t *header, const unsigned char *data, uint64_t data_bytes)
{
    size_t most = json_object_size(header);
    Extent *extent = ts_calloc(most, sizeof *extent);
    file->tensor = ts_calloc(most, sizeof *file->tensor);
    TsStatus status = TS_OK;
    const char *name;
    json_t *json;
    json_object_foreach(header, name, json)
    {
        if (status || strcmp(name, "__metadata__") == 0)
            continue;
        int index = file->count++;
        status = parse_tensor(&file->tensor[index], &extent[index], name, json, data, data_bytes, file->path);
    }
    if (!status)
        status = check_extents(extent, file->count, data_bytes, file->path);
    ts_free(extent);
    return status;
}

static TsStatus parse_file(TsSafetensorsFile *file)
{
    const unsigned char *bytes = file->map;
    uint64_t header_bytes = 0, rest_bytes = file->map_bytes - PREFIX_BYTES;
    for (int i = PREFIX_BYTES - 1; i >= 0; i--)
        header_bytes = header_bytes << 8 | bytes[i];
    if (header_bytes > most_header_bytes || header_bytes > rest_bytes)
        return ts_status_error(TS_CODE_CORRUPT,
                               "%s: its header is said to have %" PRIu64 " bytes, and the file has %" PRIu64
                               " after that: truncated, or not a safetensors file",
                               file->path, header_bytes, rest_bytes);
    json_error_t error;
    json_t *header =
        json_loadb((const char *)bytes + PREFIX_BYTES, (size_t)header_bytes, JSON_REJECT_DUPLICATES, &error);
    TsStatus status;
    if (!header)
        status = ts_status_error(TS_CODE_CORRUPT, "%s: its header is not JSON, at byte %d: %s", file->path,
                                 PREFIX_BYTES + error.position, error.text);
    else if (!json_is_object(header))
        status = ts_status_error(TS_CODE_CORRUPT, "%s: its header is not a JSON object", file->path);
    else
        status = parse_tensors(file, header, bytes + PREFIX_BYTES + header_bytes, rest_bytes - header_bytes);
    json_decref(header);
    return status;
}

TsStatus ts_safetensors_file_open(TsSafetensorsFile *file, const char *path)
{
    *file = (TsSafetensorsFile){.path = ts_strdup(path)};
    TsStatus status = map_file(file);
    if (!status)
        status = parse_file(file);
    if (status)
        ts_safetensors_file_close(file);
    return status;
}

void ts_safetensors_file_close(TsSafetensorsFile *file)
{
    for (int i = 0; i < file->count; i++) {
        ts_free(file->tensor[i].name);
        ts_free(file->tensor[i].dtype_name);
    }
    ts_free(file->tensor);
    ts_free(file->path);
    if (file->map)
        munmap((void *)(uintptr_t)file->map, file->map_bytes);
    *file = (TsSafetensorsFile){0};
}
