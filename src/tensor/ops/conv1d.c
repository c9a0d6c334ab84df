/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolution along time: tiles of the windows that are multiplied are unfolded into scratch, and go through matmul.h.
 *
 * out[b, t] = the sum over k of x[b, t - left + k] kernel[k], with zeros beyond x; of x[b, t - left + K - 1 - k] where
 * `reversed`. With that, the gradient of x is a convolution too: of d_out by kernel[k] transposed.
 */
#include "tensor/kernels/cast.h"
#include "tensor/matmul.h"
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t left, right; /* zeros on either side of x; 0 to K - 1 */
    int64_t taps;        /* K */
    int64_t reversed;
} Attributes;

enum { TILE = 256 }; /* times unfolded at once */

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0], kernel = inference->in_shape[1];
    TS_TRY(ts_op_same_float(inference));
    if (x.dims != 3 || kernel.dims != 3 || kernel.size[0] < 1 || x.size[2] != kernel.size[1])
        return ts_status_error(TS_CODE_INVALID, "%s does not go with a kernel %s: expected (B, T, C) and (K, C, D)",
                               ts_shape_text(x).text, ts_shape_text(kernel).text);
    int64_t length = x.size[1] + attributes->left + attributes->right - kernel.size[0] + 1;
    if (length < 0)
        return ts_status_error(TS_CODE_INVALID, "%s is shorter than a kernel %s", ts_shape_text(x).text,
                               ts_shape_text(kernel).text);
    inference->out_shape[0] = ts_shape(x.size[0], length, kernel.size[2]);
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

/* x, d_out -> d_kernel */
static TsStatus infer_gradient(TsInference *inference)
{
    TsShape x = inference->in_shape[0], d_out = inference->in_shape[1];
    inference->out_shape[0] = ts_shape(((const Attributes *)inference->attributes)->taps, x.size[2], d_out.size[2]);
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

enum { BATCH = 1, WIDTH_IN, WIDTH_OUT };

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    (void)node;
    rule->in_label[0][0] = rule->out_label[0][0] = BATCH;
    rule->in_label[0][2] = rule->in_label[1][1] = WIDTH_IN;
    rule->in_label[1][2] = rule->out_label[0][2] = WIDTH_OUT;
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_EACH;
}

static void place_gradient(TsPlaceRule *rule, const TsNodeView *node)
{
    (void)node;
    rule->in_label[0][0] = rule->in_label[1][0] = BATCH;
    rule->in_label[0][2] = rule->out_label[0][1] = WIDTH_IN;
    rule->in_label[1][2] = rule->out_label[0][2] = WIDTH_OUT;
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_EACH;
}

/* Row t of tile (rows, K, C) = the windows of times first + t of entry b of x. */
static void unfold(void *tile, const TsBlock *x, const Attributes *attributes, int64_t b, int64_t first, int64_t rows,
                   int threads)
{
    int64_t length = x->shape.size[1], taps = attributes->taps;
    size_t bytes = (size_t)x->shape.size[2] * ts_dtype_bytes(x->dtype);
    threads = rows * taps * (int64_t)bytes < 65536 ? 1 : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t k = 0; k < taps; k++) {
            int64_t t = first + row - attributes->left + (attributes->reversed ? taps - 1 - k : k);
            char *to = (char *)tile + (size_t)(row * taps + k) * bytes;
            if (bytes && t >= 0 && t < length)
                memcpy(to, (const char *)x->data + (size_t)(b * length + t) * bytes, bytes);
            else if (bytes)
                memset(to, 0, bytes);
        }
}

/* Scratch: a tile, f32 sums of a kernel's gradient in bf16, what the backend wants. */
typedef struct Scratch {
    size_t sums_at, product_at;
} Scratch;

static Scratch scratch_of(const TsCall *call, bool sums)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0];
    size_t elems = (size_t)(attributes->taps * x->shape.size[2]);
    Scratch scratch = {.sums_at = (TILE * elems * ts_dtype_bytes(x->dtype) + 63) / 64 * 64};
    size_t sum_elems = sums && x->dtype == TS_BF16 ? elems * (size_t)call->in[1].shape.size[2] : 0;
    scratch.product_at = scratch.sums_at + (sum_elems * sizeof(float) + 63) / 64 * 64;
    return scratch;
}

static TsMatmul product_of(const TsCall *call)
{
    return (TsMatmul){
        .dtype = call->in[0].dtype, .out_dtype = call->in[0].dtype, .threads = call->threads, .fixed = call->fixed};
}

static size_t scratch_bytes(const TsCall *call)
{
    TsMatmul product = product_of(call);
    return scratch_of(call, false).product_at + ts_matmul_scratch_bytes(&product);
}

static size_t scratch_bytes_gradient(const TsCall *call)
{
    TsMatmul product = product_of(call);
    return scratch_of(call, true).product_at + ts_matmul_scratch_bytes(&product);
}

static void forward(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0], *out = &call->out[0];
    TsMatmul product = product_of(call);
    int64_t length = out->shape.size[1];
    product.a = call->scratch;
    product.b = call->in[1].data;
    product.n = out->shape.size[2];
    product.k = attributes->taps * x->shape.size[2];
    product.scratch = (char *)call->scratch + scratch_of(call, false).product_at;
    for (int64_t b = 0; b < x->shape.size[0]; b++)
        for (int64_t first = 0; first < length; first += TILE) {
            product.m = length - first < TILE ? length - first : TILE;
            unfold(call->scratch, x, attributes, b, first, product.m, call->threads);
            product.c = (char *)out->data + (size_t)((b * length + first) * product.n) * ts_dtype_bytes(out->dtype);
            ts_matmul(&product);
        }
}

/* Sums over batch and time, in f32 where the rest is bf16. */
static void forward_gradient(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0], *d_out = &call->in[1], *d_kernel = &call->out[0];
    Scratch scratch = scratch_of(call, true);
    TsMatmul product = product_of(call);
    bool apart = x->dtype == TS_BF16;
    int64_t length = d_out->shape.size[1];
    product.a = call->scratch;
    product.transpose_a = true;
    product.c = apart ? (char *)call->scratch + scratch.sums_at : d_kernel->data;
    product.out_dtype = apart ? TS_F32 : x->dtype;
    product.m = attributes->taps * x->shape.size[2];
    product.n = d_out->shape.size[2];
    product.beta = 1;
    product.scratch = (char *)call->scratch + scratch.product_at;
    size_t sum_bytes = (size_t)(product.m * product.n) * ts_dtype_bytes(product.out_dtype);
    if (sum_bytes)
        memset(product.c, 0, sum_bytes);
    for (int64_t b = 0; b < x->shape.size[0]; b++)
        for (int64_t first = 0; first < length; first += TILE) {
            product.k = length - first < TILE ? length - first : TILE;
            unfold(call->scratch, x, attributes, b, first, product.k, call->threads);
            product.b =
                (const char *)d_out->data + (size_t)((b * length + first) * product.n) * ts_dtype_bytes(d_out->dtype);
            ts_matmul(&product);
        }
    if (apart)
        ts_kernel_cast(d_kernel->data, TS_BF16, product.c, TS_F32, product.m * product.n, call->threads);
}

static TsCost cost(const TsNodeView *node)
{
    double window = (double)((const Attributes *)node->attributes)->taps * (double)node->in_shape[0].size[2];
    return (TsCost){.flops = 2 * window * (double)ts_shape_elems(node->out_shape[0])};
}

static TsCost cost_gradient(const TsNodeView *node)
{
    double window = (double)((const Attributes *)node->attributes)->taps * (double)node->in_shape[0].size[2];
    return (TsCost){.flops = 2 * window * (double)ts_shape_elems(node->in_shape[1])};
}

/* The gradient of x, of an output that was x by `kernel`. */
static TsTensor d_x(TsTensor d_out, TsTensor kernel, const void *call_attributes)
{
    static const int transposed[] = {0, 2, 1};
    Attributes attributes;
    memcpy(&attributes, call_attributes, sizeof attributes);
    attributes.left = attributes.taps - 1 - attributes.left;
    attributes.right = attributes.taps - 1 - attributes.right;
    attributes.reversed = !attributes.reversed;
    return ts_graph_add_one(&ts_op_conv1d, (TsTensor[]){d_out, ts_transpose(kernel, transposed)}, 2, &attributes);
}

static void gradient(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] = d_x(call->d_out[0], call->in[1], call->attributes);
    if (call->needs[1])
        call->d_in[1] =
            ts_graph_add_one(&ts_op_d_conv1d_kernel, (TsTensor[]){call->in[0], call->d_out[0]}, 2, call->attributes);
}

/* d_kernel is linear in x and in d_out: with a kernel in its place, the sum of kernel * d_kernel is that of
 * conv1d(x, kernel) * d_out. */
static void gradient_kernel(TsGradientCall *call)
{
    TsTensor kernel = call->d_out[0];
    if (call->needs[0])
        call->d_in[0] = d_x(call->in[1], kernel, call->attributes);
    if (call->needs[1])
        call->d_in[1] = ts_graph_add_one(&ts_op_conv1d, (TsTensor[]){call->in[0], kernel}, 2, call->attributes);
}

const TsOp ts_op_conv1d = {
    .name = "conv1d",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .cost = cost,
    .scratch_bytes = scratch_bytes,
};

const TsOp ts_op_d_conv1d_kernel = {
    .name = "d_conv1d_kernel",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_gradient,
    .place = place_gradient,
    .forward = forward_gradient,
    .gradient = gradient_kernel,
    .cost = cost_gradient,
    .scratch_bytes = scratch_bytes_gradient,
};

TsTensor ts_conv1d(TsTensor x, TsTensor kernel, TsConv1dPadding padding)
{
    int64_t taps = kernel.id >= 0 && ts_dims(kernel) ? ts_dim(kernel, 0) : 1, around = taps > 0 ? taps - 1 : 0;
    Attributes attributes = {.taps = taps};
    if (padding == TS_CONV1D_SAME)
        attributes.left = around / 2;
    if (padding == TS_CONV1D_CAUSAL)
        attributes.left = around;
    attributes.right = padding == TS_CONV1D_SAME ? around - attributes.left : 0;
    return ts_graph_add_one(&ts_op_conv1d, (TsTensor[]){x, kernel}, 2, &attributes);
}
