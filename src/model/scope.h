/* SPDX-License-Identifier: Apache-2.0
 *
 * Scope: where a layer stands: its path, the Graph it adds nodes to, and the table it declares parameters in.
 *
 * Passed by value. A layer is one function that takes a scope and Tensors: it declares its parameters under the scope's
 * path and adds its nodes, so nothing is described twice. Errors are kept in the Graph, with the path.
 */
#pragma once

#include "model/parameter.h"
#include "tensor/graph.h"

enum { TS_MAX_PATH = 160 };

/* What layers say beside what they give, summed over layers: of experts, how even their load is, and how much of it was
 * dropped. In `dtype` of losses. */
typedef struct TsAsides {
    TsTensor balance; /* (B): 1 where the load is even; for one layer */
    TsTensor dropped; /* (B): the part of choices */
    int layers;       /* that added to these */
} TsAsides;

/* Noise that parameters have while they are trained, drawn anew each step: theta + scale N(0, 1) is what a layer gets,
 * of those that learn and in whose path the pattern is found. A gradient by the parameter is the one by what the layer
 * got.
 */
typedef struct TsVariation {
    const struct TsPattern *pattern;
    double scale;
    int64_t start_step; /* before it there is none */
} TsVariation;

typedef struct TsScope {
    TsGraph *graph;               /* borrowed */
    TsParameters *parameters;     /* borrowed */
    TsDtype dtype;                /* of activations; parameters have it too, but are f32 where it is bf16 */
    bool narrow;                  /* kernels and tables have it where it is bf16: ts_weights_narrow */
    bool frozen;                  /* parameters that are declared here do not learn */
    bool training;                /* dropout is on */
    TsAxis sequence;              /* the axis that cuts the sequence between blocks; TS_AXIS_NONE: it is whole */
    uint64_t seed;                /* of all random numbers that are drawn while running */
    TsTensor step;                /* i64 scalar, or TS_NONE: which numbers of a random stream this run takes */
    const TsVariation *variation; /* borrowed; NULL: no noise */
    TsAsides *asides;             /* borrowed; NULL: nobody wants to know */
    char path[TS_MAX_PATH];
} TsScope;

/* The scope of the part `name`: its path is "PATH/name". The Graph's path follows. */
TsScope ts_in(TsScope scope, const char *name);

/* The same with a number, "layer", 3 -> "layer_03". */
TsScope ts_in_numbered(TsScope scope, const char *name, int64_t number);

/* x, on the way out of a layer: sets the Graph's path back to the one around `scope`. */
TsTensor ts_leave(TsScope scope, TsTensor x);

/* x (B, T, ...), cut as scope.sequence says: sequence parallelism between blocks (Korthikanti et al. 2022). */
TsTensor ts_between_blocks(TsScope scope, TsTensor x);

/* How a parameter is declared; zero is a whole, trainable tensor of zeros that is not decayed. */
typedef struct TsDeclare {
    TsShape shape;
    TsInitializer initializer;
    TsPlacement placement;
    bool decays;
    bool frozen;
} TsDeclare;

/* The parameter PATH/name: declared in the table, and as a Tensor of the Graph. */
TsTensor ts_declare(TsScope scope, const char *name, TsDeclare declare);

/* The key of the random stream of a seed and a name (base/philox.h) as one number, as ops take it. */
uint64_t ts_stream_key(uint64_t seed, const char *name);
