/* SPDX-License-Identifier: Apache-2.0
 *
 * Random graphs of a few tens of ops, in f64, for tests: the same graph for the same seed on every rank, with
 * placements drawn from another seed, so that any mesh can be compared with one rank.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "tensor/ops.h"
#include "tensor/program.h"

enum { RANDOM_PARAMETERS = 4, RANDOM_POOL = 40 };

static const char *const random_names[RANDOM_PARAMETERS] = {"a", "b", "c", "x"}; /* x is an input */

typedef struct RandomGraph {
    uint64_t shapes, places; /* the states of two streams */
    bool constrain;          /* puts constrain between the ops too */
    TsTensor pool[RANDOM_POOL];
    int count;
    TsTensor leaf[RANDOM_PARAMETERS];
} RandomGraph;

static inline uint64_t random_next(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

static TsShape random_leaf_shape(int leaf)
{
    static const int64_t sizes[RANDOM_PARAMETERS][2] = {{5, 3}, {3, 7}, {7, 5}, {5, 3}};
    return ts_shape(sizes[leaf][0], sizes[leaf][1]);
}

static TsPlacement random_placement(uint64_t *state, TsShape shape)
{
    TsPlacement placement = ts_replicated;
    static const TsAxis axes[] = {TS_AXIS_DATA, TS_AXIS_MODEL};
    int first = (int)random_next(state, 2);
    for (int i = 0; i < 2 && shape.dims; i++) {
        int dim = (int)random_next(state, (uint64_t)shape.dims + 1);
        if (dim < shape.dims)
            placement = ts_shard(placement, dim, axes[(first + i) % 2]);
    }
    return placement;
}

static TsTensor random_unary(RandomGraph *random, TsTensor x)
{
    switch (random_next(&random->shapes, 14)) {
    case 0:
        return ts_tanh(x);
    case 1:
        return ts_sigmoid(x);
    case 2:
        return ts_gelu(x);
    case 3:
        return ts_silu(x);
    case 4:
        return ts_exp(ts_tanh(x));
    case 5:
        return ts_sum(x, 1 << random_next(&random->shapes, (uint64_t)ts_dims(x)), true);
    case 6:
        return ts_mean(x, 1 << random_next(&random->shapes, (uint64_t)ts_dims(x)), true);
    case 7: {
        int order[TS_MAX_DIMS];
        for (int d = 0; d < ts_dims(x); d++)
            order[d] = ts_dims(x) - 1 - d;
        return ts_transpose(x, order);
    }
    case 8: { /* the first rows go last */
        int64_t first = ts_dim(x, 0) / 2;
        return ts_concatenate((TsTensor[]){ts_slice(x, 0, first, ts_dim(x, 0) - first), ts_slice(x, 0, 0, first), x}, 3,
                              0);
    }
    case 9:
        return ts_slice(x, ts_dims(x) - 1, 0, (ts_dim(x, -1) + 1) / 2);
    case 10:
        return ts_reshape(x, ts_shape(ts_dim(x, 1), ts_dim(x, 0)));
    case 11:
        return ts_expand(ts_max(x, 1 << 0, true), ts_shape(3, ts_dim(x, -1)));
    case 12:
        return ts_normalize(
            ts_concatenate((TsTensor[]){x, ts_constant(x.graph, TS_F64, ts_shape(ts_dim(x, 0), 9), 0.3)}, 2, 1),
            TS_NONE, TS_NONE, (TsNormalize){.epsilon = 0.1});
    default:
        return ts_shift(ts_scale(x, 0.7), -0.1);
    }
}

static bool random_broadcasts(TsTensor a, TsTensor b)
{
    for (int d = 1; d <= ts_dims(a) && d <= ts_dims(b); d++)
        if (ts_dim(a, -d) != ts_dim(b, -d) && ts_dim(a, -d) != 1 && ts_dim(b, -d) != 1)
            return false;
    return true;
}

static TsTensor random_binary(RandomGraph *random, TsTensor a, TsTensor b)
{
    if (ts_dim(a, -1) == ts_dim(b, 0) && random_next(&random->shapes, 2))
        return ts_tanh(ts_dot(a, b, (TsDot){0}));
    if (ts_dim(a, 0) == ts_dim(b, 0) && random_next(&random->shapes, 2))
        return ts_tanh(ts_dot(a, b, (TsDot){.transpose_a = true}));
    if (ts_dim(a, -1) == ts_dim(b, -1) && random_next(&random->shapes, 2))
        return ts_tanh(ts_dot(a, b, (TsDot){.transpose_b = true}));
    if (!random_broadcasts(a, b))
        return random_unary(random, a);
    switch (random_next(&random->shapes, 4)) {
    case 0:
        return ts_add(a, b);
    case 1:
        return ts_sub(a, b);
    case 2:
        return ts_div(a, ts_shift(ts_mul(b, b), 1));
    default:
        return ts_mul(a, b);
    }
}

/* Traces the graph; gives the loss. */
static TsTensor random_trace(RandomGraph *random, TsGraph *graph, int ops)
{
    TsTensor loss = ts_constant(graph, TS_F64, ts_scalar, 0);
    for (int i = 0; i < RANDOM_PARAMETERS; i++) {
        TsShape shape = random_leaf_shape(i);
        TsPlacement placement = random_placement(&random->places, shape);
        random->leaf[i] =
            (i == RANDOM_PARAMETERS - 1 ? ts_input : ts_parameter)(graph, random_names[i], TS_F64, shape, placement);
        random->pool[random->count++] = random->leaf[i];
        loss = ts_add(loss, ts_mean(ts_tanh(random->leaf[i]), -1, false));
    }
    while (random->count < RANDOM_POOL && ops-- > 0) {
        TsTensor a = random->pool[random_next(&random->shapes, (uint64_t)random->count)];
        TsTensor b = random->pool[random_next(&random->shapes, (uint64_t)random->count)];
        TsTensor out = random_next(&random->shapes, 3) ? random_binary(random, a, b) : random_unary(random, a);
        if (random->constrain && random_next(&random->places, 4) == 0)
            out = ts_constrain(out, random_placement(&random->places, ts_shape_of_tensor(out)));
        random->pool[random->count++] = out;
    }
    for (int i = RANDOM_PARAMETERS; i < random->count; i++)
        loss = ts_add(loss, ts_mean(ts_tanh(random->pool[i]), -1, false));
    return loss;
}

/* A program that gives the loss and, if `gradients`, d loss / d leaf under the names "d0", "d1", … */
static inline TsStatus random_compile(TsProgram **program, uint64_t seed, uint64_t places, int ops, bool gradients,
                                      TsCompileOptions options)
{
    RandomGraph random = {.shapes = seed, .places = places, .constrain = places != 0};
    TsGraph *graph = ts_graph_create();
    TsTensor loss = random_trace(&random, graph, ops), d[RANDOM_PARAMETERS];
    ts_output("loss", loss, ts_replicated);
    if (gradients) {
        ts_gradients(d, loss, random.leaf, RANDOM_PARAMETERS);
        for (int i = 0; i < RANDOM_PARAMETERS; i++)
            ts_output((char[]){'d', (char)('0' + i), '\0'}, d[i], ts_replicated);
    }
    return ts_program_compile(program, graph, options);
}

/* Everything bound to a program, by binding. */
typedef struct RandomArrays {
    TsArray *array[32];
    int count;
} RandomArrays;

/* Creates and binds all arrays; leaves are filled with numbers that depend on the global index alone. */
static inline RandomArrays random_bind(TsProgram *program, const TsMesh *mesh)
{
    RandomArrays arrays = {.count = ts_program_bindings(program)};
    for (int b = 0; b < arrays.count; b++) {
        TsBinding binding = ts_program_binding(program, b);
        TsArray *array =
            ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){.shared = false});
        int64_t columns = array->shape.dims == 2 ? array->block.shape.size[1] : 1;
        for (int64_t i = 0; i < ts_array_local_elems(array) && binding.kind != TS_BIND_OUTPUT; i++) {
            int64_t row = array->block.first[0] + i / columns, column = array->block.first[1] + i % columns;
            uint64_t state = (uint64_t)(row * 100 + column + 7919 * binding.name[0]);
            random_next(&state, 2);
            ((double *)array->data)[i] = (double)random_next(&state, 2000) / 1000 - 1;
        }
        ts_program_bind(program, binding.name, array);
        arrays.array[b] = array;
    }
    return arrays;
}

static inline void random_free(RandomArrays *arrays)
{
    for (int b = 0; b < arrays->count; b++)
        ts_array_free(&arrays->array[b]);
}

static inline TsArray *random_find(const TsProgram *program, const RandomArrays *arrays, const char *name)
{
    for (int b = 0; b < arrays->count; b++)
        if (!strcmp(ts_program_binding(program, b).name, name))
            return arrays->array[b];
    return NULL;
}
