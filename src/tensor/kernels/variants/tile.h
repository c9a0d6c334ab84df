/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products and transposes of tiles that lie in the nearest caches: what a library's call would cost more to
 * enter than to compute. Vectors are those of GNU C, as wide as the instruction set that this source is compiled for.
 *
 * A product keeps a block of C in registers while it goes through the whole depth (Goto and van de Geijn 2008):
 *
 *                           b   depth x lanes
 *                          +------+------+------+
 *                          |      | vecs |      |
 *     a   m x depth        +------+------+------+       c is rows x vecs registers; for each step of depth `vecs`
 *    +-------------+       +------+------+------+       vectors of b are loaded, and `rows` elements of a are each
 *    | rows        |       |      |  c   |      |       spread over a register: one load to less than one
 *    +-------------+       +------+------+------+       multiply-add, so that the loads do not hold up the arithmetic
 *    |             |       |      |      |      |
 */
#pragma once

#include "tensor/kernels/variants/variant.h"

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VEC_BYTES 64
enum { BLOCK_ROWS = 8 };
#elif defined(__AVX__)
#define VEC_BYTES 32
enum { BLOCK_ROWS = 6 };
#else
#define VEC_BYTES 16
enum { BLOCK_ROWS = 4 };
#endif

#ifdef TS_VARIANT_F64
#define LANES (VEC_BYTES / 8)
typedef int64_t IntLane;
#else
#define LANES (VEC_BYTES / 4)
typedef int32_t IntLane;
#endif

enum { BLOCK_VECS = 2, PANEL = BLOCK_VECS * LANES };

typedef Real Vec __attribute__((vector_size(VEC_BYTES)));
typedef IntLane IntVec __attribute__((vector_size(VEC_BYTES)));
typedef Real LooseVec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(Real)), may_alias)); /* lies anywhere */

#define TS_ALWAYS_INLINE static inline __attribute__((always_inline))

TS_ALWAYS_INLINE Vec vec_load(const Real *x)
{
    return (Vec) * (const LooseVec *)x;
}

TS_ALWAYS_INLINE void vec_store(Real *x, Vec value)
{
    *(LooseVec *)x = (LooseVec)value;
}

/* a * b + c, fused where the instruction set has it. */
TS_ALWAYS_INLINE Vec vec_multiply_add(Vec a, Vec b, Vec c)
{
#if defined(TS_VARIANT_F64)
    return a * b + c;
#elif defined(__AVX512F__)
    return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

static inline int64_t whole_vecs(int64_t lanes)
{
    return (lanes + LANES - 1) / LANES * LANES;
}

/* What is asked of memory while a product goes on, a line every other step of depth: rows of bytes. A source that does
 * so defines TILE_READS_AHEAD. */
typedef struct TileAhead {
    const char *row;
    int64_t row_bytes;   /* from one row to the next */
    int64_t line, lines; /* of 64 bytes, of a row */
    int64_t left;        /* lines of all rows */
} TileAhead;

#ifdef TILE_READS_AHEAD
TS_ALWAYS_INLINE void read_ahead(TileAhead *ahead)
{
    if (ahead->left <= 0)
        return;
    ahead->left--;
    __builtin_prefetch(ahead->row + 64 * ahead->line, 0, 2);
    if (++ahead->line == ahead->lines) {
        ahead->line = 0;
        ahead->row += ahead->row_bytes;
    }
}
#endif

/* The operands of a product of tiles: element (i, l) of a lies at a[i * a_row + l * a_step]. */
typedef struct TileProduct {
    Real *c;           /* (m, lanes), rows of row_c */
    const Real *a, *b; /* b (depth, lanes), rows of row_b */
    int64_t row_c, a_row, a_step, row_b;
    int64_t m, lanes, depth; /* lanes: a multiple of LANES */
    bool add;                /* to what c holds */
    TileAhead *ahead;        /* with TILE_READS_AHEAD */
} TileProduct;

/* One block of c, at row i and lane n: `rows` and `vecs` are known when this is compiled. */
TS_ALWAYS_INLINE void multiply_block(const TileProduct *p, int64_t i, int64_t n, const int64_t a_row,
                                     const int64_t a_step, const int rows, const int vecs)
{
    Vec sum[BLOCK_ROWS][BLOCK_VECS];
    Real *c = p->c + i * p->row_c + n;
    const Real *a = p->a + i * a_row, *b = p->b + n;
    const int64_t row_c = p->row_c, row_b = p->row_b, depth = p->depth;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vecs; v++)
            sum[r][v] = p->add ? vec_load(c + r * row_c + v * LANES) : (Vec){0};
    for (int64_t l = 0; l < depth; l++) {
        Vec right[BLOCK_VECS];
#ifdef TILE_READS_AHEAD
        if (l % 2)
            read_ahead(p->ahead);
#endif
        for (int v = 0; v < vecs; v++)
            right[v] = vec_load(b + l * row_b + v * LANES);
        for (int r = 0; r < rows; r++) {
            Vec left = a[r * a_row + l * a_step] - (Vec){0};
            for (int v = 0; v < vecs; v++)
                sum[r][v] = vec_multiply_add(left, right[v], sum[r][v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vecs; v++)
            vec_store(c + r * row_c + v * LANES, sum[r][v]);
}

/* All rows of c, `vecs` vectors from lane n on. */
TS_ALWAYS_INLINE void multiply_panel(const TileProduct *p, int64_t n, const int64_t a_row, const int64_t a_step,
                                     const int vecs)
{
    int64_t i = 0;
    for (; i + BLOCK_ROWS <= p->m; i += BLOCK_ROWS)
        multiply_block(p, i, n, a_row, a_step, BLOCK_ROWS, vecs);
    for (; i + 4 <= p->m; i += 4)
        multiply_block(p, i, n, a_row, a_step, 4, vecs);
    for (; i < p->m; i++)
        multiply_block(p, i, n, a_row, a_step, 1, vecs);
}

TS_ALWAYS_INLINE void multiply_panels(const TileProduct *p, const int64_t a_row, const int64_t a_step)
{
    int64_t n = 0;
    for (; n + PANEL <= p->lanes; n += PANEL)
        multiply_panel(p, n, a_row, a_step, BLOCK_VECS);
    if (n < p->lanes)
        multiply_panel(p, n, a_row, a_step, 1);
}

/* c = a b, or c += a b, with rows of a that lie one after the other: a_step is 1. */
static __attribute__((unused)) void multiply_rows(const TileProduct *p)
{
    multiply_panels(p, p->a_row, 1);
}

/* The same with columns of a that do: a_row is 1. */
static __attribute__((unused)) void multiply_columns(const TileProduct *p)
{
    multiply_panels(p, 1, p->a_step);
}

/* ---- transposes */

#ifdef __clang__
#define VEC_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VEC_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (IntVec){__VA_ARGS__})
#endif
#define EACH_OF_2(f, s)  f(0, s), f(1, s)
#define EACH_OF_4(f, s)  EACH_OF_2(f, s), f(2, s), f(3, s)
#define EACH_OF_8(f, s)  EACH_OF_4(f, s), f(4, s), f(5, s), f(6, s), f(7, s)
#define EACH_OF_16(f, s) EACH_OF_8(f, s), f(8, s), f(9, s), f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#if LANES == 16
#define EACH_LANE EACH_OF_16
#elif LANES == 8
#define EACH_LANE EACH_OF_8
#elif LANES == 4
#define EACH_LANE EACH_OF_4
#else
#define EACH_LANE EACH_OF_2
#endif

/* Changes the places of bit s of the number of the row and bit s of that of the column. */
#define LOW_LANE(c, s)  ((c) & (s) ? LANES + (c) - (s) : (c))
#define HIGH_LANE(c, s) ((c) & (s) ? LANES + (c) : (c) + (s))
#define EXCHANGE(row, s)                                                                                               \
    for (int r = 0; r < LANES; r++)                                                                                    \
        if (!(r & (s))) {                                                                                              \
            Vec low = VEC_SHUFFLE(row[r], row[r + (s)], EACH_LANE(LOW_LANE, s));                                       \
            row[r + (s)] = VEC_SHUFFLE(row[r], row[r + (s)], EACH_LANE(HIGH_LANE, s));                                 \
            row[r] = low;                                                                                              \
        }

#define OTHER_LANE(c, s) ((c) ^ (s))
#define FOLD(x, s)       ((x) + VEC_SHUFFLE(x, x, EACH_LANE(OTHER_LANE, s)))

/* The sum of the lanes, by halves. */
TS_ALWAYS_INLINE Real vec_sum(Vec x)
{
#if LANES > 8
    x = FOLD(x, 8);
#endif
#if LANES > 4
    x = FOLD(x, 4);
#endif
#if LANES > 2
    x = FOLD(x, 2);
#endif
    x = FOLD(x, 1);
    return x[0];
}

/* LANES rows of LANES become columns. */
TS_ALWAYS_INLINE void transpose_square(Vec *row)
{
    EXCHANGE(row, 1)
#if LANES > 2
    EXCHANGE(row, 2)
#endif
#if LANES > 4
    EXCHANGE(row, 4)
#endif
#if LANES > 8
    EXCHANGE(row, 8)
#endif
}

/* to (columns, rows) = from (rows, columns) transposed; rows and columns are multiples of LANES. */
static __attribute__((unused)) void transpose_tile(Real *to, int64_t row_to, const Real *from, int64_t row_from,
                                                   int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i += LANES)
        for (int64_t j = 0; j < columns; j += LANES) {
            Vec row[LANES];
            for (int r = 0; r < LANES; r++)
                row[r] = vec_load(from + (i + r) * row_from + j);
            transpose_square(row);
            for (int r = 0; r < LANES; r++)
                vec_store(to + (j + r) * row_to + i, row[r]);
        }
}
