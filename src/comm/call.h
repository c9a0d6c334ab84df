/* SPDX-License-Identifier: Apache-2.0
 *
 * Call: one collective as its implementations see it, whatever public function it came from.
 *
 * `blocks` of a call are the parts of the whole that one rank ends up with (reduce-scatter), starts with (all-gather),
 * or works on (all-reduce, which has none of its own: an even cut). Included by src/comm only.
 */
#pragma once

#include "comm/accounting.h"
#include "comm/collectives.h"

typedef struct TsCommCall {
    TsCommKind kind;
    void *out;
    const void *in;
    int64_t count_elems;          /* of the whole; 0 for an all-to-all, where each rank has its own */
    const int64_t *first_elem;    /* (size + 1) blocks; of an all-to-all: what goes to each rank; else NULL */
    const int64_t *receive_first; /* (size + 1) of an all-to-all: what comes from each rank */
    TsDtype dtype;
    TsReduction reduction;
    int peer; /* the root of a broadcast, the other end of send and receive, else -1 */
    const char *label;
} TsCommCall;

/* A stretch of elements. */
typedef struct TsSpan {
    int64_t first, count; /* elements */
} TsSpan;

/* Part `part` of 0..count_elems cut evenly into `parts`, at multiples of 16 elements, so that parts begin on cache
 * lines; the last ones may be empty. */
static inline TsSpan ts_even_part(int64_t count_elems, int64_t parts, int64_t part)
{
    enum { GRAIN = 16 };
    int64_t grains = (count_elems + GRAIN - 1) / GRAIN, base = grains / parts, extra = grains % parts;
    int64_t first = (part * base + (part < extra ? part : extra)) * GRAIN;
    int64_t end = first + (base + (part < extra)) * GRAIN;
    first = first < count_elems ? first : count_elems;
    end = end < count_elems ? end : count_elems;
    return (TsSpan){first, end - first};
}

/* Piece `piece` of a span that is cut into pieces of `limit` elements; empty past the end. */
static inline TsSpan ts_span_piece(TsSpan span, int64_t limit, int64_t piece)
{
    if (piece > span.count / limit)
        return (TsSpan){span.first + span.count, 0};
    int64_t first = piece * limit, left = span.count - first;
    return (TsSpan){span.first + first, left < limit ? left : limit};
}

/* How many pieces of at most `limit` elements `count` makes. */
static inline int64_t ts_pieces(int64_t count, int64_t limit)
{
    return count / limit + (count % limit != 0);
}

static inline void *ts_at(void *base, int64_t elem, TsDtype dtype)
{
    return (char *)base + elem * (int64_t)ts_dtype_bytes(dtype);
}

static inline const void *ts_at_const(const void *base, int64_t elem, TsDtype dtype)
{
    return (const char *)base + elem * (int64_t)ts_dtype_bytes(dtype);
}
