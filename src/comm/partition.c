/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/partition.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "comm/group_internal.h"

struct TsPartition {
    TsGroup *all; /* borrowed */
    int parts, part;
    TsMeshShape *shape; /* (parts) owned */
    int *first;         /* (parts + 1) owned: part k holds the positions first[k] .. first[k + 1) */
    int *rank_at;       /* (ranks) owned: the rank in `all` at each position, by (node, rank) */
    TsGroup *group;     /* owned: this rank's part */
    TsMesh *mesh;       /* owned: of `group` */
};

/* "2 + 3 + 1", cut where it does not fit. */
static void list_sizes(char *text, size_t size_bytes, const int *first, int parts)
{
    size_t used = 0;
    text[0] = '\0';
    for (int k = 0; k < parts && used + 24 < size_bytes; k++)
        used += (size_t)snprintf(text + used, size_bytes - used, "%s%d", k ? " + " : "", first[k + 1] - first[k]);
    if (used + 24 >= size_bytes)
        snprintf(text + used, size_bytes - used, " + …");
}

/* The product of the sizes, or 0 where one is auto. */
static int64_t product(const TsMeshShape *shape)
{
    int64_t ranks = 1;
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++) {
        int size = shape->size[axis];
        ranks = size < 0 ? 0 : ranks * (size > 0 ? size : 1);
        ranks = ranks < INT32_MAX ? ranks : INT32_MAX;
    }
    return ranks;
}

/* Fills in `shape` and `first` of a partition of `size` ranks. */
static TsStatus lay_out(TsPartition *self, const TsMeshShape *shapes, const int *ranks, int size)
{
    int64_t total = 0;
    for (int k = 0; k < self->parts; k++) {
        self->shape[k] = shapes ? shapes[k] : (TsMeshShape){.size = {[TS_AXIS_DATA] = TS_MESH_AUTO}};
        int64_t wanted = ranks ? ranks[k] : product(&self->shape[k]);
        if (wanted < 1)
            return ts_status_error(TS_CODE_INVALID, "part %d of the partition has no ranks: %s", k,
                                   ranks ? "each needs at least one"
                                         : "an axis that is auto needs the part's number of ranks");
        total += wanted;
        if (total <= size) {
            self->first[k + 1] = (int)total;
            TS_TRY(
                ts_status_annotate(ts_mesh_shape_check(&self->shape[k], (int)wanted), "part %d of the partition", k));
        }
    }
    if (total == size)
        return TS_OK;
    if (total > size)
        return ts_status_error(TS_CODE_INVALID, "the %d parts of the partition need %lld ranks, group %s has %d",
                               self->parts, (long long)total, self->all->name, size);
    char sizes[160];
    list_sizes(sizes, sizeof sizes, self->first, self->parts);
    return ts_status_error(TS_CODE_INVALID, "a partition into %s ranks leaves %d of the %d of group %s without a part",
                           sizes, size - (int)total, size, self->all->name);
}

TsStatus ts_partition_create(TsPartition **partition, TsGroup *group, const TsMeshShape *shapes, const int *ranks,
                             int parts)
{
    *partition = NULL;
    TS_CHECK(parts >= 1, "a partition into %d parts", parts);
    TsPartition *self = ts_calloc(1, sizeof *self);
    self->all = group;
    self->parts = parts;
    self->shape = ts_calloc((size_t)parts, sizeof *self->shape);
    self->first = ts_calloc((size_t)parts + 1, sizeof *self->first);
    self->rank_at = ts_alloc((size_t)group->size * sizeof *self->rank_at);
    memcpy(self->rank_at, group->node_member, (size_t)group->size * sizeof *self->rank_at);
    TsStatus status = ts_comm_agree(group, lay_out(self, shapes, ranks, group->size));
    if (!status) {
        int position = group->node_first[group->node_of[group->rank]] + group->node_rank_of[group->rank];
        while (position >= self->first[self->part + 1])
            self->part++;
        char name[32];
        snprintf(name, sizeof name, "part %d", self->part);
        self->group = ts_group_split_axes(group, name, 0, self->part, position);
        /* Each part agrees on its own; then all do, so that none goes on where another could not. */
        status = ts_comm_agree(group, ts_mesh_create(&self->mesh, self->group, self->shape[self->part]));
    }
    if (status)
        ts_partition_free(&self);
    *partition = self;
    return status;
}

void ts_partition_free(TsPartition **partition)
{
    TsPartition *self = *partition;
    if (!self)
        return;
    ts_mesh_free(&self->mesh);
    ts_group_free(&self->group);
    ts_free(self->shape);
    ts_free(self->first);
    ts_free(self->rank_at);
    ts_free(self);
    *partition = NULL;
}

static void check_part(const TsPartition *partition, int part)
{
    TS_CHECK(part >= 0 && part < partition->parts, "a partition of %d parts has no part %d", partition->parts, part);
}

int ts_partition_parts(const TsPartition *partition)
{
    return partition->parts;
}

int ts_partition_part(const TsPartition *partition)
{
    return partition->part;
}

int ts_partition_ranks(const TsPartition *partition, int part)
{
    check_part(partition, part);
    return partition->first[part + 1] - partition->first[part];
}

TsMeshShape ts_partition_shape(const TsPartition *partition, int part)
{
    check_part(partition, part);
    return partition->shape[part];
}

int ts_partition_rank_at(const TsPartition *partition, int part, int rank)
{
    check_part(partition, part);
    TS_CHECK(rank >= 0 && rank < ts_partition_ranks(partition, part), "part %d has no rank %d", part, rank);
    return partition->rank_at[partition->first[part] + rank];
}

TsGroup *ts_partition_group(const TsPartition *partition)
{
    return partition->group;
}

TsMesh *ts_partition_mesh(const TsPartition *partition)
{
    return partition->mesh;
}

TsGroup *ts_partition_all(const TsPartition *partition)
{
    return partition->all;
}
