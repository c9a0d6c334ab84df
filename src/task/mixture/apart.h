/* SPDX-License-Identifier: Apache-2.0
 *
 * Apart: the gradients of the tasks of a step, each by itself, until it is known how much each of them counts.
 *
 * Each lies as optimizer state does, cut along data, so no rank holds a whole one but while it is made. From them come
 * their Gram matrix over what tasks share (its local parts are summed up in one small all-reduce), and the one
 * gradient that the Learner takes.
 */
#pragma once

#include "model/parameter.h"
#include "tensor/batch.h"

enum { TS_MAX_APART = 64 }; /* tasks */

typedef struct TsApart TsApart;

/* All borrowed for the life of the Apart, but for the list `users`. */
typedef struct TsApartSetting {
    const TsParameters *parameters;   /* of the job */
    const TsParameters *const *users; /* (user_count) what each task binds: rows of `parameters` */
    int user_count;                   /* at most TS_MAX_APART */
    const bool *rows;                 /* (rows of parameters) of which gradients are kept; NULL: all that learn */
    bool in_parts; /* tasks bring gradients as each rank has them, not summed over the ranks that share the batch */
    int threads;
} TsApartSetting;

/* Room for a gradient of each task. Collective on the mesh; the Status is agreed. Owned by the caller. */
TS_MUST_USE TsStatus ts_apart_create(TsApart **apart, TsApartSetting setting);

/* Sets *apart to NULL; NULL is fine. Collective on the mesh. */
void ts_apart_free(TsApart **apart);

/* Arrays "gradient/PATH" that the passes of a task fill; borrowed. In parts: passes add to them, and they are there
 * from the first time that this rank asks for them. */
TsBatch *ts_apart_gradients(TsApart *apart, int user);

/* Before passes that add to what there is: it begins at zero. Not collective. */
void ts_apart_begin(TsApart *apart);

/* After them: sums parts over ranks. active (users). Collective on the mesh; same on all ranks: active. */
void ts_apart_gather(TsApart *apart, const bool *active);

/* gram (users, users): the products of the gradients of active tasks, as they are now, over the parameters that tasks
 * share; 0 where one is not active. The same bits on all ranks. Collective on the mesh. */
void ts_apart_gram(TsApart *apart, double *gram, const bool *active);

/* Gives `gradients`, the Learner's, the sum of coefficient[i] times the gradient of task i over the active tasks; of
 * parameters that one task alone binds, own[i] times it. Not collective. */
void ts_apart_combine(TsApart *apart, TsBatch *gradients, const double *coefficient, const double *own,
                      const bool *active);
