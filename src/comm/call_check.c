/* SPDX-License-Identifier: Apache-2.0
 *
 * Do all ranks call the same? One small reduction over {-x, x} a call, in debug builds.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/group_internal.h"

#if TS_DEBUG

typedef struct Call {
    int64_t count_elems;
    int32_t kind, dtype, world_rank;
    char label[100], host[100];
} Call;

static int64_t hash_of(const Call *call)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a over the numbers and the label */
    int64_t number[3] = {call->count_elems, call->kind, call->dtype};
    const unsigned char *bytes = (const unsigned char *)number;
    for (size_t i = 0; i < sizeof number; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    for (const char *c = call->label; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return (int64_t)(hash >> 2); /* so that -x exists */
}

/* Prints what each rank called, ranks of equal calls on one line, from rank 0 of the group; then aborts. */
static void report(TsGroup *group, const Call *mine)
{
    Call *calls = group->rank == 0 ? ts_calloc((size_t)group->size, sizeof *calls) : NULL;
    TS_MPI(MPI_Gather(mine, (int)sizeof *mine, MPI_BYTE, calls, (int)sizeof *mine, MPI_BYTE, 0, group->comm));
    for (int r = 0; calls && r < group->size; r++)
        fprintf(stderr, "tessera: rank %d on %s calls %s \"%s\" of %lld %s on group %s\n", calls[r].world_rank,
                calls[r].host, ts_comm_kind_name((TsCommKind)calls[r].kind), calls[r].label,
                (long long)calls[r].count_elems, ts_dtype_name((TsDtype)calls[r].dtype), group->name);
    fflush(stderr);
    if (group->rank == 0)
        TS_CHECK(false, "the ranks of group %s call different collectives", group->name);
    TS_MPI(MPI_Barrier(group->comm)); /* until rank 0 ends the job */
}

void ts_comm_check_call(TsGroup *group, TsCommKind kind, int64_t count_elems, TsDtype dtype, const char *label)
{
    if (group->size == 1)
        return;
    Call call = {.count_elems = count_elems,
                 .kind = (int32_t)kind,
                 .dtype = (int32_t)dtype,
                 .world_rank = group->world_rank[group->rank]};
    snprintf(call.label, sizeof call.label, "%s", label ? label : "");
    snprintf(call.host, sizeof call.host, "%s", ts_log_host());
    int64_t hash = hash_of(&call), range[2] = {-hash, hash};
    TS_MPI(MPI_Allreduce(MPI_IN_PLACE, range, 2, MPI_INT64_T, MPI_MAX, group->comm));
    if (-range[0] != range[1])
        report(group, &call);
}

#else
typedef int TsNothingToCheck; /* a file is never empty */
#endif
