/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan: what a run of a config would take on a mesh that is only described: memory, flops, messages, and the time of a
 * step on a described cluster. Nothing is run and no weights are made, so that plans for ten thousands of ranks fit a
 * laptop. The rank that is planned for is the last of the mesh, whose blocks are the largest.
 */
#pragma once

#include "task/command/cluster.h"
#include "task/job.h"

typedef struct TsPlan {
    TsMeshShape mesh;
    int ranks, nodes, ranks_per_node;
    bool experts;                                            /* the model has some: there is something along expert */
    double parameters;                                       /* elements, of the whole model */
    double parameter_bytes, gradient_bytes, optimizer_bytes; /* of the rank */
    double arena_bytes;                                      /* of all its Programs: activations, what is gathered */
    double batch_bytes;                                      /* of the batches that it reads */
    double bytes, node_bytes, memory_bytes;                  /* of the rank; of its node; that a node has */
    double flops;                                            /* of a step, all ranks */
    double tokens;                                           /* of a step */
    TsEstimate estimate;                                     /* of a step, on the rank: the mean over tasks by weight */
} TsPlan;

/* The mesh of the config with `ranks` in all, of which data: auto takes what the other axes leave. */
TS_MUST_USE TsStatus ts_plan_mesh(TsMeshShape *mesh, const TsConfig *config, int ranks);

/* The ranks that the config speaks of: those of its cluster, or of its mesh; 1 if it says nothing. */
int ts_plan_ranks(const TsConfig *config);

/* Is shown every Program of a plan while it is made, with what it is for: "task lm, training on (16, 128)". */
typedef struct TsPlanVisitor {
    void (*visit)(void *context, const char *what, const TsProgram *program); /* NULL: nobody is */
    void *context;
} TsPlanVisitor;

/* Makes the plan. `self` is a group of this rank alone, by which data are opened. Not collective beyond it. Errors: as
 * those of a run. Owned by the caller: ts_free. */
TS_MUST_USE TsStatus ts_plan_make(TsPlan **plan, TsGroup *self, const TsConfig *config, TsMeshShape mesh,
                                  TsPlanVisitor visitor);

/* Whether a node has the memory. */
bool ts_plan_fits(const TsPlan *plan);

/* What holds the step up, in a few words; borrowed for the life of the process. */
const char *ts_plan_limit(const TsPlan *plan);

/* Appends it for people; and as one line of a table, of which the first, without a plan, is the head. */
void ts_plan_describe(const TsPlan *plan, TsText *text);
void ts_plan_line(const TsPlan *plan, const char *name, TsText *text);
