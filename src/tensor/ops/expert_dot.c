/* SPDX-License-Identifier: Apache-2.0
 *
 * A matrix product for each expert, over all rows that it has: x (E, ..., C) . kernel (E, C, F) -> (E, ..., F), and the
 * gradient of the kernel, which sums over the rows. Experts, rows and both widths may be cut.
 */
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

#include "tensor/matmul.h"

typedef struct Attributes {
    int64_t transpose; /* kernel (E, F, C) */
} Attributes;

/* Labels: 1 experts, 2 and on rows, then the widths. */
enum { EXPERTS = 1, ROWS = 2, DEPTH = 10, WIDTH = 11 };

static TsStatus do_not_go(const TsInference *inference)
{
    return ts_status_error(TS_CODE_INVALID, "%s does not take %s", ts_shape_text(inference->in_shape[0]).text,
                           ts_shape_text(inference->in_shape[1]).text);
}

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0], kernel = inference->in_shape[1];
    TS_TRY(ts_op_same_float(inference));
    if (x.dims < 2 || kernel.dims != 3 || x.size[0] != kernel.size[0] ||
        x.size[x.dims - 1] != kernel.size[attributes->transpose ? 2 : 1])
        return do_not_go(inference);
    inference->out_shape[0] = x;
    inference->out_shape[0].size[x.dims - 1] = kernel.size[attributes->transpose ? 1 : 2];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static TsStatus infer_kernel(TsInference *inference)
{
    TsShape x = inference->in_shape[0], d = inference->in_shape[1];
    TS_TRY(ts_op_same_float(inference));
    bool fits = x.dims >= 2 && x.dims == d.dims;
    for (int i = 0; fits && i < x.dims - 1; i++)
        fits = x.size[i] == d.size[i];
    if (!fits)
        return do_not_go(inference);
    inference->out_shape[0] = ts_shape(x.size[0], x.size[x.dims - 1], d.size[d.dims - 1]);
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void label_rows(int8_t *label, int dims, int8_t last)
{
    label[0] = EXPERTS;
    for (int d = 1; d < dims && d < TS_MAX_DIMS; d++)
        label[d] = d == dims - 1 ? last : (int8_t)(ROWS + d - 1);
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    const Attributes *attributes = node->attributes;
    int dims = node->in_shape[0].dims;
    label_rows(rule->in_label[0], dims, DEPTH);
    label_rows(rule->out_label[0], dims, WIDTH);
    rule->in_label[1][0] = EXPERTS;
    rule->in_label[1][attributes->transpose ? 2 : 1] = DEPTH;
    rule->in_label[1][attributes->transpose ? 1 : 2] = WIDTH;
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_EACH;
}

static void place_kernel(TsPlaceRule *rule, const TsNodeView *node)
{
    int dims = node->in_shape[0].dims;
    label_rows(rule->in_label[0], dims, DEPTH);
    label_rows(rule->in_label[1], dims, WIDTH);
    rule->out_label[0][0] = EXPERTS;
    rule->out_label[0][1] = DEPTH;
    rule->out_label[0][2] = WIDTH;
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_EACH;
}

static int64_t rows_of(TsShape x)
{
    int64_t rows = 1;
    for (int d = 1; d < x.dims - 1; d++)
        rows *= x.size[d];
    return rows;
}

static TsMatmul product_of(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    TsShape x = call->in[0].shape, out = call->out[0].shape;
    int64_t rows = rows_of(x), depth = x.size[x.dims - 1], width = out.size[out.dims - 1];
    return (TsMatmul){.c = call->out[0].data,
                      .a = call->in[0].data,
                      .b = call->in[1].data,
                      .m = rows,
                      .k = depth,
                      .n = width,
                      .transpose_b = attributes->transpose,
                      .dtype = call->in[0].dtype,
                      .out_dtype = call->out[0].dtype,
                      .batch = x.size[0],
                      .step_a = rows * depth,
                      .step_b = depth * width,
                      .step_c = rows * width,
                      .scratch = call->scratch,
                      .threads = call->threads};
}

static TsMatmul kernel_product_of(const TsCall *call)
{
    TsShape x = call->in[0].shape, d = call->in[1].shape;
    int64_t rows = rows_of(x), depth = x.size[x.dims - 1], width = d.size[d.dims - 1];
    return (TsMatmul){.c = call->out[0].data,
                      .a = call->in[0].data,
                      .b = call->in[1].data,
                      .m = depth,
                      .k = rows,
                      .n = width,
                      .transpose_a = true,
                      .dtype = call->in[0].dtype,
                      .out_dtype = call->out[0].dtype,
                      .batch = x.size[0],
                      .step_a = rows * depth,
                      .step_b = rows * width,
                      .step_c = depth * width,
                      .scratch = call->scratch,
                      .threads = call->threads};
}

static void multiply(TsMatmul product)
{
    if (product.batch > 0) /* 0 would count as 1 */
        ts_matmul(&product);
}

static void forward(const TsCall *call)
{
    multiply(product_of(call));
}

static void forward_kernel(const TsCall *call)
{
    multiply(kernel_product_of(call));
}

static size_t scratch_bytes(const TsCall *call)
{
    TsMatmul product = product_of(call);
    return ts_matmul_scratch_bytes(&product);
}

static size_t scratch_bytes_kernel(const TsCall *call)
{
    TsMatmul product = kernel_product_of(call);
    return ts_matmul_scratch_bytes(&product);
}

static TsCost cost(const TsNodeView *node)
{
    TsShape x = node->in_shape[0];
    return (TsCost){.flops = 2 * (double)x.size[x.dims - 1] * (double)ts_shape_elems(node->out_shape[0])};
}

static TsCost cost_kernel(const TsNodeView *node)
{
    return (TsCost){.flops = 2 * (double)rows_of(node->in_shape[0]) * (double)ts_shape_elems(node->out_shape[0])};
}

static TsTensor product(TsTensor x, TsTensor kernel, bool transpose)
{
    Attributes attributes = {.transpose = transpose};
    return ts_graph_add_one(&ts_op_expert_dot, (TsTensor[]){x, kernel}, 2, &attributes);
}

static TsTensor kernel_product(TsTensor x, TsTensor d)
{
    return ts_graph_add_one(&ts_op_d_expert_kernel, (TsTensor[]){x, d}, 2, NULL);
}

static void gradient(TsGradientCall *call)
{
    const Attributes *attributes = call->attributes;
    TsTensor x = call->in[0], d = call->d_out[0];
    if (call->needs[0])
        call->d_in[0] = product(d, call->in[1], !attributes->transpose);
    if (call->needs[1])
        call->d_in[1] = attributes->transpose ? kernel_product(d, x) : kernel_product(x, d);
}

static void gradient_kernel(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] = product(call->in[1], call->d_out[0], true);
    if (call->needs[1])
        call->d_in[1] = product(call->in[0], call->d_out[0], false);
}

const TsOp ts_op_expert_dot = {
    .name = "expert_dot",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .cost = cost,
    .scratch_bytes = scratch_bytes,
};

const TsOp ts_op_d_expert_kernel = {
    .name = "d_expert_kernel",
    .outputs = 1,
    .infer = infer_kernel,
    .place = place_kernel,
    .forward = forward_kernel,
    .gradient = gradient_kernel,
    .cost = cost_kernel,
    .scratch_bytes = scratch_bytes_kernel,
};

TsTensor ts_expert_dot(TsTensor x, TsTensor kernel)
{
    return product(x, kernel, false);
}
