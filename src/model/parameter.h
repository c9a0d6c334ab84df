/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters: the one table in which each parameter of a run is described, once.
 *
 * Layers declare into it while they are traced (scope.h). From it come the parameters of Graphs, the arrays with their
 * initial values, the optimizer's state, and the entries of a checkpoint. Two layers that name the same path share the
 * parameter. Rows stand in the order of their first declaration, the same on all ranks.
 */
#pragma once

#include "model/fine_tune.h"
#include "model/sharding.h"
#include "tensor/batch.h"

typedef enum TsInitializerKind { TS_INIT_ZEROS, TS_INIT_ONES, TS_INIT_NORMAL } TsInitializerKind;

typedef struct TsInitializer {
    TsInitializerKind kind;
    double scale; /* TS_INIT_NORMAL: the standard deviation; the mean is 0 */
} TsInitializer;

typedef struct TsParameter {
    const char *path; /* "backbone/layer_03/attention/query/kernel"; owned by the table */
    TsDtype dtype;
    TsShape shape;
    TsPlacement placement; /* at rest; what the layer declares may be changed by the run's sharding */
    TsPlacement declared;  /* `placement` as the layer declared it */
    bool has_rule;         /* `placement` is a rule's */
    TsAxisSet gathered;    /* the axes of `placement` over which it is gathered before use */
    TsPlacement state;     /* of the optimizer's state, and of the gradient that it is updated by */
    TsPlacement gradient;  /* of the sum of gradients between micro-batches */
    int dim;               /* on which `state` is cut among the ranks that share the batch, or would be */
    TsInitializer initializer;
    bool trainable;
    bool decays; /* weight decay applies: kernels and tables, not biases and norms */
} TsParameter;

typedef struct TsParameters TsParameters;

/* An empty table of parameters that will lie on `mesh` (borrowed; NULL: one rank). */
TsParameters *ts_parameters_create(const TsMesh *mesh);

/* Sets *parameters to NULL; NULL is fine. */
void ts_parameters_free(TsParameters **parameters);

/* Says how what is declared from now on lies: `config` is borrowed for the life of the table. Without it, as layers
 * declare. An error names the rule of which pattern or placement cannot be read. Not collective. */
TS_MUST_USE TsStatus ts_parameters_shard(TsParameters *parameters, const TsShardingConfig *config);

/* Says which of what is declared from now on learns, and what layers put in: `config` and `task`, whose adapters they
 * are, are borrowed for the life of the table. Without it all learns that its layer does not freeze. Not collective. */
TS_MUST_USE TsStatus ts_parameters_fine_tune(TsParameters *parameters, const TsFineTuneConfig *config,
                                             const char *task);

/* NULL where ts_parameters_fine_tune was not called. */
TsFineTune *ts_parameters_fine_tuning(const TsParameters *parameters);

/* Says which parameters of the trunk, of what is declared from now on, are the task's own and not shared: those under
 * "backbone/" in whose path one of `patterns` (of const char *) is found are declared as "tasks/TASK/PATH". All
 * borrowed for the life of the table. An error where a pattern cannot be read. Not collective. */
TS_MUST_USE TsStatus ts_parameters_own(TsParameters *parameters, const TsList *patterns, const char *task);

/* The first of those patterns that was found in no path; NULL: all were. Borrowed. */
const char *ts_parameters_own_unfound(const TsParameters *parameters);

/* The path under which `path` is declared: itself, or where it is the task's own that, written to `own`. */
const char *ts_parameters_path(TsParameters *parameters, char *own, size_t own_bytes, const char *path);

/* An error that names a rule that no parameter was found by, or whose placement does not go with one that was. To be
 * called when all is declared. Not collective. */
TS_MUST_USE TsStatus ts_parameters_check_rules(const TsParameters *parameters);

/* How the run is sharded; all zero where ts_parameters_shard was not called. */
const TsShardingConfig *ts_parameters_sharding(const TsParameters *parameters);

/* Adds a row; its path is copied. The fields after `placement`, up to `dim`, are filled in. A path that is there
 * already must agree in shape, dtype and initializer, and stays as it is: the error names both. Not collective. */
TS_MUST_USE TsStatus ts_parameters_declare(TsParameters *parameters, TsParameter parameter);

/* The row of that path, which must be there, is not learned from now on: no gradient, no state. Not collective. */
void ts_parameters_freeze(TsParameters *parameters, const char *path);

int ts_parameters_count(const TsParameters *parameters);
const TsParameter *ts_parameters_at(const TsParameters *parameters, int index);

/* The row of that path, or NULL. */
const TsParameter *ts_parameters_find(const TsParameters *parameters, const char *path);

const TsMesh *ts_parameters_mesh(const TsParameters *parameters);

/* Elements of all parameters together, as on one rank. */
int64_t ts_parameters_elems(const TsParameters *parameters);

/* Arrays of all parameters by path, with their initial values: a function of (seed, path, global index) alone, so the
 * same bits on any mesh. Not collective. Owned by the caller. */
TsBatch *ts_parameters_initialize(const TsParameters *parameters, uint64_t seed);
