/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/group.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/group_internal.h"
#include "comm/native.h"
#include "comm/request.h"
#include "comm/scratch.h"

static int *layout; /* (layout_ranks): the node of each rank of the job */
static int layout_ranks;

void ts_group_set_layout(const int *node_of_world, int ranks)
{
    ts_free(layout);
    layout = NULL;
    layout_ranks = ranks;
    if (node_of_world) {
        layout = ts_alloc((size_t)ranks * sizeof *layout);
        memcpy(layout, node_of_world, (size_t)ranks * sizeof *layout);
    }
}

_Noreturn void ts_mpi_fatal(const char *file, int line, const char *call, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    char name[64]; /* the function's name alone: the arguments are in the source */
    snprintf(name, sizeof name, "%.*s", (int)strcspn(call, "("), call);
    ts_fatal(file, line, name, "MPI failed: %s", text);
}

/* world_rank: the ranks of comm, as numbered in the whole job. */
static void find_world_ranks(TsGroup *group)
{
    group->world_rank = ts_alloc((size_t)group->size * sizeof *group->world_rank);
    int mine = ts_log_rank();
    TS_MPI(MPI_Allgather(&mine, 1, MPI_INT, group->world_rank, 1, MPI_INT, group->comm));
}

/* Nodes numbered by their lowest rank; members of each node by rank. */
static void find_nodes(TsGroup *group)
{
    size_t ranks = (size_t)group->size;
    group->node_of = ts_alloc(ranks * sizeof(int));
    group->node_rank_of = ts_alloc(ranks * sizeof(int));
    group->node_member = ts_alloc(ranks * sizeof(int));
    int *number = ts_alloc((size_t)layout_ranks * sizeof *number); /* of each node of the job, in this group */
    for (int i = 0; i < layout_ranks; i++)
        number[i] = -1;
    group->node_first = ts_calloc(ranks + 1, sizeof(int));
    for (int r = 0; r < group->size; r++) {
        int node = layout[group->world_rank[r]];
        if (number[node] < 0)
            number[node] = group->nodes++;
        group->node_of[r] = number[node];
        group->node_rank_of[r] = group->node_first[number[node] + 1]++;
    }
    ts_free(number);
    group->node_size_min = group->node_size_max = group->node_first[1];
    for (int n = 0; n < group->nodes; n++) {
        int node_size = group->node_first[n + 1];
        group->node_size_min = node_size < group->node_size_min ? node_size : group->node_size_min;
        group->node_size_max = node_size > group->node_size_max ? node_size : group->node_size_max;
        group->node_first[n + 1] += group->node_first[n];
    }
    for (int r = 0; r < group->size; r++)
        group->node_member[group->node_first[group->node_of[r]] + group->node_rank_of[r]] = r;
}

/* The lowest rank's number in the job and how many groups it has led so far: unique, and the same on all ranks. */
static void agree_on_id(TsGroup *group)
{
    static _Atomic uint32_t led;
    if (group->rank == 0)
        group->id = (uint64_t)group->world_rank[0] << 32 | (atomic_fetch_add(&led, 1) + 1);
    TS_MPI(MPI_Bcast(&group->id, 1, MPI_UINT64_T, 0, group->comm));
}

TsGroup *ts_group_adopt(MPI_Comm comm, const char *name, TsAxisSet axes)
{
    TsGroup *group = ts_calloc(1, sizeof *group);
    group->comm = comm;
    group->name = ts_strdup(name);
    group->axes = axes;
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_set_name(comm, name);
    TS_MPI(MPI_Comm_rank(comm, &group->rank));
    TS_MPI(MPI_Comm_size(comm, &group->size));
    int *tag_ub = NULL, found = 0;
    TS_MPI(MPI_Comm_get_attr(comm, MPI_TAG_UB, &tag_ub, &found));
    group->tag_ub = found ? *tag_ub : 32767;
    find_world_ranks(group);
    find_nodes(group);
    agree_on_id(group);
    TS_MPI(MPI_Comm_split(comm, group->node_of[group->rank], group->rank, &group->node_comm));
    ts_scratch_attach(group);
    ts_watch_add_group(group);
    ts_resource_count(TS_RESOURCE_GROUP, 1);
    return group;
}

TsGroup *ts_group_split_axes(TsGroup *parent, const char *name, TsAxisSet axes, int color, int key)
{
    TsWatch watch = ts_request_meet(parent, TS_COMM_MAKE_GROUP, "split"); /* names may differ */
    MPI_Comm comm;
    TS_MPI(MPI_Comm_split(parent->comm, color < 0 ? MPI_UNDEFINED : color, key, &comm));
    TsGroup *group = comm == MPI_COMM_NULL ? NULL : ts_group_adopt(comm, name, axes);
    ts_watch_end(&watch);
    return group;
}

TsGroup *ts_group_split(TsGroup *parent, const char *name, int color, int key)
{
    return ts_group_split_axes(parent, name, 0, color, key);
}

TsGroup *ts_group_duplicate(TsGroup *group, const char *name)
{
    return ts_group_split_axes(group, name, group->axes, 0, group->rank);
}

void ts_group_free(TsGroup **group)
{
    TsGroup *self = *group;
    if (!self)
        return;
    TsWatch watch = ts_request_meet(self, TS_COMM_MAKE_GROUP, "free");
    ts_shared_expect_none(self);
    if (self->scratch_free)
        self->scratch_free(self, self->scratch);
    TS_MPI(MPI_Comm_free(&self->node_comm));
    TS_MPI(MPI_Comm_free(&self->comm));
    ts_watch_end(&watch);
    ts_watch_remove_group(self);
    ts_comm_check_free(self);
    ts_free(self->name);
    ts_free(self->world_rank);
    ts_free(self->node_of);
    ts_free(self->node_rank_of);
    ts_free(self->node_first);
    ts_free(self->node_member);
    ts_free(self);
    *group = NULL;
    ts_resource_count(TS_RESOURCE_GROUP, -1);
}

int ts_group_label_tag(const TsGroup *group, const char *label)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = label ? label : ""; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    uint32_t room = (uint32_t)(group->tag_ub - TS_TAG_COLLECTIVES);
    return TS_TAG_COLLECTIVES + (int)(hash % room);
}

int ts_group_rank(const TsGroup *group)
{
    return group->rank;
}

int ts_group_size(const TsGroup *group)
{
    return group->size;
}

const char *ts_group_name(const TsGroup *group)
{
    return group->name;
}

int ts_group_nodes(const TsGroup *group)
{
    return group->nodes;
}

int ts_group_node_of(const TsGroup *group, int rank)
{
    TS_CHECK(rank >= 0 && rank < group->size, "group %s of %d ranks has no rank %d", group->name, group->size, rank);
    return group->node_of[rank];
}

int ts_group_node_rank(const TsGroup *group)
{
    return group->node_rank_of[group->rank];
}

int ts_group_node_size(const TsGroup *group)
{
    int node = group->node_of[group->rank];
    return group->node_first[node + 1] - group->node_first[node];
}

MPI_Comm ts_group_native(const TsGroup *group)
{
    return group->comm;
}
