/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/scratch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/group_internal.h"

static _Atomic int most_on_a_node; /* ranks, in any group so far: the first is the group of all */

bool ts_scratch_crowded(void)
{
    static _Atomic int cores;
    int count = atomic_load_explicit(&cores, memory_order_relaxed);
    if (count == 0) {
        count = (int)sysconf(_SC_NPROCESSORS_ONLN);
        atomic_store_explicit(&cores, count, memory_order_relaxed);
    }
    return atomic_load_explicit(&most_on_a_node, memory_order_relaxed) > count;
}

/* `mpirun --mca mpi_yield_when_idle 1`: whoever started the job knows of more that wants these cores than its ranks, as
 * other hosts do that are virtual, or another job. */
static bool asked_to_yield(void)
{
    const char *yield = getenv("OMPI_MCA_mpi_yield_when_idle");
    return yield && strcmp(yield, "1") == 0;
}

static void scratch_free(TsGroup *group, void *pointer)
{
    TsScratch *scratch = pointer;
    ts_request_free_idle(&scratch->idle);
    ts_shared_work_free(&scratch->quick);
    ts_arena_free(&scratch->arena);
    ts_free(scratch);
    group->scratch = NULL;
}

void ts_scratch_attach(TsGroup *group)
{
    if (asked_to_yield())
        atomic_store(&most_on_a_node, INT_MAX);
    if (group->node_size_max > atomic_load(&most_on_a_node))
        atomic_store(&most_on_a_node, group->node_size_max);
    TsScratch *scratch = ts_calloc(1, sizeof *scratch);
    group->scratch = scratch;
    group->scratch_free = scratch_free;
    scratch->arena = ts_arena_create(group);
}

TsScratch *ts_scratch_of(TsGroup *group)
{
    return group->scratch;
}
