/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/panel.h"

#define TILE_READS_AHEAD
#include "tensor/kernels/variants/tile.h"

/* Of a product: rows [row, row + rows), columns [column, column + columns), and of k [deep, deep + depth). */
typedef struct Part {
    const TsMatmul *p;
    int64_t row, rows, column, columns, deep, depth;
} Part;

/* LANES elements from anywhere in memory. */
TS_ALWAYS_INLINE Vec widen(const Stored *x)
{
#ifdef TS_VARIANT_BF16
    typedef uint16_t Narrow __attribute__((vector_size(LANES * 2)));
    typedef uint16_t LooseNarrow __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
    typedef uint32_t Wide __attribute__((vector_size(LANES * 4)));
    return (Vec)(__builtin_convertvector((Narrow) * (const LooseNarrow *)x, Wide) << 16);
#else
    return vec_load(x);
#endif
}

#ifdef TS_VARIANT_BF16
static void widen_some(Real *to, const Stored *x, int64_t count)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vec_store(to + i, widen(x + i));
    for (; i < count; i++)
        to[i] = load(x[i]);
}
#endif

/* ---- the right side: a panel (depth, PANEL), with zeros for columns that are not there */

static void pack_rows(Real *to, const Stored *b, int64_t row_b, int64_t columns, int64_t depth)
{
    for (int64_t l = 0; l < depth; l++, b += row_b, to += PANEL) {
        if (columns == PANEL) {
            for (int v = 0; v < BLOCK_VECS; v++)
                vec_store(to + v * LANES, widen(b + v * LANES));
            continue;
        }
        for (int64_t j = 0; j < PANEL; j++)
            to[j] = j < columns ? load(b[j]) : 0;
    }
}

/* The same of columns that lie as rows. */
static void pack_columns(Real *to, const Stored *b, int64_t row_b, int64_t columns, int64_t depth)
{
    for (int64_t j = 0; j < PANEL; j += LANES, b += LANES * row_b, to += LANES) {
        int64_t l = 0;
        for (; j + LANES <= columns && l + LANES <= depth; l += LANES) {
            Vec row[LANES];
            for (int r = 0; r < LANES; r++)
                row[r] = widen(b + r * row_b + l);
            transpose_square(row);
            for (int r = 0; r < LANES; r++)
                vec_store(to + (l + r) * PANEL, row[r]);
        }
        for (; l < depth; l++)
            for (int64_t r = 0; r < LANES; r++)
                to[l * PANEL + r] = j + r < columns ? load(b[r * row_b + l]) : 0;
    }
}

/* ---- the left side */

/* The rows of a part as they lie, or where they must be widened in `to`. */
static TileProduct left_of(Real *to, const Part *part)
{
    const TsMatmul *p = part->p;
    bool across = p->transpose_a; /* (k, m): rows of a step of depth lie side by side */
    int64_t outer = across ? part->depth : part->rows, inner = across ? part->rows : part->depth;
    const Stored *a =
        (const Stored *)p->a + (across ? part->deep * p->row_a + part->row : part->row * p->row_a + part->deep);
    int64_t row = p->row_a;
#ifdef TS_VARIANT_BF16
    for (int64_t i = 0; i < outer; i++)
        widen_some(to + i * inner, a + i * row, inner);
    row = inner;
    const Real *from = to;
#else
    (void)to;
    (void)outer;
    (void)inner;
    const Real *from = a;
#endif
    return (TileProduct){.a = from, .a_row = across ? 1 : row, .a_step = across ? row : 1};
}

/* ---- the result */

static void put(const Part *part, const Real *sum)
{
    const TsMatmul *p = part->p;
    Real alpha = (Real)p->alpha, beta = (Real)p->beta;
    bool narrow = p->dtype == TS_BF16 && p->out_dtype == TS_BF16;
    for (int64_t i = 0; i < part->rows; i++) {
        int64_t at = (part->row + i) * p->row_c + part->column;
        const Real *from = sum + i * TS_PANEL_COLUMNS;
        if (narrow) {
            Stored *c = (Stored *)p->c + at;
            for (int64_t j = 0; j < part->columns; j++)
                c[j] = store(alpha * from[j] + (beta != 0 ? beta * load(c[j]) : 0));
        } else {
            Real *c = (Real *)p->c + at;
            for (int64_t j = 0; j < part->columns; j++)
                c[j] = alpha * from[j] + (beta != 0 ? beta * c[j] : 0);
        }
    }
}

/* ---- the product */

/* Where a panel of a part lies in the matrix: from column `j` of it on. */
static const Stored *panel_at(const Part *part, int64_t j)
{
    const TsMatmul *p = part->p;
    const Stored *b = p->b;
    return p->transpose_b ? b + (part->column + j) * p->row_b + part->deep
                          : b + part->deep * p->row_b + part->column + j;
}

/* The part behind this one: deeper, or of other columns, or other rows; false: there is none. */
static bool go_on(Part *part)
{
    const TsMatmul *p = part->p;
    part->deep += TS_PANEL_DEPTH;
    if (part->deep >= p->k) {
        part->deep = 0;
        part->column += TS_PANEL_COLUMNS;
    }
    if (part->column >= p->n) {
        part->column = 0;
        part->row += TS_PANEL_ROWS;
    }
    part->rows = smaller(TS_PANEL_ROWS, p->m - part->row);
    part->columns = smaller(TS_PANEL_COLUMNS, p->n - part->column);
    part->depth = smaller(TS_PANEL_DEPTH, p->k - part->deep);
    return part->row < p->m;
}

/* What will be packed after the panel at `j`. */
static TileAhead ahead_of(Part part, int64_t j)
{
    j += PANEL;
    if (j >= part.columns) {
        j = 0;
        if (!go_on(&part))
            return (TileAhead){0};
    }
    int64_t columns = smaller(PANEL, part.columns - j);
    int64_t rows = part.p->transpose_b ? columns : part.depth, row = part.p->transpose_b ? part.depth : columns;
    int64_t lines = (row * (int64_t)sizeof(Stored) + 63) / 64;
    return (TileAhead){.row = (const char *)panel_at(&part, j),
                       .row_bytes = part.p->row_b * (int64_t)sizeof(Stored),
                       .lines = lines,
                       .left = rows * lines};
}

static void multiply_part(const Part *part, Real *panel, Real *rows, Real *sum)
{
    const TsMatmul *p = part->p;
    TileProduct tile = left_of(rows, part);
    tile.row_c = TS_PANEL_COLUMNS;
    tile.row_b = tile.lanes = PANEL;
    tile.m = part->rows;
    tile.depth = part->depth;
    tile.add = part->deep > 0;
    tile.b = panel;
    for (int64_t j = 0; j < part->columns; j += PANEL) {
        (p->transpose_b ? pack_columns : pack_rows)(panel, panel_at(part, j), p->row_b,
                                                    smaller(PANEL, part->columns - j), part->depth);
        TileAhead ahead = ahead_of(*part, j);
        tile.ahead = &ahead;
        tile.c = sum + j;
        if (p->transpose_a)
            multiply_columns(&tile);
        else
            multiply_rows(&tile);
    }
}

static void multiply(const TsMatmul *product, float *scratch)
{
    Real *panel = (Real *)scratch, *rows = panel + TS_PANEL_DEPTH * PANEL, *sum = rows + TS_PANEL_ROWS * TS_PANEL_DEPTH;
    Part part = {.p = product, .deep = -TS_PANEL_DEPTH};
    while (go_on(&part)) {
        multiply_part(&part, panel, rows, sum);
        if (part.deep + part.depth == product->k)
            put(&part, sum);
    }
}

const TsPanelKernels TS_TABLE(ts_panel_kernels) = {.multiply = multiply};
