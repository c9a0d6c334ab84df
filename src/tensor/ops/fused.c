/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/ops/fused.h"

#include <omp.h>
#include <stdio.h>

#include "tensor/kernels/elementwise.h"
#include "tensor/ops/common.h"

static bool multiplies(const TsOp *op)
{
    return op >= ts_op_dot_fused && op < ts_op_dot_fused + TS_MAX_OUTPUTS;
}

static TsStatus infer(TsInference *inference)
{
    const TsFusedAttributes *attributes = inference->attributes;
    for (int k = 0; k < inference->outputs; k++) {
        int value = attributes->program.output[k];
        inference->out_shape[k] = value < 0 ? attributes->sum_shape[-1 - value] : attributes->shape;
        inference->out_dtype[k] = (TsDtype)attributes->program.out_dtype[k];
    }
    return TS_OK;
}

/* How many elements are multiplied and added for one of the product. */
static double depth_of(const TsNodeView *node)
{
    const TsDotAttributes *dot = &((const TsFusedAttributes *)node->attributes)->dot;
    TsShape a = node->in_shape[0];
    return dot->transpose_a ? (double)ts_op_elems_between(a, 0, dot->contract)
                            : (double)ts_op_elems_between(a, a.dims - dot->contract, a.dims);
}

/* Elements of what the steps give, by the shapes of the view: those of a rank's blocks, where it shows them. */
static double elems_of(const TsNodeView *node)
{
    const TsFusedAttributes *attributes = node->attributes;
    double elems = 0;
    for (int k = 0; k < node->outputs; k++)
        if (attributes->program.output[k] >= 0)
            return (double)ts_shape_elems(node->out_shape[k]);
    if (multiplies(node->op)) {
        double depth = depth_of(node);
        return depth > 0 ? (double)ts_shape_elems(node->in_shape[0]) / depth *
                               ((double)ts_shape_elems(node->in_shape[1]) / depth)
                         : 0;
    }
    for (int i = 0; i < node->inputs; i++) /* sums alone: of the largest operand */
        if ((double)ts_shape_elems(node->in_shape[i]) > elems)
            elems = (double)ts_shape_elems(node->in_shape[i]);
    return elems;
}

static TsCost cost(const TsNodeView *node)
{
    const TsFused *program = &((const TsFusedAttributes *)node->attributes)->program;
    double elems = elems_of(node);
    TsCost cost = {.bytes = ts_op_bytes(node)};
    for (int s = 0; s < program->steps; s++) {
        int kind = program->step[s].kind;
        bool norm = kind == TS_FUSED_NORMALIZE || kind == TS_FUSED_D_NORMALIZE;
        cost.flops += norm ? 8 * elems : kind == TS_FUSED_REPEAT || kind == TS_FUSED_CAST ? 0 : elems;
    }
    if (multiplies(node->op))
        cost.flops += 2 * depth_of(node) * elems;
    return cost;
}

/* The block that the steps give. */
static TsRandomBlock block_of(const TsCall *call)
{
    const TsFusedAttributes *attributes = call->attributes;
    for (int k = 0; k < call->outputs; k++)
        if (attributes->program.output[k] >= 0)
            return (TsRandomBlock){call->out[k].shape, call->out[k].global, call->out[k].first};
    for (int i = 0; i < call->inputs; i++) /* sums alone: of what an input as large holds */
        if (ts_shape_equal(call->in[i].global, attributes->shape))
            return (TsRandomBlock){call->in[i].shape, call->in[i].global, call->in[i].first};
    TS_CHECK(false, "a fused program of %s without an operand like it", ts_shape_text(attributes->shape).text);
    return (TsRandomBlock){.first = NULL};
}

static TsFusedRun run_of(const TsCall *call)
{
    const TsFusedAttributes *attributes = call->attributes;
    TsFusedRun run = {.program = &attributes->program, .block = block_of(call)};
    for (int i = 0; i < call->inputs; i++)
        run.in[i] = (TsFusedOperand){call->in[i].data, call->in[i].dtype, call->in[i].shape, call->in[i].global};
    for (int k = 0; k < call->outputs; k++)
        run.out[k] = call->out[k].data;
    return run;
}

static void forward(const TsCall *call)
{
    TsFusedRun run = run_of(call);
    ts_fused_prepare(&run);
    ts_kernel_fused(&run, call->scratch, call->threads);
}

static size_t scratch_bytes(const TsCall *call)
{
    TsFusedRun run = run_of(call);
    ts_fused_prepare(&run);
    return ts_fused_scratch_bytes(&run, call->threads);
}

/* ---- with a matrix product in front ---- */

/* The product is made in panels of rows, and the steps run over a panel while the last cache still has it. */
enum { PANEL_ELEMS = 1 << 22, FEW_ROWS = 64, MANY_ROWS = 2048 };

/* How many panels: each thread has as many as the others. */
static int64_t panels_of(const TsMatmul *product, int threads)
{
    int64_t rows = product->n > PANEL_ELEMS / MANY_ROWS ? PANEL_ELEMS / product->n : MANY_ROWS;
    rows = rows < 4 * FEW_ROWS ? 4 * FEW_ROWS : rows;
    int64_t panels = (product->m + rows - 1) / rows;
    return (panels + threads - 1) / threads * threads;
}

static const void *element(const void *base, int64_t index, TsDtype dtype)
{
    return (const char *)base + index * (int64_t)ts_dtype_bytes(dtype);
}

/* Makes rows [first, last) of the product, and runs the steps over them. On one thread. */
static void run_panel(const TsFusedRun *run, const TsMatmul *product, int64_t first, int64_t last, void *registers,
                      void *sums)
{
    TsMatmul part = *product;
    part.m = last - first;
    part.row_a = product->transpose_a ? product->m : product->k;
    part.a = element(product->a, product->transpose_a ? first : first * part.row_a, product->dtype);
    part.c = (void *)element(product->c, first * product->n, product->out_dtype);
    ts_matmul(&part);
    ts_fused_range(run, first * product->n, last * product->n, registers, sums);
}

/* What a call consists of. */
typedef struct Parts {
    TsFusedRun run;
    TsMatmul product;
    int64_t panels;                                 /* 0: the whole product first, then the steps */
    size_t thread_bytes, product_bytes, sums_bytes; /* scratch: of a thread, of its product in front; of a panel */
} Parts;

static Parts parts_of(const TsCall *call)
{
    const TsFusedAttributes *attributes = call->attributes;
    TsCall multiplication = *call;
    multiplication.attributes = &attributes->dot;
    multiplication.inputs = 2;
    multiplication.threads = call->threads > 1 ? call->threads : 1;
    Parts parts = {.run = run_of(call), .product = ts_op_dot_product(&multiplication)};
    const TsBlock *out = &call->out[0];
    parts.run.in[0] = (TsFusedOperand){out->data, out->dtype, out->shape, out->global};
    parts.run.in[1].dtype = TS_I64; /* not an operand of the steps */
    ts_fused_prepare(&parts.run);
    parts.panels = panels_of(&parts.product, multiplication.threads);
    if (call->fixed || parts.product.m / (parts.panels ? parts.panels : 1) < FEW_ROWS)
        parts.panels = 0; /* ts_matmul knows how to cut it */
    parts.product.threads = parts.panels ? 1 : multiplication.threads;
    parts.product_bytes = (ts_matmul_scratch_bytes(&parts.product) + 63) / 64 * 64;
    parts.thread_bytes = parts.product_bytes + ts_fused_tile_bytes(&parts.run);
    parts.sums_bytes = attributes->program.sums ? ts_fused_sums_bytes(&parts.run) : 0;
    return parts;
}

static void forward_dot(const TsCall *call)
{
    const Parts parts = parts_of(call);
    int threads = call->threads > 1 ? call->threads : 1;
    if (!parts.panels) {
        ts_matmul(&parts.product);
        ts_kernel_fused(&parts.run, (unsigned char *)call->scratch + parts.product_bytes, threads);
        return;
    }
    unsigned char *sums = (unsigned char *)call->scratch + (size_t)threads * parts.thread_bytes;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t panel = 0; panel < parts.panels; panel++) {
        unsigned char *mine = (unsigned char *)call->scratch + (size_t)omp_get_thread_num() * parts.thread_bytes;
        unsigned char *panel_sums = sums + (size_t)panel * parts.sums_bytes;
        TsMatmul product = parts.product;
        product.scratch = mine;
        if (parts.sums_bytes)
            memset(panel_sums, 0, parts.sums_bytes);
        run_panel(&parts.run, &product, product.m * panel / parts.panels, product.m * (panel + 1) / parts.panels,
                  mine + parts.product_bytes, panel_sums);
    }
    ts_fused_finish(&parts.run, sums, parts.panels);
}

static size_t scratch_bytes_dot(const TsCall *call)
{
    const Parts parts = parts_of(call);
    if (!parts.panels)
        return parts.product_bytes + ts_fused_scratch_bytes(&parts.run, call->threads);
    return (size_t)(call->threads > 1 ? call->threads : 1) * parts.thread_bytes +
           (size_t)parts.panels * parts.sums_bytes;
}

/* ---- what it is called ---- */

TsFusedText ts_fused_text(const TsOp *op, const TsFusedAttributes *attributes)
{
    static const char *const unary[] = {"scale",   "shift", "exp",  "log",  "sqrt",     "tanh",
                                        "sigmoid", "relu",  "silu", "gelu", "gelu_tanh"};
    static const char *const binary[] = {"add",     "sub",    "mul",    "div",    "maximum",
                                         "minimum", "equal",  "above",  "d_tanh", "d_sigmoid",
                                         "d_sqrt",  "d_relu", "d_silu", "d_gelu", "d_gelu_tanh"};
    static const char *const others[] = {
        [TS_FUSED_CAST] = "cast",           [TS_FUSED_REPEAT] = "expand",           [TS_FUSED_DROP] = "drop",
        [TS_FUSED_NORMALIZE] = "normalize", [TS_FUSED_D_NORMALIZE] = "d_normalize", [TS_FUSED_COLUMN_SUM] = "sum"};
    TsFusedText out = {""};
    size_t length = (size_t)snprintf(out.text, sizeof out.text, "%s", multiplies(op) ? "dot" : "");
    for (int s = 0; s < attributes->program.steps && length < sizeof out.text; s++) {
        const TsFusedStep *step = &attributes->program.step[s];
        const char *name = step->kind == TS_FUSED_UNARY    ? unary[step->kernel]
                           : step->kind == TS_FUSED_BINARY ? binary[step->kernel]
                                                           : others[step->kind];
        length += (size_t)snprintf(out.text + length, sizeof out.text - length, "%s%s", length ? " " : "", name);
    }
    return out;
}

#define ROW(NAME, OUTPUTS, FLAGS, FORWARD, SCRATCH)                                                                    \
    {                                                                                                                  \
        .name = NAME, .attributes_bytes = sizeof(TsFusedAttributes), .outputs = OUTPUTS,                               \
        .flags = TS_OP_NO_GRADIENT | (FLAGS), .infer = infer, .forward = FORWARD, .cost = cost,                        \
        .scratch_bytes = SCRATCH,                                                                                      \
    }
#define ROWS(NAME, FLAGS, FORWARD, SCRATCH)                                                                            \
    {                                                                                                                  \
        ROW(NAME, 1, FLAGS, FORWARD, SCRATCH), ROW(NAME, 2, FLAGS, FORWARD, SCRATCH),                                  \
            ROW(NAME, 3, FLAGS, FORWARD, SCRATCH), ROW(NAME, 4, FLAGS, FORWARD, SCRATCH),                              \
    }

const TsOp ts_op_fused[TS_MAX_OUTPUTS] = ROWS("fused", TS_OP_IN_PLACE | TS_OP_IN_PLACE_ANY, forward, scratch_bytes);
const TsOp ts_op_dot_fused[TS_MAX_OUTPUTS] = ROWS("dot_fused", 0, forward_dot, scratch_bytes_dot);
