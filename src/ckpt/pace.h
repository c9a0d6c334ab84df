/* SPDX-License-Identifier: Apache-2.0
 *
 * Pace: how a save in the background keeps out of the way of the steps that run meanwhile.
 *
 * It rests after each piece of work, so that it takes a small share of a core, and waits for other ranks asleep, not
 * polling. Whoever needs its end asks it to hurry: then it neither rests nor sleeps. A NULL pace always hurries: a save
 * that the caller waits for.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "comm/group.h"

typedef struct TsPace {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* with `hurry` */
    bool hurry;
    double worked_s; /* of its thread's processor time, at the last rest */
} TsPace;

void ts_pace_init(TsPace *pace);
void ts_pace_destroy(TsPace *pace);

/* Before the thread that works is made: unhurried. */
void ts_pace_begin(TsPace *pace);

/* By any thread: rests end at once, until ts_pace_begin. */
void ts_pace_hurry(TsPace *pace);

/* By the thread that works: rests for as long as what it did since the last rest deserves. */
void ts_pace_rest(TsPace *pace);

/* Returns once all ranks of group have called it. What is collective and waits busily comes after it: then nobody has
 * to be waited for. Collective on group. */
void ts_pace_meet(TsPace *pace, TsGroup *group);
