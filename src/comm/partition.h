/* SPDX-License-Identifier: Apache-2.0
 *
 * Partition: a Group cut into disjoint Groups, each with a Mesh of its own, which may differ in size.
 *
 * Tasks that learn side by side, and trials of a study, each run on one part. Parts follow one another in the order
 * (node, rank), so that a part lies on as few nodes as it can. What all parts share goes over the whole group.
 */
#pragma once

#include "comm/mesh.h"

typedef struct TsPartition TsPartition;

/* Cuts `group` into `parts`. Part k is a mesh of shapes[k]; `ranks` says how many ranks each part gets, and is only
 * needed where a shape has TS_MESH_AUTO (NULL: as many as the shape multiplies to). `shapes` NULL: all of a part's
 * ranks on its data axis. An error, the same on all ranks, unless every part has a rank, shapes fit, and the parts add
 * up to the group. Collective on group, which is borrowed for the life of the partition. Same on all ranks: all
 * arguments. */
TS_MUST_USE TsStatus ts_partition_create(TsPartition **partition, TsGroup *group, const TsMeshShape *shapes,
                                         const int *ranks, int parts);

/* Collective on the whole group. Sets *partition to NULL; NULL is fine. */
void ts_partition_free(TsPartition **partition);

int ts_partition_parts(const TsPartition *partition);
int ts_partition_part(const TsPartition *partition);            /* the one that this rank is in */
int ts_partition_ranks(const TsPartition *partition, int part); /* of any part, known on every rank */
TsMeshShape ts_partition_shape(const TsPartition *partition, int part);

/* The rank in the whole group of rank `rank` of part `part`. */
int ts_partition_rank_at(const TsPartition *partition, int part, int rank);

/* This rank's part; borrowed. The mesh is made of the group. */
TsGroup *ts_partition_group(const TsPartition *partition);
TsMesh *ts_partition_mesh(const TsPartition *partition);

/* The whole that was cut; borrowed. */
TsGroup *ts_partition_all(const TsPartition *partition);
