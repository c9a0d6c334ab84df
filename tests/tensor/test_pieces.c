/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/program.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "comm/accounting.h"
#include "tensor/batch.h"
#include "tensor/ops.h"
#include "test.h"

enum { B = 13, C = 6, F = 8, V = 7 }; /* rows, widths, labels; none divides the rows */

static const TsPlacement whole = {0};

static TsPlacement batch_rows(void)
{
    return ts_shard(ts_shard(ts_replicated, 0, TS_AXIS_DATA), 0, TS_AXIS_MICRO);
}

/* What the arrays hold: a function of name and global index. */
static double value_of(const char *name, int64_t index)
{
    uint64_t hash = (uint64_t)index * 0x9e3779b97f4a7c15u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    hash ^= hash >> 29;
    return (double)(hash * 0xbf58476d1ce4e5b9u >> 11) / 9007199254740992.0 - 0.5;
}

static void fill_block(const TsArray *array, const char *name, int micro)
{
    TsBlockRange block = ts_array_block(array, micro);
    void *data = ts_array_data(array, micro);
    int64_t at[TS_MAX_DIMS] = {0}, elems = ts_shape_elems(block.shape);
    for (int64_t i = 0; i < elems; i++) {
        int64_t index = 0;
        for (int d = 0; d < array->shape.dims; d++)
            index = index * array->shape.size[d] + block.first[d] + at[d];
        double value = value_of(name, index);
        if (array->dtype == TS_F64)
            ((double *)data)[i] = value;
        else if (array->dtype == TS_I64)
            ((int64_t *)data)[i] = 3;
        else
            ((int32_t *)data)[i] = index % 5 == 2 ? -100 : (int32_t)((value + 0.5) * V);
        for (int d = array->shape.dims - 1; d >= 0 && ++at[d] == block.shape.size[d]; d--)
            at[d] = 0;
    }
}

/* Two layers with dropout, what a batch norm would do in the middle, and a tied table; a mean over what counts. */
static void trace(TsGraph *graph, bool centred, bool updates)
{
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(B, C), batch_rows());
    TsTensor labels = ts_input(graph, "labels", TS_I32, ts_shape(B), batch_rows());
    TsTensor step = ts_input(graph, "step", TS_I64, ts_scalar, whole);
    TsTensor up = ts_parameter(graph, "up", TS_F64, ts_shape(C, F), whole);
    TsTensor bias = ts_parameter(graph, "bias", TS_F64, ts_shape(F), whole);
    TsTensor table = ts_parameter(graph, "table", TS_F64, ts_shape(V, F), whole);
    TsTensor parameters[] = {up, bias, table}, d[3];

    TsTensor counts =
        ts_minimum(ts_maximum(ts_shift(ts_cast(labels, TS_F64), 1), ts_constant(graph, TS_F64, ts_scalar, 0)),
                   ts_constant(graph, TS_F64, ts_scalar, 1));
    TsTensor weight = ts_sum(counts, -1, false);
    TsTensor ids = ts_cast(ts_maximum(ts_cast(labels, TS_F64), ts_constant(graph, TS_F64, ts_scalar, 0)), TS_I32);
    TsTensor h = ts_drop(ts_gelu(ts_add(ts_dot(x, up, (TsDot){0}), bias)), step, 0.3, 77);
    ts_output("dropped", h, batch_rows());
    ts_output("everything", h, whole); /* collected from all micro-batches */
    if (centred)
        h = ts_sub(h, ts_scale(ts_sum(h, 1, true), 1.0 / B));
    h = ts_add(h, ts_take(table, ids));
    TsTensor logits = ts_dot(h, table, (TsDot){.transpose_b = true});
    TsTensor loss = ts_sum(ts_cross_entropy(logits, labels, (TsCrossEntropy){.ignore = -100}), -1, false);
    TsTensor mean = ts_div(loss, ts_shift(ts_stop_gradient(weight), 1e-8));
    ts_gradients(d, mean, parameters, 3);
    ts_output("loss", mean, whole);
    ts_output("largest", ts_max(h, -1, false), whole);
    ts_output("part", loss, ts_partial(ts_replicated, TS_AXIS_BIT(TS_AXIS_DATA)));
    ts_output("d_up", d[0], whole);
    ts_output("d_bias", d[1], ts_shard(ts_replicated, 0, TS_AXIS_DATA));
    ts_output("d_table", d[2], ts_shard(ts_replicated, 1, TS_AXIS_DATA));
    if (updates)
        ts_assign(bias, ts_sub(bias, ts_scale(d[1], 0.5)));
}

/* A program with arrays of its own. */
typedef struct Bound {
    TsProgram *program;
    TsBatch *arrays;
} Bound;

static Bound make(const TsMesh *mesh, bool centred, bool updates, TsCompileOptions options)
{
    Bound bound = {.arrays = ts_batch_create()};
    TsGraph *graph = ts_graph_create();
    trace(graph, centred, updates);
    options.mesh = mesh;
    TEST_OK(ts_program_compile(&bound.program, graph, options));
    for (int i = 0; bound.program && i < ts_program_bindings(bound.program); i++) {
        TsBinding binding = ts_program_binding(bound.program, i);
        TsArray *array = ts_array_create(mesh, binding.dtype, binding.shape, binding.placement,
                                         (TsArrayOptions){.micros = options.micros});
        for (int micro = 0; micro < array->micros && binding.kind != TS_BIND_OUTPUT; micro++)
            fill_block(array, binding.name, micro);
        ts_batch_put(bound.arrays, binding.name, array);
        ts_program_bind(bound.program, binding.name, array);
    }
    return bound;
}

static void drop(Bound *bound)
{
    ts_program_free(&bound->program);
    ts_batch_free(&bound->arrays);
}

/* The largest difference over all that both have of a name, wherever in micro-batches it lies; -1 if they do not hold
 * the same rows. */
static double difference(const Bound *a, const Bound *b, const char *name)
{
    const TsArray *x = ts_batch_find(a->arrays, name), *y = ts_batch_find(b->arrays, name);
    double most = 0;
    int64_t seen = 0;
    for (int i = 0; i < x->micros; i++)
        for (int j = 0; j < y->micros; j++) {
            TsBlockRange p = ts_array_block(x, i), q = ts_array_block(y, j);
            int64_t width = x->shape.dims > 1 ? p.shape.size[1] : 1;
            int64_t rows_p = x->shape.dims ? p.shape.size[0] : 1, rows_q = y->shape.dims ? q.shape.size[0] : 1;
            for (int64_t r = 0; r < rows_p; r++) {
                int64_t other = r + p.first[0] - q.first[0];
                if (other < 0 || other >= rows_q)
                    continue;
                seen += width;
                for (int64_t c = 0; c < width; c++)
                    most = fmax(most, fabs(((double *)ts_array_data(x, i))[r * width + c] -
                                           ((double *)ts_array_data(y, j))[other * width + c]));
            }
        }
    int64_t held = 0;
    for (int i = 0; i < x->micros; i++)
        held += ts_shape_elems(ts_array_block(x, i).shape);
    return seen == held ? most : -1;
}

static const char *const outputs[] = {"dropped", "everything", "loss",    "largest", "part",
                                      "d_up",    "d_bias",     "d_table", "bias"};

static void expect_same(const Bound *a, const Bound *b, double within, const char *what, int micros)
{
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        double off = difference(a, b, outputs[i]);
        if (!(off >= 0 && off <= within))
            fprintf(stderr, "%s, %d micro-batches: %s is %g off\n", what, micros, outputs[i], off);
        CU_ASSERT(off >= 0 && off <= within);
    }
}

static TsMesh *data_mesh(void)
{
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}}));
    return mesh;
}

/* ---- cases ---- */

static void micro_batches_give_what_the_whole_batch_gives(void)
{
    TsMesh *mesh = data_mesh();
    for (int centred = 0; centred < 2; centred++) {
        Bound reference = make(mesh, centred, true, (TsCompileOptions){0});
        ts_program_run(reference.program);
        ts_program_run(reference.program);
        CU_ASSERT(difference(&reference, &reference, "d_up") == 0);
        for (int micros = 2; micros <= 16; micros += micros < 5 ? 1 : 11) /* 16: some have no rows */
            for (int scatter = 0; scatter < 2; scatter++)
                for (int plain = 0; plain < 2; plain++) {
                    Bound bound = make(mesh, centred, true,
                                       (TsCompileOptions){.micros = micros,
                                                          .threads = 1 + scatter,
                                                          .scatter_first = scatter,
                                                          .without_passes = plain});
                    ts_program_run(bound.program);
                    ts_program_run(bound.program);
                    expect_same(&bound, &reference, 1e-12, centred ? "centred" : "plain", micros);
                    drop(&bound);
                }
        drop(&reference);
    }
    ts_mesh_free(&mesh);
}

static void dropout_has_the_same_bits(void)
{
    TsMesh *mesh = data_mesh();
    Bound reference = make(mesh, false, true, (TsCompileOptions){0}),
          bound = make(mesh, false, true, (TsCompileOptions){.micros = 3});
    ts_program_run(reference.program);
    ts_program_run(bound.program);
    const TsArray *x = ts_batch_find(reference.arrays, "everything"), *y = ts_batch_find(bound.arrays, "everything");
    int zeros = 0;
    for (int i = 0; i < B * F; i++) {
        CU_ASSERT((((double *)x->data)[i] == 0) == (((double *)y->data)[i] == 0));
        zeros += ((double *)x->data)[i] == 0;
    }
    CU_ASSERT(zeros > B * F / 6 && zeros < B * F / 2);
    drop(&reference);
    drop(&bound);
    ts_mesh_free(&mesh);
}

/* Bytes sent in one run by kind. */
static int64_t sent_bytes(const TsMesh *mesh, TsCommKind kind, TsCompileOptions options)
{
    Bound bound = make(mesh, false, false, options);
    ts_account_reset();
    ts_program_run(bound.program);
    int64_t bytes = ts_account_total(TS_AXIS_BIT(TS_AXIS_DATA), kind).bytes;
    drop(&bound);
    return bytes;
}

/* d_table is scattered along its F = 8 columns, which all rank counts divide: V F (d - 1) / d elements a time; d_bias
 * alike, F (d - 1) / d. Without micro-batches the parts of d_table, which two read, do not wait for one another. */
static void gradients_are_scattered_once_or_every_time(void)
{
    TsMesh *mesh = data_mesh();
    int64_t ranks = ts_group_size(test_world), once = (V * F + F) * (ranks - 1) / ranks * (int64_t)sizeof(double);
    int64_t again = V * F * (ranks - 1) / ranks * (int64_t)sizeof(double);
    TsCompileOptions ring = {.algorithm = TS_ALGORITHM_RING};
    for (ring.micros = 1; ring.micros <= 4; ring.micros++) {
        ring.scatter_first = false;
        CU_ASSERT_EQUAL(sent_bytes(mesh, TS_COMM_REDUCE_SCATTER, ring), once);
        ring.scatter_first = true;
        CU_ASSERT_EQUAL(sent_bytes(mesh, TS_COMM_REDUCE_SCATTER, ring),
                        once * ring.micros + (ring.micros == 1 ? again : 0));
    }
    ts_mesh_free(&mesh);
}

TEST_MAIN("pieces", {"micro-batches give what the whole batch gives", micro_batches_give_what_the_whole_batch_gives},
          {"dropout has the same bits", dropout_has_the_same_bits},
          {"gradients are scattered once or every time", gradients_are_scattered_once_or_every_time})
