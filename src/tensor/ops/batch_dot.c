/* SPDX-License-Identifier: Apache-2.0
 *
 * Batch dot: as many products of matrices as the dims before the last two have elements.
 */
#include "tensor/matmul.h"
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int32_t transpose_a, transpose_b;
} Attributes;

/* The dims of the two matrices: a (m, k) or (k, m), b (k, n) or (n, k), as indices into their shapes. */
typedef struct Dims {
    int m, k_in_a, k_in_b, n;
} Dims;

static Dims dims_of(const Attributes *attributes, int dims)
{
    return (Dims){
        .m = dims - (attributes->transpose_a ? 1 : 2),
        .k_in_a = dims - (attributes->transpose_a ? 2 : 1),
        .k_in_b = dims - (attributes->transpose_b ? 1 : 2),
        .n = dims - (attributes->transpose_b ? 2 : 1),
    };
}

static TsStatus infer(TsInference *inference)
{
    TsShape a = inference->in_shape[0], b = inference->in_shape[1];
    TS_TRY(ts_op_same_float(inference));
    Dims dims = dims_of(inference->attributes, a.dims);
    bool fits = a.dims >= 2 && a.dims == b.dims && a.size[dims.k_in_a] == b.size[dims.k_in_b];
    for (int d = 0; fits && d < a.dims - 2; d++)
        fits = a.size[d] == b.size[d];
    if (!fits)
        return ts_status_error(TS_CODE_INVALID, "%s does not go with %s: expected (B, ..., M, K) and (B, ..., K, N)%s",
                               ts_shape_text(a).text, ts_shape_text(b).text,
                               dims.m > dims.k_in_a || dims.k_in_b > dims.n ? ", transposed as asked" : "");
    inference->out_shape[0] = a;
    inference->out_shape[0].size[a.dims - 2] = a.size[dims.m];
    inference->out_shape[0].size[a.dims - 1] = b.size[dims.n];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    int count = node->in_shape[0].dims;
    Dims dims = dims_of(node->attributes, count);
    enum { M = TS_MAX_DIMS + 1, K, N };
    for (int d = 0; d < count - 2; d++)
        rule->in_label[0][d] = rule->in_label[1][d] = rule->out_label[0][d] = (int8_t)(d + 1);
    rule->in_label[0][dims.m] = rule->out_label[0][count - 2] = M;
    rule->in_label[1][dims.n] = rule->out_label[0][count - 1] = N;
    rule->in_label[0][dims.k_in_a] = rule->in_label[1][dims.k_in_b] = K;
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_EACH;
}

static TsMatmul product_of(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *a = &call->in[0], *b = &call->in[1], *out = &call->out[0];
    Dims dims = dims_of(attributes, a->shape.dims);
    int64_t m = a->shape.size[dims.m], n = b->shape.size[dims.n], k = a->shape.size[dims.k_in_a];
    return (TsMatmul){
        .c = out->data,
        .a = a->data,
        .b = b->data,
        .m = m,
        .n = n,
        .k = k,
        .transpose_a = attributes->transpose_a,
        .transpose_b = attributes->transpose_b,
        .dtype = a->dtype,
        .out_dtype = out->dtype,
        .batch = ts_op_elems_between(a->shape, 0, a->shape.dims - 2),
        .step_a = m * k,
        .step_b = k * n,
        .step_c = m * n,
        .scratch = call->scratch,
        .threads = call->threads,
        .fixed = call->fixed,
    };
}

static void forward(const TsCall *call)
{
    TsMatmul product = product_of(call);
    if (product.batch > 0)
        ts_matmul(&product);
}

static size_t scratch_bytes(const TsCall *call)
{
    TsMatmul product = product_of(call);
    return ts_matmul_scratch_bytes(&product);
}

static TsCost cost(const TsNodeView *node)
{
    Dims dims = dims_of(node->attributes, node->in_shape[0].dims);
    return (TsCost){.flops =
                        2 * (double)node->in_shape[0].size[dims.k_in_a] * (double)ts_shape_elems(node->out_shape[0])};
}

/* With d (M, N): da = d b^T, or b d^T where a lies (K, M); db = a^T d, or d^T a where b lies (N, K). */
static void gradient(TsGradientCall *call)
{
    const Attributes *attributes = call->attributes;
    TsTensor a = call->in[0], b = call->in[1], d = call->d_out[0];
    bool ta = attributes->transpose_a, tb = attributes->transpose_b;
    if (call->needs[0])
        call->d_in[0] = ta ? ts_batch_dot(b, d, tb, true) : ts_batch_dot(d, b, false, !tb);
    if (call->needs[1])
        call->d_in[1] = tb ? ts_batch_dot(d, a, true, ta) : ts_batch_dot(a, d, !ta, false);
}

const TsOp ts_op_batch_dot = {
    .name = "batch_dot",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .cost = cost,
    .scratch_bytes = scratch_bytes,
};

TsTensor ts_batch_dot(TsTensor a, TsTensor b, bool transpose_a, bool transpose_b)
{
    Attributes attributes = {.transpose_a = transpose_a, .transpose_b = transpose_b};
    return ts_graph_add_one(&ts_op_batch_dot, (TsTensor[]){a, b}, 2, &attributes);
}
