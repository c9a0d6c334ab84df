/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/versions.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/ops/rows.h"

enum { MOST_ATTRIBUTES = 256, MOST_INPUTS = 4 }; /* of what is made where it is wanted */

/* What is known about a value of the graph in the making. */
typedef struct Version {
    int32_t origin; /* the value that this one is a version of; itself if none */
    int32_t next;   /* of the versions of one origin; -1: the last */
    bool at_rest;
    TsAxisSet gathered; /* before use, of what is at rest */
    bool backward;      /* moved for a reader in the backward pass */
} Version;

struct TsVersions {
    TsGraph *graph;
    TsMeshShape mesh_shape;
    bool scatter_first;
    Version *version; /* (capacity), by value */
    int32_t count, capacity;
};

TsVersions *ts_versions_create(TsGraph *graph, TsMeshShape mesh_shape, bool scatter_first)
{
    TsVersions *versions = ts_calloc(1, sizeof *versions);
    versions->graph = graph;
    versions->mesh_shape = mesh_shape;
    versions->scatter_first = scatter_first;
    return versions;
}

void ts_versions_free(TsVersions **versions)
{
    if (*versions) {
        ts_free((*versions)->version);
        ts_free(*versions);
    }
    *versions = NULL;
}

static Version *version_of(TsVersions *versions, int32_t value)
{
    if (value >= versions->capacity) {
        versions->capacity = 2 * value + 256;
        versions->version = ts_realloc(versions->version, (size_t)versions->capacity * sizeof *versions->version);
    }
    for (; versions->count <= value; versions->count++)
        versions->version[versions->count] = (Version){.origin = versions->count, .next = -1};
    return &versions->version[value];
}

void ts_versions_set_at_rest(TsVersions *versions, int32_t value, TsAxisSet gathered)
{
    Version *version = version_of(versions, value);
    version->at_rest = true;
    version->gathered = gathered;
}

TsAxisSet ts_versions_gathered(const TsVersions *versions, int32_t value)
{
    return value < versions->count ? versions->version[versions->version[value].origin].gathered : 0;
}

bool ts_versions_at_rest(const TsVersions *versions, int32_t value)
{
    return value < versions->count && versions->version[versions->version[value].origin].at_rest;
}

/* Whether a version serves readers of this direction. */
static bool serves(const TsVersions *versions, int32_t value, bool backward)
{
    const Version *version = &versions->version[value];
    return version->origin == value || version->backward == backward || !versions->version[version->origin].at_rest;
}

bool ts_versions_have(const TsVersions *versions, int32_t value, int dim, TsAxis axis, bool backward)
{
    if (value >= versions->count)
        return false;
    for (int32_t v = versions->version[value].origin; v >= 0; v = versions->version[v].next) {
        TsPlacement placement = versions->graph->value[v].placement;
        bool cut = dim >= 0 ? (ts_placement_axes_of(placement, dim) & TS_AXIS_BIT(axis)) != 0
                            : !((ts_placement_axes(placement) | placement.partial) & TS_AXIS_BIT(axis));
        if (cut && serves(versions, v, backward))
            return true;
    }
    return false;
}

/* Constants and noise are made where they are wanted, not moved. */
static bool make_there(TsVersions *versions, int32_t *out, int32_t value, TsPlacement to)
{
    TsGraph *graph = versions->graph;
    const TsNode *node = &graph->node[graph->value[value].node];
    const TsOp *op = node->op;
    if (!op->placement_at || to.partial || to.at_axis)
        return false;
    unsigned char attributes[MOST_ATTRIBUTES];
    TsTensor in[MOST_INPUTS], made;
    TS_CHECK((size_t)op->attributes_bytes <= sizeof attributes && node->inputs <= MOST_INPUTS && op->outputs == 1,
             "%s is too large to be made where it is wanted", op->name);
    memcpy(attributes, node->attributes, (size_t)op->attributes_bytes);
    memcpy(attributes + op->placement_at, &to, sizeof to);
    for (int i = 0; i < node->inputs; i++)
        in[i] = (TsTensor){graph, ts_node_in(graph, node)[i]};
    graph->current_path = node->path;
    graph->backward = node->backward;
    ts_graph_add_to(graph, &made, op, in, node->inputs, attributes);
    graph->value[made.id].placement = to;
    *out = made.id;
    return true;
}

/* Nor is what was expanded: what it was expanded from is moved. */
static TsStatus make_expanded(TsVersions *versions, int32_t *out, int32_t value, TsPlacement to, const TsNode *reader)
{
    TsGraph *graph = versions->graph;
    const TsNode *node = &graph->node[graph->value[value].node];
    int32_t source = *ts_node_in(graph, node), path = node->path;
    bool backward = node->backward;
    TsShape x = graph->value[source].shape, shape = graph->value[value].shape;
    TsExpandAttributes attributes;
    memcpy(&attributes, node->attributes, sizeof attributes);
    attributes.placement = to;
    for (int d = 0; d < shape.dims; d++) /* the source's dims are the last ones */
        if (ts_expand_repeats(x, shape, d))
            memset(to.axis[d], 0, sizeof to.axis[d]);
    memmove(to.axis, to.axis + (shape.dims - x.dims), (size_t)x.dims * sizeof to.axis[0]);
    memset(to.axis + x.dims, 0, (size_t)(TS_MAX_DIMS - x.dims) * sizeof to.axis[0]);
    TS_TRY(ts_versions_move(versions, &source, source, to, reader));
    graph->current_path = path;
    graph->backward = backward;
    TsTensor in = {graph, source}, made;
    ts_graph_add_to(graph, &made, &ts_expand_op, &in, 1, &attributes);
    graph->value[made.id].placement = attributes.placement;
    *out = made.id;
    return TS_OK;
}

static int32_t add_moves(TsVersions *versions, int32_t value, const TsMovePlan *plan, const TsNode *reader)
{
    TsGraph *graph = versions->graph;
    int32_t origin = version_of(versions, value)->origin;
    bool at_rest = versions->version[origin].at_rest;
    bool for_reader =
        at_rest || !reader ||
        (reader->op == &ts_op_d_take_added && !graph->value[value].placement.partial); /* the batch's rows */
    const TsNode *source = for_reader ? reader : &graph->node[graph->value[value].node];
    if (source) {
        graph->current_path = source->path;
        graph->backward = source->backward;
    }
    for (int s = 0; s < plan->steps; s++) {
        TsMoveStep step = plan->step[s];
        TsTensor in = {graph, value}, out;
        step.round = at_rest && reader && reader->backward;
        ts_graph_add_to(graph, &out, &ts_move_op[step.kind], &in, 1, &step);
        bool is_new = out.id >= versions->count;
        graph->value[out.id].placement = step.to;
        if (is_new) {
            version_of(versions, out.id);
            versions->version[out.id] = (Version){
                .origin = origin, .next = versions->version[origin].next, .backward = reader && reader->backward};
            versions->version[origin].next = out.id;
        }
        value = out.id;
    }
    return value;
}

TsStatus ts_versions_move(TsVersions *versions, int32_t *out, int32_t value, TsPlacement to, const TsNode *reader)
{
    TsGraph *graph = versions->graph;
    bool backward = reader && reader->backward;
    *out = value;
    if (ts_placement_equal(graph->value[value].placement, to) || make_there(versions, out, value, to))
        return TS_OK;
    if (graph->node[graph->value[value].node].op == &ts_expand_op)
        return make_expanded(versions, out, value, to, reader);
    TsMovePlan best, plan;
    int32_t from = value;
    TS_TRY(
        ts_redistribute_plan(&best, graph->value[value].placement, to, versions->mesh_shape, versions->scatter_first));
    for (int32_t v = version_of(versions, value)->origin; v >= 0; v = versions->version[v].next) {
        if (v == value || !serves(versions, v, backward) || graph->value[v].placement.partial)
            continue;
        TS_TRY(
            ts_redistribute_plan(&plan, graph->value[v].placement, to, versions->mesh_shape, versions->scatter_first));
        if (plan.sent_elems < best.sent_elems || (plan.sent_elems == best.sent_elems && plan.steps < best.steps)) {
            best = plan;
            from = v;
        }
    }
    *out = add_moves(versions, from, &best, reader);
    return TS_OK;
}
