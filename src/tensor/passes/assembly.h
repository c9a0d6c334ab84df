/* SPDX-License-Identifier: Apache-2.0
 *
 * Assembly: a cluster of nodes written down as one, if it can be: a program of steps (kernels/fused.h), perhaps behind
 * a matrix product, with what goes in and comes out. For fuse.c, which finds the clusters.
 */
#pragma once

#include "tensor/ops/fused.h"
#include "tensor/ops/rows.h"
#include "tensor/passes/passes.h"

enum { TS_CLUSTER_MEMBERS = TS_FUSED_STEPS + 1 };

/* Nodes that become one; of the first of them. */
typedef struct TsCluster {
    int32_t first, last; /* nodes; the others are chained in between */
    int32_t members;
} TsCluster;

/* The pass at work. */
typedef struct TsFuser {
    TsRewrite rewrite;
    TsNodeRoom room;
    TsFusedStep *step;     /* (nodes): what each is as a step; kind TS_FUSED_NONE if none */
    TsCluster *cluster;    /* (nodes): of those that are their own root */
    int32_t *root;         /* (nodes): the first of its cluster */
    int32_t *next;         /* (nodes): the next of its cluster, rising; -1: the last */
    int32_t *first_reader; /* (values + 1): into reader */
    int32_t *reader;       /* (operands): nodes */
    bool *given;           /* (values): given out or assigned */
    int32_t *seen;         /* (nodes): the search that met this root last */
    int32_t *stack;        /* (nodes) */
    bool *written;         /* (nodes): roots that stand in the new graph */
    int32_t searches;
} TsFuser;

/* A cluster as a node. */
typedef struct TsAssembly {
    const TsOp *op;
    TsFusedAttributes attributes;
    int32_t in[TS_FUSED_INPUTS], out[TS_FUSED_OUTPUTS]; /* values of the old graph */
    TsPlacement placement;                              /* of the block that all work on */
    int inputs, outputs;
    bool f64, begun;
} TsAssembly;

static inline bool ts_fuser_is_dot(const TsGraph *graph, int32_t n)
{
    return graph->node[n].op == &ts_op_dot;
}

static inline bool ts_fuser_is_real(TsDtype dtype)
{
    return dtype == TS_F32 || dtype == TS_BF16 || dtype == TS_F64;
}

/* Writes the cluster of `root` down; false where it cannot be one node. */
bool ts_assemble(TsAssembly *assembly, const TsFuser *fuser, int32_t root);
