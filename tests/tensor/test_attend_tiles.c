/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of attention at the edges of their tiles, of their vectors and of what counts as few queries: every
 * instruction set that the machine has, f32 and bf16, against sums over all pairs in f64.
 */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/kernels/attend.h"

typedef struct Case {
    int64_t queries, keys, width, heads, group;
    bool causal;
    int64_t window;
    bool bias, slopes, keys_seen, segments, d_logsumexp;
    double drop_rate;
} Case;

enum { BATCH = 2 };
/* All arrays; from BIAS on they are f32 in bf16 too. */
enum { Q, K, V, D_OUT, OUT, D_Q, D_K, D_V, BIAS, LOGSUMEXP, D_LOGSUMEXP, D_BIAS, SLOPES, ARRAYS };

typedef struct Data {
    TsAttendShape shape;
    double *exact[ARRAYS]; /* inputs as bf16 or f32 hold them; results in f64 */
    void *array[ARRAYS];   /* of the kernel */
    int64_t elems[ARRAYS];
    bool keys_seen[BATCH * 256];
    int32_t query_segments[BATCH * 256], key_segments[BATCH * 256];
    const Case *test;
    TsDtype dtype;
} Data;

static double number(int array, int64_t i)
{
    double x = sin((double)i * 12.9898 + (array + 1) * 78.233) * 43758.5453;
    return 2 * (x - floor(x)) - 1;
}

static TsDtype dtype_of(const Data *data, int array)
{
    return array < BIAS ? data->dtype : TS_F32;
}

static double get(const Data *data, int array, int64_t i)
{
    return dtype_of(data, array) == TS_BF16 ? (double)ts_bf16_to_f32(((const TsBf16 *)data->array[array])[i])
                                            : (double)((const float *)data->array[array])[i];
}

static Data *data_create(const Case *test, TsDtype dtype)
{
    Data *data = ts_calloc(1, sizeof *data);
    int64_t kv_heads = test->heads / test->group, q = BATCH * test->queries * test->heads * test->width;
    int64_t k = BATCH * test->keys * kv_heads * test->width, rows = BATCH * test->queries * test->heads;
    int64_t bias = test->heads * test->queries * test->keys;
    const int64_t elems[ARRAYS] = {q, k, k, q, q, q, k, k, bias, rows, rows, bias, test->heads};
    data->test = test;
    data->dtype = dtype;
    data->shape = (TsAttendShape){.batch = BATCH,
                                  .queries = test->queries,
                                  .keys = test->keys,
                                  .heads = test->heads,
                                  .kv_heads = kv_heads,
                                  .width = test->width,
                                  .group = test->group,
                                  .scale = 1 / sqrt((double)test->width),
                                  .causal = test->causal,
                                  .window = test->window,
                                  .query_first = test->keys - test->queries,
                                  .drop_rate = test->drop_rate,
                                  .stream = {.key = {1, 2}, .step = 3},
                                  .batch_first = 5,
                                  .head_first = 1,
                                  .whole_heads = test->heads + 2};
    for (int a = 0; a < ARRAYS; a++) {
        data->elems[a] = elems[a];
        data->exact[a] = ts_calloc((size_t)elems[a] + 1, sizeof(double));
        data->array[a] = ts_calloc((size_t)elems[a] + 1, sizeof(float));
        for (int64_t i = 0; i < elems[a]; i++) {
            float value = (float)(a == SLOPES ? 0.05 * fabs(number(a, i)) : number(a, i));
            if (dtype_of(data, a) == TS_BF16)
                ((TsBf16 *)data->array[a])[i] = ts_bf16_from_f32(value);
            else
                ((float *)data->array[a])[i] = value;
            bool input = a <= D_OUT || a == BIAS || a == D_LOGSUMEXP || a == SLOPES;
            data->exact[a][i] = input ? get(data, a, i) : 0;
        }
    }
    for (int64_t i = 0; i < BATCH * test->keys; i++) {
        data->keys_seen[i] = number(20, i) > -0.5;
        data->key_segments[i] = (int32_t)(i % test->keys / 20);
    }
    for (int64_t i = 0; i < BATCH * test->queries; i++)
        data->query_segments[i] = (int32_t)((i % test->queries + test->keys - test->queries) / 20);
    return data;
}

static void data_free(Data *data)
{
    for (int a = 0; a < ARRAYS; a++) {
        ts_free(data->exact[a]);
        ts_free(data->array[a]);
    }
    ts_free(data);
}

/* ---- all pairs, in f64 */

static bool sees(const Data *data, int64_t b, int64_t i, int64_t j)
{
    const Case *test = data->test;
    int64_t position = test->keys - test->queries + i;
    return !(test->causal && j > position) && !(test->window && j <= position - test->window) &&
           !(test->keys_seen && !data->keys_seen[b * test->keys + j]) &&
           !(test->segments && data->query_segments[b * test->queries + i] != data->key_segments[b * test->keys + j]);
}

static double kept(const Data *data, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const Case *test = data->test;
    if (test->drop_rate == 0)
        return 1;
    uint32_t bits;
    int64_t row = (data->shape.batch_first + b) * data->shape.whole_heads + data->shape.head_first + h;
    ts_stream_fill_bits(data->shape.stream, &bits, (row * test->queries + i) * test->keys + j, 1);
    return bits >= (uint64_t)(test->drop_rate * 4294967296.0) ? 1 / (1 - test->drop_rate) : 0;
}

static double dot(const double *x, const double *y, int64_t count)
{
    double sum = 0;
    for (int64_t d = 0; d < count; d++)
        sum += x[d] * y[d];
    return sum;
}

static void add(double *to, double factor, const double *from, int64_t count)
{
    for (int64_t d = 0; d < count; d++)
        to[d] += factor * from[d];
}

/* One query of one head: its outputs, and what it brings to all gradients. */
static void attend_exactly(Data *data, int64_t b, int64_t h, int64_t i)
{
    const Case *test = data->test;
    int64_t width = test->width, keys = test->keys, row = (b * test->queries + i) * test->heads + h;
    double *const *x = data->exact, score[256], total = 0, *out = x[OUT] + row * width;
    const double *q = x[Q] + row * width, *d_out = x[D_OUT] + row * width;
    for (int64_t j = 0; j < keys; j++) {
        int64_t key = ((b * keys + j) * data->shape.kv_heads + h / test->group) * width;
        int64_t apart = llabs(keys - test->queries + i - j), pair = (h * test->queries + i) * keys + j;
        score[j] = data->shape.scale * dot(q, x[K] + key, width) + (test->bias ? x[BIAS][pair] : 0) -
                   (test->slopes ? x[SLOPES][h] * (double)apart : 0);
        total += sees(data, b, i, j) ? exp(score[j]) : 0;
    }
    x[LOGSUMEXP][row] = log(total); /* -infinity where nothing is seen */
    for (int64_t j = 0; j < keys; j++)
        if (sees(data, b, i, j))
            add(out, exp(score[j]) / total * kept(data, b, h, i, j),
                x[V] + ((b * keys + j) * data->shape.kv_heads + h / test->group) * width, width);
    double delta = dot(out, d_out, width) - (test->d_logsumexp ? x[D_LOGSUMEXP][row] : 0);
    for (int64_t j = 0; j < keys; j++) {
        if (!sees(data, b, i, j))
            continue;
        int64_t key = ((b * keys + j) * data->shape.kv_heads + h / test->group) * width;
        double p = exp(score[j]) / total, keep = kept(data, b, h, i, j);
        double d_score = p * (keep * dot(d_out, x[V] + key, width) - delta);
        add(x[D_V] + key, p * keep, d_out, width);
        add(x[D_K] + key, data->shape.scale * d_score, q, width);
        add(x[D_Q] + row * width, data->shape.scale * d_score, x[K] + key, width);
        x[D_BIAS][(h * test->queries + i) * keys + j] += d_score;
    }
}

/* ---- the kernels */

static void run_kernels(Data *data, int threads)
{
    const Case *test = data->test;
    void *const *x = data->array;
    const TsAttendKernels *kernels = ts_attend_kernels(data->dtype);
    TsAttendIn in = {.q = x[Q],
                     .k = x[K],
                     .v = x[V],
                     .keys_seen = test->keys_seen ? data->keys_seen : NULL,
                     .query_segments = test->segments ? data->query_segments : NULL,
                     .key_segments = test->segments ? data->key_segments : NULL,
                     .slopes = test->slopes ? x[SLOPES] : NULL,
                     .bias = test->bias ? x[BIAS] : NULL,
                     .out = x[OUT],
                     .d_out = x[D_OUT],
                     .logsumexp = x[LOGSUMEXP],
                     .d_logsumexp = test->d_logsumexp ? x[D_LOGSUMEXP] : NULL};
    size_t bytes = kernels->forward_scratch_bytes(&data->shape, threads);
    void *scratch = ts_alloc(bytes);
    memset(scratch, 0xff, bytes); /* NaN: nothing may be read before it is written */
    kernels->forward(x[OUT], x[LOGSUMEXP], &in, &data->shape, scratch, threads);
    ts_free(scratch);
    bytes = kernels->backward_scratch_bytes(&data->shape, threads);
    scratch = ts_alloc(bytes);
    memset(scratch, 0xff, bytes);
    kernels->backward(x[D_Q], x[D_K], x[D_V], test->bias ? x[D_BIAS] : NULL, &in, &data->shape, scratch, threads);
    ts_free(scratch);
}

/* The largest error relative to 1 + |value|. */
static double error_of(const Data *data, int array)
{
    double largest = 0;
    for (int64_t i = 0; i < data->elems[array]; i++) {
        double got = get(data, array, i), wanted = data->exact[array][i];
        double error = got == wanted ? 0 : fabs(got - wanted) / (1 + fabs(wanted));
        largest = error > largest || error != error ? error : largest;
    }
    return largest;
}

static void expect_exact(const Case *test, TsDtype dtype)
{
    static const char *const names[ARRAYS] = {
        [OUT] = "out", [D_Q] = "d_q", [D_K] = "d_k", [D_V] = "d_v", [LOGSUMEXP] = "logsumexp", [D_BIAS] = "d_bias"};
    Data *data = data_create(test, dtype), *again = data_create(test, dtype);
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t h = 0; h < test->heads; h++)
            for (int64_t i = 0; i < test->queries; i++)
                attend_exactly(data, b, h, i);
    run_kernels(data, 1);
    run_kernels(again, 3);
    for (int a = 0; a < ARRAYS; a++) {
        if (!names[a] || (a == D_BIAS && !test->bias))
            continue;
        double error = error_of(data, a), bound = dtype == TS_BF16 ? 0.02 : 1e-5;
        if (!(error < bound))
            fprintf(stderr, "%s %s: (%d, %d) queries by keys of width %d: %s is wrong by %g\n", ts_isa_name(ts_isa()),
                    ts_dtype_name(dtype), (int)test->queries, (int)test->keys, (int)test->width, names[a], error);
        CU_ASSERT(error < bound);
        CU_ASSERT(memcmp(data->array[a], again->array[a], (size_t)data->elems[a] * ts_dtype_bytes(dtype_of(data, a))) ==
                  0);
    }
    data_free(data);
    data_free(again);
}

static void for_all(const Case *tests, size_t count)
{
    TsIsa widest = ts_isa();
    for (TsIsa isa = TS_ISA_BASE; isa < TS_ISAS && ts_isa_use(isa); isa++)
        for (size_t i = 0; i < count; i++) {
            expect_exact(&tests[i], TS_F32);
            expect_exact(&tests[i], TS_BF16);
        }
    CU_ASSERT(ts_isa_use(widest));
}

/* Around a tile of 64, vectors of 4, 8 and 16, panels of two vectors, blocks of 4, 6 and 8 rows, and 8 queries. */
static void sizes_around_the_tile(void)
{
    static const int64_t sizes[] = {1, 8, 9, 31, 33, 63, 64, 65, 129};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    Case tests[2 * SIZES * SIZES];
    size_t count = 0;
    for (int i = 0; i < SIZES; i++)
        for (int j = 0; j < SIZES; j++) {
            Case test = {.queries = sizes[i], .keys = sizes[j], .width = 8, .heads = 1, .group = 1};
            if ((i + j) % 2 == 0) /* each size with others, causal or not */
                test.causal = j >= i;
            tests[count++] = test;
        }
    for_all(tests, count);
}

static void widths_around_the_vector(void)
{
    static const int64_t widths[] = {1, 3, 15, 16, 17, 64, 65, 80, 130};
    enum { WIDTHS = sizeof widths / sizeof *widths };
    Case tests[2 * WIDTHS];
    for (int i = 0; i < WIDTHS; i++) {
        tests[2 * i] = (Case){.queries = 66, .keys = 70, .width = widths[i], .heads = 2, .group = 1, .causal = true};
        tests[2 * i + 1] = (Case){.queries = 3, .keys = 70, .width = widths[i], .heads = 2, .group = 2, .causal = true};
    }
    for_all(tests, sizeof tests / sizeof *tests);
}

static void options_across_tiles(void)
{
    Case tests[] = {
        {.causal = true, .window = 1},
        {.causal = true, .window = 63},
        {.causal = true, .window = 65},
        {.window = 40},
        {.bias = true},
        {.bias = true, .causal = true, .window = 70},
        {.slopes = true, .causal = true},
        {.slopes = true},
        {.keys_seen = true},
        {.segments = true},
        {.segments = true, .causal = true},
        {.drop_rate = 0.3, .causal = true},
        {.d_logsumexp = true, .causal = true},
        {.causal = true,
         .window = 50,
         .bias = true,
         .slopes = true,
         .keys_seen = true,
         .segments = true,
         .drop_rate = 0.2},
    };
    enum { OPTIONS = sizeof tests / sizeof *tests };
    static const struct {
        int64_t queries, keys;
    } sizes[] = {{130, 130}, {65, 129}, {1, 130}, {7, 67}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int i = 0; i < OPTIONS; i++) {
            tests[i].queries = sizes[s].queries;
            tests[i].keys = sizes[s].keys;
            tests[i].width = 12;
            tests[i].heads = 4;
            tests[i].group = 2;
        }
        for_all(tests, OPTIONS);
    }
}

/* Queries before the first key see none under a causal mask. */
static void queries_that_see_nothing(void)
{
    static const Case tests[] = {
        {.queries = 100, .keys = 40, .width = 8, .heads = 2, .group = 1, .causal = true},
        {.queries = 6, .keys = 2, .width = 8, .heads = 2, .group = 1, .causal = true},
    };
    for_all(tests, sizeof tests / sizeof *tests);
}

TEST_MAIN("attention's tiles", {"sizes around the tile", sizes_around_the_tile},
          {"widths around the vector", widths_around_the_vector}, {"options across tiles", options_across_tiles},
          {"queries that see nothing", queries_that_see_nothing})
