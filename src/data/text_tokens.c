/* SPDX-License-Identifier: Apache-2.0 */
#include "data/text_tokens.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "data/records.h"
#include "data/shard.h"

enum { SECTION_BYTES = 1 << 20, SHARD_SECTIONS = 64, MANIFEST_BYTES = 1 << 24 };

struct TsTextTokens {
    TsTextSetting setting;
    char *name;                   /* for errors, owned */
    int64_t first_byte, end_byte; /* of the part in the source */
    int64_t tokens;               /* of the part */
    TsShard **shards;             /* (shard_count), owned; NULL: a token is a byte of the source */
    int64_t *first;               /* (shard_count + 1) tokens before each */
    int64_t shard_count, elem_bytes;
};

/* ---- the part ---- */

/* Where a part begins or ends: the same byte for the end of one part and the beginning of the next. */
static int64_t part_byte(const TsTextSetting *setting, double fraction)
{
    int64_t bytes = (int64_t)ts_source_bytes(setting->source);
    int64_t at = (int64_t)(fraction * (double)bytes);
    at = at < bytes ? at : bytes;
    if (ts_tokenizer_token_bytes(setting->tokenizer) == 1)
        return at;
    for (int moved = 0; moved < 3 && at > 0 && at < bytes; moved++, at++) { /* to where a character begins */
        char byte;
        ts_source_read(setting->source, &byte, (size_t)at, 1);
        if (((unsigned char)byte & 0xc0) != 0x80)
            break;
    }
    return at;
}

static TsStatus find_part(TsTextTokens *text)
{
    const TsTextSetting *setting = &text->setting;
    double begin = setting->begin, end = setting->end == 0 ? 1 : setting->end;
    const char *path = ts_source_path(setting->source);
    text->name = ts_format("%s: the part from %g to %g", path, begin, end);
    if (!(begin >= 0 && begin < end && end <= 1))
        return ts_status_error(TS_CODE_INVALID, "%s: expected 0 <= begin < end <= 1", text->name);
    text->first_byte = part_byte(setting, begin);
    text->end_byte = part_byte(setting, end);
    if (text->first_byte == text->end_byte)
        return ts_status_error(TS_CODE_INVALID, "%s has no byte", text->name);
    return TS_OK;
}

/* ---- sections ---- */

static int64_t section_count(const TsTextTokens *text)
{
    return (text->end_byte - text->first_byte + SECTION_BYTES - 1) / SECTION_BYTES;
}

/* Where section k begins: behind the first line feed from k times SECTION_BYTES on; where none is near, behind the
 * first blank; else where a character begins. */
static int64_t section_byte(const TsTextTokens *text, int64_t k)
{
    enum { NEAR_BYTES = 1 << 16 };
    int64_t at = text->first_byte + k * SECTION_BYTES, found = 0;
    if (k == 0 || at >= text->end_byte)
        return k == 0 ? at : text->end_byte;
    int64_t count = text->end_byte - at < NEAR_BYTES ? text->end_byte - at : NEAR_BYTES;
    char *near = ts_alloc((size_t)count);
    ts_source_read(text->setting.source, near, (size_t)at, (size_t)count);
    const char *end = memchr(near, '\n', (size_t)count);
    end = end ? end : memchr(near, ' ', (size_t)count);
    while (!end && found < count && found < 3 && ((unsigned char)near[found] & 0xc0) == 0x80)
        found++;
    at += end ? end - near + 1 : found;
    ts_free(near);
    return at;
}

/* That a section is UTF-8; says on which line of the file it is not. */
static TsStatus check_section(const TsTextTokens *text, const char *section, int64_t first, int64_t bytes)
{
    int64_t good = 0, line = 1; /* bytes that are: whole pieces of the section */
    if (text->setting.takes_any_bytes || ts_is_utf8(section, (size_t)bytes))
        return TS_OK;
    for (const char *feed; good < bytes; good = feed - section + 1) {
        feed = memchr(section + good, '\n', (size_t)(bytes - good));
        if (!feed || !ts_is_utf8(section + good, (size_t)(feed - section - good)))
            break;
    }
    for (int64_t at = 0, piece; at < first + good; at += piece) {
        char before[4096];
        piece = first + good - at < (int64_t)sizeof before ? first + good - at : (int64_t)sizeof before;
        ts_source_read(text->setting.source, before, (size_t)at, (size_t)piece);
        for (int64_t i = 0; i < piece; i++)
            line += before[i] == '\n';
    }
    return ts_status_error(TS_CODE_INVALID,
                           "%s:%lld: expected UTF-8, found other bytes; data.encoding: any takes them as unknown "
                           "characters",
                           ts_source_path(text->setting.source), (long long)line);
}

static TsStatus add_section(const TsTextTokens *text, TsShardWriter *writer, int64_t k, int64_t *tokens_added)
{
    int64_t first = section_byte(text, k), bytes = section_byte(text, k + 1) - first, count = 0;
    if (bytes <= 0) /* the one before it went on to the end */
        return TS_OK;
    char *section = ts_alloc((size_t)bytes);
    ts_source_read(text->setting.source, section, (size_t)first, (size_t)bytes);
    TsStatus status = check_section(text, section, first, bytes);
    if (!status) {
        int32_t *tokens = ts_tokenizer_encode_all(text->setting.tokenizer, &count, section, (size_t)bytes);
        ts_shard_writer_add_tokens(writer, 0, tokens, count);
        *tokens_added += count;
        ts_free(tokens);
    }
    ts_free(section);
    return status;
}

/* ---- preparing ---- */

static char *shard_path(const char *directory, int64_t shard)
{
    return ts_format("%s/shard_%05lld.bin", directory, (long long)shard);
}

/* Makes shard u of `shards`; *tokens is how many it has. */
static TsStatus make_shard(const TsTextTokens *text, int64_t *tokens, int64_t u, int64_t shards, const char *directory)
{
    int64_t sections = section_count(text);
    TsShardField field = {"tokens", ts_shard_token_bytes(ts_tokenizer_vocab(text->setting.tokenizer))};
    TsShardWriter *writer = ts_shard_writer_create(&field, 1);
    TsStatus status = TS_OK;
    for (int64_t k = sections * u / shards; k < sections * (u + 1) / shards && !status; k++)
        status = add_section(text, writer, k, tokens);
    ts_shard_writer_end_example(writer);
    if (!status) {
        char *path = shard_path(directory, u);
        status = ts_shard_writer_finish(writer, path);
        ts_free(path);
    }
    ts_shard_writer_free(&writer);
    return status;
}

static TsStatus write_manifest(const char *key, const int64_t *counts, int64_t shards, const char *directory)
{
    json_t *list = json_array();
    for (int64_t u = 0; u < shards; u++)
        json_array_append_new(list, json_integer((json_int_t)counts[u]));
    json_t *object = json_pack("{s:s, s:o}", "key", key, "tokens", list);
    char *json = json_dumps(object, JSON_INDENT(1)), *path = ts_format("%s/manifest.json", directory);
    TsStatus status = ts_file_write(path, json ? json : "", json ? strlen(json) : 0);
    free(json); /* jansson's */
    ts_free(path);
    json_decref(object);
    return status;
}

/* `key` is rank 0's alone. Collective; the same status on all ranks. */
static TsStatus prepare(const TsTextTokens *text, const char *key, const char *directory)
{
    TsGroup *group = text->setting.group;
    int64_t ranks = ts_group_size(group), rank = ts_group_rank(group), sections = section_count(text);
    int64_t least = (sections + SHARD_SECTIONS - 1) / SHARD_SECTIONS, most = ranks < sections ? ranks : sections;
    int64_t shards = least > most ? least : most;
    int64_t *mine = ts_calloc((size_t)shards, sizeof *mine), *counts = ts_calloc((size_t)shards, sizeof *counts);
    char *making = ts_format("%s.tmp", directory);
    TsStatus status = rank == 0 ? ts_file_remove(making) : TS_OK;
    if (!status && rank == 0)
        status = ts_file_make_directory(making);
    status = ts_comm_agree(group, status);
    for (int64_t u = rank; u < shards && !status; u += ranks)
        status = make_shard(text, &mine[u], u, shards, making);
    status = ts_comm_agree(group, status);
    ts_all_reduce(
        group, (TsTransfer){.out = counts, .in = mine, .count_elems = shards, .dtype = TS_I64, .label = "data/counts"});
    if (!status && rank == 0)
        status = write_manifest(key, counts, shards, making);
    if (!status && rank == 0)
        status = ts_file_remove(directory);
    if (!status && rank == 0)
        status = ts_file_rename(making, directory);
    if (status && rank == 0) {
        TsStatus unused = ts_file_remove(making);
        ts_status_free(&unused);
    }
    ts_free(making);
    ts_free(mine);
    ts_free(counts);
    return ts_comm_agree(group, status);
}

/* What the tokens are made of, as one line of JSON; owned by the caller. */
static TsStatus describe(const TsTextTokens *text, char **key)
{
    const TsTokenizer *tokenizer = text->setting.tokenizer;
    const char *path = ts_source_path(text->setting.source);
    struct stat found;
    *key = NULL;
    if (stat(path, &found) != 0)
        return ts_status_error(TS_CODE_IO, "%s: cannot be read any more", path);
    json_t *object =
        json_pack("{s:i, s:s, s:[I, I, I], s:[I, I], s:[I, I], s:b}", "version", 1, "text", path, "file",
                  (json_int_t)found.st_size, (json_int_t)found.st_mtim.tv_sec, (json_int_t)found.st_mtim.tv_nsec,
                  "part", (json_int_t)text->first_byte, (json_int_t)text->end_byte, "tokenizer",
                  (json_int_t)ts_tokenizer_vocab(tokenizer), (json_int_t)ts_tokenizer_crc(tokenizer), "any_bytes",
                  (int)text->setting.takes_any_bytes);
    char *json = json_dumps(object, JSON_COMPACT);
    *key = ts_strdup(json ? json : "");
    free(json); /* jansson's */
    json_decref(object);
    return TS_OK;
}

/* The manifest of a directory, made of `key` (NULL: of whatever); NULL where there is none. */
static json_t *read_manifest(const char *directory, const char *key)
{
    char *path = ts_format("%s/manifest.json", directory), *json = NULL;
    size_t bytes = 0;
    TsStatus status = ts_file_read(&json, &bytes, path, MANIFEST_BYTES);
    json_t *manifest = status ? NULL : json_loadb(json, bytes, 0, NULL);
    const char *made_of = json_string_value(json_object_get(manifest, "key"));
    if (manifest && (!made_of || (key && strcmp(made_of, key) != 0))) {
        json_decref(manifest);
        manifest = NULL;
    }
    ts_status_free(&status);
    ts_free(json);
    ts_free(path);
    return manifest;
}

static TsStatus map_shards(TsTextTokens *text, const char *directory)
{
    json_t *manifest = read_manifest(directory, NULL);
    const json_t *counts = json_object_get(manifest, "tokens");
    int64_t count = (int64_t)json_array_size(counts);
    TsStatus status =
        count ? TS_OK : ts_status_error(TS_CODE_NOT_FOUND, "%s: is not here as rank 0 sees it", directory);
    text->shards = ts_calloc((size_t)count + 1, sizeof *text->shards);
    text->first = ts_calloc((size_t)count + 1, sizeof *text->first);
    text->elem_bytes = ts_shard_token_bytes(ts_tokenizer_vocab(text->setting.tokenizer));
    for (int64_t u = 0; u < count && !status; u++) {
        char *path = shard_path(directory, u);
        int64_t tokens = 0;
        status = ts_shard_open(&text->shards[u], path);
        if (!status)
            text->shard_count = u + 1;
        if (!status && ts_shard_field(text->shards[u], "tokens") == 0 && ts_shard_examples(text->shards[u]) == 1)
            (void)ts_shard_cell(text->shards[u], 0, 0, &tokens);
        if (!status && (tokens != json_integer_value(json_array_get(counts, (size_t)u)) ||
                        ts_shard_elem_bytes(text->shards[u], 0) != text->elem_bytes))
            status = ts_status_error(TS_CODE_CORRUPT, "%s: is not the manifest's: remove its directory to prepare anew",
                                     path);
        text->first[u + 1] = text->first[u] + tokens;
        ts_free(path);
    }
    text->tokens = text->first[text->shard_count];
    json_decref(manifest);
    return status;
}

/* Collective; the same status on all ranks. */
static TsStatus open_prepared(TsTextTokens *text)
{
    TsGroup *group = text->setting.group;
    bool root = ts_group_rank(group) == 0;
    char *key = NULL, *directory = NULL;
    int64_t mine[2] = {0}, all[2] = {0}; /* the key's checksum, and whether it is prepared */
    TS_TRY(ts_comm_agree(group, root ? describe(text, &key) : TS_OK));
    if (root) {
        mine[0] = ts_crc32c(0, key, strlen(key));
        directory = ts_format("%s/text_%08llx", text->setting.prepared_dir, (unsigned long long)mine[0]);
        json_t *manifest = read_manifest(directory, key);
        mine[1] = manifest != NULL;
        json_decref(manifest);
    }
    ts_broadcast(group, (TsTransfer){.out = all, .in = mine, .count_elems = 2, .dtype = TS_I64, .label = "data/key"},
                 0);
    if (!root)
        directory = ts_format("%s/text_%08llx", text->setting.prepared_dir, (unsigned long long)all[0]);
    if (!all[1])
        ts_log(TS_LOG_INFO, "preparing %s", text->name);
    TsStatus status = all[1] ? TS_OK : prepare(text, key, directory);
    if (!status)
        status = ts_comm_agree(group, map_shards(text, directory));
    ts_free(directory);
    ts_free(key);
    return status;
}

TsStatus ts_text_tokens_open(TsTextTokens **text, TsTextSetting setting)
{
    TsTextTokens *opened = ts_calloc(1, sizeof *opened);
    opened->setting = setting;
    TsStatus status = find_part(opened);
    if (!status && ts_tokenizer_token_bytes(setting.tokenizer) == 1)
        opened->tokens = opened->end_byte - opened->first_byte;
    else if (!status)
        status = open_prepared(opened);
    if (status)
        ts_text_tokens_close(&opened);
    *text = opened;
    return status;
}

void ts_text_tokens_close(TsTextTokens **text)
{
    if (!*text)
        return;
    for (int64_t u = 0; u < (*text)->shard_count; u++)
        ts_shard_close(&(*text)->shards[u]);
    ts_free((*text)->shards);
    ts_free((*text)->first);
    ts_free((*text)->name);
    ts_free(*text);
    *text = NULL;
}

int64_t ts_text_tokens_bytes(const TsTextTokens *text)
{
    return text->end_byte - text->first_byte;
}

/* ---- reading ---- */

/* A token is a byte: the text can be cut anywhere. */
static void read_bytes(const TsTextTokens *text, int32_t *tokens, int64_t first, int64_t count)
{
    enum { PIECE_BYTES = 4096 };
    char bytes[PIECE_BYTES];
    for (int64_t done = 0; done < count; done += PIECE_BYTES) {
        int64_t piece = count - done < PIECE_BYTES ? count - done : PIECE_BYTES;
        ts_source_read(text->setting.source, bytes, (size_t)(text->first_byte + first + done), (size_t)piece);
        ts_tokenizer_encode(text->setting.tokenizer, tokens + done, piece, bytes, (size_t)piece);
    }
}

static void read_prepared(const TsTextTokens *text, int32_t *tokens, int64_t first, int64_t count)
{
    int64_t low = 0, high = text->shard_count - 1;
    while (low < high) { /* the last shard that begins at `first` or before */
        int64_t middle = (low + high + 1) / 2;
        if (text->first[middle] <= first)
            low = middle;
        else
            high = middle - 1;
    }
    for (int64_t done = 0; done < count; low++) {
        int64_t in_shard = first + done - text->first[low], there;
        const void *cell = ts_shard_cell(text->shards[low], 0, 0, &there);
        int64_t piece = there - in_shard < count - done ? there - in_shard : count - done;
        ts_shard_copy_tokens(tokens + done, cell, text->elem_bytes, in_shard, piece);
        done += piece;
    }
}

static void read(const void *self, TsStreamPiece piece, int64_t first, int64_t count)
{
    const TsTextTokens *text = self;
    TS_CHECK(first >= 0 && count >= 0 && first + count <= text->tokens, "%s: tokens %lld to %lld of %lld", text->name,
             (long long)first, (long long)(first + count), (long long)text->tokens);
    if (text->shards)
        read_prepared(text, piece.tokens, first, count);
    else
        read_bytes(text, piece.tokens, first, count);
    if (piece.given)
        memset(piece.given, 0, (size_t)count * sizeof *piece.given);
    if (piece.documents)
        memset(piece.documents, 0, (size_t)count * sizeof *piece.documents);
}

TsTokenStream ts_text_tokens_stream(const TsTextTokens *text)
{
    return (TsTokenStream){.tokens = text->tokens, .name = text->name, .self = text, .read = read};
}
