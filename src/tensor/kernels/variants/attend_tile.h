/* SPDX-License-Identifier: Apache-2.0
 *
 * What the passes of attention forward and backward share: tiles of queries by keys, and what is hidden, added and
 * dropped in them.
 *
 * Queries are the lanes of vectors: a tile of scores is (keys, queries), so that what belongs to a query, such as its
 * largest score, is a vector, and maxima and sums over keys need no step across a vector. Products take operands as
 * they lie: with scores^T = k q^T, and out^T = v^T weights^T, rows of keys and values are spread element by element.
 *
 *                      queries                            A strip is lanes with the keys that any of them sees: all
 *                  0    PANEL    TILE                      of the tile where all its queries see all its keys; else,
 *              0   +------+------+                         as under a causal mask or at the edge of a window, a
 *                  |******|******|                         strip for each PANEL lanes. Keys outside the strip cost
 *        keys      |. ****|******|                         nothing; what is hidden within it (.) is computed and
 *                  |. . . |******|  strip 0: 4 keys        then put to -infinity.
 *                  +------+. ****|  strip 1: 8 keys
 *                         |. . . |
 *           TILE          +------+
 */
#pragma once

#include "tensor/kernels/variants/tile.h"

#include "tensor/kernels/attend.h"
#include "tensor/kernels/variants/real_math.h"

enum { TILE = 64, SCORES = TILE * TILE }; /* queries, and keys, of a tile; TILE is a multiple of PANEL */

/* The keys [first, last) that query i sees. */
typedef struct Range {
    int64_t first, last;
} Range;

/* Lanes [lane, lane + lanes) of a tile, whole vectors, with its keys [keys.first, keys.last). */
typedef struct Strip {
    int64_t lane, lanes;
    Range keys;
    bool partly; /* some lane does not see all these keys */
} Strip;

/* One tile of queries [query, query + rows) of a head, with one of keys [key, key + columns). */
typedef struct Tile {
    const TsAttendIn *in;
    const TsAttendShape *shape;
    int64_t b, head, query, rows, key, columns;
} Tile;

static inline Range seen_by(const TsAttendShape *shape, int64_t query)
{
    int64_t position = shape->query_first + query;
    int64_t first = shape->window ? position - shape->window + 1 : 0;
    int64_t last = shape->causal ? position + 1 : shape->keys;
    first = first > 0 ? smaller(first, shape->keys) : 0;
    last = last > first ? smaller(last, shape->keys) : first;
    return (Range){first, last};
}

/* The keys that any of the queries [first, last) sees: neither end ever moves back from a query to the next. */
static inline Range seen_by_any(const TsAttendShape *shape, int64_t first, int64_t last)
{
    return (Range){seen_by(shape, first).first, seen_by(shape, last - 1).last};
}

/* Of the keys of a tile, counted from its first, those in `seen`. */
static inline Range within_tile(const Tile *tile, Range seen)
{
    int64_t first = seen.first > tile->key ? smaller(seen.first - tile->key, tile->columns) : 0;
    int64_t last = seen.last > tile->key ? smaller(seen.last - tile->key, tile->columns) : 0;
    return (Range){first, last > first ? last : first};
}

/* Whether all of the lanes [lane, lane + lanes) that are queries see all of `keys`. */
static inline bool all_seen(const Tile *tile, int64_t lane, int64_t lanes, Range keys)
{
    int64_t first = tile->query + lane, last = tile->query + smaller(lane + lanes, tile->rows) - 1;
    return seen_by(tile->shape, last).first <= tile->key + keys.first &&
           seen_by(tile->shape, first).last >= tile->key + keys.last;
}

/* Cuts a tile into its strips; gives how many there are. */
static inline int strips_of(Strip strip[TILE / PANEL], const Tile *tile)
{
    int64_t lanes = whole_vecs(tile->rows);
    Range all = {0, tile->columns};
    if (all_seen(tile, 0, lanes, all)) {
        strip[0] = (Strip){0, lanes, all, false};
        return 1;
    }
    int count = 0;
    for (int64_t lane = 0; lane < lanes; lane += PANEL) {
        int64_t first = tile->query + lane, width = smaller(PANEL, lanes - lane);
        int64_t last = tile->query + smaller(lane + width, tile->rows);
        Range keys = within_tile(tile, seen_by_any(tile->shape, first, last));
        if (keys.first < keys.last)
            strip[count++] = (Strip){lane, width, keys, !all_seen(tile, lane, width, keys)};
    }
    return count;
}

/* Rows [first, first + rows) of one head of an operand (batch, length, heads, width). */
typedef struct HeadRows {
    int64_t b, length, heads, head, width, first, rows;
} HeadRows;

static inline HeadRows queries_of(const Tile *tile)
{
    const TsAttendShape *shape = tile->shape;
    return (HeadRows){tile->b, shape->queries, shape->heads, tile->head, shape->width, tile->query, tile->rows};
}

static inline HeadRows keys_of(const Tile *tile)
{
    const TsAttendShape *shape = tile->shape;
    return (HeadRows){tile->b,      shape->keys, shape->kv_heads, tile->head / shape->group,
                      shape->width, tile->key,   tile->columns};
}

/* Where row r of them begins. */
static inline const Stored *row_of(const void *x, HeadRows rows, int64_t r)
{
    return (const Stored *)x + ((rows.b * rows.length + rows.first + r) * rows.heads + rows.head) * rows.width;
}

/* copy (rows, padded) = scale times them. Columns from width on, and rows up to whole vectors of them, are 0. */
static inline void copy_rows(Real *copy, const void *x, HeadRows rows, Real scale)
{
    int64_t padded = whole_vecs(rows.width);
    for (int64_t r = 0; r < rows.rows; r++) {
        const Stored *from = row_of(x, rows, r);
#pragma omp simd
        for (int64_t d = 0; d < rows.width; d++)
            copy[r * padded + d] = scale * load(from[d]);
        for (int64_t d = rows.width; d < padded; d++)
            copy[r * padded + d] = 0;
    }
    for (int64_t i = rows.rows * padded; i < whole_vecs(rows.rows) * padded; i++)
        copy[i] = 0;
}

/* The other way. */
static inline void store_rows(void *x, HeadRows rows, const Real *values, Real scale)
{
    for (int64_t r = 0; r < rows.rows; r++) {
        Stored *to = (Stored *)x + (row_of(x, rows, r) - (const Stored *)x);
#pragma omp simd
        for (int64_t d = 0; d < rows.width; d++)
            to[d] = store(scale * values[r * whole_vecs(rows.width) + d]);
    }
}

/* ---- what is added to scores, and what is hidden */

/* `scratch` (TILE, TILE) twice. */
static inline void add_bias(Real *scores, const Strip *strip, const Tile *tile, Real *scratch)
{
    const TsAttendShape *shape = tile->shape;
    Real *across = scratch + SCORES;
    int64_t real = smaller(strip->lanes, tile->rows - strip->lane);
    int64_t row = tile->head * shape->queries + tile->query + strip->lane;
    for (int64_t c = 0; c < strip->lanes; c++) {
        const Real *bias = (const Real *)tile->in->bias + (row + (c < real ? c : 0)) * shape->keys + tile->key;
        for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
            scratch[c * TILE + j] = bias[j];
    }
    transpose_tile(across, TILE, scratch, TILE, strip->lanes, TILE);
    for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++)
            scores[j * TILE + c] += across[j * TILE + c];
}

/* What ALiBi takes off: the head's slope times the distance. */
static inline void take_slopes(Real *scores, const Strip *strip, const Tile *tile)
{
    Real slope = ((const Real *)tile->in->slopes)[tile->head];
    int64_t apart = tile->shape->query_first + tile->query + strip->lane - tile->key;
    for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++)
            scores[j * TILE + c] -= slope * real_abs((Real)(apart + c - j));
}

static inline void hide_keys(Real *scores, const Strip *strip, const Tile *tile)
{
    const bool *seen = tile->in->keys_seen + tile->b * tile->shape->keys + tile->key;
    for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
        for (int64_t c = 0; c < strip->lanes && !seen[j]; c++)
            scores[j * TILE + c] = -INFINITY;
}

static inline void hide_other_segments(Real *scores, const Strip *strip, const Tile *tile)
{
    int32_t segment[TILE];
    const int32_t *of_query = tile->in->query_segments + tile->b * tile->shape->queries + tile->query + strip->lane;
    const int32_t *of_key = tile->in->key_segments + tile->b * tile->shape->keys + tile->key;
    int64_t real = smaller(strip->lanes, tile->rows - strip->lane);
    for (int64_t c = 0; c < strip->lanes; c++)
        segment[c] = of_query[c < real ? c : 0];
    for (int64_t j = strip->keys.first; j < strip->keys.last; j++)
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++)
            scores[j * TILE + c] = segment[c] == of_key[j] ? scores[j * TILE + c] : -INFINITY;
}

static inline void hide_unseen(Real *scores, const Strip *strip, const Tile *tile)
{
    int32_t first[TILE], last[TILE];
    for (int64_t c = 0; c < strip->lanes; c++) {
        Range seen = within_tile(tile, seen_by(tile->shape, tile->query + strip->lane + c));
        first[c] = (int32_t)seen.first;
        last[c] = (int32_t)seen.last;
    }
    for (int32_t j = (int32_t)strip->keys.first; j < (int32_t)strip->keys.last; j++)
#pragma omp simd
        for (int64_t c = 0; c < strip->lanes; c++)
            scores[j * TILE + c] = ((j >= first[c]) & (j < last[c])) != 0 ? scores[j * TILE + c] : -INFINITY;
}

/* From products to scores: adds what depends on the places, and hides what is not to be seen. `scores` is that of the
 * strip's first lane, in rows of TILE; scratch (TILE, TILE) twice. */
static inline void adjust_scores(Real *scores, const Strip *strip, const Tile *tile, Real *scratch)
{
    if (tile->in->bias)
        add_bias(scores, strip, tile, scratch);
    if (tile->in->slopes)
        take_slopes(scores, strip, tile);
    if (tile->in->keys_seen)
        hide_keys(scores, strip, tile);
    if (tile->in->query_segments)
        hide_other_segments(scores, strip, tile);
    if (strip->partly)
        hide_unseen(scores, strip, tile);
}

/* ---- dropout */

/* kept (keys, lanes) in rows of TILE: what weights are multiplied by, 0 where dropped, else 1 / (1 - rate). Lies in
 * scratch (TILE, TILE) twice. */
static inline const Real *kept_weights(const Strip *strip, const Tile *tile, Real *scratch)
{
    const TsAttendShape *shape = tile->shape;
    const uint64_t threshold = (uint64_t)(shape->drop_rate * 4294967296.0);
    const Real scale = (Real)(shape->drop_rate < 1 ? 1 / (1 - shape->drop_rate) : 0);
    const int64_t row = (shape->batch_first + tile->b) * shape->whole_heads + shape->head_first + tile->head;
    int64_t keys = strip->keys.last - strip->keys.first, real = smaller(strip->lanes, tile->rows - strip->lane);
    for (int64_t c = 0; c < strip->lanes; c++) {
        Real *kept = scratch + c * TILE + strip->keys.first;
        _Alignas(64) uint32_t bits[TILE] = {0};
        int64_t query = tile->query + strip->lane + c;
        if (c < real)
            ts_stream_fill_bits(shape->stream, bits,
                                (row * shape->queries + query) * shape->keys + tile->key + strip->keys.first, keys);
        for (int64_t j = 0; j < keys; j++)
            kept[j] = bits[j] >= threshold ? scale : 0;
    }
    transpose_tile(scratch + SCORES, TILE, scratch, TILE, strip->lanes, TILE);
    return scratch + SCORES;
}

/* ---- the pass backward lies in a source of its own */

void TS_TABLE(ts_attend_backward)(void *d_q, void *d_k, void *d_v, void *d_bias, const TsAttendIn *in,
                                  const TsAttendShape *shape, void *scratch, int threads);
size_t TS_TABLE(ts_attend_backward_scratch_bytes)(const TsAttendShape *shape, int threads);
