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
#include "tensor/kernels/variants/stream.h"

#include <omp.h>

/* A few queries, as of decoding, fill no vector: their scores are products of rows along the width, keys are read once
 * for all query heads that share them, and nothing but what they take from memory matters. */
enum { FEW = 8, FEW_ROWS = (FEW + LANES - 1) / LANES * LANES };

typedef struct ForwardScratch {
    Real scores[SCORES];    /* (keys, queries) */
    Real extra[2 * SCORES]; /* of adjust_scores and kept_weights */
    Real rest[];            /* what ManyQueries or FewQueries name */
} ForwardScratch;

/* The running state of queries that are lanes: m and l above. */
typedef struct State {
    Real largest[TILE], sum[TILE];
} State;

/* Room for a tile of queries of one head; padded is the width in whole vectors. */
typedef struct ManyQueries {
    ForwardScratch *scratch;
    State *state;
    int64_t padded;
    Real *rows, *k, *v;    /* (TILE, padded) */
    Real *q_across, *sums; /* (padded, TILE): q^T scaled, and o^T */
} ManyQueries;

/* Room for the queries of all heads that share a key head. */
typedef struct FewQueries {
    ForwardScratch *scratch;
    State *state; /* (group) */
    int64_t padded;
    Real *change;   /* (TILE, TILE), of adjust_few */
    Real *k, *v;    /* (TILE, padded) */
    Real *q, *sums; /* (group, FEW_ROWS, padded): q scaled, and o */
} FewQueries;

static ManyQueries many_queries_in(ForwardScratch *scratch, const TsAttendShape *shape)
{
    int64_t padded = whole_vecs(shape->width);
    Real *rest = scratch->rest + sizeof(State) / sizeof(Real), *rows = rest;
    return (ManyQueries){.scratch = scratch,
                         .state = (State *)scratch->rest,
                         .padded = padded,
                         .rows = rows,
                         .k = rows + TILE * padded,
                         .v = rows + 2 * TILE * padded,
                         .q_across = rows + 3 * TILE * padded,
                         .sums = rows + 4 * TILE * padded};
}

static FewQueries few_queries_in(ForwardScratch *scratch, const TsAttendShape *shape)
{
    int64_t padded = whole_vecs(shape->width);
    Real *change = scratch->rest + shape->group * (int64_t)(sizeof(State) / sizeof(Real)), *rows = change + SCORES;
    return (FewQueries){.scratch = scratch,
                        .state = (State *)scratch->rest,
                        .padded = padded,
                        .change = change,
                        .k = rows,
                        .v = rows + TILE * padded,
                        .q = rows + 2 * TILE * padded,
                        .sums = rows + (2 * TILE + shape->group * FEW_ROWS) * padded};
}

static size_t forward_scratch_of_thread(const TsAttendShape *shape)
{
    int64_t padded = whole_vecs(shape->width), state = (int64_t)(sizeof(State) / sizeof(Real));
    int64_t many = state + 5 * TILE * padded;
    int64_t few = shape->group * state + SCORES + 2 * (TILE + shape->group * FEW_ROWS) * padded;
    int64_t reals = shape->queries <= FEW ? few : many;
    return (sizeof(ForwardScratch) + (size_t)reals * sizeof(Real) + 63) / 64 * 64;
}

static size_t forward_scratch_bytes(const TsAttendShape *shape, int threads)
{
    return forward_scratch_of_thread(shape) * (size_t)(threads > 1 ? threads : 1);
}

static void empty_state(State *state)
{
    for (int64_t c = 0; c < TILE; c++) {
        state->largest[c] = -INFINITY;
        state->sum[c] = 0;
    }
}

/* New largest scores of a strip's lanes. Gives whether there are any; what was summed against the old ones is then to
 * be multiplied by `shrink`, as `sum` is here. */
static bool raise_largest(const Real *scores, const Strip *strip, Real *largest, Real *sum, Real *shrink)
{
    Real top[TILE];
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
        return false;
#pragma omp simd
    for (int64_t c = 0; c < strip->lanes; c++) {
        shrink[c] = top[c] != largest[c] ? real_exp_below(largest[c] - top[c]) : 1;
        largest[c] = top[c];
        sum[c] *= shrink[c];
    }
    return true;
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

/* Products of a strip to weights, as raise_largest in what it gives. */
static bool weigh(ForwardScratch *scratch, State *state, const Strip *strip, const Tile *tile, Real *shrink)
{
    Real *scores = scratch->scores + strip->lane, *largest = state->largest + strip->lane;
    adjust_scores(scores, strip, tile, scratch->extra);
    bool raised = raise_largest(scores, strip, largest, state->sum + strip->lane, shrink);
    soften(scores, strip, largest, state->sum + strip->lane);
    if (tile->shape->drop_rate > 0)
        drop(scores, strip, kept_weights(strip, tile, scratch->extra));
    return raised;
}

/* out = o / l and logsumexp = m + log l of a tile's queries; o is sums (queries, padded). */
static void finish_rows(void *out, void *logsumexp, const Tile *tile, const Real *sums, const State *state)
{
    const TsAttendShape *shape = tile->shape;
    for (int64_t r = 0; r < tile->rows; r++) {
        int64_t at = (tile->b * shape->queries + tile->query + r) * shape->heads + tile->head;
        Real sum = state->sum[r], inverse = sum > 0 || sum != sum ? 1 / sum : 0;
        Stored *to = (Stored *)out + at * shape->width;
        ((Real *)logsumexp)[at] = sum > 0 || sum != sum ? state->largest[r] + real_log(sum) : -INFINITY;
#pragma omp simd
        for (int64_t d = 0; d < shape->width; d++)
            to[d] = store(sums[r * whole_vecs(shape->width) + d] * inverse);
    }
}

/* ---- many queries */

/* What one strip brings to o^T. */
static void add_strip(const ManyQueries *w, const Strip *strip, const Tile *tile)
{
    int64_t width = tile->shape->width, lane = strip->lane, first = strip->keys.first;
    Real *scores = w->scratch->scores + lane, shrink[TILE];
    multiply_rows(&(TileProduct){.c = scores + first * TILE,
                                 .a = w->k + first * w->padded,
                                 .b = w->q_across + lane,
                                 .row_c = TILE,
                                 .a_row = w->padded,
                                 .row_b = TILE,
                                 .m = strip->keys.last - first,
                                 .lanes = strip->lanes,
                                 .depth = width});
    if (weigh(w->scratch, w->state, strip, tile, shrink))
        for (int64_t d = 0; d < width; d++)
#pragma omp simd
            for (int64_t c = 0; c < strip->lanes; c++)
                w->sums[d * TILE + lane + c] *= shrink[c];
    multiply_columns(&(TileProduct){.c = w->sums + lane,
                                    .a = w->v + first * w->padded,
                                    .b = scores + first * TILE,
                                    .row_c = TILE,
                                    .a_step = w->padded,
                                    .row_b = TILE,
                                    .m = width,
                                    .lanes = strip->lanes,
                                    .depth = strip->keys.last - first,
                                    .add = true});
}

/* One tile of queries of one head against all keys that it sees. */
static void attend_many(void *out, void *logsumexp, Tile tile, ForwardScratch *scratch)
{
    const TsAttendShape *shape = tile.shape;
    ManyQueries w = many_queries_in(scratch, shape);
    Range keys = seen_by_any(shape, tile.query, tile.query + tile.rows);
    Strip strip[TILE / PANEL];
    empty_state(w.state);
    copy_rows(w.rows, tile.in->q, queries_of(&tile), (Real)shape->scale);
    transpose_tile(w.q_across, TILE, w.rows, w.padded, whole_vecs(tile.rows), w.padded);
    for (int64_t i = 0; i < TILE * w.padded; i++)
        w.sums[i] = 0;
    for (tile.key = keys.first / TILE * TILE; tile.key < keys.last; tile.key += TILE) {
        tile.columns = smaller(TILE, shape->keys - tile.key);
        copy_rows(w.k, tile.in->k, keys_of(&tile), 1);
        copy_rows(w.v, tile.in->v, keys_of(&tile), 1);
        int strips = strips_of(strip, &tile);
        for (int s = 0; s < strips; s++)
            add_strip(&w, &strip[s], &tile);
    }
    transpose_tile(w.rows, w.padded, w.sums, TILE, w.padded, whole_vecs(tile.rows));
    finish_rows(out, logsumexp, &tile, w.rows, w.state);
}

/* ---- few queries */

/* Rows of a head as numbers to compute with: where they lie, where vectors of them do not reach past their ends, else a
 * copy. */
typedef struct Rows {
    const Real *data;
    int64_t step; /* from one row to the next */
} Rows;

static Rows rows_of(Real *copy, const void *x, HeadRows rows)
{
#ifndef TS_VARIANT_BF16
    if (rows.width % LANES == 0)
        return (Rows){row_of(x, rows, 0), rows.heads * rows.width};
#endif
    copy_rows(copy, x, rows, 1);
    return (Rows){copy, whole_vecs(rows.width)};
}

/* Rows of queries with rows of keys: scores (queries, keys) in rows of TILE. Asks for the tile that comes next. */
static void multiply_few(Real *scores, const Tile *tile, Rows k, const Real *q, int64_t padded)
{
    HeadRows keys = keys_of(tile);
    for (int64_t j = 0; j < tile->columns; j++) {
        fetch(row_of(tile->in->k, keys, j + TILE), keys.width);
        fetch(row_of(tile->in->v, keys, j + TILE), keys.width);
        for (int64_t c = 0; c < tile->rows; c++) {
            Vec sum = {0};
            for (int64_t d = 0; d < padded; d += LANES)
                sum = vec_multiply_add(vec_load(k.data + j * k.step + d), vec_load(q + c * padded + d), sum);
            scores[c * TILE + j] = vec_sum(sum);
        }
    }
}

/* adjust_scores for scores (queries, keys): what it does to zeros (keys, queries) is done to them. */
static void adjust_few(Real *scores, const Tile *tile, const Strip *strip, Real *change, Real *extra)
{
    for (int64_t i = 0; i < SCORES; i++)
        change[i] = 0;
    adjust_scores(change, strip, tile, extra);
    for (int64_t c = 0; c < tile->rows; c++)
        for (int64_t j = 0; j < tile->columns; j++)
            scores[c * TILE + j] =
                change[j * TILE + c] == -INFINITY ? -INFINITY : scores[c * TILE + j] + change[j * TILE + c];
}

static void drop_few(Real *scores, const Tile *tile, const Strip *strip, Real *extra)
{
    const Real *kept = kept_weights(strip, tile, extra);
    for (int64_t c = 0; c < tile->rows; c++)
        for (int64_t j = 0; j < tile->columns; j++)
            scores[c * TILE + j] *= kept[j * TILE + c];
}

/* One query's scores to weights; gives what was summed so far is to be multiplied by. */
static Real weigh_row(Real *scores, int64_t keys, Real *largest, Real *sum)
{
    Real top = *largest, total = 0;
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < keys; j++)
        top = scores[j] > top ? scores[j] : top;
    Real base = top == -INFINITY ? 0 : top, shrink = top != *largest ? real_exp_below(*largest - top) : 1;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < keys; j++) {
        scores[j] = real_exp_below(scores[j] - base);
        total += scores[j];
    }
    *largest = top;
    *sum = shrink * *sum + total;
    return shrink;
}

/* What a tile of keys brings to o of query head g of the group. */
static void add_few(const FewQueries *w, const Tile *tile, int64_t g, Rows k, Rows v)
{
    const TsAttendIn *in = tile->in;
    Real *scores = w->scratch->scores, *sums = w->sums + g * FEW_ROWS * w->padded;
    Strip all = {0, whole_vecs(tile->rows), {0, tile->columns}, false};
    all.partly = !all_seen(tile, 0, all.lanes, all.keys);
    multiply_few(scores, tile, k, w->q + g * FEW_ROWS * w->padded, w->padded);
    if (in->bias || in->slopes || in->keys_seen || in->query_segments || all.partly)
        adjust_few(scores, tile, &all, w->change, w->scratch->extra);
    for (int64_t c = 0; c < tile->rows; c++) {
        Real shrink = weigh_row(scores + c * TILE, tile->columns, &w->state[g].largest[c], &w->state[g].sum[c]);
        for (int64_t d = 0; d < w->padded; d++)
            sums[c * w->padded + d] *= shrink;
    }
    if (tile->shape->drop_rate > 0)
        drop_few(scores, tile, &all, w->scratch->extra);
    multiply_rows(&(TileProduct){.c = sums,
                                 .a = scores,
                                 .b = v.data,
                                 .row_c = w->padded,
                                 .a_row = TILE,
                                 .row_b = v.step,
                                 .m = tile->rows,
                                 .lanes = w->padded,
                                 .depth = tile->columns,
                                 .add = true});
}

/* All queries of the heads that share a key head, against all keys that they see. */
static void attend_few(void *out, void *logsumexp, Tile tile, int64_t kv_head, ForwardScratch *scratch)
{
    const TsAttendShape *shape = tile.shape;
    FewQueries w = few_queries_in(scratch, shape);
    Range keys = seen_by_any(shape, 0, tile.rows);
    for (int64_t g = 0; g < shape->group; g++) {
        tile.head = kv_head * shape->group + g;
        empty_state(&w.state[g]);
        copy_rows(w.q + g * FEW_ROWS * w.padded, tile.in->q, queries_of(&tile), (Real)shape->scale);
    }
    for (int64_t i = 0; i < shape->group * FEW_ROWS * w.padded; i++)
        w.sums[i] = 0;
    for (tile.key = keys.first / TILE * TILE; tile.key < keys.last; tile.key += TILE) {
        tile.columns = smaller(TILE, shape->keys - tile.key);
        Rows k = rows_of(w.k, tile.in->k, keys_of(&tile)), v = rows_of(w.v, tile.in->v, keys_of(&tile));
        for (int64_t g = 0; g < shape->group; g++) {
            tile.head = kv_head * shape->group + g;
            add_few(&w, &tile, g, k, v);
        }
    }
    for (int64_t g = 0; g < shape->group; g++) {
        tile.head = kv_head * shape->group + g;
        finish_rows(out, logsumexp, &tile, w.sums + g * FEW_ROWS * w.padded, &w.state[g]);
    }
}

/* ---- all of it */

/* A piece of work is a tile of queries of one head. Tiles of a head come one after the other, for its keys stay in the
 * cache; the longest first, for later queries see more keys. Where queries are few, a piece is a key head. */
static void attend_piece(void *out, void *logsumexp, const TsAttendIn *in, const TsAttendShape *shape, int64_t piece,
                         ForwardScratch *scratch)
{
    Tile tile = {.in = in, .shape = shape, .rows = shape->queries};
    if (shape->queries <= FEW) {
        tile.b = piece / shape->kv_heads;
        attend_few(out, logsumexp, tile, piece % shape->kv_heads, scratch);
        return;
    }
    int64_t tiles = (shape->queries + TILE - 1) / TILE;
    tile.b = piece / tiles / shape->heads;
    tile.head = piece / tiles % shape->heads;
    tile.query = (tiles - 1 - piece % tiles) * TILE;
    tile.rows = smaller(TILE, shape->queries - tile.query);
    attend_many(out, logsumexp, tile, scratch);
}

static void forward(void *out, void *logsumexp, const TsAttendIn *in, const TsAttendShape *shape, void *scratch,
                    int threads)
{
    int64_t tiles = (shape->queries + TILE - 1) / TILE, pairs = shape->batch * shape->heads;
    int64_t work = shape->queries == 0 ? 0 : shape->queries <= FEW ? shape->batch * shape->kv_heads : pairs * tiles;
    threads = threads_worth(threads, pairs * shape->queries * (shape->keys + shape->width));
    threads = (int)smaller(threads, work > 0 ? work : 1);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (int64_t piece = 0; piece < work; piece++) {
        size_t mine = (size_t)(threads > 1 ? omp_get_thread_num() : 0) * forward_scratch_of_thread(shape);
        attend_piece(out, logsumexp, in, shape, piece, (ForwardScratch *)((char *)scratch + mine));
    }
}

const TsAttendKernels TS_TABLE(ts_attend_kernels) = {
    .forward = forward,
    .forward_scratch_bytes = forward_scratch_bytes,
    .backward = TS_TABLE(ts_attend_backward),
    .backward_scratch_bytes = TS_TABLE(ts_attend_backward_scratch_bytes),
};
