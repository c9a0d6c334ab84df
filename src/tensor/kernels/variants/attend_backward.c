/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention backward, by FlashAttention-2 (Dao 2023, algorithm 2), which computes the weights again from logsumexp L.
 * For a tile of queries, with delta = sum over the width of d_out * out, each tile of keys does
 *
 *     s     = k q^T                  (keys, queries), q scaled         p   = exp(s - L)
 *     d_p   = v d_out^T                                                d_s = p * (d_p - delta)
 *     d_v  += p d_out                d_k += d_s q                      d_q^T += k^T d_s
 *
 * A piece of work is one key head with all its query heads, so that d_k and d_v are summed by one thread: the same bits
 * for any number of threads.
 */
#include "tensor/kernels/variants/attend_tile.h"

#include <omp.h>

typedef struct BackwardScratch {
    Real scores[SCORES], d_scores[SCORES]; /* (keys, queries) */
    Real extra[2 * SCORES];                /* of adjust_scores and kept_weights */
    Real logsumexp[TILE], delta[TILE];
    Real rest[]; /* what Backward names */
} BackwardScratch;

/* What the queries of one key head share while they are gone through; padded is the width in whole vectors. */
typedef struct Backward {
    BackwardScratch *scratch;
    int64_t padded;
    Real *k, *v;                   /* (TILE, padded) */
    Real *q, *d_out;               /* (TILE, padded), q scaled */
    Real *q_across, *d_out_across; /* (padded, TILE): the same transposed */
    Real *d_q_across;              /* (padded, TILE) */
    Real *d_k, *d_v;               /* (keys, padded) */
    Real *d_bias;                  /* (heads, queries, keys), or NULL */
} Backward;

enum { TILES_OF_ROWS = 7 }; /* in rest, before d_k and d_v */

static size_t backward_scratch_of_thread(const TsAttendShape *shape)
{
    int64_t reals = (TILES_OF_ROWS * TILE + 2 * shape->keys) * whole_vecs(shape->width);
    return (sizeof(BackwardScratch) + (size_t)reals * sizeof(Real) + 63) / 64 * 64;
}

size_t TS_TABLE(ts_attend_backward_scratch_bytes)(const TsAttendShape *shape, int threads)
{
    return backward_scratch_of_thread(shape) * (size_t)(threads > 1 ? threads : 1);
}

static Backward backward_in(BackwardScratch *scratch, const TsAttendShape *shape, void *d_bias)
{
    Backward w = {.scratch = scratch, .padded = whole_vecs(shape->width), .d_bias = d_bias};
    Real *rest = scratch->rest;
    Real **tiles[TILES_OF_ROWS] = {&w.k, &w.v, &w.q, &w.d_out, &w.q_across, &w.d_out_across, &w.d_q_across};
    for (int i = 0; i < TILES_OF_ROWS; i++, rest += TILE * w.padded)
        *tiles[i] = rest;
    w.d_k = rest;
    w.d_v = rest + shape->keys * w.padded;
    return w;
}

/* delta and logsumexp of a tile's queries. Where no key was seen, and in lanes that are no query, logsumexp becomes
 * infinity, so that all weights are 0. delta is less what comes from the gradient of the logsumexp itself. */
static void fill_lanes(const Backward *w, const Tile *tile)
{
    const TsAttendShape *shape = tile->shape;
    for (int64_t c = 0; c < TILE; c++) {
        Real sum = 0, logsumexp = INFINITY;
        if (c < tile->rows) {
            int64_t at = (tile->b * shape->queries + tile->query + c) * shape->heads + tile->head;
            const Stored *out = row_of(tile->in->out, queries_of(tile), c);
            const Stored *d_out = row_of(tile->in->d_out, queries_of(tile), c);
#pragma omp simd reduction(+ : sum)
            for (int64_t d = 0; d < shape->width; d++)
                sum += load(out[d]) * load(d_out[d]);
            if (tile->in->d_logsumexp)
                sum -= ((const Real *)tile->in->d_logsumexp)[at];
            logsumexp = ((const Real *)tile->in->logsumexp)[at];
        }
        w->scratch->delta[c] = sum;
        w->scratch->logsumexp[c] = logsumexp == -INFINITY ? INFINITY : logsumexp;
    }
}

/* scores to weights p, d_scores from d_p to p * (d_p - delta); both are 0 where a key is hidden. With `kept`, p and d_p
 * are multiplied by it. */
TS_ALWAYS_INLINE void differentiate(Real *scores, Real *d_scores, const Strip *strip, const Real *logsumexp,
                                    const Real *delta, const Real *kept)
{
    for (int64_t j = strip->keys.first; j < strip->keys.last; j++) {
        Real *p = scores + j * TILE, *d_p = d_scores + j * TILE;
        const Real *of_key = kept ? kept + j * TILE : NULL;
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++) {
            Real weight = real_exp_below(p[c] - logsumexp[c]);
            Real d_weight = kept ? d_p[c] * of_key[c] : d_p[c];
            d_p[c] = weight != 0 ? weight * (d_weight - delta[c]) : 0;
            p[c] = kept ? weight * of_key[c] : weight;
        }
    }
}

/* The part of the products with q and d_out: scores and d_scores of a strip, as they come to `differentiate`. */
static void multiply_by_queries(const Backward *w, const Strip *strip, int64_t width)
{
    int64_t first = strip->keys.first;
    TileProduct product = {.c = w->scratch->scores + first * TILE + strip->lane,
                           .a = w->k + first * w->padded,
                           .b = w->q_across + strip->lane,
                           .row_c = TILE,
                           .a_row = w->padded,
                           .row_b = TILE,
                           .m = strip->keys.last - first,
                           .lanes = strip->lanes,
                           .depth = width};
    multiply_rows(&product);
    product.c = w->scratch->d_scores + first * TILE + strip->lane;
    product.a = w->v + first * w->padded;
    product.b = w->d_out_across + strip->lane;
    multiply_rows(&product);
}

/* What a strip brings to d_k, d_v and d_q. */
static void add_gradients(const Backward *w, const Strip *strip, const Tile *tile)
{
    int64_t first = strip->keys.first, keys = strip->keys.last - first;
    TileProduct of_key = {.c = w->d_v + (tile->key + first) * w->padded,
                          .a = w->scratch->scores + first * TILE + strip->lane,
                          .b = w->d_out + strip->lane * w->padded,
                          .row_c = w->padded,
                          .a_row = TILE,
                          .row_b = w->padded,
                          .m = keys,
                          .lanes = w->padded,
                          .depth = smaller(strip->lanes, tile->rows - strip->lane),
                          .add = true};
    multiply_rows(&of_key);
    of_key.c = w->d_k + (tile->key + first) * w->padded;
    of_key.a = w->scratch->d_scores + first * TILE + strip->lane;
    of_key.b = w->q + strip->lane * w->padded;
    multiply_rows(&of_key);
    multiply_columns(&(TileProduct){.c = w->d_q_across + strip->lane,
                                    .a = w->k + first * w->padded,
                                    .b = w->scratch->d_scores + first * TILE + strip->lane,
                                    .row_c = TILE,
                                    .a_step = w->padded,
                                    .row_b = TILE,
                                    .m = tile->shape->width,
                                    .lanes = strip->lanes,
                                    .depth = keys,
                                    .add = true});
}

static void add_d_bias(const Backward *w, const Strip *strip, const Tile *tile)
{
    Real *rows = w->scratch->extra; /* (lanes, TILE) */
    int64_t real = smaller(strip->lanes, tile->rows - strip->lane);
    transpose_tile(rows, TILE, w->scratch->d_scores + strip->lane, TILE, TILE, strip->lanes);
    for (int64_t c = 0; c < real; c++) {
        int64_t row = tile->head * tile->shape->queries + tile->query + strip->lane + c;
        Real *d_bias = w->d_bias + row * tile->shape->keys + tile->key;
        for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
            d_bias[j] += rows[c * TILE + j];
    }
}

static void backward_strip(const Backward *w, const Strip *strip, const Tile *tile)
{
    BackwardScratch *scratch = w->scratch;
    Real *scores = scratch->scores + strip->lane, *d_scores = scratch->d_scores + strip->lane;
    const Real *logsumexp = scratch->logsumexp + strip->lane, *delta = scratch->delta + strip->lane;
    multiply_by_queries(w, strip, tile->shape->width);
    adjust_scores(scores, strip, tile, scratch->extra);
    if (tile->shape->drop_rate > 0)
        differentiate(scores, d_scores, strip, logsumexp, delta, kept_weights(strip, tile, scratch->extra));
    else
        differentiate(scores, d_scores, strip, logsumexp, delta, NULL);
    if (w->d_bias)
        add_d_bias(w, strip, tile);
    add_gradients(w, strip, tile);
}

/* One tile of queries of one head against all keys that it sees. */
static void backward_tile(const Backward *w, void *d_q, Tile tile)
{
    const TsAttendShape *shape = tile.shape;
    int64_t lanes = whole_vecs(tile.rows);
    Range keys = seen_by_any(shape, tile.query, tile.query + tile.rows);
    Strip strip[TILE / PANEL];
    copy_rows(w->q, tile.in->q, queries_of(&tile), (Real)shape->scale);
    copy_rows(w->d_out, tile.in->d_out, queries_of(&tile), 1);
    transpose_tile(w->q_across, TILE, w->q, w->padded, lanes, w->padded);
    transpose_tile(w->d_out_across, TILE, w->d_out, w->padded, lanes, w->padded);
    for (int64_t i = 0; i < TILE * w->padded; i++)
        w->d_q_across[i] = 0;
    fill_lanes(w, &tile);
    for (tile.key = keys.first / TILE * TILE; tile.key < keys.last; tile.key += TILE) {
        tile.columns = smaller(TILE, shape->keys - tile.key);
        copy_rows(w->k, tile.in->k, keys_of(&tile), 1);
        copy_rows(w->v, tile.in->v, keys_of(&tile), 1);
        int strips = strips_of(strip, &tile);
        for (int s = 0; s < strips; s++)
            backward_strip(w, &strip[s], &tile);
    }
    transpose_tile(w->q, w->padded, w->d_q_across, TILE, w->padded, lanes);
    store_rows(d_q, queries_of(&tile), w->q, (Real)shape->scale);
}

/* All that belongs to one key head: its queries' d_q, its own d_k and d_v. */
static void backward_head(const Backward *w, void *d_q, void *d_k, void *d_v, const TsAttendIn *in,
                          const TsAttendShape *shape, int64_t b, int64_t kv_head)
{
    for (int64_t i = 0; i < 2 * shape->keys * w->padded; i++)
        w->d_k[i] = 0; /* and d_v, which lies behind it */
    for (int64_t head = kv_head * shape->group; head < (kv_head + 1) * shape->group; head++)
        for (int64_t query = 0; query < shape->queries; query += TILE)
            backward_tile(w, d_q,
                          (Tile){.in = in,
                                 .shape = shape,
                                 .b = b,
                                 .head = head,
                                 .query = query,
                                 .rows = smaller(TILE, shape->queries - query)});
    HeadRows all = {b, shape->keys, shape->kv_heads, kv_head, shape->width, 0, shape->keys};
    store_rows(d_k, all, w->d_k, 1);
    store_rows(d_v, all, w->d_v, 1);
}

/* The gradient of the bias is summed over the batch, by one thread for each head: a piece is then a head of all the
 * batch, else of one entry. */
void TS_TABLE(ts_attend_backward)(void *d_q, void *d_k, void *d_v, void *d_bias, const TsAttendIn *in,
                                  const TsAttendShape *shape, void *scratch, int threads)
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
        Backward w = backward_in((BackwardScratch *)((char *)scratch + mine), shape, d_bias);
        for (int64_t entry = 0; entry < entries; entry++)
            backward_head(&w, d_q, d_k, d_v, in, shape, pair / shape->kv_heads + entry, pair % shape->kv_heads);
    }
}
