/* SPDX-License-Identifier: Apache-2.0
 *
 * Do all ranks call the same? One small reduction over {-x, x} a call, in debug builds.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/group_internal.h"
#include "comm/rank_list.h"

#if TS_DEBUG

typedef struct Call {
    int64_t count_elems;
    int32_t kind, dtype;
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

static bool equal(const Call *a, const Call *b)
{
    return a->count_elems == b->count_elems && a->kind == b->kind && a->dtype == b->dtype &&
           strcmp(a->label, b->label) == 0;
}

/* Prints what each rank called, those of equal calls on one line; of ranks as numbered in the job. */
static void print_calls(const TsGroup *group, const Call *calls)
{
    int ranks = 0; /* more than the highest number */
    for (int r = 0; r < group->size; r++)
        ranks = group->world_rank[r] < ranks ? ranks : group->world_rank[r] + 1;
    bool *chosen = ts_alloc((size_t)ranks * sizeof *chosen);
    bool *printed = ts_calloc((size_t)group->size, sizeof *printed);
    for (int r = 0; r < group->size; r++) {
        if (printed[r])
            continue;
        memset(chosen, 0, (size_t)ranks * sizeof *chosen);
        for (int s = r; s < group->size; s++)
            if (equal(&calls[r], &calls[s]))
                printed[s] = chosen[group->world_rank[s]] = true;
        ts_log(TS_LOG_ERROR, "%s (first on %s): %s \"%s\" of %lld %s, on group %s", ts_rank_list(chosen, ranks).text,
               calls[r].host, ts_comm_kind_name((TsCommKind)calls[r].kind), calls[r].label,
               (long long)calls[r].count_elems, ts_dtype_name((TsDtype)calls[r].dtype), group->name);
    }
    ts_free(chosen);
    ts_free(printed);
}

static void report(TsGroup *group, const Call *mine)
{
    Call *calls = group->rank == 0 ? ts_calloc((size_t)group->size, sizeof *calls) : NULL;
    TS_MPI(MPI_Gather(mine, (int)sizeof *mine, MPI_BYTE, calls, (int)sizeof *mine, MPI_BYTE, 0, group->comm));
    if (group->rank == 0) {
        print_calls(group, calls);
        ts_fatal(__FILE__, __LINE__, "equal calls", "the ranks of group %s call different collectives", group->name);
    }
    TS_MPI(MPI_Barrier(group->comm)); /* until rank 0 of the group has ended the job */
}

void ts_comm_check_call(TsGroup *group, TsCommKind kind, int64_t count_elems, TsDtype dtype, const char *label)
{
    if (group->size == 1)
        return;
    Call call = {.count_elems = count_elems, .kind = (int32_t)kind, .dtype = (int32_t)dtype};
    snprintf(call.label, sizeof call.label, "%s", label ? label : "");
    snprintf(call.host, sizeof call.host, "%s", ts_log_host());
    int64_t hash = hash_of(&call), range[2] = {-hash, hash};
    /* Ranks that do not come are missed here already: the watchdog sees this as the wait of the call itself. */
    TsWatch watch = {.group = group,
                     .sequence = atomic_load(&group->arrivals) + 1,
                     .kind = kind,
                     .label = label ? label : "",
                     .peer = -1,
                     .slot = -1};
    ts_watch_wait(&watch);
    TS_MPI(MPI_Allreduce(MPI_IN_PLACE, range, 2, MPI_INT64_T, MPI_MAX, group->comm));
    ts_watch_end(&watch);
    if (-range[0] != range[1])
        report(group, &call);
}

#else
typedef int TsNothingToCheck; /* a file is never empty */
#endif
