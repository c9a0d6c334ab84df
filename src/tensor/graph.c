/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

enum { CHUNK_BYTES = 1 << 16, KEPT_ERRORS = 4 };

/* Attributes are cut from these, one after another. */
struct Chunk {
    struct Chunk *next;
    size_t used_bytes, size_bytes;
    _Alignas(16) unsigned char data[];
};

TsGraph *ts_graph_create(void)
{
    TsGraph *graph = ts_calloc(1, sizeof *graph);
    graph->buckets = 1024;
    graph->bucket = ts_alloc((size_t)graph->buckets * sizeof *graph->bucket);
    memset(graph->bucket, 0xff, (size_t)graph->buckets * sizeof *graph->bucket);
    graph->current_path = ts_graph_intern_path(graph, "");
    return graph;
}

void ts_graph_free(TsGraph **handle)
{
    TsGraph *graph = *handle;
    if (!graph)
        return;
    for (struct Chunk *chunk = graph->chunk, *next; chunk; chunk = next) {
        next = chunk->next;
        ts_free(chunk);
    }
    for (int32_t i = 0; i < graph->bounds; i++)
        ts_free((void *)graph->bound[i].binding.name);
    for (int32_t i = 0; i < graph->paths; i++)
        ts_free(graph->path[i].text);
    for (int i = 0; i < KEPT_ERRORS; i++)
        ts_status_free(&graph->error[i]);
    ts_free(graph->node);
    ts_free(graph->value);
    ts_free(graph->operand);
    ts_free(graph->bound);
    ts_free(graph->path);
    ts_free(graph->bucket);
    ts_names_free(&graph->path_names);
    ts_names_free(&graph->bound_names);
    ts_free(graph);
    *handle = NULL;
}

/* Makes room for `more` further entries of a table. */
static void *grow(void *table, int32_t *capacity, int64_t count, int64_t more, size_t entry_bytes)
{
    if (count + more <= *capacity)
        return table;
    int64_t wanted = *capacity ? *capacity : 64;
    while (wanted < count + more)
        wanted *= 2;
    TS_CHECK(wanted <= INT32_MAX / 2, "a graph of %lld entries", (long long)wanted);
    *capacity = (int32_t)wanted;
    return ts_realloc(table, (size_t)wanted * entry_bytes);
}

/* FNV-1a over bytes, eight at a time. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size_bytes)
{
    const unsigned char *bytes = data;
    for (; size_bytes >= 8; bytes += 8, size_bytes -= 8) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    for (; size_bytes; bytes++, size_bytes--)
        hash = (hash ^ *bytes) * 0x100000001b3u;
    return hash;
}

/* ---- errors ---- */

static void keep_error(TsGraph *graph, TsStatus status)
{
    const char *path = ts_graph_path(graph);
    if (*path)
        status = ts_status_annotate(status, "%s", path);
    if (graph->errors < KEPT_ERRORS)
        graph->error[graph->errors] = status;
    else
        ts_status_free(&status);
    graph->errors++;
}

TsTensor ts_graph_error(TsGraph *graph, const char *format, ...)
{
    va_list arguments;
    char message[512];
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    keep_error(graph, ts_status_error(TS_CODE_INVALID, "%s", message));
    return (TsTensor){graph, -1};
}

TsStatus ts_graph_status(const TsGraph *graph)
{
    if (!graph->errors)
        return ts_memory_status();
    char message[2048];
    size_t length = 0;
    int kept = graph->errors < KEPT_ERRORS ? graph->errors : KEPT_ERRORS;
    for (int i = 0; i < kept && length < sizeof message; i++)
        length += (size_t)snprintf(message + length, sizeof message - length, "%s%s", i ? "; " : "",
                                   ts_status_message(graph->error[i]));
    if (graph->errors > kept && length < sizeof message)
        snprintf(message + length, sizeof message - length, "; and %d more", graph->errors - kept);
    return ts_status_error(ts_status_code(graph->error[0]), "%s", message);
}

/* ---- paths ---- */

int32_t ts_graph_intern_path(TsGraph *graph, const char *path)
{
    int64_t found = ts_names_find(&graph->path_names, path);
    if (found >= 0)
        return (int32_t)found;
    graph->path = grow(graph->path, &graph->path_capacity, graph->paths, 1, sizeof *graph->path);
    graph->path[graph->paths].text = ts_strdup(path);
    ts_names_add(&graph->path_names, graph->path[graph->paths].text, graph->paths);
    return graph->paths++;
}

void ts_graph_set_path(TsGraph *graph, const char *path)
{
    graph->current_path = ts_graph_intern_path(graph, path);
}

const char *ts_graph_path(const TsGraph *graph)
{
    return graph->path[graph->current_path].text;
}

/* ---- nodes ---- */

static const void *keep_attributes(TsGraph *graph, const void *attributes, size_t size_bytes)
{
    if (!size_bytes)
        return NULL;
    size_t room_bytes = (size_bytes + 15) / 16 * 16;
    if (!graph->chunk || graph->chunk->used_bytes + room_bytes > graph->chunk->size_bytes) {
        size_t chunk_bytes = room_bytes > CHUNK_BYTES ? room_bytes : CHUNK_BYTES;
        struct Chunk *chunk = ts_alloc(sizeof *chunk + chunk_bytes);
        *chunk = (struct Chunk){.next = graph->chunk, .size_bytes = chunk_bytes};
        graph->chunk = chunk;
    }
    void *kept = graph->chunk->data + graph->chunk->used_bytes;
    graph->chunk->used_bytes += room_bytes;
    return memcpy(kept, attributes, size_bytes);
}

static uint64_t hash_node(const TsOp *op, const void *attributes, const int32_t *in, int inputs)
{
    uint64_t hash = hash_bytes((uint64_t)(uintptr_t)op, attributes, (size_t)op->attributes_bytes);
    return hash_bytes(hash, in, (size_t)inputs * sizeof *in) * 0x9e3779b97f4a7c15u;
}

static bool same_node(const TsGraph *graph, const TsNode *node, const TsOp *op, const void *attributes,
                      const int32_t *in, int inputs)
{
    return node->op == op && node->inputs == inputs && node->again == graph->again &&
           (!inputs || !memcmp(ts_node_in(graph, node), in, (size_t)inputs * sizeof *in)) &&
           (!op->attributes_bytes || !memcmp(node->attributes, attributes, (size_t)op->attributes_bytes));
}

static void rehash(TsGraph *graph)
{
    ts_free(graph->bucket);
    graph->buckets *= 2;
    graph->bucket = ts_alloc((size_t)graph->buckets * sizeof *graph->bucket);
    memset(graph->bucket, 0xff, (size_t)graph->buckets * sizeof *graph->bucket);
    for (int32_t i = 0; i < graph->nodes; i++) {
        const TsNode *node = &graph->node[i];
        if (node->op->flags & TS_OP_EFFECT)
            continue;
        uint64_t slot = hash_node(node->op, node->attributes, ts_node_in(graph, node), node->inputs);
        int32_t mask = graph->buckets - 1, at = (int32_t)(slot >> 32) & mask;
        while (graph->bucket[at] >= 0)
            at = (at + 1) & mask;
        graph->bucket[at] = i;
    }
}

/* The bucket of the node that is the same, or the empty one where it belongs. */
static int32_t find_bucket(const TsGraph *graph, const TsOp *op, const void *attributes, const int32_t *in, int inputs)
{
    int32_t mask = graph->buckets - 1, at = (int32_t)(hash_node(op, attributes, in, inputs) >> 32) & mask;
    while (graph->bucket[at] >= 0 && !same_node(graph, &graph->node[graph->bucket[at]], op, attributes, in, inputs))
        at = (at + 1) & mask;
    return at;
}

/* Appends the node whose operands already stand at the end of graph->operand. */
static const TsNode *append_node(TsGraph *graph, const TsOp *op, const void *attributes, const TsInference *inference)
{
    graph->node = grow(graph->node, &graph->node_capacity, graph->nodes, 1, sizeof *graph->node);
    graph->value = grow(graph->value, &graph->value_capacity, graph->values, op->outputs, sizeof *graph->value);
    TsNode *node = &graph->node[graph->nodes];
    *node = (TsNode){.op = op,
                     .attributes = keep_attributes(graph, attributes, (size_t)op->attributes_bytes),
                     .path = graph->current_path,
                     .first_in = graph->operands,
                     .first_out = graph->values,
                     .inputs = (int16_t)inference->inputs,
                     .outputs = (int16_t)op->outputs,
                     .backward = graph->backward,
                     .again = graph->again};
    for (int k = 0; k < op->outputs; k++)
        graph->value[graph->values++] = (TsValue){.shape = inference->out_shape[k],
                                                  .dtype = inference->out_dtype[k],
                                                  .node = graph->nodes,
                                                  .output = (int16_t)k};
    graph->operands += inference->inputs;
    graph->nodes++;
    return node;
}

/* What the operands look like, through `infer`. */
static TsStatus infer(TsGraph *graph, TsInference *inference, const TsOp *op, const TsTensor *in)
{
    enum { FEW = 16 };
    TsShape few_shapes[FEW], *shape = few_shapes;
    TsDtype few_dtypes[FEW], *dtype = few_dtypes;
    if (inference->inputs > FEW) {
        shape = ts_alloc((size_t)inference->inputs * sizeof *shape);
        dtype = ts_alloc((size_t)inference->inputs * sizeof *dtype);
    }
    for (int i = 0; i < inference->inputs; i++) {
        shape[i] = graph->value[in[i].id].shape;
        dtype[i] = graph->value[in[i].id].dtype;
    }
    inference->in_shape = shape;
    inference->in_dtype = dtype;
    TsStatus status = op->infer(inference);
    if (shape != few_shapes) {
        ts_free(shape);
        ts_free(dtype);
    }
    return status ? ts_status_annotate(status, "%s", op->name) : TS_OK;
}

static void give(TsTensor *out, TsGraph *graph, int count, int32_t first, int32_t step)
{
    for (int k = 0; k < count; k++)
        out[k] = (TsTensor){graph, first + step * k};
}

void ts_graph_add_to(TsGraph *graph, TsTensor *out, const TsOp *op, const TsTensor *in, int inputs,
                     const void *attributes)
{
    TS_CHECK(inputs <= INT16_MAX, "%s: %d operands", op->name, inputs);
    for (int i = 0; i < inputs; i++)
        TS_CHECK(!in[i].graph || in[i].graph == graph, "%s: operand %d belongs to another graph", op->name, i);
    for (int i = 0; i < inputs; i++)
        if (in[i].id < 0) {
            if (!in[i].graph) /* TS_NONE; an error of before was told before */
                ts_graph_error(graph, "%s: operand %d is missing", op->name, i);
            give(out, graph, op->outputs, -1, 0);
            return;
        }
    graph->operand = grow(graph->operand, &graph->operand_capacity, graph->operands, inputs, sizeof *graph->operand);
    int32_t *operand = graph->operand + graph->operands, at = -1;
    for (int i = 0; i < inputs; i++)
        operand[i] = in[i].id;
    if (!(op->flags & TS_OP_EFFECT)) {
        if (2 * (int64_t)graph->nodes > graph->buckets)
            rehash(graph);
        at = find_bucket(graph, op, attributes, operand, inputs);
        if (graph->bucket[at] >= 0) {
            give(out, graph, op->outputs, graph->node[graph->bucket[at]].first_out, 1);
            return;
        }
    }
    TsInference inference = {.attributes = attributes, .inputs = inputs, .outputs = op->outputs};
    TsStatus status = infer(graph, &inference, op, in);
    if (status) {
        keep_error(graph, status);
        give(out, graph, op->outputs, -1, 0);
        return;
    }
    if (at >= 0)
        graph->bucket[at] = graph->nodes;
    give(out, graph, op->outputs, append_node(graph, op, attributes, &inference)->first_out, 1);
}

void ts_graph_add(TsTensor *out, const TsOp *op, const TsTensor *in, int inputs, const void *attributes)
{
    TsGraph *graph = NULL;
    for (int i = 0; i < inputs && !graph; i++)
        graph = in[i].graph;
    TS_CHECK(graph, "%s: no operand is a tensor of a graph", op->name);
    TsStatus lack = ts_memory_status();
    if (lack) { /* what needs this node is not added either */
        keep_error(graph, lack);
        give(out, graph, op->outputs, -1, 0);
        return;
    }
    ts_graph_add_to(graph, out, op, in, inputs, attributes);
}

TsTensor ts_graph_add_one(const TsOp *op, const TsTensor *in, int inputs, const void *attributes)
{
    TsTensor out[TS_MAX_OUTPUTS];
    TS_CHECK(op->outputs == 1, "%s has %d outputs", op->name, op->outputs);
    ts_graph_add(out, op, in, inputs, attributes);
    return out[0];
}

TsNodeView ts_node_view(TsNodeRoom *room, const TsGraph *graph, const TsNode *node)
{
    int count = node->inputs + node->outputs;
    if (count > room->capacity) {
        room->capacity = 2 * count;
        room->shape = ts_realloc(room->shape, (size_t)room->capacity * sizeof *room->shape);
        room->dtype = ts_realloc(room->dtype, (size_t)room->capacity * sizeof *room->dtype);
    }
    for (int i = 0; i < count; i++) {
        const TsValue *value =
            &graph->value[i < node->inputs ? ts_node_in(graph, node)[i] : node->first_out + i - node->inputs];
        room->shape[i] = value->shape;
        room->dtype[i] = value->dtype;
    }
    return (TsNodeView){.op = node->op,
                        .attributes = node->attributes,
                        .inputs = node->inputs,
                        .outputs = node->outputs,
                        .in_shape = room->shape,
                        .out_shape = room->shape + node->inputs,
                        .in_dtype = room->dtype,
                        .out_dtype = room->dtype + node->inputs};
}

void ts_node_room_free(TsNodeRoom *room)
{
    ts_free(room->shape);
    ts_free(room->dtype);
    *room = (TsNodeRoom){.capacity = 0};
}

/* ---- what a tensor is ---- */

TsShape ts_shape_of_tensor(TsTensor x)
{
    return x.id < 0 ? ts_scalar : x.graph->value[x.id].shape;
}

int64_t ts_dim(TsTensor x, int dim)
{
    TsShape shape = ts_shape_of_tensor(x);
    int at = dim < 0 ? dim + shape.dims : dim;
    if (x.id < 0) /* told before; any size will do */
        return 1;
    if (at < 0 || at >= shape.dims) {
        ts_graph_error(x.graph, "dim %d of a tensor %s", dim, ts_shape_text(shape).text);
        return 1;
    }
    return shape.size[at];
}

int ts_dims(TsTensor x)
{
    return ts_shape_of_tensor(x).dims;
}

TsDtype ts_dtype_of(TsTensor x)
{
    return x.id < 0 ? TS_F32 : x.graph->value[x.id].dtype;
}
