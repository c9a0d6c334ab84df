/* SPDX-License-Identifier: Apache-2.0
 *
 * What the passes made of a Graph, for people: as text, one line a step, and as Graphviz.
 */
#include "tensor/program_internal.h"

#include "base/memory.h"
#include "tensor/ops/fused.h"

static const char *const binding_kinds[] = {[TS_BIND_INPUT] = "input",
                                            [TS_BIND_PARAMETER] = "parameter",
                                            [TS_BIND_STATE] = "state",
                                            [TS_BIND_OUTPUT] = "output"};

static TsCost cost_of(TsNodeRoom *room, const TsProgram *program, const TsNode *node)
{
    TsNodeView view = ts_node_view(room, program->graph, node);
    return ts_node_cost(&view);
}

/* What a node is called: of a fused one, its steps. */
static TsFusedText name_of(const TsNode *node)
{
    if (ts_op_is_fused(node->op))
        return ts_fused_text(node->op, node->attributes);
    TsFusedText name;
    snprintf(name.text, sizeof name.text, "%s", node->op->name);
    return name;
}

static void print_bindings(const TsProgram *program, FILE *file)
{
    for (int32_t b = 0; b < program->graph->bounds; b++) {
        const TsBound *bound = &program->graph->bound[b];
        fprintf(file, "%-9s %s  %s %s  %s%s\n", binding_kinds[bound->binding.kind], bound->binding.name,
                ts_dtype_name(bound->binding.dtype), ts_shape_text(bound->binding.shape).text,
                ts_placement_text(bound->binding.placement).text, bound->assigned >= 0 ? "  assigned" : "");
    }
}

static void print_location(const TsProgram *program, FILE *file, int32_t value)
{
    TsLocation location = program->layout.location[value];
    if (location.buffer < 0)
        return;
    const TsBuffer *buffer = &program->layout.buffer[location.buffer];
    if (buffer->kind == TS_BUFFER_BOUND)
        fprintf(file, "  in %s", program->graph->bound[buffer->bound].binding.name);
    else if (buffer->kind == TS_BUFFER_CONSTANT)
        fprintf(file, "  constant");
    else
        fprintf(file, "  %zu bytes at %zu, steps %d-%d", buffer->size_bytes,
                buffer->offset_bytes + location.offset_bytes, buffer->first, buffer->last);
}

static void print_step(TsNodeRoom *room, const TsProgram *program, FILE *file, const TsAction *action)
{
    static const char *const kinds[] = {"", "begin ", "end "};
    const TsGraph *graph = program->graph;
    if (action->step >= program->schedule.steps) {
        fprintf(file, "%6d  copy what was not written in place\n", action->step);
        return;
    }
    const TsNode *node = &graph->node[program->schedule.step[action->step].node];
    fprintf(file, "%6d  %s%s", action->step, kinds[action->kind], name_of(node).text);
    if (*graph->path[node->path].text)
        fprintf(file, "  %s", graph->path[node->path].text);
    fprintf(file, "%s%s", node->backward ? "  (backward)" : "", action->last ? "  (last micro-batch)" : "");
    if (action->kind == TS_STEP_END) {
        fprintf(file, "\n");
        return;
    }
    for (int k = 0; k < node->outputs; k++) {
        const TsValue *value = &graph->value[node->first_out + k];
        fprintf(file, "  %s %s  %s", ts_dtype_name(value->dtype), ts_shape_text(value->shape).text,
                ts_placement_text(value->placement).text);
        print_location(program, file, node->first_out + k);
    }
    TsCost cost = cost_of(room, program, node);
    if (cost.flops > 0)
        fprintf(file, "  %.3g flops", cost.flops);
    fprintf(file, "  %.3g bytes moved", cost.bytes);
    if (action->moves)
        fprintf(file, "  with %d more", program->schedule.step[action->step].members - 1);
    if ((action->move || action->moves) && ts_op_is_collective(action->op))
        fprintf(file, "  over %s  sends %.0f bytes", ts_axes_text(((const TsMoveStep *)node->attributes)->axes).text,
                ts_action_sent_bytes(action));
    fprintf(file, "\n");
}

/* The sums over all collectives, by kind and axes. */
static void print_collectives(const TsProgram *program, FILE *file)
{
    enum { ALL_SETS = 1 << TS_AXES };
    for (int kind = 0; kind < TS_MOVES; kind++)
        for (TsAxisSet axes = 0; axes < ALL_SETS; axes++) {
            int count = 0;
            double bytes = 0;
            for (int32_t a = 0; a < program->actions; a++) {
                const TsAction *action = &program->action[a];
                if (action->kind != TS_STEP_BEGIN || action->op != &ts_move_op[kind])
                    continue;
                const TsNode *node = &program->graph->node[program->schedule.step[action->step].node];
                if (((const TsMoveStep *)node->attributes)->axes != axes)
                    continue;
                count++;
                bytes += ts_action_sent_bytes(action);
            }
            if (count)
                fprintf(file, "total     %d %s over %s, %.0f bytes sent by this rank\n", count, ts_move_op[kind].name,
                        ts_axes_text(axes).text, bytes);
        }
}

void ts_program_describe(const TsProgram *program, FILE *file)
{
    TsNodeRoom room = {.capacity = 0};
    TsCost cost = ts_graph_cost(program->graph);
    print_bindings(program, file);
    for (int32_t a = 0; a < program->actions; a++)
        print_step(&room, program, file, &program->action[a]);
    print_collectives(program, file);
    fprintf(file, "total     %d nodes, %d steps, %.4g flops, %.4g bytes moved, as if one rank did it all\n",
            program->graph->nodes, program->schedule.steps, cost.flops, cost.bytes);
    fprintf(file, "total     arena %zu bytes (largest live set %zu), constants %zu bytes\n",
            program->layout.arena_bytes, program->layout.live_bytes, program->layout.constant_bytes);
    ts_node_room_free(&room);
}

/* A name inside double quotes. */
static void print_quoted(FILE *file, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', file);
        fputc(*text, file);
    }
}

void ts_program_describe_dot(const TsProgram *program, FILE *file)
{
    const TsGraph *graph = program->graph;
    fprintf(file, "digraph program {\n  node [shape=box, fontsize=10];\n  edge [fontsize=8];\n");
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        fprintf(file, "  n%d [label=\"", n);
        if (node->op == &ts_bound_op) {
            const TsBinding *binding = &graph->bound[((const TsBoundAttributes *)node->attributes)->bound].binding;
            fprintf(file, "%s ", binding_kinds[binding->kind]);
            print_quoted(file, binding->name);
        } else {
            fprintf(file, "%s\\n", name_of(node).text);
            print_quoted(file, graph->path[node->path].text);
        }
        fprintf(file, "\"%s%s];\n", node->backward ? ", style=dashed" : "",
                ts_op_is_collective(node->op) ? ", shape=ellipse" : "");
        for (int i = 0; i < node->inputs; i++) {
            const TsValue *value = &graph->value[ts_node_in(graph, node)[i]];
            fprintf(file, "  n%d -> n%d [label=\"%s\\n%s\"];\n", value->node, n, ts_shape_text(value->shape).text,
                    ts_placement_text(value->placement).text);
        }
    }
    for (int32_t b = 0; b < graph->bounds; b++) {
        const TsBound *bound = &graph->bound[b];
        int32_t given = bound->binding.kind == TS_BIND_OUTPUT ? bound->value : bound->assigned;
        if (given < 0)
            continue;
        fprintf(file, "  b%d [shape=plaintext, label=\"", b);
        print_quoted(file, bound->binding.name);
        fprintf(file, "\"];\n  n%d -> b%d;\n", graph->value[given].node, b);
    }
    fprintf(file, "}\n");
}
