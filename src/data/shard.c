/* SPDX-License-Identifier: Apache-2.0 */
#include "data/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

static const char MAGIC[8] = {'T', 'S', 'S', 'H', 'A', 'R', 'D', '1'};

typedef struct Header {
    char magic[8];
    uint32_t version, fields;
    int64_t examples, file_bytes;
    uint32_t content_crc, header_crc;
} Header;

typedef struct Field {
    char name[TS_SHARD_NAME_BYTES];
    int64_t elem_bytes, index_at, elements_at;
} Field;

/* ---- writing ---- */

struct TsShardWriter {
    int fields;
    Field field[TS_SHARD_FIELDS];
    int64_t *index[TS_SHARD_FIELDS]; /* (examples + 1) */
    TsText elements[TS_SHARD_FIELDS];
    int64_t examples, capacity;
};

TsShardWriter *ts_shard_writer_create(const TsShardField *fields, int field_count)
{
    TS_CHECK(field_count <= TS_SHARD_FIELDS, "%d fields", field_count);
    TsShardWriter *writer = ts_calloc(1, sizeof *writer);
    writer->fields = field_count;
    writer->capacity = 1024;
    for (int f = 0; f < field_count; f++) {
        size_t length = strlen(fields[f].name);
        TS_CHECK(length < TS_SHARD_NAME_BYTES, "the name %s", fields[f].name);
        memcpy(writer->field[f].name, fields[f].name, length);
        writer->field[f].elem_bytes = fields[f].elem_bytes;
        writer->index[f] = ts_calloc((size_t)writer->capacity + 1, sizeof(int64_t));
    }
    return writer;
}

void ts_shard_writer_add(TsShardWriter *writer, int field, const void *elements, int64_t count_elems)
{
    ts_text_append_bytes(&writer->elements[field], elements, (size_t)(count_elems * writer->field[field].elem_bytes));
}

void ts_shard_writer_add_tokens(TsShardWriter *writer, int field, const int32_t *tokens, int64_t count)
{
    int64_t elem_bytes = writer->field[field].elem_bytes;
    TsText *out = &writer->elements[field];
    for (int64_t i = 0; i < count; i++) { /* little-endian: the first bytes are the low ones */
        uint32_t token = (uint32_t)tokens[i];
        ts_text_append_bytes(out, &token, (size_t)elem_bytes);
    }
}

void ts_shard_writer_end_example(TsShardWriter *writer)
{
    if (++writer->examples == writer->capacity) {
        writer->capacity *= 2;
        for (int f = 0; f < writer->fields; f++)
            writer->index[f] = ts_realloc(writer->index[f], ((size_t)writer->capacity + 1) * sizeof(int64_t));
    }
    for (int f = 0; f < writer->fields; f++)
        writer->index[f][writer->examples] = (int64_t)writer->elements[f].size_bytes / writer->field[f].elem_bytes;
}

void ts_shard_writer_drop_example(TsShardWriter *writer)
{
    for (int f = 0; f < writer->fields; f++)
        if (writer->elements[f].data)
            ts_text_cut(&writer->elements[f],
                        (size_t)(writer->index[f][writer->examples] * writer->field[f].elem_bytes));
}

int64_t ts_shard_writer_examples(const TsShardWriter *writer)
{
    return writer->examples;
}

static void pad(TsText *out)
{
    static const char zeros[8] = {0};
    ts_text_append_bytes(out, zeros, (8 - out->size_bytes % 8) % 8);
}

TsStatus ts_shard_writer_finish(TsShardWriter *writer, const char *path)
{
    TsText out = {0};
    Header header = {.version = 1, .fields = (uint32_t)writer->fields, .examples = writer->examples};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    size_t index_bytes = (size_t)(writer->examples + 1) * sizeof(int64_t);
    size_t at = sizeof header + (size_t)writer->fields * sizeof(Field);
    for (int f = 0; f < writer->fields; f++) {
        writer->field[f].index_at = (int64_t)at;
        at += index_bytes;
    }
    for (int f = 0; f < writer->fields; f++) {
        writer->field[f].elements_at = (int64_t)at;
        at += (writer->elements[f].size_bytes + 7) / 8 * 8;
    }
    header.file_bytes = (int64_t)at;
    ts_text_append_bytes(&out, &header, sizeof header);
    ts_text_append_bytes(&out, writer->field, (size_t)writer->fields * sizeof(Field));
    for (int f = 0; f < writer->fields; f++)
        ts_text_append_bytes(&out, writer->index[f], index_bytes);
    for (int f = 0; f < writer->fields; f++) {
        if (writer->elements[f].data)
            ts_text_append_bytes(&out, writer->elements[f].data, writer->elements[f].size_bytes);
        pad(&out);
    }
    header.content_crc = ts_crc32c(0, out.data + sizeof header, out.size_bytes - sizeof header);
    header.header_crc = ts_crc32c(0, &header, offsetof(Header, header_crc));
    memcpy(out.data, &header, sizeof header);
    TsStatus status = ts_file_write(path, out.data, out.size_bytes);
    ts_text_free(&out);
    return status;
}

void ts_shard_writer_free(TsShardWriter **writer)
{
    if (!*writer)
        return;
    for (int f = 0; f < (*writer)->fields; f++) {
        ts_free((*writer)->index[f]);
        ts_text_free(&(*writer)->elements[f]);
    }
    ts_free(*writer);
    *writer = NULL;
}

/* ---- reading ---- */

struct TsShard {
    unsigned char *bytes; /* mapped */
    size_t size_bytes;
    const Header *header;
    const Field *field;
};

static TsStatus map(TsShard *shard, const char *path)
{
    struct stat found;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return ts_status_error(errno == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: cannot be read: %s", path,
                               strerror(errno));
    bool good = fstat(file, &found) == 0 && found.st_size >= (off_t)sizeof(Header);
    void *bytes = good ? mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
    close(file);
    if (bytes == MAP_FAILED)
        return ts_status_error(TS_CODE_CORRUPT, "%s: %s", path, good ? strerror(errno) : "is too short");
    shard->bytes = bytes;
    shard->size_bytes = (size_t)found.st_size;
    return TS_OK;
}

/* That all that the header promises is there, and indices do not lead out of the file. */
static bool is_sound(TsShard *shard)
{
    const Header *header = shard->header = (const Header *)shard->bytes;
    int64_t size = (int64_t)shard->size_bytes;
    if (memcmp(header->magic, MAGIC, sizeof MAGIC) != 0 || header->version != 1 || header->file_bytes != size ||
        ts_crc32c(0, header, offsetof(Header, header_crc)) != header->header_crc || header->fields > TS_SHARD_FIELDS ||
        size < (int64_t)(sizeof *header + header->fields * sizeof(Field)) || header->examples < 0 ||
        header->examples > size / 8)
        return false;
    if (ts_crc32c(0, shard->bytes + sizeof *header, shard->size_bytes - sizeof *header) != header->content_crc)
        return false;
    shard->field = (const Field *)(shard->bytes + sizeof *header);
    for (uint32_t f = 0; f < header->fields; f++) {
        const Field *field = &shard->field[f];
        if (field->elem_bytes < 1 || field->elem_bytes > 8 || field->index_at < 0 || field->index_at % 8 ||
            field->index_at > size - 8 * (header->examples + 1) || field->elements_at < 0 || field->elements_at > size)
            return false;
        const int64_t *index = (const int64_t *)(shard->bytes + field->index_at);
        for (int64_t i = 0; i < header->examples; i++)
            if (index[i] > index[i + 1])
                return false;
        if (index[0] != 0 || index[header->examples] > (size - field->elements_at) / field->elem_bytes)
            return false;
    }
    return true;
}

TsStatus ts_shard_open(TsShard **shard, const char *path)
{
    TsShard *opened = ts_calloc(1, sizeof *opened);
    TsStatus status = map(opened, path);
    if (!status && !is_sound(opened))
        status =
            ts_status_error(TS_CODE_CORRUPT, "%s: is damaged: remove its directory, and it is prepared anew", path);
    if (status)
        ts_shard_close(&opened);
    *shard = opened;
    return status;
}

void ts_shard_close(TsShard **shard)
{
    if (!*shard)
        return;
    if ((*shard)->bytes)
        munmap((*shard)->bytes, (*shard)->size_bytes);
    ts_free(*shard);
    *shard = NULL;
}

int64_t ts_shard_examples(const TsShard *shard)
{
    return shard->header->examples;
}

int ts_shard_field(const TsShard *shard, const char *name)
{
    for (uint32_t f = 0; f < shard->header->fields; f++)
        if (strncmp(shard->field[f].name, name, TS_SHARD_NAME_BYTES) == 0)
            return (int)f;
    return -1;
}

int64_t ts_shard_elem_bytes(const TsShard *shard, int field)
{
    return shard->field[field].elem_bytes;
}

int64_t ts_shard_token_bytes(int64_t vocab)
{
    return vocab <= 1 << 8 ? 1 : vocab <= 1 << 16 ? 2 : 4;
}

void ts_shard_copy_tokens(int32_t *tokens, const void *cell, int64_t elem_bytes, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        tokens[i] = elem_bytes == 1   ? ((const uint8_t *)cell)[first + i]
                    : elem_bytes == 2 ? ((const uint16_t *)cell)[first + i]
                                      : ((const int32_t *)cell)[first + i];
}

const void *ts_shard_cell(const TsShard *shard, int field, int64_t example, int64_t *count_elems)
{
    TS_CHECK(example >= 0 && example < shard->header->examples, "example %lld of %lld", (long long)example,
             (long long)shard->header->examples);
    const Field *of = &shard->field[field];
    const int64_t *index = (const int64_t *)(shard->bytes + of->index_at);
    *count_elems = index[example + 1] - index[example];
    return shard->bytes + of->elements_at + index[example] * of->elem_bytes;
}
