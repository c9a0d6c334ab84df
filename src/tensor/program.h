/* SPDX-License-Identifier: Apache-2.0
 *
 * Program: a compiled Graph: a fixed schedule over one arena of memory, run every step without allocating.
 *
 * The passes place, rematerialize, fuse, schedule and allocate; collectives stand at their places in the schedule.
 * What lives longer than a run is bound by name: inputs, parameters, state, outputs.
 *
 * A batch may be gone through in micro-batches, one after another: inputs that are cut along the axis `micro` are then
 * bound to Arrays of as many micro-batches. The result is that of the whole batch: what is a mean over it, as the
 * weight of a loss, is summed up over all micro-batches before it is used, and random numbers are drawn from global
 * indices. The Program is a list of runs of (piece, micro-batch), passes/pieces.c; sums are kept, activations are not,
 * but for those that a later piece reads, of which there is one for each micro-batch.
 */
#pragma once

#include <stdio.h>

#include "tensor/array.h"
#include "tensor/graph.h"
#include "tensor/timeline.h"

typedef struct TsProgram TsProgram;

/* What is computed again in the backward pass instead of being kept, passes/rematerialize.c. */
typedef enum TsRecompute {
    TS_RECOMPUTE_NOTHING,
    TS_RECOMPUTE_BLOCK,      /* what numbered layers compute, from what they take */
    TS_RECOMPUTE_EVERYTHING, /* that, and what stands outside of them */
    TS_RECOMPUTE_AUTO,       /* what frees the most memory for the least work, until limit_bytes is met */
} TsRecompute;

typedef struct TsMemoryPolicy {
    TsRecompute recompute;
    size_t limit_bytes; /* of TS_RECOMPUTE_AUTO: of the arena of a rank, by the first rank's blocks */
} TsMemoryPolicy;

typedef struct TsCompileOptions {
    const TsMesh *mesh;   /* borrowed for the life of the Program; NULL: one rank */
    int threads;          /* of each kernel; 0: one */
    bool without_passes;  /* only what is needed to run: for tests that compare */
    bool without_fusion;  /* the same, of the fuse pass alone */
    int64_t bucket_bytes; /* of small collectives that run as one; 0: TS_BUCKET_BYTES, negative: none do */
    TsMemoryPolicy memory;
    TsAlgorithm algorithm; /* of its collectives: TS_ALGORITHM_AUTO but in tests and benches */
    int micros;            /* micro-batches; 0: one */
    bool scatter_first;    /* sums that end cut among ranks are scattered in each micro-batch: ZeRO-2 and 3 */
    bool reproducible; /* sums over micro-batches and ranks are parts of one binary tree, so that their product alone
                          counts; kernels give the same bits with any number of threads */
} TsCompileOptions;

/* Compiles `graph`, which the Program owns from now on, also where this fails. Not collective; all ranks compile the
 * same. Errors: those of tracing; a placement that cannot be; too little memory, or an arena larger than what is left,
 * which ranks on other hosts may not find: agree on the Status (ts_comm_agree) before anyone branches. */
TS_MUST_USE TsStatus ts_program_compile(TsProgram **program, TsGraph *graph, TsCompileOptions options);

/* Sets *program to NULL; NULL is fine. */
void ts_program_free(TsProgram **program);

/* Binds an array, borrowed for the life of the Program, to the input, parameter, state or output of that name. Its
 * shape, dtype and placement must be those of the Graph: anything else is a bug. May be called again between runs. */
void ts_program_bind(TsProgram *program, const char *name, TsArray *array);

/* What is bound by name: kinds, shapes, placements; so that callers can create the arrays. */
typedef enum TsBindingKind { TS_BIND_INPUT, TS_BIND_PARAMETER, TS_BIND_STATE, TS_BIND_OUTPUT } TsBindingKind;
typedef struct TsBinding {
    const char *name; /* borrowed */
    TsBindingKind kind;
    TsDtype dtype;
    TsShape shape;
    TsPlacement placement;
} TsBinding;
int ts_program_bindings(const TsProgram *program);
TsBinding ts_program_binding(const TsProgram *program, int index);

/* Runs it once. Collective on the mesh. Everything must be bound. */
void ts_program_run(TsProgram *program);

/* Runs from now on add their actions to the timeline, borrowed; NULL: no more. Not collective. */
void ts_program_record(TsProgram *program, TsTimeline *timeline);

/* What the passes produced: nodes with paths, placements, flops, bytes, lifetimes, collectives; as text or Graphviz. */
void ts_program_describe(const TsProgram *program, FILE *file);
void ts_program_describe_dot(const TsProgram *program, FILE *file);

size_t ts_program_arena_bytes(const TsProgram *program);
size_t ts_program_constant_bytes(const TsProgram *program);

/* What one run costs by the rows of its ops, of global sizes: as if one rank did it all. */
void ts_program_cost(const TsProgram *program, double *flops, double *bytes);
