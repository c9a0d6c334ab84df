/* SPDX-License-Identifier: Apache-2.0 */
#include "data/prepare.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "data/shard.h"

static const int64_t UNIT_BYTES = 64 << 20; /* of a plain file, at most, in one shard */
static const int64_t LEAST_BYTES = 1 << 16; /* a shorter range is not worth a rank */

/* A range of a file. */
typedef struct Unit {
    int file;
    int64_t first_byte, end_byte; /* end 0: to the end */
    int64_t lines, quotes;        /* in it */
} Unit;

typedef struct Plan {
    const TsDatasetSetting *setting;
    const char **paths; /* (path_count) */
    int path_count;
    int64_t *sizes; /* (path_count) bytes; negative: gzipped */
    Unit *units;    /* (unit_count) */
    int unit_count;
    TsColumnSpec specs[TS_MAX_SPECS + TS_SPLIT_SPECS];
    const char *names[TS_MAX_SPECS + TS_SPLIT_SPECS]; /* of the columns in the files */
    int spec_count;
    int64_t *counts;  /* (unit_count) examples of each */
    int64_t *skipped; /* (unit_count) rows left out */
    TsStatus first_bad;
} Plan;

/* ---- what it is made of ---- */

const char **ts_data_files(const TsDataConfig *config, int *count)
{
    const TsSplitFiles *split = config->split.variant == &ts_splits.items[TS_SPLIT_FILES] ? config->split.value : NULL;
    const TsList lists[] = {config->files, split ? split->validation : (TsList){0}, split ? split->test : (TsList){0}};
    int64_t all = lists[0].count + lists[1].count + lists[2].count;
    const char **paths = ts_calloc((size_t)all + 1, sizeof *paths);
    *count = 0;
    for (int i = 0; i < 3; i++)
        for (int64_t k = 0; k < lists[i].count; k++)
            paths[(*count)++] = ((const char *const *)lists[i].items)[k];
    return paths;
}

int ts_prepare_columns(TsColumnSpec *specs, const TsDatasetSetting *setting)
{
    int count = 0;
    for (int i = 0; i < setting->spec_count; i++)
        if (!setting->specs[i].optional || ts_data_has_role(setting->config, setting->specs[i].role))
            specs[count++] = setting->specs[i];
    const TsSplitColumn *split =
        setting->config->split.variant == &ts_splits.items[TS_SPLIT_COLUMN] ? setting->config->split.value : NULL;
    if (split)
        specs[count++] = (TsColumnSpec){.role = TS_ROLE_SPLIT, .kind = TS_CELL_TEXT};
    if (split && split->validation_column)
        specs[count++] = (TsColumnSpec){.role = TS_ROLE_VALIDATION, .kind = TS_CELL_TEXT, .may_be_empty = true};
    return count;
}

static const char *column_name(const TsDatasetSetting *setting, const TsColumnSpec *spec)
{
    if (strcmp(spec->role, TS_ROLE_SPLIT) == 0)
        return ((const TsSplitColumn *)setting->config->split.value)->column;
    if (strcmp(spec->role, TS_ROLE_VALIDATION) == 0)
        return ((const TsSplitColumn *)setting->config->split.value)->validation_column;
    return ts_data_column(setting->config, spec->role);
}

static TsStatus add_file(json_t *files, const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return ts_status_error(errno == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: cannot be read: %s", path,
                               strerror(errno));
    json_array_append_new(files, json_pack("[s, I, I, I]", path, (json_int_t)found.st_size,
                                           (json_int_t)found.st_mtim.tv_sec, (json_int_t)found.st_mtim.tv_nsec));
    return TS_OK;
}

static TsStatus describe(char **key, const TsDatasetSetting *setting)
{
    const TsDataConfig *config = setting->config;
    TsColumnSpec specs[TS_MAX_SPECS + TS_SPLIT_SPECS];
    int spec_count = ts_prepare_columns(specs, setting), path_count = 0;
    const char **paths = ts_data_files(config, &path_count);
    json_t *files = json_array(), *columns = json_array(), *header = json_array();
    TsStatus status = TS_OK;
    for (int i = 0; i < path_count && !status; i++)
        status = add_file(files, paths[i]);
    if (!status && config->labels)
        status = add_file(files, config->labels);
    if (!status && config->mask)
        status = add_file(files, config->mask);
    for (int i = 0; i < spec_count; i++)
        json_array_append_new(columns, json_pack("[s, s, i, b]", specs[i].role, column_name(setting, &specs[i]),
                                                 (int)specs[i].kind, specs[i].may_be_empty));
    for (int64_t i = 0; i < config->header.count; i++)
        json_array_append_new(header, json_string(((const char *const *)config->header.items)[i]));
    json_t *object = json_pack(
        "{s:i, s:o, s:o, s:o, s:i, s:s, s:i, s:i, s:[s, I, I]}", "version", 2, "files", files, "columns", columns,
        "header", header, "format", config->format, "separator", config->separator, "bad_rows", (int)config->bad_rows,
        "encoding", (int)config->encoding, "tokenizer", config->tokenizer.variant->name,
        (json_int_t)ts_tokenizer_vocab(setting->tokenizer), (json_int_t)ts_tokenizer_crc(setting->tokenizer));
    char *text = json_dumps(object, JSON_COMPACT);
    *key = ts_strdup(text ? text : "");
    free(text); /* jansson's */
    json_decref(object);
    ts_free(paths);
    return status;
}

/* *text of rank 0, on every rank; others free what they have. Collective. */
static void broadcast_text(char **text, TsGroup *group)
{
    int64_t bytes = *text ? (int64_t)strlen(*text) + 1 : 0, all = 0;
    ts_broadcast(group, (TsTransfer){.out = &all, .in = &bytes, .count_elems = 1, .dtype = TS_I64, .label = "data/key"},
                 0);
    int64_t words = (all + 3) / 4;
    int32_t *in = ts_calloc((size_t)words + 1, sizeof *in), *out = ts_calloc((size_t)words + 1, sizeof *out);
    if (ts_group_rank(group) == 0 && *text)
        memcpy(in, *text, (size_t)bytes);
    ts_broadcast(group, (TsTransfer){.out = out, .in = in, .count_elems = words, .dtype = TS_I32, .label = "data/key"},
                 0);
    ts_free(*text);
    *text = ts_strdup((const char *)out);
    ts_free(in);
    ts_free(out);
}

TsStatus ts_prepare_key(char **key, const TsDatasetSetting *setting)
{
    *key = NULL;
    TsStatus status = ts_group_rank(setting->group) == 0 ? describe(key, setting) : TS_OK;
    status = ts_comm_agree(setting->group, status);
    if (!status)
        broadcast_text(key, setting->group);
    else {
        ts_free(*key);
        *key = NULL;
    }
    return status;
}

/* ---- the plan ---- */

static TsFormat format_of(const Plan *plan, int file)
{
    TsFormat given = (TsFormat)plan->setting->config->format;
    return given == TS_FORMAT_AUTO ? ts_format_of_name(plan->paths[file]) : given;
}

/* Whether a file may be cut: a row with a stray quote would make what follows depend on where the cuts are. */
static bool is_cut(const Plan *plan, int file)
{
    bool skips = plan->setting->config->bad_rows == TS_BAD_ROWS_SKIP;
    TsFormat format = format_of(plan, file);
    return plan->sizes[file] >= 0 && format < TS_FORMAT_HDF5 && !(skips && format == TS_FORMAT_CSV);
}

static TsStatus measure(Plan *plan)
{
    for (int f = 0; f < plan->path_count; f++) {
        TsStream *stream = NULL;
        bool gzipped = false;
        struct stat found;
        TS_TRY(ts_stream_open(&stream, plan->paths[f], &gzipped));
        ts_stream_close(&stream);
        if (stat(plan->paths[f], &found) != 0)
            return ts_status_error(TS_CODE_IO, "%s: %s", plan->paths[f], strerror(errno));
        if (found.st_size == 0)
            return ts_status_error(TS_CODE_INVALID, "%s: is empty: expected examples", plan->paths[f]);
        plan->sizes[f] = gzipped ? -(int64_t)found.st_size : (int64_t)found.st_size;
    }
    return TS_OK;
}

static int64_t parts_of(const Plan *plan, int file, int ranks)
{
    if (!is_cut(plan, file))
        return 1;
    int64_t size = plan->sizes[file], by_size = (size + UNIT_BYTES - 1) / UNIT_BYTES;
    int64_t by_ranks = size / LEAST_BYTES < ranks ? size / LEAST_BYTES : ranks;
    int64_t parts = by_size > by_ranks ? by_size : by_ranks;
    return parts < 1 ? 1 : parts;
}

static void cut(Plan *plan)
{
    int ranks = ts_group_size(plan->setting->group);
    int64_t all = 0;
    for (int f = 0; f < plan->path_count; f++)
        all += parts_of(plan, f, ranks);
    plan->units = ts_calloc((size_t)all, sizeof *plan->units);
    for (int f = 0; f < plan->path_count; f++) {
        int64_t parts = parts_of(plan, f, ranks), size = plan->sizes[f];
        for (int64_t k = 0; k < parts; k++)
            plan->units[plan->unit_count++] = (Unit){.file = f,
                                                     .first_byte = parts > 1 ? size / parts * k : 0,
                                                     .end_byte = k + 1 < parts ? size / parts * (k + 1) : 0};
    }
    plan->counts = ts_calloc((size_t)plan->unit_count, sizeof *plan->counts);
    plan->skipped = ts_calloc((size_t)plan->unit_count, sizeof *plan->skipped);
}

static bool is_mine(const Plan *plan, int unit)
{
    return unit % ts_group_size(plan->setting->group) == ts_group_rank(plan->setting->group);
}

/* Counts what stands in a range before whose end another begins. */
static TsStatus look_at(Plan *plan, Unit *unit)
{
    TsStream *stream = NULL;
    TS_TRY(ts_stream_open(&stream, plan->paths[unit->file], NULL));
    TsStatus status = ts_stream_seek(stream, unit->first_byte);
    while (!status && ts_stream_position(stream) < unit->end_byte) {
        int byte = ts_stream_next(stream);
        if (byte < 0)
            break;
        unit->lines += byte == '\n';
        unit->quotes += byte == '"';
    }
    if (!status)
        status = ts_stream_status(stream);
    ts_stream_close(&stream);
    return status;
}

/* lines and quotes of all ranges, on every rank. Collective. */
static TsStatus look(Plan *plan)
{
    TsGroup *group = plan->setting->group;
    size_t numbers = 2 * (size_t)plan->unit_count;
    int64_t *mine = ts_calloc(numbers, sizeof *mine), *all = ts_calloc(numbers, sizeof *all);
    TsStatus status = TS_OK;
    for (int u = 0; u < plan->unit_count && !status; u++) {
        if (!is_mine(plan, u) || plan->units[u].end_byte == 0)
            continue;
        status = look_at(plan, &plan->units[u]);
        mine[2 * u] = plan->units[u].lines;
        mine[2 * u + 1] = plan->units[u].quotes;
    }
    status = ts_comm_agree(group, status);
    ts_all_reduce(
        group,
        (TsTransfer){.out = all, .in = mine, .count_elems = (int64_t)numbers, .dtype = TS_I64, .label = "data/look"});
    for (int u = 0; u < plan->unit_count; u++) {
        plan->units[u].lines = all[2 * u];
        plan->units[u].quotes = all[2 * u + 1];
    }
    ts_free(mine);
    ts_free(all);
    return status;
}

/* ---- cells ---- */

static TsShardWriter *create_writer(const Plan *plan, char names[][TS_SHARD_NAME_BYTES])
{
    TsShardField fields[TS_SHARD_FIELDS] = {{TS_FIELD_ORIGIN, sizeof(int64_t)}};
    int count = 1;
    int64_t vocab = ts_tokenizer_vocab(plan->setting->tokenizer);
    for (int c = 0; c < plan->spec_count; c++) {
        const TsColumnSpec *spec = &plan->specs[c];
        int64_t token_bytes = ts_shard_token_bytes(vocab);
        fields[count++] = (TsShardField){spec->role, spec->kind == TS_CELL_TEXT     ? 1
                                                     : spec->kind == TS_CELL_TOKENS ? token_bytes
                                                                                    : (int64_t)sizeof(double)};
        if (spec->kind == TS_CELL_TOKENS) {
            snprintf(names[c], TS_SHARD_NAME_BYTES, "%s%s", spec->role, TS_FIELD_BYTES_SUFFIX);
            fields[count++] = (TsShardField){names[c], sizeof(int64_t)};
        }
    }
    return ts_shard_writer_create(fields, count);
}

static void add_tokens(const Plan *plan, TsShardWriter *writer, int field, TsField text)
{
    int64_t count = 0, bytes = (int64_t)text.bytes;
    int32_t *tokens = ts_tokenizer_encode_all(plan->setting->tokenizer, &count, text.text, text.bytes);
    ts_shard_writer_add_tokens(writer, field, tokens, count);
    ts_shard_writer_add(writer, field + 1, &bytes, 1);
    ts_free(tokens);
}

/* A list of finite numbers; false where it is none. */
static bool add_numbers(const Plan *plan, TsShardWriter *writer, int field, TsField text)
{
    char separator = plan->setting->config->separator[0];
    for (const char *at = text.text;;) {
        char *end = NULL;
        double value = strtod(at, &end);
        if (end == at || !isfinite(value) || (*end != '\0' && *end != separator))
            return false;
        ts_shard_writer_add(writer, field, &value, 1);
        if (*end == '\0')
            return end == text.text + text.bytes;
        at = end + 1;
    }
}

static TsStatus bad_cell(const Plan *plan, int file, int64_t line, int column, const char *expected, TsField cell)
{
    TsText shown = {0};
    if (cell.text)
        ts_text_append_shown(&shown, cell.text);
    TsStatus status =
        ts_status_error(TS_CODE_INVALID, "%s:%lld: column %s: expected %s, found %s", plan->paths[file],
                        (long long)line, plan->names[column], expected, cell.text ? shown.data : "nothing");
    ts_text_free(&shown);
    return status;
}

static TsStatus add_example(const Plan *plan, TsShardWriter *writer, int file, int64_t line, const TsField *cells)
{
    int64_t origin[2] = {file, line};
    ts_shard_writer_add(writer, 0, origin, 2);
    for (int c = 0, field = 1; c < plan->spec_count; c++, field++) {
        if (!cells[c].text || (cells[c].bytes == 0 && !plan->specs[c].may_be_empty))
            return bad_cell(plan, file, line, c, "something", cells[c]);
        switch (plan->specs[c].kind) {
        case TS_CELL_TEXT:
            ts_shard_writer_add(writer, field, cells[c].text, (int64_t)cells[c].bytes);
            break;
        case TS_CELL_NUMBERS:
            if (!add_numbers(plan, writer, field, cells[c]))
                return bad_cell(plan, file, line, c, "a finite number", cells[c]);
            break;
        case TS_CELL_TOKENS:
            add_tokens(plan, writer, field++, cells[c]);
            break;
        }
    }
    ts_shard_writer_end_example(writer);
    return TS_OK;
}

/* ---- a shard ---- */

static TsRecordsOptions options_of(const Plan *plan, int number)
{
    const TsDataConfig *config = plan->setting->config;
    const Unit *unit = &plan->units[number];
    TsRecordsOptions options = {.format = (TsFormat)config->format,
                                .header = config->header.items,
                                .header_count = config->header.count,
                                .labels = config->labels,
                                .mask = config->mask,
                                .separator = config->separator[0],
                                .takes_any_bytes = config->encoding == TS_ENCODING_ANY,
                                .first_byte = unit->first_byte,
                                .end_byte = unit->end_byte,
                                .first_line = 1};
    int64_t quotes = 0;
    for (int u = number - 1; u >= 0 && plan->units[u].file == unit->file; u--) {
        options.first_line += plan->units[u].lines;
        quotes += plan->units[u].quotes;
    }
    options.starts_inside_quote = quotes % 2 && format_of(plan, unit->file) == TS_FORMAT_CSV;
    return options;
}

/* A row that cannot be read: the end, or counted. */
static TsStatus bear(Plan *plan, int unit, TsStatus status)
{
    if (plan->setting->config->bad_rows == TS_BAD_ROWS_ERROR)
        return status;
    plan->skipped[unit]++;
    if (plan->first_bad)
        ts_status_free(&status);
    else
        plan->first_bad = status;
    return TS_OK;
}

static TsStatus read_unit(Plan *plan, int number, TsRecords *records, TsShardWriter *writer)
{
    TsField cells[TS_MAX_SPECS + TS_SPLIT_SPECS];
    for (bool there = true; there;) {
        TsStatus status = ts_records_next(records, cells, &there);
        if (status && !there)
            return status;
        if (!status && there)
            status = add_example(plan, writer, plan->units[number].file, ts_records_line(records), cells);
        if (status) {
            ts_shard_writer_drop_example(writer);
            TS_TRY(bear(plan, number, status));
        }
    }
    return TS_OK;
}

static TsStatus make_shard(Plan *plan, int number, const char *directory)
{
    char names[TS_MAX_SPECS + TS_SPLIT_SPECS][TS_SHARD_NAME_BYTES];
    TsRecords *records = NULL;
    TS_TRY(ts_records_open(&records, plan->paths[plan->units[number].file], plan->names, plan->spec_count,
                           options_of(plan, number)));
    TsShardWriter *writer = create_writer(plan, names);
    TsStatus status = read_unit(plan, number, records, writer);
    plan->counts[number] = ts_shard_writer_examples(writer);
    if (!status) {
        char *path = ts_format("%s/shard_%05d.bin", directory, number);
        status = ts_shard_writer_finish(writer, path);
        ts_free(path);
    }
    ts_shard_writer_free(&writer);
    ts_records_close(&records);
    return status;
}

/* ---- all of it ---- */

static void sum_over_ranks(int64_t *numbers, int count, TsGroup *group)
{
    int64_t *mine = ts_calloc((size_t)count + 1, sizeof *mine);
    memcpy(mine, numbers, (size_t)count * sizeof *mine);
    ts_all_reduce(
        group, (TsTransfer){.out = numbers, .in = mine, .count_elems = count, .dtype = TS_I64, .label = "data/counts"});
    ts_free(mine);
}

static TsStatus write_manifest(const Plan *plan, const char *key, const char *directory)
{
    int64_t skipped = 0;
    json_t *counts = json_array();
    for (int u = 0; u < plan->unit_count; u++) {
        json_array_append_new(counts, json_integer((json_int_t)plan->counts[u]));
        skipped += plan->skipped[u];
    }
    json_t *object = json_pack("{s:s, s:o, s:I}", "key", key, "examples", counts, "skipped", (json_int_t)skipped);
    char *text = json_dumps(object, JSON_INDENT(1)), *path = ts_format("%s/manifest.json", directory);
    TsStatus status = ts_file_write(path, text ? text : "", text ? strlen(text) : 0);
    free(text); /* jansson's */
    ts_free(path);
    json_decref(object);
    return status;
}

static TsStatus make_shards(Plan *plan, const char *key, const char *directory)
{
    TsGroup *group = plan->setting->group;
    bool first = ts_group_rank(group) == 0;
    char *making = ts_format("%s.tmp", directory);
    TsStatus status = first ? ts_file_remove(making) : TS_OK;
    if (!status && first)
        status = ts_file_make_directory(making);
    status = ts_comm_agree(group, status);
    for (int u = 0; u < plan->unit_count && !status; u++)
        if (is_mine(plan, u))
            status = make_shard(plan, u, making);
    status = ts_comm_agree(group, status);
    sum_over_ranks(plan->counts, plan->unit_count, group);
    sum_over_ranks(plan->skipped, plan->unit_count, group);
    if (!status && first) {
        status = write_manifest(plan, key, making);
        if (!status)
            status = ts_file_remove(directory);
        if (!status)
            status = ts_file_rename(making, directory);
    } else if (status && first) {
        TsStatus unused = ts_file_remove(making);
        ts_status_free(&unused);
    }
    ts_free(making);
    return ts_comm_agree(group, status);
}

TsStatus ts_prepare(const TsDatasetSetting *setting, const char *key, const char *directory)
{
    Plan plan = {.setting = setting};
    plan.paths = ts_data_files(setting->config, &plan.path_count);
    plan.sizes = ts_calloc((size_t)plan.path_count, sizeof *plan.sizes);
    plan.spec_count = ts_prepare_columns(plan.specs, setting);
    for (int c = 0; c < plan.spec_count; c++)
        plan.names[c] = column_name(setting, &plan.specs[c]);
    TsStatus status = ts_comm_agree(setting->group, measure(&plan));
    if (!status) {
        cut(&plan);
        status = look(&plan);
    }
    if (!status)
        status = make_shards(&plan, key, directory);
    if (plan.first_bad)
        ts_log(TS_LOG_WARNING, "rows are left out, such as %s", ts_status_message(plan.first_bad));
    ts_status_free(&plan.first_bad);
    ts_free(plan.paths);
    ts_free(plan.sizes);
    ts_free(plan.units);
    ts_free(plan.counts);
    ts_free(plan.skipped);
    return status;
}
