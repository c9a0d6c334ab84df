/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention forward, by the recurrences of FlashAttention-2 (Dao 2023, algorithm 1). For a tile of queries, with m the
 * largest scores so far, l the sums of weights and o the sums of weighted values, each tile of keys does
 *
 *     s   = k q^T                   (keys, queries), q scaled
 *     m'  = max(m, max over keys of s)
 *     p   = exp(s - m')
 *     l   = exp(m - m') l + sum over keys of p
 *     o^T = exp(m - m') o^T + v^T p
 *
 * and in the end out = o / l and logsumexp = m + log l.
 */
#include "tensor/kernels/variants/attend_tile.h"

#include <omp.h>

typedef struct ForwardScratch {
    Real scores[SCORES];    /* (keys, queries) */
    Real extra[2 * SCORES]; /* of adjust_scores and kept_weights */
    Real largest[TILE], sum[TILE];
    Real rest[]; /* rows (TILE, padded), k, v the same; q^T (padded, TILE), out^T the same */
} ForwardScratch;

static size_t forward_scratch_of_thread(const TsAttendShape *shape)
{
    return sizeof(ForwardScratch) + (size_t)(5 * TILE * whole_vecs(shape->width)) * sizeof(Real);
}

static size_t forward_scratch_bytes(const TsAttendShape *shape, int threads)
{
    return (forward_scratch_of_thread(shape) + 63) / 64 * 64 * (size_t)(threads > 1 ? threads : 1);
}

/* New largest scores of a strip's lanes; what was summed against the old ones shrinks with them. */
static void raise_largest(const Real *scores, const Strip *strip, Real *largest, Real *sum, Real *out, int64_t width)
{
    Real top[TILE], shrink[TILE];
    bool raised = false;
    for (int64_t c = 0; c < strip->lanes; c++)
        top[c] = largest[c];
    for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++)
            top[c] = scores[j * TILE + c] > top[c] ? scores[j * TILE + c] : top[c];
    for (int64_t c = 0; c < strip->lanes; c++)
        raised |= top[c] != largest[c];
    if (!raised)
        return;
#pragma omp simd
    for (int64_t c = 0; c < strip->lanes; c++) {
        shrink[c] = top[c] != largest[c] ? real_exp_below(largest[c] - top[c]) : 1;
        largest[c] = top[c];
        sum[c] *= shrink[c];
    }
    for (int64_t d = 0; d < width; d++)
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++)
            out[d * TILE + c] *= shrink[c];
}

/* scores = exp(scores - largest), and their sums over keys. */
static void soften(Real *scores, const Strip *strip, const Real *largest, Real *sum)
{
    Real base[TILE];
    for (int64_t c = 0; c < strip->lanes; c++)
        base[c] = largest[c] == -INFINITY ? 0 : largest[c]; /* nothing is seen so far: all weights are 0 */
    for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++) {
            Real weight = real_exp_below(scores[j * TILE + c] - base[c]);
            scores[j * TILE + c] = weight;
            sum[c] += weight;
        }
}

static void drop(Real *scores, const Strip *strip, const Real *kept)
{
    for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++)
            scores[j * TILE + c] *= kept[j * TILE + c];
}

/* What one strip brings to out^T (padded, TILE). */
static void forward_strip(Real *out, const Strip *strip, const Tile *tile, const Real *q, const Real *k, const Real *v,
                          ForwardScratch *scratch)
{
    int64_t width = tile->shape->width, padded = whole_vecs(width), lane = strip->lane, first = strip->keys.first;
    Real *scores = scratch->scores + lane;
    multiply_rows(&(TileProduct){.c = scores + first * TILE,
                                 .a = k + first * padded,
                                 .b = q + lane,
                                 .row_c = TILE,
                                 .a_row = padded,
                                 .row_b = TILE,
                                 .m = strip->keys.last - first,
                                 .lanes = strip->lanes,
                                 .depth = width});
    adjust_scores(scores, strip, tile, scratch->extra);
    raise_largest(scores, strip, scratch->largest + lane, scratch->sum + lane, out + lane, width);
    soften(scores, strip, scratch->largest + lane, scratch->sum + lane);
    if (tile->shape->drop_rate > 0)
        drop(scores, strip, kept_weights(strip, tile, scratch->extra));
    multiply_columns(&(TileProduct){.c = out + lane,
                                    .a = v + first * padded,
                                    .b = scores + first * TILE,
                                    .row_c = TILE,
                                    .a_step = padded,
                                    .row_b = TILE,
                                    .m = width,
                                    .lanes = strip->lanes,
                                    .depth = strip->keys.last - first,
                                    .add = true});
}

/* out = o / l and logsumexp = m + log l of a tile's queries; rows is room for (TILE, padded). */
static void finish_rows(void *out, void *logsumexp, const Tile *tile, const Real *sums, Real *rows,
                        const ForwardScratch *scratch)
{
    const TsAttendShape *shape = tile->shape;
    int64_t padded = whole_vecs(shape->width);
    transpose_tile(rows, padded, sums, TILE, padded, whole_vecs(tile->rows));
    for (int64_t r = 0; r < tile->rows; r++) {
        int64_t at = (tile->b * shape->queries + tile->query + r) * shape->heads + tile->head;
        Real sum = scratch->sum[r], inverse = sum > 0 || sum != sum ? 1 / sum : 0;
        Stored *to = (Stored *)out + at * shape->width;
        ((Real *)logsumexp)[at] = sum > 0 || sum != sum ? scratch->largest[r] + real_log(sum) : -INFINITY;
#pragma omp simd
        for (int64_t d = 0; d < shape->width; d++)
            to[d] = store(rows[r * padded + d] * inverse);
    }
}

/* One tile of queries of one head against all keys that it sees. */
static void forward_tile(void *out, void *logsumexp, Tile tile, ForwardScratch *scratch)
{
    const TsAttendShape *shape = tile.shape;
    int64_t width = shape->width, tile_elems = TILE * whole_vecs(width), kv_head = tile.head / shape->group;
    Real *rows = scratch->rest, *k = rows + tile_elems, *v = k + tile_elems, *q = v + tile_elems,
         *sums = q + tile_elems;
    Range keys = seen_by_any(shape, tile.query, tile.query + tile.rows);
    Strip strip[TILE / PANEL];
    copy_rows(rows, tile.in->q, shape->queries, shape->heads, width, tile.b, tile.head, tile.query, tile.rows,
              (Real)shape->scale);
    transpose_tile(q, TILE, rows, whole_vecs(width), whole_vecs(tile.rows), whole_vecs(width));
    for (int64_t i = 0; i < tile_elems; i++)
        sums[i] = 0;
    for (int64_t c = 0; c < TILE; c++) {
        scratch->largest[c] = -INFINITY;
        scratch->sum[c] = 0;
    }
    for (tile.key = keys.first / TILE * TILE; tile.key < keys.last; tile.key += TILE) {
        tile.columns = smaller(TILE, shape->keys - tile.key);
        copy_rows(k, tile.in->k, shape->keys, shape->kv_heads, width, tile.b, kv_head, tile.key, tile.columns, 1);
        copy_rows(v, tile.in->v, shape->keys, shape->kv_heads, width, tile.b, kv_head, tile.key, tile.columns, 1);
        int strips = strips_of(strip, &tile);
        for (int s = 0; s < strips; s++)
            forward_strip(sums, &strip[s], &tile, q, k, v, scratch);
    }
    finish_rows(out, logsumexp, &tile, sums, rows, scratch);
}

static void forward(void *out, void *logsumexp, const TsAttendIn *in, const TsAttendShape *shape, void *scratch,
                    int threads)
{
    int64_t tiles = (shape->queries + TILE - 1) / TILE, pairs = shape->batch * shape->heads, work = pairs * tiles;
    size_t of_thread = forward_scratch_bytes(shape, 1);
    threads = threads_worth(threads, pairs * shape->queries * (shape->keys + shape->width));
    threads = (int)smaller(threads, work > 0 ? work : 1);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (int64_t piece = 0; piece < work; piece++) {
        /* Tiles of one head one after the other, for its keys stay in the cache; the longest first, for later queries
         * see more keys. */
        int64_t query = (tiles - 1 - piece % tiles) * TILE, pair = piece / tiles;
        Tile tile = {.in = in,
                     .shape = shape,
                     .b = pair / shape->heads,
                     .head = pair % shape->heads,
                     .query = query,
                     .rows = smaller(TILE, shape->queries - query)};
        size_t mine = (size_t)(threads > 1 ? omp_get_thread_num() : 0) * of_thread;
        forward_tile(out, logsumexp, tile, (ForwardScratch *)((char *)scratch + mine));
    }
}

const TsAttendKernels TS_TABLE(ts_attend_kernels) = {
    .forward = forward,
    .forward_scratch_bytes = forward_scratch_bytes,
    .backward = TS_TABLE(ts_attend_backward),
    .backward_scratch_bytes = TS_TABLE(ts_attend_backward_scratch_bytes),
};
