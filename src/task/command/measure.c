/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"
#include "tensor/program.h"
#include "tensor/timeline.h"

enum { SUM_ELEMS = 1 << 23 };
static const double TIMED_S = 0.25;

double ts_measure_mean(TsGroup *group, double value)
{
    double sum = 0;
    ts_all_reduce(group,
                  (TsTransfer){.out = &sum, .in = &value, .count_elems = 1, .dtype = TS_F64, .label = "measure"});
    return sum / ts_group_size(group);
}

/* ---- a rank ---- */

/* Matrices of small numbers; those of bf16 are the upper halves of f32. */
static void *make_matrix(int64_t elems, TsDtype dtype)
{
    void *matrix = ts_alloc((size_t)elems * sizeof(float));
    for (int64_t i = 0; i < elems; i++) {
        float value = (float)(i % 17) * 0.01f;
        if (dtype == TS_F32)
            ((float *)matrix)[i] = value;
        else
            memcpy((uint16_t *)matrix + i, (char *)&value + 2, 2);
    }
    return matrix;
}

double ts_measure_product(TsGroup *group, int64_t size, TsDtype dtype, int threads)
{
    void *matrix[3];
    for (int m = 0; m < 3; m++)
        matrix[m] = make_matrix(size * size, m ? dtype : TS_F32);
    TsMatmul product = {.c = matrix[0],
                        .a = matrix[1],
                        .b = matrix[2],
                        .m = size,
                        .n = size,
                        .k = size,
                        .dtype = dtype,
                        .out_dtype = TS_F32,
                        .threads = threads};
    size_t scratch_bytes = ts_matmul_scratch_bytes(&product);
    product.scratch = scratch_bytes ? ts_alloc(scratch_bytes) : NULL;
    ts_matmul(&product);
    ts_barrier(group, "measure");
    double begin_s = ts_timeline_now(), now_s = begin_s;
    int64_t calls = 0;
    for (; now_s - begin_s < TIMED_S; now_s = ts_timeline_now(), calls++)
        ts_matmul(&product);
    for (int m = 0; m < 3; m++)
        ts_free(matrix[m]);
    ts_free(product.scratch);
    return (now_s - begin_s) / (double)calls;
}

TsStatus ts_measure_memory(double *bandwidth, TsGroup *group, int threads)
{
    static const char *const names[] = {"a", "b", "sum"};
    TsShape shape = ts_shape(SUM_ELEMS);
    TsArray *array[3];
    TsProgram *program = NULL;
    TsGraph *graph = ts_graph_create();
    TsTensor a = ts_input(graph, names[0], TS_F32, shape, ts_replicated);
    TsTensor b = ts_input(graph, names[1], TS_F32, shape, ts_replicated);
    ts_output(names[2], ts_add(a, b), ts_replicated);
    TS_TRY(ts_comm_agree(group, ts_program_compile(&program, graph, (TsCompileOptions){.threads = threads})));
    for (int i = 0; i < 3; i++) {
        array[i] = ts_array_create(NULL, TS_F32, shape, ts_replicated, (TsArrayOptions){0});
        ts_program_bind(program, names[i], array[i]);
    }
    ts_program_run(program);
    ts_barrier(group, "measure");
    double begin_s = ts_timeline_now(), now_s = begin_s;
    int64_t calls = 0;
    for (; now_s - begin_s < TIMED_S; now_s = ts_timeline_now(), calls++)
        ts_program_run(program);
    *bandwidth = ts_measure_mean(group, 3.0 * SUM_ELEMS * sizeof(float) * (double)calls / (now_s - begin_s));
    ts_program_free(&program);
    for (int i = 0; i < 3; i++)
        ts_array_free(&array[i]);
    return TS_OK;
}

/* ---- links ---- */

/* Seconds of an all-reduce of so many bytes. */
static double all_reduce_seconds(TsGroup *group, int64_t bytes)
{
    enum { CALLS = 5 };
    int64_t elems = bytes / (int64_t)sizeof(float);
    float *data = ts_calloc((size_t)elems, sizeof *data);
    TsTransfer transfer = {.out = data, .in = data, .count_elems = elems, .dtype = TS_F32, .label = "measure"};
    double least_s = INFINITY;
    ts_all_reduce(group, transfer);
    for (int i = 0; i < CALLS; i++) {
        ts_barrier(group, "measure");
        double begin_s = ts_timeline_now();
        ts_all_reduce(group, transfer);
        least_s = fmin(least_s, ts_measure_mean(group, ts_timeline_now() - begin_s));
    }
    ts_free(data);
    return least_s;
}

/* Two sizes give latency and bandwidth: a ring of n nodes takes 2 (n - 1) messages. */
static TsMeasuredLink measure_between(TsGroup *group, int nodes)
{
    const int64_t few = 64 << 10, many = 4 << 20;
    TsGroup *across = ts_group_split(group, "across", ts_group_node_rank(group), ts_group_rank(group));
    double few_s = ts_measure_mean(group, all_reduce_seconds(across, few));
    double many_s = ts_measure_mean(group, all_reduce_seconds(across, many));
    double messages = 2.0 * (nodes - 1), byte_s = fmax(many_s - few_s, 1e-9) / (double)(many - few);
    ts_group_free(&across);
    return (TsMeasuredLink){fmax((few_s - byte_s * (double)few) / messages, 1e-7),
                            messages / nodes * ts_group_node_size(group) / byte_s};
}

static TsMeasuredLink measure_within(TsGroup *group)
{
    const int64_t few = 1 << 10, many = 4 << 20;
    TsGroup *inside = ts_group_split(group, "inside", ts_group_node_of(group, ts_group_rank(group)), 0);
    double few_s = ts_measure_mean(group, all_reduce_seconds(inside, few));
    double many_s = ts_measure_mean(group, all_reduce_seconds(inside, many));
    ts_group_free(&inside);
    return (TsMeasuredLink){fmax(few_s, 1e-7), (double)many / fmax(many_s - few_s, 1e-9)};
}

TsMeasuredLinks ts_measure_links(TsGroup *group)
{
    TsMeasuredLinks links = {0};
    int nodes = ts_group_nodes(group);
    if (nodes > 1)
        links.between = measure_between(group, nodes);
    if (ts_group_size(group) > nodes)
        links.within = measure_within(group);
    return links;
}

/* ---- files ---- */

enum { PIECE_BYTES = 4 << 20 };

static TsStatus refused(const char *what, const char *path)
{
    return ts_status_error(TS_CODE_IO, "%s: %s: %s", path, what, strerror(errno));
}

static TsStatus write_file(const char *path, const char *piece, size_t bytes)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return refused("it cannot be made", path);
    TsStatus status = TS_OK;
    for (size_t at = 0; at < bytes && !status; at += PIECE_BYTES)
        if (write(file, piece, PIECE_BYTES) != PIECE_BYTES)
            status = refused("it cannot be written", path);
    if (!status && fsync(file) != 0)
        status = refused("fsync", path);
    close(file);
    return status;
}

static TsStatus read_file(const char *path, char *piece)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return refused("it cannot be read", path);
    ssize_t count;
    while ((count = read(file, piece, PIECE_BYTES)) > 0)
        ;
    TsStatus status = count < 0 ? refused("it cannot be read", path) : TS_OK;
    close(file);
    return status;
}

TsStatus ts_measure_files(TsMeasuredFiles *files, TsGroup *group, const char *directory, size_t bytes_a_rank)
{
    size_t bytes = (bytes_a_rank + PIECE_BYTES - 1) / PIECE_BYTES * PIECE_BYTES;
    char *path = ts_format("%s/measure.tmp.%d", directory, ts_group_rank(group)), *piece = ts_alloc(PIECE_BYTES);
    memset(piece, 1, PIECE_BYTES);
    TsStatus status = ts_comm_agree(group, ts_group_rank(group) == 0 ? ts_file_make_directory(directory) : TS_OK);
    double begin_s = ts_timeline_now();
    if (!status)
        status = ts_comm_agree(group, write_file(path, piece, bytes));
    double written_s = ts_timeline_now();
    if (!status)
        status = ts_comm_agree(group, read_file(path, piece));
    double read_s = ts_timeline_now(), all = (double)bytes * ts_group_size(group);
    unlink(path);
    *files = (TsMeasuredFiles){all / ts_measure_mean(group, written_s - begin_s),
                               all / ts_measure_mean(group, read_s - written_s)};
    ts_free(path);
    ts_free(piece);
    return status;
}
