/* SPDX-License-Identifier: Apache-2.0
 *
 * Scratch: what the collectives keep with each Group from call to call. Included by src/comm only.
 */
#pragma once

#include "comm/request.h"

typedef struct TsScratch {
    TsRequest *idle;    /* requests that have ended, with their memory */
    TsArena *arena;     /* NULL where this rank is alone on its node */
    TsSharedWork quick; /* of small blocking collectives on one node, which take no request */
} TsScratch;

/* Gives a new group its scratch. Collective on group; called by whoever makes groups. */
void ts_scratch_attach(TsGroup *group);

/* The group's scratch. Not collective. */
TsScratch *ts_scratch_of(TsGroup *group);
