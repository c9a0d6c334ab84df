/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "data/prepare.h"
#include "data/shard.h"

enum { MANIFEST_BYTES = 1 << 26 };

struct TsDataset {
    const TsDataConfig *config;
    const char **paths; /* owned list */
    TsShard **shards;   /* (shard_count), owned */
    int64_t *first;     /* (shard_count + 1) examples before each */
    int shard_count;
    int64_t skipped;
    TsColumnSpec specs[TS_MAX_SPECS + TS_SPLIT_SPECS];
    int spec_count;
    int fields[TS_MAX_SPECS + TS_SPLIT_SPECS]; /* of the shards; that of bytes follows one of tokens */
    int64_t elem_bytes[TS_MAX_SPECS + TS_SPLIT_SPECS];
};

/* The manifest of a directory that was made of `key`; NULL where there is none. */
static json_t *read_manifest(const char *directory, const char *key)
{
    char *path = ts_format("%s/manifest.json", directory), *text = NULL;
    size_t bytes = 0;
    TsStatus status = ts_file_read(&text, &bytes, path, MANIFEST_BYTES);
    json_t *manifest = status ? NULL : json_loadb(text, bytes, 0, NULL);
    const char *made_of = json_string_value(json_object_get(manifest, "key"));
    if (manifest && (!made_of || strcmp(made_of, key) != 0 || !json_is_array(json_object_get(manifest, "examples")))) {
        json_decref(manifest);
        manifest = NULL;
    }
    ts_status_free(&status);
    ts_free(text);
    ts_free(path);
    return manifest;
}

static TsStatus map_shards(TsDataset *dataset, const char *directory, const json_t *manifest)
{
    const json_t *counts = json_object_get(manifest, "examples");
    size_t count = json_array_size(counts);
    dataset->shards = ts_calloc(count + 1, sizeof *dataset->shards);
    dataset->first = ts_calloc(count + 1, sizeof *dataset->first);
    dataset->skipped = json_integer_value(json_object_get(manifest, "skipped"));
    for (size_t s = 0; s < count; s++) {
        char *path = ts_format("%s/shard_%05zu.bin", directory, s);
        TsStatus status = ts_shard_open(&dataset->shards[s], path);
        ts_free(path);
        if (status)
            return status;
        dataset->shard_count++;
        int64_t examples = ts_shard_examples(dataset->shards[s]);
        if (examples != json_integer_value(json_array_get(counts, s)))
            return ts_status_error(TS_CODE_CORRUPT, "%s: shard %zu is not the manifest's: remove it to prepare anew",
                                   directory, s);
        dataset->first[s + 1] = dataset->first[s] + examples;
    }
    for (int c = 0; c < dataset->spec_count && count; c++) {
        dataset->fields[c] = ts_shard_field(dataset->shards[0], dataset->specs[c].role);
        if (dataset->fields[c] < 0)
            return ts_status_error(TS_CODE_CORRUPT, "%s: has no column %s: remove it to prepare anew", directory,
                                   dataset->specs[c].role);
        dataset->elem_bytes[c] = ts_shard_elem_bytes(dataset->shards[0], dataset->fields[c]);
    }
    return TS_OK;
}

static TsStatus open_prepared(TsDataset *dataset, const TsDatasetSetting *setting, const char *key,
                              const char *directory)
{
    json_t *manifest = ts_group_rank(setting->group) == 0 ? read_manifest(directory, key) : NULL;
    int32_t mine = manifest != NULL, there = 0;
    ts_broadcast(setting->group,
                 (TsTransfer){.out = &there, .in = &mine, .count_elems = 1, .dtype = TS_I32, .label = "data/manifest"},
                 0);
    if (!there) {
        ts_log(TS_LOG_INFO, "preparing %s", ((const char *const *)setting->config->files.items)[0]);
        TS_TRY(ts_prepare(setting, key, directory));
    }
    if (!manifest)
        manifest = read_manifest(directory, key);
    TsStatus status = manifest ? map_shards(dataset, directory, manifest)
                               : ts_status_error(TS_CODE_NOT_FOUND, "%s: is not here as rank 0 sees it", directory);
    json_decref(manifest);
    return ts_comm_agree(setting->group, status);
}

TsStatus ts_dataset_open(TsDataset **dataset, TsDatasetSetting setting)
{
    char *key = NULL;
    *dataset = NULL;
    TS_TRY(ts_prepare_key(&key, &setting));
    TsDataset *opened = ts_calloc(1, sizeof *opened);
    int path_count = 0;
    opened->config = setting.config;
    opened->paths = ts_data_files(setting.config, &path_count);
    opened->spec_count = ts_prepare_columns(opened->specs, &setting);
    const char *parent = setting.config->prepared ? setting.config->prepared : setting.prepared_dir;
    char *directory = ts_format("%s/%08x", parent, ts_crc32c(0, key, strlen(key)));
    TsStatus status = open_prepared(opened, &setting, key, directory);
    ts_free(directory);
    ts_free(key);
    if (!status && ts_dataset_count(opened) == 0)
        status = ts_status_error(TS_CODE_INVALID, "%s: has no example%s", opened->paths[0],
                                 opened->skipped ? " that can be read" : "");
    if (!status && opened->skipped)
        ts_log(TS_LOG_INFO, "%s: %lld rows could not be read and are left out", opened->paths[0],
               (long long)opened->skipped);
    if (status)
        ts_dataset_close(&opened);
    *dataset = opened;
    return status;
}

void ts_dataset_close(TsDataset **dataset)
{
    if (!*dataset)
        return;
    for (int s = 0; s < (*dataset)->shard_count; s++)
        ts_shard_close(&(*dataset)->shards[s]);
    ts_free((*dataset)->shards);
    ts_free((*dataset)->first);
    ts_free(*(void **)&(*dataset)->paths);
    ts_free(*dataset);
    *dataset = NULL;
}

int64_t ts_dataset_count(const TsDataset *dataset)
{
    return dataset->first[dataset->shard_count];
}

int64_t ts_dataset_skipped(const TsDataset *dataset)
{
    return dataset->skipped;
}

int ts_dataset_column(const TsDataset *dataset, const char *role)
{
    for (int c = 0; c < dataset->spec_count; c++)
        if (strcmp(dataset->specs[c].role, role) == 0)
            return c;
    return -1;
}

/* ---- cells ---- */

static const void *find_cell(const TsDataset *dataset, int field, int64_t example, int64_t *count_elems)
{
    TS_CHECK(example >= 0 && example < ts_dataset_count(dataset), "example %lld of %lld", (long long)example,
             (long long)ts_dataset_count(dataset));
    int low = 0, high = dataset->shard_count - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (dataset->first[middle] <= example)
            low = middle;
        else
            high = middle - 1;
    }
    return ts_shard_cell(dataset->shards[low], field, example - dataset->first[low], count_elems);
}

TsField ts_dataset_text(const TsDataset *dataset, int column, int64_t example)
{
    int64_t count = 0;
    const void *cell = find_cell(dataset, dataset->fields[column], example, &count);
    return (TsField){cell, (size_t)count};
}

const double *ts_dataset_numbers(const TsDataset *dataset, int column, int64_t example, int64_t *count)
{
    return find_cell(dataset, dataset->fields[column], example, count);
}

int64_t ts_dataset_tokens_from(const TsDataset *dataset, int column, int64_t example, int32_t *tokens, int64_t first,
                               int64_t capacity)
{
    int64_t count = 0;
    const void *cell = find_cell(dataset, dataset->fields[column], example, &count);
    int64_t copied = count - first < capacity ? count - first : capacity;
    ts_shard_copy_tokens(tokens, cell, dataset->elem_bytes[column], first, copied);
    return count;
}

int64_t ts_dataset_tokens(const TsDataset *dataset, int column, int64_t example, int32_t *tokens, int64_t capacity)
{
    return ts_dataset_tokens_from(dataset, column, example, tokens, 0, capacity);
}

int64_t ts_dataset_text_bytes(const TsDataset *dataset, int column, int64_t example)
{
    int64_t count = 0;
    return *(const int64_t *)find_cell(dataset, dataset->fields[column] + 1, example, &count);
}

int ts_dataset_file(const TsDataset *dataset, int64_t example)
{
    int64_t count = 0;
    return (int)*(const int64_t *)find_cell(dataset, 0, example, &count);
}

TsStatus ts_dataset_error(const TsDataset *dataset, int64_t example, const char *format, ...)
{
    int64_t count = 0;
    const int64_t *origin = find_cell(dataset, 0, example, &count);
    va_list arguments;
    va_start(arguments, format);
    char *message = ts_format_list(format, arguments);
    va_end(arguments);
    TsStatus status =
        ts_status_error(TS_CODE_INVALID, "%s:%lld: %s", dataset->paths[origin[0]], (long long)origin[1], message);
    ts_free(message);
    return status;
}
