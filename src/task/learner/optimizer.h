/* SPDX-License-Identifier: Apache-2.0
 *
 * Optimizer: how a gradient becomes an update of its parameter: the registry, and what each row of it traces.
 *
 * A rule is traced once for each parameter, into the Program of the Learner. Its state lies where the parameter's row
 * says (ZeRO-1: cut along data); a rule that needs a whole matrix gathers it.
 */
#pragma once

#include "base/config.h"
#include "model/parameter.h"
#include "tensor/batch.h"
#include "tensor/optimizer_ops.h"

typedef enum TsMuonScale { TS_MUON_ORIGINAL, TS_MUON_MATCH_RMS } TsMuonScale;

/* Each rule has some of these keys; the others are zero. */
typedef struct TsOptimizerConfig {
    double rate;  /* the peak learning rate */
    double decay; /* of weights */
    double beta1, beta2, epsilon;
    double momentum;
    bool nesterov;
    double threshold;     /* of the root mean square of an update */
    double exponent;      /* adafactor */
    double least_scale;   /* adafactor: of a parameter that is nearly zero */
    bool scale_parameter; /* adafactor */
    int64_t iterations;   /* muon */
    TsMuonScale scale;    /* muon */
    int64_t block, every; /* shampoo: rows or columns of a block; steps from roots to roots */
    double factor_decay;  /* shampoo: of sums of squares */
    double ridge;         /* shampoo: of the largest eigenvalue */
} TsOptimizerConfig;

/* The kinds of `optimizer: {type: ...}`: the value of each is a TsOptimizerConfig, its `extra` a TsOptimizer. */
extern TsVariants ts_optimizers;

/* What tracing one parameter's update is about. */
typedef struct TsUpdate {
    TsGraph *graph;
    const TsParameter *row;
    const TsOptimizerConfig *options;
    double decay; /* of this parameter */
    TsTensor parameter, gradient;
    TsOptimizerScalars scalars;
    int parts; /* numerics are reproducible: sums of squares are taken of so many parts; 0: as they come */
} TsUpdate;

/* What is done on the host after steps that were not skipped. */
typedef struct TsAfterUpdate {
    const TsParameter *row;
    const TsOptimizerConfig *options;
    const TsBatch *state; /* of the Learner, by name: each rank its part */
    int64_t step;         /* of the run, counted from 1 */
} TsAfterUpdate;

typedef struct TsOptimizer {
    /* Adds the nodes of one step, assigns its state, and gives the new parameter. */
    TsTensor (*trace)(const TsUpdate *update);

    /* How many arrays of the parameter's size it keeps. */
    double (*states)(const TsOptimizerConfig *options);

    /* Why it cannot update such a parameter; NULL: it can. */
    const char *(*refuse)(const TsParameter *row);

    /* Changes its state between steps; NULL: it does not. Not collective; an error is this rank's own, and a bug's or
     * memory's. */
    TsStatus (*after)(const TsAfterUpdate *after);
} TsOptimizer;

/* Of this parameter: a state that lies as the gradient does, "optimizer/WHAT/PATH". */
TsTensor ts_update_state(const TsUpdate *update, const char *what);

/* The sum of squares of a Tensor that has the shape of the parameter, whole: f32, or f64 for f64. */
TsTensor ts_update_squares(const TsUpdate *update, TsTensor x);

/* Rules that are more than one op. rule_scaled.c, rule_adafactor.c, rule_muon.c, rule_shampoo.c */
TsTensor ts_rule_adam_pax(const TsUpdate *update);
TsTensor ts_rule_lamb(const TsUpdate *update);
TsTensor ts_rule_adafactor(const TsUpdate *update);
TsTensor ts_rule_muon(const TsUpdate *update);
TsTensor ts_rule_shampoo(const TsUpdate *update);
TsStatus ts_rule_shampoo_after(const TsAfterUpdate *after);

/* Where the dims of a matrix that has more than two are parted: those before it count as rows, the others as columns,
 * such that rows + columns are fewest. 0 for fewer than two dims. */
int ts_update_split(TsShape shape);
