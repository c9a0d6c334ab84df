/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/assembly.h"

#include <string.h>

/* The value whose block a node works on. */
static int32_t worked_on(const TsFuser *fuser, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    const TsNode *node = &graph->node[n];
    return fuser->step[n].kind == TS_FUSED_COLUMN_SUM ? *ts_node_in(graph, node) : node->first_out;
}

/* Whether all that a node works on is like what the others work on. */
static bool fits_in(TsAssembly *assembly, const TsFuser *fuser, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    const TsNode *node = &graph->node[n];
    const TsValue *value = &graph->value[worked_on(fuser, n)];
    bool f64 = value->dtype == TS_F64;
    for (int i = 0; i < node->inputs; i++) {
        TsDtype dtype = graph->value[ts_node_in(graph, node)[i]].dtype;
        if (ts_fuser_is_real(dtype) && (dtype == TS_F64) != f64)
            return false;
    }
    if (!assembly->begun) {
        assembly->begun = true;
        assembly->f64 = f64;
        assembly->placement = value->placement;
        assembly->attributes.shape = ts_shape_of(value->shape.dims, value->shape.size);
        return true;
    }
    return f64 == assembly->f64 && ts_shape_equal(value->shape, assembly->attributes.shape) &&
           ts_placement_equal(value->placement, assembly->placement);
}

/* The number of a value in the program, as an input if no step gives it; -1: no room. `number` is by member. */
static int number_of(TsAssembly *assembly, const TsFuser *fuser, int32_t root, const int8_t *number, int32_t value)
{
    const TsGraph *graph = fuser->rewrite.from;
    int32_t maker = graph->value[value].node, at = 0;
    if (fuser->root[maker] == root) {
        for (int32_t n = root; n != maker; n = fuser->next[n])
            at++;
        return number[at];
    }
    for (int i = assembly->op == ts_op_dot_fused ? 2 : 0; i < assembly->inputs; i++)
        if (assembly->in[i] == value)
            return i;
    if (assembly->inputs == TS_FUSED_INPUTS)
        return -1;
    assembly->in[assembly->inputs] = value;
    return assembly->inputs++;
}

/* Numbers all inputs of the steps first, because those of the steps come after. */
static bool number_inputs(TsAssembly *assembly, const TsFuser *fuser, int32_t root, int8_t *number)
{
    const TsGraph *graph = fuser->rewrite.from;
    assembly->op = ts_op_fused;
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        if (ts_fuser_is_dot(graph, n)) {
            const int32_t *in = ts_node_in(graph, &graph->node[n]);
            if (assembly->op == ts_op_dot_fused || fuser->root[graph->value[in[0]].node] == root ||
                fuser->root[graph->value[in[1]].node] == root)
                return false;
            assembly->op = ts_op_dot_fused;
            assembly->in[0] = in[0];
            assembly->in[1] = in[1];
            assembly->inputs = 2;
            memcpy(&assembly->attributes.dot, graph->node[n].attributes, sizeof assembly->attributes.dot);
        }
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        for (int i = 0; i < graph->node[n].inputs && !ts_fuser_is_dot(graph, n); i++) {
            int32_t value = ts_node_in(graph, &graph->node[n])[i];
            if (fuser->root[graph->value[value].node] != root && number_of(assembly, fuser, root, number, value) < 0)
                return false;
        }
    return true;
}

/* Whether each element of the block has a value of its own: it is not one that is repeated along the last dim. */
static bool is_whole(const TsAssembly *assembly, const TsFuser *fuser, int value)
{
    const TsFused *program = &assembly->attributes.program;
    if (value < program->inputs)
        return (value == 0 && assembly->op == ts_op_dot_fused) ||
               ts_shape_equal(fuser->rewrite.from->value[assembly->in[value]].shape, assembly->attributes.shape);
    const TsFusedStep *step = &program->step[value - program->inputs];
    if (step->kind == TS_FUSED_REPEAT)
        return false;
    if (step->kind == TS_FUSED_UNARY || step->kind == TS_FUSED_CAST)
        return is_whole(assembly, fuser, step->in[0]);
    return step->kind != TS_FUSED_BINARY || is_whole(assembly, fuser, step->in[0]) ||
           is_whole(assembly, fuser, step->in[1]);
}

/* Rows are the same for all steps that need them whole, and lie in rows of the product. */
static bool needs_rows(TsAssembly *assembly, const TsFuser *fuser, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    TsFused *program = &assembly->attributes.program;
    int dims = fuser->step[n].kind == TS_FUSED_COLUMN_SUM ? fuser->step[n].kernel : 1;
    if (assembly->op == ts_op_dot_fused) {
        TsShape b = graph->value[assembly->in[1]].shape;
        if (dims > b.dims - assembly->attributes.dot.contract)
            return false;
    }
    if (program->row_dims && program->row_dims != dims)
        return false;
    program->row_dims = (int8_t)dims;
    return true;
}

/* Adds node n as the next step. */
static bool add_step(TsAssembly *assembly, const TsFuser *fuser, int32_t root, int8_t *number, int at, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    const TsNode *node = &graph->node[n];
    TsFused *program = &assembly->attributes.program;
    if (program->steps == TS_FUSED_STEPS)
        return false;
    TsFusedStep *step = &program->step[program->steps++];
    *step = fuser->step[n];
    step->dtype = (int8_t)graph->value[node->first_out].dtype;
    for (int i = 0; i < node->inputs; i++) {
        const TsValue *in = &graph->value[ts_node_in(graph, node)[i]];
        if (fuser->root[in->node] == root && (in->output > 0 || fuser->step[in->node].kind == TS_FUSED_COLUMN_SUM))
            return false; /* sums are there when all is done */
        step->in[i] = (int8_t)number_of(assembly, fuser, root, number, ts_node_in(graph, node)[i]);
    }
    number[at] = (int8_t)(program->inputs + program->steps - 1);
    bool whole = step->kind != TS_FUSED_UNARY && step->kind != TS_FUSED_BINARY && step->kind != TS_FUSED_CAST &&
                 step->kind != TS_FUSED_REPEAT;
    if (!whole)
        return true;
    if (!is_whole(assembly, fuser, step->in[0]) ||
        (step->kind == TS_FUSED_D_NORMALIZE && !is_whole(assembly, fuser, step->in[1])))
        return false;
    if (step->kind == TS_FUSED_DROP)
        return true;
    int sums = step->kind == TS_FUSED_COLUMN_SUM ? 1 : step->kind == TS_FUSED_D_NORMALIZE ? node->outputs - 1 : 0;
    if (sums) {
        if (program->sums + sums > TS_FUSED_SUMS)
            return false;
        step->sums = program->sums;
        for (int k = 0; k < sums; k++) {
            TsShape shape = graph->value[node->first_out + node->outputs - sums + k].shape;
            assembly->attributes.sum_shape[program->sums++] = ts_shape_of(shape.dims, shape.size);
        }
    }
    return needs_rows(assembly, fuser, n);
}

static bool is_needed_outside(const TsFuser *fuser, int32_t root, int32_t value)
{
    if (fuser->given[value])
        return true;
    for (int32_t r = fuser->first_reader[value]; r < fuser->first_reader[value + 1]; r++)
        if (fuser->root[fuser->reader[r]] != root)
            return true;
    return false;
}

/* What others need of the members. */
static bool add_outputs(TsAssembly *assembly, const TsFuser *fuser, int32_t root, const int8_t *number)
{
    const TsGraph *graph = fuser->rewrite.from;
    TsFused *program = &assembly->attributes.program;
    int at = 0;
    for (int32_t n = root; n >= 0; n = fuser->next[n], at++) {
        const TsNode *node = &graph->node[n];
        for (int k = 0; k < node->outputs; k++) {
            if (!is_needed_outside(fuser, root, node->first_out + k))
                continue;
            if (program->outputs == TS_FUSED_OUTPUTS)
                return false;
            int value = number[at];
            bool is_sum = fuser->step[n].kind == TS_FUSED_COLUMN_SUM || k > 0;
            if (is_sum)
                value = -1 - (program->step[value - program->inputs].sums + (k > 0 ? k - 1 : 0));
            program->output[program->outputs] = (int8_t)value;
            program->out_dtype[program->outputs] = (int8_t)graph->value[node->first_out + k].dtype;
            assembly->out[program->outputs++] = node->first_out + k;
        }
    }
    assembly->outputs = program->outputs;
    return true;
}

/* The product is made where output 0 lies. */
static bool put_product_first(TsAssembly *assembly, const TsFuser *fuser)
{
    TsFused *program = &assembly->attributes.program;
    TsDtype dtype = fuser->rewrite.from->value[assembly->in[0]].dtype;
    for (int k = 0; k < program->outputs; k++)
        if (program->output[k] >= 0 && program->out_dtype[k] == (int8_t)dtype) {
            int8_t output = program->output[k], out_dtype = program->out_dtype[k];
            int32_t out = assembly->out[k];
            program->output[k] = program->output[0];
            program->out_dtype[k] = program->out_dtype[0];
            assembly->out[k] = assembly->out[0];
            program->output[0] = output;
            program->out_dtype[0] = out_dtype;
            assembly->out[0] = out;
            return true;
        }
    return false;
}

bool ts_assemble(TsAssembly *assembly, const TsFuser *fuser, int32_t root)
{
    const TsGraph *graph = fuser->rewrite.from;
    int8_t number[TS_CLUSTER_MEMBERS];
    int at = 0;
    memset(assembly, 0, sizeof *assembly); /* padding of the attributes too */
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        if (!fits_in(assembly, fuser, n))
            return false;
    if (!number_inputs(assembly, fuser, root, number))
        return false;
    TsFused *program = &assembly->attributes.program;
    program->inputs = (int8_t)assembly->inputs;
    for (int32_t n = root; n >= 0; n = fuser->next[n], at++)
        if (ts_fuser_is_dot(graph, n))
            number[at] = 0;
        else if (!add_step(assembly, fuser, root, number, at, n))
            return false;
    if (!add_outputs(assembly, fuser, root, number) || !program->outputs)
        return false;
    assembly->op += program->outputs - 1;
    return assembly->op < ts_op_dot_fused || assembly->op >= ts_op_dot_fused + TS_MAX_OUTPUTS ||
           put_product_first(assembly, fuser);
}
