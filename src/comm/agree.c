/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <string.h>

#include "base/memory.h"
#include "comm/group_internal.h"
#include "comm/request.h"

/* The code and message of the error of `source`, which has one: a new error on every rank. */
static TsStatus spread(TsGroup *group, TsStatus mine, int source)
{
    int code_and_length[2] = {0, 0};
    if (group->rank == source) {
        code_and_length[0] = (int)ts_status_code(mine);
        code_and_length[1] = (int)strlen(ts_status_message(mine));
    }
    TS_MPI(MPI_Bcast(code_and_length, 2, MPI_INT, source, group->comm));
    char *message = ts_calloc((size_t)code_and_length[1] + 1, 1);
    if (group->rank == source)
        memcpy(message, ts_status_message(mine), (size_t)code_and_length[1]);
    TS_MPI(MPI_Bcast(message, code_and_length[1], MPI_CHAR, source, group->comm));
    TsStatus error = ts_status_error((TsCode)code_and_length[0], "%s", message);
    ts_free(message);
    return error;
}

TsStatus ts_comm_agree(TsGroup *group, TsStatus status)
{
    TsWatch watch = ts_watch_begin(group, TS_COMM_AGREE, "agree", -1);
    ts_watch_wait(&watch);
    ts_request_check(group, TS_COMM_AGREE, 0, TS_I32, "agree");
    double start_s = MPI_Wtime();
    if (!status)
        status = ts_memory_status();
    int source = status ? group->rank : INT_MAX;
    MPI_Request native;
    TS_MPI(MPI_Iallreduce(MPI_IN_PLACE, &source, 1, MPI_INT, MPI_MIN, group->comm, &native));
    ts_request_wait_native(&native);
    TsStatus agreed = TS_OK;
    if (source != INT_MAX) { /* all have come: from here on nobody is waited for */
        agreed = spread(group, status, source);
        int same = status && strcmp(ts_status_message(status), ts_status_message(agreed)) == 0;
        TS_MPI(MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_MIN, group->comm));
        if (!same)
            agreed = ts_status_annotate(agreed, "rank %d", group->world_rank[source]);
        ts_status_free(&status);
    }
    ts_watch_end(&watch);
    ts_account(group, TS_COMM_AGREE, "agree", group->size > 1 ? (int64_t)sizeof source : 0, group->size > 1,
               MPI_Wtime() - start_s);
    return agreed;
}
