/* SPDX-License-Identifier: Apache-2.0
 *
 * Group: some ranks of the job that talk with one another. A Mesh, a Partition, a Trainer hang off one.
 *
 * Ranks of a Group are numbered 0..size-1. A Group knows which of its ranks share a node (memory), and its name, which
 * errors and the accounting print. MPI's communicators stay inside src/comm (comm/native.h for the two exceptions).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct TsGroup TsGroup;

int ts_group_rank(const TsGroup *group);
int ts_group_size(const TsGroup *group);

/* Borrowed, for example "world" or "data". */
const char *ts_group_name(const TsGroup *group);

/* How the group lies on nodes. Nodes are numbered by their lowest rank. */
int ts_group_nodes(const TsGroup *group);             /* how many nodes */
int ts_group_node_of(const TsGroup *group, int rank); /* the node of a rank */
int ts_group_node_rank(const TsGroup *group);         /* this rank among those of its node */
int ts_group_node_size(const TsGroup *group);         /* ranks of this group on this node */

/* Cuts `parent`: ranks with the same `color` form a new group, ordered by (key, parent rank). A negative color takes
 * part and gets NULL. `name` is copied. Collective on parent. Owned by the caller: ts_group_free. */
TsGroup *ts_group_split(TsGroup *parent, const char *name, int color, int key);

/* The same ranks with messages of their own, for a thread that must not meet others' messages. Collective on group. */
TsGroup *ts_group_duplicate(TsGroup *group, const char *name);

/* Collective on the group. Sets *group to NULL; NULL is fine. */
void ts_group_free(TsGroup **group);

/* Makes a Status the same on all ranks: success only if all succeeded, else the error of the lowest rank that has one,
 * with "rank N: " (N as numbered in the whole job) before its message where not all ranks say the same. Takes ownership
 * of `status`. Collective. */
TS_MUST_USE TsStatus ts_comm_agree(TsGroup *group, TsStatus status);
