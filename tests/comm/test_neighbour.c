/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/region.h"
#include "comm/collectives.h"
#include "comm/group_internal.h"
#include "comm/neighbour.h"

enum { LARGE_BYTES = TS_REGION_LEAST_BYTES, COUNT = LARGE_BYTES / sizeof(int32_t) };

/* Whether there are several ranks on the node, and all have a region, so that they must see one another. */
static bool expected(void)
{
    int all = ts_group_node_size(test_world) > 1 && ts_region().fd >= 0;
    MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, test_world->node_comm);
    return all;
}

static void large_blocks_are_seen(void)
{
    int rank = ts_group_node_rank(test_world), ranks = ts_group_node_size(test_world);
    char *block = ts_alloc(LARGE_BYTES), *small = ts_alloc(1000);
    int on_stack = 0;
    TsPlace place = ts_window_place(test_world, block, LARGE_BYTES);
    CU_ASSERT_EQUAL(place.window != 0, expected());
    CU_ASSERT_EQUAL(ts_window_place(test_world, small, 1000).window, 0);
    CU_ASSERT_EQUAL(ts_window_place(test_world, &on_stack, sizeof on_stack).window, 0);
    memset(block, rank + 1, LARGE_BYTES);
    TsPlace *all = ts_calloc((size_t)ranks, sizeof *all);
    MPI_Allgather(&place, sizeof place, MPI_BYTE, all, sizeof place, MPI_BYTE, test_world->node_comm);
    for (int r = 0; r < ranks && place.window; r++) {
        const char *theirs = ts_window_at(all[r]);
        CU_ASSERT_EQUAL(theirs[0], r + 1);
        CU_ASSERT_EQUAL(theirs[LARGE_BYTES - 1], r + 1);
        CU_ASSERT_EQUAL(theirs == block, r == rank);
    }
    ts_barrier(test_world, "read");
    if (place.window) /* each writes into the next one's */
        ((char *)ts_window_at(all[(rank + 1) % ranks]))[7] = (char)(100 + rank);
    ts_barrier(test_world, "written");
    CU_ASSERT_EQUAL(block[7], place.window ? 100 + (rank + ranks - 1) % ranks : rank + 1);
    ts_free(all);
    ts_free(small);
    ts_free(block);
}

/* Memory that was given back and taken again is the new block's, for the neighbours too. */
static void blocks_come_and_go(void)
{
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world), wrong = 0;
    for (int round = 0; round < 30; round++) {
        int32_t *before = round % 3 ? ts_alloc((size_t)(rank + 1) * LARGE_BYTES) : NULL; /* offsets differ */
        int32_t *in = ts_calloc(COUNT, sizeof *in), *out = ts_calloc(COUNT, sizeof *out);
        for (int i = 0; i < COUNT; i += 97)
            in[i] = rank + round + i;
        ts_all_reduce(test_world, (TsTransfer){.out = out,
                                               .in = in,
                                               .count_elems = COUNT,
                                               .dtype = TS_I32,
                                               .reduction = TS_SUM,
                                               .label = "come and go"});
        for (int i = 0; i < COUNT; i++)
            wrong += out[i] != (i % 97 ? 0 : size * (round + i) + size * (size - 1) / 2);
        ts_free(in);
        ts_free(before);
        ts_free(out);
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

TEST_MAIN("neighbour", {"large blocks are seen", large_blocks_are_seen}, {"blocks come and go", blocks_come_and_go})
