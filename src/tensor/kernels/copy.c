/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/copy.h"

#include <string.h>

#include "base/check.h"

void ts_row_major_steps(int64_t *step, TsShape shape)
{
    int64_t elems = 1;
    for (int d = shape.dims - 1; d >= 0; d--) {
        step[d] = elems;
        elems *= shape.size[d];
    }
}

/* Drops dims of size 1 and merges neighbours that are contiguous on both sides. */
static TsCopy simplified(const TsCopy *copy)
{
    TsCopy out = *copy;
    out.shape.dims = 0;
    for (int d = 0; d < copy->shape.dims; d++) {
        int64_t size = copy->shape.size[d];
        if (size == 1)
            continue;
        int last = out.shape.dims - 1;
        if (last >= 0 && out.out_step[last] == size * copy->out_step[d] &&
            out.in_step[last] == size * copy->in_step[d]) {
            out.shape.size[last] *= size;
            out.out_step[last] = copy->out_step[d];
            out.in_step[last] = copy->in_step[d];
            continue;
        }
        out.shape.size[out.shape.dims] = size;
        out.out_step[out.shape.dims] = copy->out_step[d];
        out.in_step[out.shape.dims++] = copy->in_step[d];
    }
    return out;
}

/* A rectangle of (rows, columns) in tiles, so that a transposition uses whole cache lines of both sides. */
#define RECTANGLE(Element)                                                                                             \
    for (int64_t r0 = 0; r0 < rows; r0 += TILE)                                                                        \
        for (int64_t c0 = 0; c0 < columns; c0 += TILE)                                                                 \
            for (int64_t r = r0; r < (r0 + TILE < rows ? r0 + TILE : rows); r++)                                       \
                for (int64_t c = c0; c < (c0 + TILE < columns ? c0 + TILE : columns); c++)                             \
                    ((Element *)out)[r * out_row + c * out_column] =                                                   \
                        ((const Element *)in)[r * in_row + c * in_column];                                             \
    break

static void copy_rectangle(const TsCopy *p, char *out, const char *in)
{
    enum { TILE = 32 };
    int dims = p->shape.dims;
    bool two = dims > 1;
    int64_t rows = two ? p->shape.size[dims - 2] : 1, columns = dims ? p->shape.size[dims - 1] : 1;
    int64_t out_row = two ? p->out_step[dims - 2] : 0, in_row = two ? p->in_step[dims - 2] : 0;
    int64_t out_column = dims ? p->out_step[dims - 1] : 1, in_column = dims ? p->in_step[dims - 1] : 1;
    if (out_column == 1 && in_column == 1) {
        for (int64_t r = 0; r < rows; r++)
            memcpy(out + (size_t)(r * out_row) * p->elem_bytes, in + (size_t)(r * in_row) * p->elem_bytes,
                   (size_t)columns * p->elem_bytes);
        return;
    }
    switch (p->elem_bytes) {
    case 1:
        RECTANGLE(uint8_t);
    case 2:
        RECTANGLE(uint16_t);
    case 4:
        RECTANGLE(uint32_t);
    case 8:
        RECTANGLE(uint64_t);
    default:
        TS_CHECK(false, "elements of %zu bytes", p->elem_bytes);
    }
}

/* Part `part` of the dims before the last two, or of the rows where there are none. */
static void copy_part(const TsCopy *p, int64_t index)
{
    char *out = p->out;
    const char *in = p->in;
    for (int d = p->shape.dims - 3; d >= 0; d--) {
        int64_t at = index % p->shape.size[d];
        index /= p->shape.size[d];
        out += (size_t)(at * p->out_step[d]) * p->elem_bytes;
        in += (size_t)(at * p->in_step[d]) * p->elem_bytes;
    }
    copy_rectangle(p, out, in);
}

/* Cuts the first of two dims, or the only one, into `pieces`, so that there is work for all threads. */
static TsCopy cut(const TsCopy *p, int pieces, int piece)
{
    TsCopy part = *p;
    int64_t first = p->shape.size[0] * piece / pieces, last = p->shape.size[0] * (piece + 1) / pieces;
    part.shape.size[0] = last - first;
    part.out = (char *)p->out + (size_t)(first * p->out_step[0]) * p->elem_bytes;
    part.in = (const char *)p->in + (size_t)(first * p->in_step[0]) * p->elem_bytes;
    return part;
}

void ts_kernel_copy(const TsCopy *copy, int threads)
{
    TsCopy p = simplified(copy);
    int64_t elems = ts_shape_elems(p.shape), outer = 1;
    if (elems == 0)
        return;
    threads = elems * (int64_t)p.elem_bytes < 131072 ? 1 : threads;
    if (p.shape.dims == 1 || p.shape.dims == 2) {
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
        for (int piece = 0; piece < threads; piece++) {
            TsCopy part = cut(&p, threads, piece);
            copy_rectangle(&part, part.out, part.in);
        }
        return;
    }
    for (int d = 0; d < p.shape.dims - 2; d++)
        outer *= p.shape.size[d];
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < outer; i++)
        copy_part(&p, i);
}
