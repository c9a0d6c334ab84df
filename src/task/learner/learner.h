/* SPDX-License-Identifier: Apache-2.0
 *
 * Learner: from gradients to parameters: clip, skip what is not finite, update, average.
 *
 * A Program of its own over the same table of parameters. Its state lies where the table says (ZeRO-1: each parameter's
 * state is cut along data), gradients arrive there, and updated parameters go back to where they rest: all
 * by placement.
 */
#pragma once

#include "model/parameter.h"
#include "task/learner/averages.h"
#include "task/learner/optimizer.h"
#include "task/learner/schedule.h"
#include "tensor/program.h"

/* Another optimizer for some parameters. */
typedef struct TsOptimizerGroup {
    const char *parameters; /* a pattern of paths */
    TsChoice optimizer;     /* of ts_optimizers */
    TsChoice schedule;      /* of ts_schedules; left out: the Learner's */
} TsOptimizerGroup;

typedef struct TsEmaConfig {
    double decay;
    bool evaluate; /* evaluation and decoding use the averages */
} TsEmaConfig;

typedef struct TsLearnerConfig {
    TsChoice optimizer;     /* of ts_optimizers */
    TsChoice schedule;      /* of ts_schedules */
    TsMap optimizers;       /* of TsOptimizerGroup */
    TsList freeze;          /* of patterns: parameters found by one are not learned */
    TsList only;            /* of patterns: parameters found by none are not learned; empty: all are */
    TsList no_decay;        /* of patterns: parameters that do not decay, beside biases and norms */
    const TsEmaConfig *ema; /* NULL: no averages */
    double clip;            /* the largest global norm of a gradient; 0: no clipping */
    double clip_each;       /* the largest norm of each parameter's gradient; 0: no clipping */
    double skip_above;      /* steps of a larger norm are skipped; infinity: only those that are not finite */
    int64_t skip_limit;     /* so many skipped steps in a row end the run */
    int64_t accumulate;     /* micro-batches of a step */
    int64_t bucket;         /* bytes; 0: each gradient and parameter by itself */
} TsLearnerConfig;

extern const TsConfigTable ts_learner_table;

typedef struct TsLearner TsLearner;

/* Of what learns. */
typedef enum TsLearnerPart {
    TS_LEARNER_WHOLE,
    TS_LEARNER_LEADS,   /* others update the rest of it: their gradients count in the norm, too */
    TS_LEARNER_FOLLOWS, /* the rest, on ranks of its own, by the factor that the one who leads found */
} TsLearnerPart;

/* What a Learner is made of; borrowed for its life, but for the lists `users` and `rows`. */
typedef struct TsLearnerSetting {
    const TsLearnerConfig *config;
    const TsParameters *parameters;   /* of the job */
    const TsBatch *arrays;            /* them by path */
    const TsParameters *const *users; /* (user_count) what each task's Program binds: rows of `parameters`. NULL: one
                                         user, who binds all */
    int user_count;
    const TsFineTuneConfig *fine_tune; /* what learns only from a step on; NULL: nothing */
    const bool *rows;                  /* (rows of parameters) those that it updates, of what learns; NULL: all */
    TsLearnerPart part;
    bool together; /* steps are of several users at a time, ts_learner_step_together, whose gradients are added up */
    bool in_parts; /* gradients come as each rank has them, not summed over the ranks that share the batch */
    int threads;
} TsLearnerSetting;

/* How the gradient of a parameter lies that a Learner takes. */
TsPlacement ts_learner_gradient_placement(const TsParameter *row, bool in_parts);

/* A Learner for the trainable parameters of the table, as they are now. A step of one user updates what that user
 * binds, and nothing else: a head that had no gradient neither moves nor decays. Gradients lie in memory that the ranks
 * of a node share. Collective on the mesh; same on all ranks: everything. The Status is agreed. Owned by the caller. */
TS_MUST_USE TsStatus ts_learner_create(TsLearner **learner, TsLearnerSetting setting);

/* What TsCompileOptions.bucket_bytes is by the config. */
int64_t ts_learner_bucket_bytes(const TsLearnerConfig *config);

/* Sets *learner to NULL; NULL is fine. Collective on the mesh. */
void ts_learner_free(TsLearner **learner);

/* The name of the gradient of `path` in Programs, "gradient/PATH", into `name`. */
typedef struct TsGradientName {
    char text[256];
} TsGradientName;
TsGradientName ts_learner_gradient_name(const char *path);

/* Arrays "gradient/PATH" that a task's Program fills before ts_learner_step; borrowed. */
TsBatch *ts_learner_gradients(const TsLearner *learner);

/* Optimizer state, "optimizer/mean/PATH" and the like, and averages, "average/PATH": what a checkpoint must hold;
 * borrowed. */
TsBatch *ts_learner_state(const TsLearner *learner);

/* The averages of what learns; NULL where the config has none. Whoever changes the parameters from outside before the
 * first step begins them anew. Borrowed. */
TsAverages *ts_learner_averages(const TsLearner *learner);

/* Arrays of a parameter's size that are kept beside it and its gradient, by the config, where no group says otherwise.
 */
double ts_learner_states(const TsLearnerConfig *config);

typedef struct TsLearnerReport {
    double rate;          /* of the parameters that have no other optimizer */
    double gradient_norm; /* of the whole gradient, before clipping */
    double factor;        /* that the gradient was multiplied by; 0: the step was skipped */
} TsLearnerReport;

/* Steps from now on whose gradient has a larger norm are skipped; below 0: all are. Without it: learner.skip_above. Not
 * of one that follows. Not collective; the same on all ranks. */
void ts_learner_limit(TsLearner *learner, double norm);

/* Updates the parameters of `user`, and their state, in place by the gradients. A norm that is not finite or above
 * the limit changes nothing. user_steps (user_count) is how many steps each user had, this one included: a parameter's
 * bias correction counts the steps of those who bind it. The same result on all ranks. Collective on the mesh; same on
 * all ranks: everything. */
TsLearnerReport ts_learner_step(TsLearner *learner, int user, const int64_t *user_steps, int64_t step,
                                int64_t run_steps);

/* A step of several users at a time, who have had `steps` steps together, and each user_steps by itself. */
typedef struct TsLearnerTurn {
    const bool *active; /* (users) whose gradients there are; others' own parameters stay as they are */
    const int64_t *user_steps;
    int64_t steps, step, run_steps;
    double others; /* of one that leads: the sum of squares of the gradients that it does not have */
} TsLearnerTurn;

/* The same as ts_learner_step for such a step. Where `active` differs from the last step's, a Program is compiled: an
 * error as from ts_learner_create. */
TS_MUST_USE TsStatus ts_learner_step_together(TsLearner *learner, TsLearnerReport *report, TsLearnerTurn turn);

/* What such a step would compile, before it. Collective on the mesh; same on all ranks: active; the Status is agreed.
 */
TS_MUST_USE TsStatus ts_learner_prepare(TsLearner *learner, const bool *active);

/* Of one that follows, prepared for who is active: the sum of squares of its gradients, the same on all its ranks; and
 * then its step, by the factor of the report of the one that leads. Collective on the mesh. */
double ts_learner_squares(TsLearner *learner, TsLearnerTurn turn);
void ts_learner_follow(TsLearner *learner, double factor, TsLearnerTurn turn);

/* From now on one that leads updates these rows alone: it gives back the gradients of the others; their state stays
 * with it for whoever saves it, and need not have values. Collective on the mesh; same on all ranks: rows; the Status
 * is agreed. */
TS_MUST_USE TsStatus ts_learner_keep(TsLearner *learner, const bool *rows);

/* The norm of all parameters together that it updates. Collective on the mesh. */
double ts_learner_weight_norm(TsLearner *learner);

/* Records what steps of it do from now on; NULL: no more. Not collective. */
void ts_learner_record(TsLearner *learner, TsTimeline *timeline);

/* What a step of the user runs, for plans; borrowed. On a mesh that is only described a Learner has it alone, and
 * neither gradients nor state. */
const TsProgram *ts_learner_program(const TsLearner *learner, int user);
