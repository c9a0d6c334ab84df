/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/real_math.h"

#include <omp.h>

#include "tensor/kernels/attend.h"
#include "tensor/matmul.h"

/* Queries and keys of a tile: a tile of scores is 64 KiB of f32. */
enum { TILE = 128, SCORES = TILE * TILE };

#if defined(TS_VARIANT_F64)
#define REAL_DTYPE TS_F64
#else
#define REAL_DTYPE TS_F32
#endif

/* Rows of one head as numbers to compute with: where they lie, or a copy of them. */
typedef struct Rows {
    const Real *data;
    int64_t step; /* from one row to the next */
} Rows;

/* `rows` rows from `first` of head `head` of batch entry b; x (batch, length, heads, width). */
static Rows rows_of(const void *x, int64_t b, int64_t length, int64_t heads, int64_t head, int64_t width, int64_t first,
                    int64_t rows, Real *copy)
{
    const Stored *at = (const Stored *)x + ((b * length + first) * heads + head) * width;
#ifdef TS_VARIANT_BF16
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < width; d++)
            copy[r * width + d] = load(at[r * heads * width + d]);
    return (Rows){copy, width};
#else
    (void)rows;
    (void)copy;
    return (Rows){at, heads * width};
#endif
}

/* c (m, n) = alpha op(a) op(b) + beta c. */
static void multiply(Real *c, int64_t row_c, Rows a, bool transpose_a, Rows b, bool transpose_b, int64_t m, int64_t n,
                     int64_t k, double alpha, double beta)
{
    ts_matmul(&(TsMatmul){
        .c = c,
        .a = a.data,
        .b = b.data,
        .m = m,
        .n = n,
        .k = k,
        .row_a = a.step,
        .row_b = b.step,
        .row_c = row_c,
        .transpose_a = transpose_a,
        .transpose_b = transpose_b,
        .dtype = REAL_DTYPE,
        .alpha = alpha,
        .beta = beta,
        .threads = 1,
    });
}

/* The keys [first, last) that query i sees. */
typedef struct Range {
    int64_t first, last;
} Range;

static Range seen_by(const TsAttendShape *shape, int64_t query)
{
    int64_t position = shape->query_first + query;
    int64_t first = shape->window ? position - shape->window + 1 : 0;
    int64_t last = shape->causal ? position + 1 : shape->keys;
    first = first > 0 ? smaller(first, shape->keys) : 0;
    last = last > first ? smaller(last, shape->keys) : first;
    return (Range){first, last};
}

/* The keys that any of the queries [first, last) sees. */
static Range seen_by_any(const TsAttendShape *shape, int64_t first, int64_t last)
{
    return (Range){seen_by(shape, first).first, seen_by(shape, last - 1).last};
}

/* The columns of the tile of keys [key, key + columns) that query i sees. */
static Range seen_in_tile(const TsAttendShape *shape, int64_t query, int64_t key, int64_t columns)
{
    Range seen = seen_by(shape, query);
    int64_t first = seen.first > key ? smaller(seen.first - key, columns) : 0;
    int64_t last = seen.last > key ? smaller(seen.last - key, columns) : 0;
    return (Range){first, last > first ? last : first};
}

/* Adds to a row of scores what depends on the places, and hides what is not to be seen. */
static void adjust_row(Real *scores, Range seen, const TsAttendIn *in, const TsAttendShape *shape, int64_t b,
                       int64_t head, int64_t query, int64_t key)
{
    if (in->bias) {
        const Real *bias = (const Real *)in->bias + (head * shape->queries + query) * shape->keys + key;
        for (int64_t c = seen.first; c < seen.last; c++)
            scores[c] += bias[c];
    }
    if (in->slopes) {
        Real slope = ((const Real *)in->slopes)[head];
        int64_t distance = shape->query_first + query - key;
        for (int64_t c = seen.first; c < seen.last; c++)
            scores[c] -= slope * (Real)(distance > c ? distance - c : c - distance);
    }
    if (in->keys_seen)
        for (int64_t c = seen.first; c < seen.last; c++)
            scores[c] = in->keys_seen[b * shape->keys + key + c] ? scores[c] : -INFINITY;
    if (in->query_segments) {
        int32_t segment = in->query_segments[b * shape->queries + query];
        for (int64_t c = seen.first; c < seen.last; c++)
            scores[c] = in->key_segments[b * shape->keys + key + c] == segment ? scores[c] : -INFINITY;
    }
}

/* What the weights of a row are multiplied by: 0 where dropped, else 1 / (1 - rate). */
static void fill_kept(Real *kept, Range seen, const TsAttendShape *shape, int64_t b, int64_t head, int64_t query,
                      int64_t key)
{
    uint32_t bits[TILE];
    const uint64_t threshold = (uint64_t)(shape->drop_rate * 4294967296.0);
    const Real scale = (Real)(shape->drop_rate < 1 ? 1 / (1 - shape->drop_rate) : 0);
    int64_t row = (shape->batch_first + b) * shape->whole_heads + shape->head_first + head;
    int64_t first = (row * shape->queries + query) * shape->keys + key + seen.first;
    ts_stream_fill_bits(shape->stream, bits, first, seen.last - seen.first);
    for (int64_t c = seen.first; c < seen.last; c++)
        kept[c] = bits[c - seen.first] >= threshold ? scale : 0;
}

/* ---- forward ---- */

typedef struct ForwardScratch {
    Real scores[SCORES];
    Real largest[TILE], sum[TILE];
    Real rest[]; /* sums (TILE, width), copies of q, k, v (TILE, width) each */
} ForwardScratch;

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t forward_scratch_of_thread(const TsAttendShape *shape)
{
    return rounded(sizeof(ForwardScratch) + (size_t)(4 * TILE * shape->width) * sizeof(Real));
}

static size_t forward_scratch_bytes(const TsAttendShape *shape, int threads)
{
    return forward_scratch_of_thread(shape) * (size_t)(threads > 1 ? threads : 1);
}

/* Turns a row of scores into exp(score - largest so far), and keeps the row's largest, sum and weighted values in step
 * with that. */
static void soften_row(Real *scores, Range seen, int64_t columns, Real *largest, Real *sum, Real *values, int64_t width)
{
    Real top = *largest, total = 0, base;
#pragma omp simd reduction(max : top)
    for (int64_t c = seen.first; c < seen.last; c++)
        top = scores[c] > top ? scores[c] : top;
    for (int64_t c = 0; c < seen.first; c++)
        scores[c] = 0;
    for (int64_t c = seen.last; c < columns; c++)
        scores[c] = 0;
    if (seen.first == seen.last)
        return;
    base = top == -INFINITY ? 0 : top; /* nothing is seen so far: all weights are 0 */
#pragma omp simd reduction(+ : total)
    for (int64_t c = seen.first; c < seen.last; c++) {
        scores[c] = real_exp_below(scores[c] - base);
        total += scores[c];
    }
    if (top != *largest) {
        Real shrink = real_exp_below(*largest - top);
#pragma omp simd
        for (int64_t d = 0; d < width; d++)
            values[d] *= shrink;
        *sum *= shrink;
        *largest = top;
    }
    *sum += total;
}

static void finish_rows(const TsAttendShape *shape, void *out, void *logsumexp, int64_t b, int64_t head, int64_t query,
                        int64_t rows, const ForwardScratch *scratch)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = (b * shape->queries + query + r) * shape->heads + head;
        Real sum = scratch->sum[r], inverse = sum > 0 || sum != sum ? 1 / sum : 0;
        const Real *values = scratch->rest + r * shape->width;
        Stored *to = (Stored *)out + at * shape->width;
        ((Real *)logsumexp)[at] = sum > 0 || sum != sum ? scratch->largest[r] + real_log(sum) : -INFINITY;
        for (int64_t d = 0; d < shape->width; d++)
            to[d] = store(values[d] * inverse);
    }
}

/* One tile of queries of one head against all keys that it sees. */
static void forward_tile(void *out, void *logsumexp, const TsAttendIn *in, const TsAttendShape *shape, int64_t b,
                         int64_t head, int64_t query, ForwardScratch *scratch)
{
    int64_t width = shape->width, rows = smaller(TILE, shape->queries - query), kv_head = head / shape->group;
    Real *values = scratch->rest, *copies = values + TILE * width;
    Rows q = rows_of(in->q, b, shape->queries, shape->heads, head, width, query, rows, copies);
    Range keys = seen_by_any(shape, query, query + rows);
    for (int64_t i = 0; i < rows * width; i++)
        values[i] = 0;
    for (int64_t r = 0; r < rows; r++) {
        scratch->largest[r] = -INFINITY;
        scratch->sum[r] = 0;
    }
    for (int64_t key = keys.first / TILE * TILE; key < keys.last; key += TILE) {
        int64_t columns = smaller(TILE, shape->keys - key);
        Rows k = rows_of(in->k, b, shape->keys, shape->kv_heads, kv_head, width, key, columns, copies + TILE * width);
        Rows v =
            rows_of(in->v, b, shape->keys, shape->kv_heads, kv_head, width, key, columns, copies + 2 * TILE * width);
        multiply(scratch->scores, columns, q, false, k, true, rows, columns, width, shape->scale, 0);
        for (int64_t r = 0; r < rows; r++) {
            Real *scores = scratch->scores + r * columns, kept[TILE];
            Range seen = seen_in_tile(shape, query + r, key, columns);
            adjust_row(scores, seen, in, shape, b, head, query + r, key);
            soften_row(scores, seen, columns, &scratch->largest[r], &scratch->sum[r], values + r * width, width);
            if (shape->drop_rate > 0) {
                fill_kept(kept, seen, shape, b, head, query + r, key);
                for (int64_t c = seen.first; c < seen.last; c++)
                    scores[c] *= kept[c];
            }
        }
        multiply(values, width, (Rows){scratch->scores, columns}, false, v, false, rows, width, columns, 1, 1);
    }
    finish_rows(shape, out, logsumexp, b, head, query, rows, scratch);
}

static void forward(void *out, void *logsumexp, const TsAttendIn *in, const TsAttendShape *shape, void *scratch,
                    int threads)
{
    int64_t tiles = (shape->queries + TILE - 1) / TILE, work = shape->batch * shape->heads * tiles;
    threads = threads_worth(threads, shape->batch * shape->heads * shape->queries * (shape->keys + shape->width));
    threads = (int)smaller(threads, work > 0 ? work : 1);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (int64_t piece = 0; piece < work; piece++) {
        /* The longest first: later queries see more keys. */
        int64_t tile = tiles - 1 - piece / (shape->batch * shape->heads), pair = piece % (shape->batch * shape->heads);
        size_t mine = (size_t)(threads > 1 ? omp_get_thread_num() : 0) * forward_scratch_of_thread(shape);
        forward_tile(out, logsumexp, in, shape, pair / shape->heads, pair % shape->heads, tile * TILE,
                     (ForwardScratch *)((char *)scratch + mine));
    }
}

/* ---- backward ---- */

typedef struct BackwardScratch {
    Real weights[SCORES], d_weights[SCORES];
    Real rest[]; /* d_k, d_v, copies of q, d_out, k, v (TILE, width) each; delta (group, queries); bf16: d_q (group,
                    queries, width) */
} BackwardScratch;

static size_t backward_scratch_of_thread(const TsAttendShape *shape)
{
    int64_t reals = 6 * TILE * shape->width + shape->group * shape->queries;
#ifdef TS_VARIANT_BF16
    reals += shape->group * shape->queries * shape->width;
#endif
    return rounded(sizeof(BackwardScratch) + (size_t)reals * sizeof(Real));
}

static size_t backward_scratch_bytes(const TsAttendShape *shape, int threads)
{
    return backward_scratch_of_thread(shape) * (size_t)(threads > 1 ? threads : 1);
}

/* What the queries of one key head share while they are gone through. */
typedef struct Backward {
    const TsAttendIn *in;
    const TsAttendShape *shape;
    int64_t b, kv_head, head_first; /* heads [head_first, head_first + group) */
    Real *weights, *d_weights, *d_k, *d_v, *copies, *delta;
    Real *d_bias; /* (heads, queries, keys), or NULL */
    Real *d_q;    /* sums: row i of head g of the group is at i * d_q_row + g * d_q_head */
    int64_t d_q_row, d_q_head;
} Backward;

/* delta = sum over the width of d_out * out, less what comes from the logsumexp itself. */
static void fill_delta(const Backward *w)
{
    const TsAttendShape *shape = w->shape;
    for (int64_t g = 0; g < shape->group; g++)
        for (int64_t i = 0; i < shape->queries; i++) {
            int64_t at = (w->b * shape->queries + i) * shape->heads + w->head_first + g;
            const Stored *out = (const Stored *)w->in->out + at * shape->width;
            const Stored *d_out = (const Stored *)w->in->d_out + at * shape->width;
            Real sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t d = 0; d < shape->width; d++)
                sum += load(out[d]) * load(d_out[d]);
            if (w->in->d_logsumexp)
                sum -= ((const Real *)w->in->d_logsumexp)[at];
            w->delta[g * shape->queries + i] = sum;
        }
}

/* weights = exp(score - logsumexp) where seen, else 0; d_weights = weights * (d_weights - delta). With `kept`, weights
 * and what came to d_weights are multiplied by it. */
static void backward_row(Real *weights, Real *d_weights, const Real *kept, Range seen, int64_t columns, Real logsumexp,
                         Real delta)
{
    if (logsumexp == -INFINITY) /* no key was seen */
        seen.last = seen.first;
    for (int64_t c = 0; c < seen.first; c++)
        weights[c] = d_weights[c] = 0;
    for (int64_t c = seen.last; c < columns; c++)
        weights[c] = d_weights[c] = 0;
#pragma omp simd
    for (int64_t c = seen.first; c < seen.last; c++) {
        weights[c] = real_exp_below(weights[c] - logsumexp);
        d_weights[c] = weights[c] * ((kept ? d_weights[c] * kept[c] : d_weights[c]) - delta);
        weights[c] = kept ? weights[c] * kept[c] : weights[c];
    }
}

/* Rows of one tile: from scores and products of d_out with v to the weights and to the gradient of the scores. */
static void backward_rows(const Backward *w, int64_t head, int64_t query, int64_t key, int64_t rows, int64_t columns)
{
    const TsAttendShape *shape = w->shape;
    for (int64_t r = 0; r < rows; r++) {
        Real *weights = w->weights + r * columns, *d_weights = w->d_weights + r * columns, kept[TILE];
        int64_t at = (w->b * shape->queries + query + r) * shape->heads + head;
        Range seen = seen_in_tile(shape, query + r, key, columns);
        adjust_row(weights, seen, w->in, shape, w->b, head, query + r, key);
        if (shape->drop_rate > 0)
            fill_kept(kept, seen, shape, w->b, head, query + r, key);
        backward_row(weights, d_weights, shape->drop_rate > 0 ? kept : NULL, seen, columns,
                     ((const Real *)w->in->logsumexp)[at],
                     w->delta[(head - w->head_first) * shape->queries + query + r]);
        Real *d_bias = w->d_bias ? w->d_bias + (head * shape->queries + query + r) * shape->keys + key : NULL;
        for (int64_t c = 0; d_bias && c < columns; c++)
            d_bias[c] += d_weights[c];
    }
}

/* One tile of queries of head g of the group with one tile of keys. */
static void backward_tile(const Backward *w, int64_t g, int64_t query, int64_t key, Rows k, Rows v, int64_t columns)
{
    const TsAttendShape *shape = w->shape;
    int64_t width = shape->width, rows = smaller(TILE, shape->queries - query), head = w->head_first + g;
    Rows q = rows_of(w->in->q, w->b, shape->queries, shape->heads, head, width, query, rows, w->copies);
    Rows d_out =
        rows_of(w->in->d_out, w->b, shape->queries, shape->heads, head, width, query, rows, w->copies + TILE * width);
    multiply(w->weights, columns, q, false, k, true, rows, columns, width, shape->scale, 0);
    multiply(w->d_weights, columns, d_out, false, v, true, rows, columns, width, 1, 0);
    backward_rows(w, head, query, key, rows, columns);
    Rows weights = {w->weights, columns}, d_weights = {w->d_weights, columns};
    multiply(w->d_v, width, weights, true, d_out, false, columns, width, rows, 1, 1);
    multiply(w->d_k, width, d_weights, true, q, false, columns, width, rows, shape->scale, 1);
    multiply(w->d_q + query * w->d_q_row + g * w->d_q_head, w->d_q_row, d_weights, false, k, false, rows, width,
             columns, shape->scale, 1);
}

static void store_rows(void *x, const TsAttendShape *shape, int64_t b, int64_t kv_head, int64_t key, int64_t rows,
                       const Real *values)
{
    for (int64_t r = 0; r < rows; r++) {
        Stored *to = (Stored *)x + ((b * shape->keys + key + r) * shape->kv_heads + kv_head) * shape->width;
        for (int64_t d = 0; d < shape->width; d++)
            to[d] = store(values[r * shape->width + d]);
    }
}

/* One tile of keys against all queries that see any of it. */
static void backward_keys(const Backward *w, void *d_k, void *d_v, int64_t key)
{
    const TsAttendShape *shape = w->shape;
    int64_t width = shape->width, columns = smaller(TILE, shape->keys - key);
    Rows k = rows_of(w->in->k, w->b, shape->keys, shape->kv_heads, w->kv_head, width, key, columns,
                     w->copies + 2 * TILE * width);
    Rows v = rows_of(w->in->v, w->b, shape->keys, shape->kv_heads, w->kv_head, width, key, columns,
                     w->copies + 3 * TILE * width);
    for (int64_t i = 0; i < columns * width; i++)
        w->d_k[i] = w->d_v[i] = 0;
    for (int64_t g = 0; g < shape->group; g++)
        for (int64_t query = 0; query < shape->queries; query += TILE) {
            Range seen = seen_by_any(shape, query, query + smaller(TILE, shape->queries - query));
            if (seen.first < key + columns && seen.last > key)
                backward_tile(w, g, query, key, k, v, columns);
        }
    store_rows(d_k, shape, w->b, w->kv_head, key, columns, w->d_k);
    store_rows(d_v, shape, w->b, w->kv_head, key, columns, w->d_v);
}

/* Row i of head g of the group in d_q. */
static Stored *d_q_row_of(void *d_q, const Backward *w, int64_t g, int64_t i)
{
    const TsAttendShape *shape = w->shape;
    return (Stored *)d_q + ((w->b * shape->queries + i) * shape->heads + w->head_first + g) * shape->width;
}

/* All that belongs to one key head: its queries' d_q, its own d_k and d_v. */
static void backward_head(void *d_q, void *d_k, void *d_v, void *d_bias, const TsAttendIn *in,
                          const TsAttendShape *shape, int64_t b, int64_t kv_head, BackwardScratch *scratch)
{
    int64_t tile = TILE * shape->width;
    Real *rest = scratch->rest;
    Backward w = {
        .in = in,
        .shape = shape,
        .b = b,
        .kv_head = kv_head,
        .d_bias = d_bias,
        .head_first = kv_head * shape->group,
        .weights = scratch->weights,
        .d_weights = scratch->d_weights,
        .d_k = rest,
        .d_v = rest + tile,
        .copies = rest + 2 * tile,
        .delta = rest + 6 * tile,
    };
#ifdef TS_VARIANT_BF16
    w.d_q = w.delta + shape->group * shape->queries;
    w.d_q_row = shape->width;
    w.d_q_head = shape->queries * shape->width;
#else
    w.d_q = d_q_row_of(d_q, &w, 0, 0);
    w.d_q_row = shape->heads * shape->width;
    w.d_q_head = shape->width;
#endif
    for (int64_t g = 0; g < shape->group; g++)
        for (int64_t i = 0; i < shape->queries; i++)
            for (int64_t d = 0; d < shape->width; d++)
                w.d_q[i * w.d_q_row + g * w.d_q_head + d] = 0;
    fill_delta(&w);
    for (int64_t key = 0; key < shape->keys; key += TILE)
        backward_keys(&w, d_k, d_v, key);
#ifdef TS_VARIANT_BF16
    for (int64_t g = 0; g < shape->group; g++)
        for (int64_t i = 0; i < shape->queries; i++)
            for (int64_t d = 0; d < shape->width; d++)
                d_q_row_of(d_q, &w, g, i)[d] = store(w.d_q[i * w.d_q_row + g * w.d_q_head + d]);
#endif
}

/* The gradient of the bias is summed over the batch, by one thread for each head: a piece is then a head of all the
 * batch, else of one entry. */
static void backward(void *d_q, void *d_k, void *d_v, void *d_bias, const TsAttendIn *in, const TsAttendShape *shape,
                     void *scratch, int threads)
{
    int64_t entries = d_bias ? shape->batch : 1, work = shape->batch * shape->kv_heads;
    if (d_bias) {
        memset(d_bias, 0, (size_t)(shape->heads * shape->queries * shape->keys) * sizeof(Real));
        work = shape->kv_heads;
    }
    threads = threads_worth(threads, shape->batch * shape->heads * shape->queries * (shape->keys + shape->width));
    threads = (int)smaller(threads, work > 0 ? work : 1);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (int64_t pair = 0; pair < work; pair++) {
        size_t mine = (size_t)(threads > 1 ? omp_get_thread_num() : 0) * backward_scratch_of_thread(shape);
        for (int64_t entry = 0; entry < entries; entry++)
            backward_head(d_q, d_k, d_v, d_bias, in, shape, pair / shape->kv_heads + entry, pair % shape->kv_heads,
                          (BackwardScratch *)((char *)scratch + mine));
    }
}

const TsAttendKernels TS_TABLE(ts_attend_kernels) = {
    .forward = forward,
    .forward_scratch_bytes = forward_scratch_bytes,
    .backward = backward,
    .backward_scratch_bytes = backward_scratch_bytes,
};
