/* SPDX-License-Identifier: Apache-2.0
 *
 * Dot: the matrix product over whole groups of dims. Groups lie together in memory, so that it is one product of
 * matrices whatever the dims: a (M, K) or (K, M), b (K, N) or (N, K), each letter a group of dims.
 */
#include "tensor/ops/dot.h"

#include "tensor/node.h"
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef TsDotAttributes Attributes;

/* Where the groups begin in each operand. */
typedef struct Groups {
    int k, m, n;        /* dims in each group */
    int m_in_a, k_in_a; /* first dims of the groups */
    int k_in_b, n_in_b;
} Groups;

static Groups groups_of(const Attributes *attributes, int a_dims, int b_dims)
{
    int k = attributes->contract, m = a_dims - k, n = b_dims - k;
    return (Groups){
        .k = k,
        .m = m,
        .n = n,
        .m_in_a = attributes->transpose_a ? k : 0,
        .k_in_a = attributes->transpose_a ? 0 : m,
        .k_in_b = attributes->transpose_b ? n : 0,
        .n_in_b = attributes->transpose_b ? 0 : k,
    };
}

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape a = inference->in_shape[0], b = inference->in_shape[1];
    TS_TRY(ts_op_same_float(inference));
    Groups groups = groups_of(attributes, a.dims, b.dims);
    if (groups.m < 0 || groups.n < 0)
        return ts_status_error(TS_CODE_INVALID, "%s and %s have no %d dims to contract", ts_shape_text(a).text,
                               ts_shape_text(b).text, groups.k);
    if (groups.m + groups.n > TS_MAX_DIMS)
        return ts_status_error(TS_CODE_INVALID, "%s by %s gives %d dims, more than %d", ts_shape_text(a).text,
                               ts_shape_text(b).text, groups.m + groups.n, TS_MAX_DIMS);
    for (int d = 0; d < groups.k; d++)
        if (a.size[groups.k_in_a + d] != b.size[groups.k_in_b + d])
            return ts_status_error(TS_CODE_INVALID, "the %s %d dims of %s do not go with the %s %d of %s",
                                   attributes->transpose_a ? "first" : "last", groups.k, ts_shape_text(a).text,
                                   attributes->transpose_b ? "last" : "first", groups.k, ts_shape_text(b).text);
    TsShape out = {.dims = groups.m + groups.n};
    memcpy(out.size, a.size + groups.m_in_a, (size_t)groups.m * sizeof out.size[0]);
    memcpy(out.size + groups.m, b.size + groups.n_in_b, (size_t)groups.n * sizeof out.size[0]);
    inference->out_shape[0] = out;
    inference->out_dtype[0] = attributes->wide ? ts_op_sum_dtype(inference->in_dtype[0]) : inference->in_dtype[0];
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    Groups groups = groups_of(node->attributes, node->in_shape[0].dims, node->in_shape[1].dims);
    int8_t label = 1;
    for (int d = 0; d < groups.m; d++, label++)
        rule->in_label[0][groups.m_in_a + d] = rule->out_label[0][d] = label;
    for (int d = 0; d < groups.n; d++, label++)
        rule->in_label[1][groups.n_in_b + d] = rule->out_label[0][groups.m + d] = label;
    for (int d = 0; d < groups.k; d++, label++)
        rule->in_label[0][groups.k_in_a + d] = rule->in_label[1][groups.k_in_b + d] = label;
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_EACH;
}

TsMatmul ts_op_dot_product(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *a = &call->in[0], *b = &call->in[1], *out = &call->out[0];
    Groups groups = groups_of(attributes, a->shape.dims, b->shape.dims);
    return (TsMatmul){
        .c = out->data,
        .a = a->data,
        .b = b->data,
        .m = ts_op_elems_between(a->shape, groups.m_in_a, groups.m_in_a + groups.m),
        .k = ts_op_elems_between(a->shape, groups.k_in_a, groups.k_in_a + groups.k),
        .n = ts_op_elems_between(b->shape, groups.n_in_b, groups.n_in_b + groups.n),
        .transpose_a = attributes->transpose_a,
        .transpose_b = attributes->transpose_b,
        .dtype = a->dtype,
        .out_dtype = out->dtype,
        .scratch = call->scratch,
        .threads = call->threads,
        .fixed = call->fixed,
    };
}

static void forward(const TsCall *call)
{
    TsMatmul product = ts_op_dot_product(call);
    ts_matmul(&product);
}

static size_t scratch_bytes(const TsCall *call)
{
    TsMatmul product = ts_op_dot_product(call);
    return ts_matmul_scratch_bytes(&product);
}

static TsCost cost(const TsNodeView *node)
{
    Groups groups = groups_of(node->attributes, node->in_shape[0].dims, node->in_shape[1].dims);
    double depth = (double)ts_op_elems_between(node->in_shape[0], groups.k_in_a, groups.k_in_a + groups.k);
    return (TsCost){.flops = 2 * depth * (double)ts_shape_elems(node->out_shape[0])};
}

static TsTensor dot(TsTensor a, TsTensor b, int contract, bool transpose_a, bool transpose_b)
{
    Attributes attributes = {.contract = contract, .transpose_a = transpose_a, .transpose_b = transpose_b};
    return ts_graph_add_one(&ts_op_dot, (TsTensor[]){a, b}, 2, &attributes);
}

/* With d (M, N): da = d b^T, or its transpose b d^T where a lies (K, M); db = a^T d, or d^T a where b lies (N, K). */
static void gradient(TsGradientCall *call)
{
    const Attributes *attributes = call->attributes;
    TsTensor a = call->in[0], b = call->in[1], d = ts_cast(call->d_out[0], ts_dtype_of(call->in[0]));
    Groups groups = groups_of(attributes, ts_dims(a), ts_dims(b));
    bool ta = attributes->transpose_a, tb = attributes->transpose_b;
    if (call->needs[0])
        call->d_in[0] = ta ? dot(b, d, groups.n, tb, true) : dot(d, b, groups.n, false, !tb);
    if (call->needs[1])
        call->d_in[1] = tb ? dot(d, a, groups.m, true, ta) : dot(a, d, groups.m, !ta, false);
}

TsTensor ts_op_dot_wide(TsTensor x)
{
    TsGraph *graph = x.graph;
    const TsNode *node = &graph->node[graph->value[x.id].node];
    Attributes attributes;
    memcpy(&attributes, node->attributes, sizeof attributes);
    attributes.wide = true;
    const int32_t *in = ts_node_in(graph, node);
    return ts_graph_add_one(&ts_op_dot, (TsTensor[]){{graph, in[0]}, {graph, in[1]}}, 2, &attributes);
}

const TsOp ts_op_dot = {
    .name = "dot",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .cost = cost,
    .scratch_bytes = scratch_bytes,
};

TsTensor ts_dot(TsTensor a, TsTensor b, TsDot options)
{
    return dot(a, b, options.contract ? options.contract : 1, options.transpose_a, options.transpose_b);
}
