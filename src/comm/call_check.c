/* SPDX-License-Identifier: Apache-2.0
 *
 * Do all ranks call the same? One small reduction over {-x, x} a call, in debug builds.
 *
 * It is begun with the call and asked for while the call is waited for, so that a begin stays a begin: a rank may go on
 * to what another one needs before it can come.
 */
#include <pthread.h>
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

/* One call whose check is under way, or whose memory waits for the next. */
typedef struct Check {
    Call call;
    int64_t range[2];
    MPI_Request reduction;
    struct Check *next;
} Check;

/* Of one group: checks are looked at in the order of calls, so that all ranks meet at the first that fails. */
typedef struct TsCallChecks {
    pthread_mutex_t lock;
    Check *oldest, *newest; /* under way */
    Check *idle;
    uint64_t begun, passed;
} TsCallChecks;

static void report(TsGroup *group, const Call *mine)
{
    TsWatch watch = {.group = group,
                     .sequence = atomic_load(&group->arrivals),
                     .kind = (TsCommKind)mine->kind,
                     .label = "check of calls",
                     .peer = -1,
                     .slot = -1};
    ts_watch_wait(&watch);
    Call *calls = group->rank == 0 ? ts_calloc((size_t)group->size, sizeof *calls) : NULL;
    TS_MPI(MPI_Gather(mine, (int)sizeof *mine, MPI_BYTE, calls, (int)sizeof *mine, MPI_BYTE, 0, group->comm));
    if (group->rank == 0) {
        print_calls(group, calls);
        ts_fatal(__FILE__, __LINE__, "equal calls", "the ranks of group %s call different collectives", group->name);
    }
    TS_MPI(MPI_Barrier(group->comm)); /* until rank 0 of the group has ended the job */
}

static Check *take_idle(TsCallChecks *checks)
{
    Check *check = checks->idle;
    if (check)
        checks->idle = check->next;
    else
        check = ts_alloc(sizeof *check);
    return check;
}

uint64_t ts_comm_check_begin(TsGroup *group, TsCommKind kind, int64_t count_elems, TsDtype dtype, const char *label)
{
    if (group->size == 1)
        return 0;
    if (!group->checks) {
        group->checks = ts_calloc(1, sizeof *group->checks);
        pthread_mutex_init(&group->checks->lock, NULL);
    }
    TsCallChecks *checks = group->checks;
    pthread_mutex_lock(&checks->lock);
    Check *check = take_idle(checks);
    memset(check, 0, sizeof *check);
    check->call = (Call){.count_elems = count_elems, .kind = (int32_t)kind, .dtype = (int32_t)dtype};
    snprintf(check->call.label, sizeof check->call.label, "%s", label ? label : "");
    snprintf(check->call.host, sizeof check->call.host, "%s", ts_log_host());
    int64_t hash = hash_of(&check->call);
    check->range[0] = -hash;
    check->range[1] = hash;
    TS_MPI(MPI_Iallreduce(MPI_IN_PLACE, check->range, 2, MPI_INT64_T, MPI_MAX, group->comm, &check->reduction));
    if (checks->oldest)
        checks->newest->next = check;
    else
        checks->oldest = check;
    checks->newest = check;
    uint64_t number = ++checks->begun;
    pthread_mutex_unlock(&checks->lock);
    return number;
}

bool ts_comm_check_passed(TsGroup *group, uint64_t number)
{
    if (number == 0)
        return true;
    TsCallChecks *checks = group->checks;
    pthread_mutex_lock(&checks->lock);
    while (checks->passed < number) {
        Check *check = checks->oldest;
        int over = 0;
        TS_MPI(MPI_Test(&check->reduction, &over, MPI_STATUS_IGNORE));
        if (!over)
            break;
        if (-check->range[0] != check->range[1])
            report(group, &check->call);
        checks->oldest = check->next;
        check->next = checks->idle;
        checks->idle = check;
        checks->passed++;
    }
    bool passed = checks->passed >= number;
    pthread_mutex_unlock(&checks->lock);
    return passed;
}

void ts_comm_check_free(TsGroup *group)
{
    TsCallChecks *checks = group->checks;
    if (!checks)
        return;
    while (checks->idle)
        ts_free(take_idle(checks));
    pthread_mutex_destroy(&checks->lock);
    ts_free(checks);
    group->checks = NULL;
}

#else
typedef int TsNothingToCheck; /* a file is never empty */
#endif
