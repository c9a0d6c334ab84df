/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/scratch.h"

#include "base/memory.h"
#include "comm/group_internal.h"

static void scratch_free(TsGroup *group, void *pointer)
{
    TsScratch *scratch = pointer;
    ts_request_free_idle(group, &scratch->idle);
    ts_shared_work_free(&scratch->quick);
    ts_arena_free(&scratch->arena);
    ts_free(scratch);
    group->scratch = NULL;
}

void ts_scratch_attach(TsGroup *group)
{
    TsScratch *scratch = ts_calloc(1, sizeof *scratch);
    group->scratch = scratch;
    group->scratch_free = scratch_free;
    scratch->arena = ts_arena_create(group);
}

TsScratch *ts_scratch_of(TsGroup *group)
{
    return group->scratch;
}
