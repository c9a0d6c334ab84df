/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/embeddings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "task/evaluator.h"

enum { HEADER_BYTES = 128 };

struct TsEmbeddings {
    TsGroup *group;
    char *path; /* owned */
    int file;
    int64_t count, columns;
    TsDtype dtype;
    bool keeps, found;
};

/* ---- the name ---- */

/* The checksum of what each rank has, in the order of ranks; the same on all. Collective. */
static uint32_t combine(TsGroup *group, uint32_t mine)
{
    int size = ts_group_size(group);
    int64_t *all = ts_calloc((size_t)size, sizeof *all);
    all[ts_group_rank(group)] = mine;
    ts_all_reduce(group,
                  (TsTransfer){.out = all, .in = all, .count_elems = size, .dtype = TS_I64, .label = "embeddings/key"});
    uint32_t crc = ts_crc32c(0, all, (size_t)size * sizeof *all);
    ts_free(all);
    return crc;
}

static uint32_t hash_weights(const TsBatch *arrays)
{
    uint32_t crc = 0;
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        const char *name = ts_batch_name(arrays, i);
        const TsArray *array = ts_batch_array(arrays, i);
        if (strncmp(name, "backbone/", strlen("backbone/")) != 0)
            continue;
        crc = ts_crc32c(crc, name, strlen(name));
        crc = ts_crc32c(crc, array->data, ts_array_local_bytes(array));
    }
    return crc;
}

/* Of all batches: tokens and what is seen of them, as this rank has them. */
static uint32_t hash_examples(TsLoader *data)
{
    uint32_t crc = 0;
    int64_t place = 0, batches = ts_loader_batches(data);
    for (int64_t number = 0; number < batches; number++) {
        const TsBatch *batch = ts_loader_batch(data, ts_loader_next(data, &place));
        const TsArray *tokens = ts_batch_find(batch, "tokens"), *seen = ts_batch_find(batch, "seen");
        crc = ts_crc32c(crc, tokens->data, ts_array_local_bytes(tokens));
        crc = ts_crc32c(crc, seen->data, ts_array_local_bytes(seen));
    }
    return crc;
}

/* Of the lines of the resolved configuration that begin with `section`, and those below it. */
static uint32_t hash_section(const char *text, const char *section)
{
    uint32_t crc = 0;
    bool inside = false;
    for (const char *line = text; *line;) {
        size_t bytes = strcspn(line, "\n");
        if (*line != ' ')
            inside = strncmp(line, section, strlen(section)) == 0;
        if (inside)
            crc = ts_crc32c(crc, line, bytes);
        line += bytes + (line[bytes] == '\n');
    }
    return crc;
}

static char *make_path(const TsEmbeddingsSetting *setting, int64_t columns)
{
    const TsJob *job = setting->job;
    TsText config = {0};
    ts_config_write(job->config, &config);
    uint32_t parts[] = {hash_weights(setting->arrays), hash_section(config.data, "backbone:"),
                        hash_section(config.data, "fine_tune:"), (uint32_t)columns, (uint32_t)job->dtype};
    ts_text_free(&config);
    uint32_t weights = combine(job->group, ts_crc32c(0, parts, sizeof parts));
    uint32_t examples = combine(job->group, hash_examples(setting->data));
    char *name = setting->keeps ? ts_format("%s-%s-%08x%08x.npy", setting->task->name, setting->part, weights, examples)
                                : ts_format("%s-%s.npy", setting->task->name, setting->part);
    char *path = ts_format("%s/embeddings/%s", job->keys->run.dir, name);
    ts_free(name);
    return path;
}

/* ---- the file ---- */

static TsStatus file_error(const TsEmbeddings *embeddings, const char *what)
{
    return ts_status_error(TS_CODE_IO, "%s: %s: %s", embeddings->path, what, strerror(errno));
}

static off_t offset_of(const TsEmbeddings *embeddings, int64_t row)
{
    return HEADER_BYTES + (off_t)row * (off_t)embeddings->columns * (off_t)ts_dtype_bytes(embeddings->dtype);
}

/* Writes or reads all of it. */
static TsStatus transfer(const TsEmbeddings *embeddings, bool writes, char *bytes, size_t size_bytes, off_t at)
{
    while (size_bytes > 0) {
        ssize_t done =
            writes ? pwrite(embeddings->file, bytes, size_bytes, at) : pread(embeddings->file, bytes, size_bytes, at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return file_error(embeddings, writes ? "writing" : "reading");
        if (done == 0)
            return ts_status_error(TS_CODE_CORRUPT, "%s: it ends too early", embeddings->path);
        bytes += done;
        at += done;
        size_bytes -= (size_t)done;
    }
    return TS_OK;
}

/* "\x93NUMPY", version 1.0, and a dict padded with blanks: numpy.lib.format. */
static TsStatus write_header(const TsEmbeddings *embeddings)
{
    char header[HEADER_BYTES + 1] = "\x93NUMPY\x01";
    memset(header + 10, ' ', HEADER_BYTES - 10);
    header[7] = 0;
    header[8] = HEADER_BYTES - 10;
    header[9] = 0;
    int bytes =
        snprintf(header + 10, HEADER_BYTES - 10, "{'descr': '<f%zu', 'fortran_order': False, 'shape': (%lld, %lld), }",
                 ts_dtype_bytes(embeddings->dtype), (long long)embeddings->count, (long long)embeddings->columns);
    header[10 + bytes] = ' ';
    header[HEADER_BYTES - 1] = '\n';
    return transfer(embeddings, true, header, HEADER_BYTES, 0);
}

static TsStatus open_file(TsEmbeddings *embeddings, const char *path, int flags)
{
    embeddings->file = open(path, flags | O_CLOEXEC, 0666);
    return embeddings->file < 0 ? file_error(embeddings, "opening") : TS_OK;
}

static void close_file(TsEmbeddings *embeddings)
{
    if (embeddings->file >= 0)
        close(embeddings->file);
    embeddings->file = -1;
}

/* ---- computing ---- */

/* A rank's rows on their way into the file. */
typedef struct Writer {
    TsEmbeddings *embeddings;
    bool writes; /* of the ranks that hold the same rows, this one */
    TsStatus status;
} Writer;

static void visit(void *visitor, const TsBatch *given, const TsBatch *batch, int64_t row, int64_t example)
{
    Writer *writer = visitor;
    const TsArray *array = ts_batch_find(given, "embedding");
    size_t bytes = (size_t)writer->embeddings->columns * ts_dtype_bytes(writer->embeddings->dtype);
    (void)batch;
    if (writer->writes && !writer->status)
        writer->status = transfer(writer->embeddings, true, (char *)array->data + (size_t)row * bytes, bytes,
                                  offset_of(writer->embeddings, example));
}

static bool is_first_of_its_rows(const TsMesh *mesh)
{
    bool first = true;
    for (int axis = 1; axis < TS_AXES; axis++)
        first &= (ts_batch_axes() & TS_AXIS_BIT(axis)) || ts_mesh_coord(mesh, (TsAxis)axis) == 0;
    return first;
}

static TsStatus compute_rows(TsEmbeddings *embeddings, const TsEmbeddingsSetting *setting, TsEvaluator *evaluator)
{
    Writer writer = {.embeddings = embeddings, .writes = is_first_of_its_rows(setting->job->mesh)};
    TsScores scores;
    int metrics = setting->task->metric_count;
    ((TsTask *)setting->task)->metric_count = 0; /* what is not solved yet is not measured */
    TsStatus stopped = ts_evaluator_run(evaluator, &scores, visit, &writer);
    ((TsTask *)setting->task)->metric_count = metrics;
    if (stopped) { /* on all ranks */
        ts_status_free(&writer.status);
        return stopped;
    }
    if (!writer.status && fsync(embeddings->file) != 0)
        writer.status = file_error(embeddings, "writing");
    return ts_comm_agree(embeddings->group, writer.status);
}

/* Into PATH.tmp, which gets its name when all is there. */
static TsStatus compute(TsEmbeddings *embeddings, const TsEmbeddingsSetting *setting, TsEvaluator *evaluator)
{
    bool root = ts_group_rank(embeddings->group) == 0;
    char *directory = ts_file_directory(embeddings->path), *temporary = ts_format("%s.tmp", embeddings->path);
    TsStatus status = root ? ts_file_make_directory(directory) : TS_OK;
    if (!status && root)
        status = open_file(embeddings, temporary, O_RDWR | O_CREAT | O_TRUNC);
    if (!status && root)
        status = write_header(embeddings);
    status = ts_comm_agree(embeddings->group, status);
    if (!status)
        status = ts_comm_agree(embeddings->group, root ? TS_OK : open_file(embeddings, temporary, O_RDWR));
    if (!status)
        status = compute_rows(embeddings, setting, evaluator);
    close_file(embeddings);
    if (!status)
        status = ts_comm_agree(embeddings->group, root ? ts_file_rename(temporary, embeddings->path) : TS_OK);
    ts_free(directory);
    ts_free(temporary);
    return status;
}

/* Whether it is there, on all ranks; a file of another size is not it. */
static bool is_there(const TsEmbeddings *embeddings)
{
    struct stat found;
    int32_t mine = embeddings->keeps && stat(embeddings->path, &found) == 0 &&
                   found.st_size == offset_of(embeddings, embeddings->count),
            all = 0;
    ts_all_reduce(embeddings->group, (TsTransfer){.out = &all,
                                                  .in = &mine,
                                                  .count_elems = 1,
                                                  .dtype = TS_I32,
                                                  .reduction = TS_MIN,
                                                  .label = "embeddings/found"});
    return all != 0;
}

/* How wide features are: what the task gives out as its embedding. */
static int64_t width_of(const TsEvaluator *evaluator)
{
    return ts_batch_find(ts_evaluator_given(evaluator), "embedding")->shape.size[1];
}

TsStatus ts_embeddings_open(TsEmbeddings **embeddings, TsEmbeddingsSetting setting)
{
    const TsJob *job = setting.job;
    TsEvaluator *evaluator = NULL;
    *embeddings = NULL;
    TS_TRY(ts_comm_agree(job->group, ts_evaluator_create(&evaluator, job, setting.task, setting.data)));
    ts_evaluator_bind(evaluator, setting.arrays);
    TsEmbeddings *made = ts_calloc(1, sizeof *made);
    *made = (TsEmbeddings){.group = job->group,
                           .file = -1,
                           .count = ts_loader_count(setting.data),
                           .columns = width_of(evaluator),
                           .dtype = job->dtype == TS_F64 ? TS_F64 : TS_F32,
                           .keeps = setting.keeps};
    made->path = make_path(&setting, made->columns);
    made->found = is_there(made);
    TsStatus status = made->found ? TS_OK : compute(made, &setting, evaluator);
    ts_evaluator_free(&evaluator);
    if (!status)
        status = ts_comm_agree(job->group, open_file(made, made->path, O_RDONLY));
    if (status)
        ts_embeddings_close(&made);
    *embeddings = made;
    return status;
}

void ts_embeddings_close(TsEmbeddings **embeddings)
{
    if (!*embeddings)
        return;
    close_file(*embeddings);
    ts_barrier((*embeddings)->group, "embeddings/close");
    if (!(*embeddings)->keeps && ts_group_rank((*embeddings)->group) == 0) {
        TsStatus status = ts_file_remove((*embeddings)->path);
        ts_status_free(&status); /* it is written anew the next time */
    }
    ts_free((*embeddings)->path);
    ts_free(*embeddings);
    *embeddings = NULL;
}

int64_t ts_embeddings_count(const TsEmbeddings *embeddings)
{
    return embeddings->count;
}

int64_t ts_embeddings_columns(const TsEmbeddings *embeddings)
{
    return embeddings->columns;
}

TsDtype ts_embeddings_dtype(const TsEmbeddings *embeddings)
{
    return embeddings->dtype;
}

const char *ts_embeddings_path(const TsEmbeddings *embeddings)
{
    return embeddings->path;
}

bool ts_embeddings_found(const TsEmbeddings *embeddings)
{
    return embeddings->found;
}

TsStatus ts_embeddings_read(const TsEmbeddings *embeddings, void *rows, int64_t first, int64_t count)
{
    size_t bytes = (size_t)(count * embeddings->columns) * ts_dtype_bytes(embeddings->dtype);
    return transfer(embeddings, false, rows, bytes, offset_of(embeddings, first));
}
