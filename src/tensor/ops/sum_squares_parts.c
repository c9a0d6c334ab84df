/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums of squares of fixed parts of an array: norms that do not depend on how the array is cut.
 *
 * Part p of a dim of n elements is [p n / parts, (p + 1) n / parts), as an axis of that size would cut it. A block that
 * is cut along that dim by an axis whose size divides `parts` holds whole parts, and zero for the others: their sum
 * over ranks adds nothing but zeros to what one rank computed.
 */
#include "tensor/kernels/reduce.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t dim, parts;
} Attributes;

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0];
    TS_TRY(ts_op_same_float(inference));
    if (attributes->parts < 1 || attributes->dim < 0 || (attributes->dim && attributes->dim >= x.dims))
        return ts_status_error(TS_CODE_INVALID, "%lld parts of dim %lld of %s", (long long)attributes->parts,
                               (long long)attributes->dim, ts_shape_text(x).text);
    inference->out_shape[0] = ts_shape(attributes->parts);
    inference->out_dtype[0] = ts_op_sum_dtype(inference->in_dtype[0]);
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[0].dims; d++)
        rule->in_label[0][d] = (int8_t)(d + 1);
    rule->reduction = TS_SUM;
}

/* The sum over indices [first, last) of the middle dim of x (outer, middle, inner), in f64. */
static double sum_part(const TsBlock *x, int64_t outer, int64_t middle, int64_t inner, int64_t first, int64_t last,
                       int threads)
{
    double sum = 0;
    for (int64_t o = 0; o < outer; o++) {
        int64_t at = (o * middle + first) * inner;
        union {
            double f64;
            float f32;
        } part = {.f64 = 0};
        ts_reduce_kernels(x->dtype)->sum_squares(&part, (const char *)x->data + (size_t)at * ts_dtype_bytes(x->dtype),
                                                 (last - first) * inner, threads);
        sum += x->dtype == TS_F64 ? part.f64 : (double)part.f32;
    }
    return sum;
}

static void forward(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0], *out = &call->out[0];
    int dim = (int)attributes->dim, dims = x->shape.dims;
    int64_t size = dims ? x->global.size[dim] : 1, middle = dims ? x->shape.size[dim] : 1;
    int64_t begin = dims ? x->first[dim] : 0, end = begin + middle;
    int64_t outer = ts_op_elems_between(x->shape, 0, dim);
    int64_t inner = dims ? ts_op_elems_between(x->shape, dim + 1, dims) : 1;
    for (int64_t part = 0; part < attributes->parts; part++) {
        int64_t first = size * part / attributes->parts, last = size * (part + 1) / attributes->parts;
        first = first > begin ? first : begin;
        last = last < end ? last : end;
        double sum = last > first ? sum_part(x, outer, middle, inner, first - begin, last - begin, call->threads) : 0;
        if (out->dtype == TS_F64)
            ((double *)out->data)[part] = sum;
        else
            ((float *)out->data)[part] = (float)sum;
    }
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = 2 * (double)ts_shape_elems(node->in_shape[0])};
}

const TsOp ts_op_sum_squares_parts = {
    .name = "sum_squares_parts",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = ts_op_refuse_gradient,
    .cost = cost,
};

TsTensor ts_sum_squares_parts(TsTensor x, int dim, int64_t parts)
{
    Attributes attributes = {.dim = dim, .parts = parts};
    return ts_graph_add_one(&ts_op_sum_squares_parts, &x, 1, &attributes);
}
