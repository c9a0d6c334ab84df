/* ranks: 1 2 3 4 8 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "comm/native.h"
#include "test.h"

static void the_world_holds_all_ranks(void)
{
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    CU_ASSERT_EQUAL(ts_group_rank(test_world), rank);
    CU_ASSERT_EQUAL(ts_group_size(test_world), size);
    CU_ASSERT_STRING_EQUAL(ts_group_name(test_world), "world");
}

static void split_orders_by_key_then_rank(void)
{
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world);
    TsGroup *odd_even = ts_group_split(test_world, "parity", rank % 2, -rank);
    CU_ASSERT_EQUAL(ts_group_size(odd_even), rank % 2 == 0 ? (size + 1) / 2 : size / 2);
    int largest = (size - 1) % 2 == rank % 2 ? size - 1 : size - 2; /* the first in its group: its key is least */
    CU_ASSERT_EQUAL(ts_group_rank(odd_even), (largest - rank) / 2);
    CU_ASSERT_STRING_EQUAL(ts_group_name(odd_even), "parity");
    ts_group_free(&odd_even);
    CU_ASSERT_PTR_NULL(odd_even);
    ts_group_free(&odd_even); /* NULL is fine */
}

static void a_negative_color_gets_none(void)
{
    int rank = ts_group_rank(test_world);
    TsGroup *first = ts_group_split(test_world, "first", rank == 0 ? 0 : -1, 0);
    CU_ASSERT_EQUAL(first != NULL, rank == 0);
    if (first)
        CU_ASSERT_EQUAL(ts_group_size(first), 1);
    ts_group_free(&first);
}

static void messages_of_a_duplicate_do_not_meet(void)
{
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world);
    TsGroup *twin = ts_group_duplicate(test_world, "twin");
    CU_ASSERT_EQUAL(ts_group_rank(twin), rank);
    CU_ASSERT_EQUAL(ts_group_size(twin), size);
    int compared = MPI_UNEQUAL;
    MPI_Comm_compare(ts_group_native(test_world), ts_group_native(twin), &compared);
    CU_ASSERT_EQUAL(compared, MPI_CONGRUENT);
    int right = (rank + 1) % size, left = (rank + size - 1) % size, got[2] = {-1, -1}, sent[2] = {rank, 100 + rank};
    MPI_Request request[4]; /* one tag on both: received in the other order than sent */
    MPI_Isend(&sent[0], 1, MPI_INT, right, 7, ts_group_native(test_world), &request[0]);
    MPI_Isend(&sent[1], 1, MPI_INT, right, 7, ts_group_native(twin), &request[1]);
    MPI_Irecv(&got[1], 1, MPI_INT, left, 7, ts_group_native(twin), &request[2]);
    MPI_Irecv(&got[0], 1, MPI_INT, left, 7, ts_group_native(test_world), &request[3]);
    MPI_Waitall(4, request, MPI_STATUSES_IGNORE);
    CU_ASSERT_EQUAL(got[0], left);
    CU_ASSERT_EQUAL(got[1], 100 + left);
    ts_group_free(&twin);
}

/* Whatever the layout is: each node's ranks are counted once, and nodes appear in the order of their lowest rank. */
static void nodes_partition_the_ranks(void)
{
    int nodes = ts_group_nodes(test_world), seen = 0, mine = 0, before = 0;
    int here = ts_group_node_of(test_world, ts_group_rank(test_world));
    for (int r = 0; r < ts_group_size(test_world); r++) {
        int node = ts_group_node_of(test_world, r);
        CU_ASSERT(node >= 0 && node <= seen && node < nodes);
        seen += node == seen;
        mine += node == here;
        before += node == here && r < ts_group_rank(test_world);
    }
    CU_ASSERT_EQUAL(seen, nodes);
    CU_ASSERT_EQUAL(ts_group_node_size(test_world), mine);
    CU_ASSERT_EQUAL(ts_group_node_rank(test_world), before);
    int shared;
    MPI_Comm node_comm;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node_comm);
    MPI_Comm_size(node_comm, &shared);
    MPI_Comm_free(&node_comm);
    if (!getenv("TESSERA_NODE_RANKS"))
        CU_ASSERT_EQUAL(mine, shared);
}

TEST_MAIN("group", {"the world holds all ranks", the_world_holds_all_ranks},
          {"split orders by key, then rank", split_orders_by_key_then_rank},
          {"a negative color gets none", a_negative_color_gets_none},
          {"messages of a duplicate do not meet", messages_of_a_duplicate_do_not_meet},
          {"nodes partition the ranks", nodes_partition_the_ranks})
