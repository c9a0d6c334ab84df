/* ranks: 2 3 4 8 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranks on several nodes: as if each node held two, in turn or side by side.
 */
#include <stdlib.h>

#include "comm/collectives.h"
#include "comm/mesh.h"
#include "comm/partition.h"
#include "test.h"

static int nodes(void)
{
    return (ts_group_size(test_world) + 1) / 2;
}

/* The world's ranks as a launcher deals them out by node: first of each node, then the second of each. */
static TsGroup *dealt_in_turn(void)
{
    int rank = ts_group_rank(test_world);
    return ts_group_split(test_world, "dealt", 0, rank % 2 * nodes() + rank / 2);
}

static void nodes_are_numbered_by_their_lowest_rank(void)
{
    CU_ASSERT_EQUAL(ts_group_nodes(test_world), nodes());
    for (int r = 0; r < ts_group_size(test_world); r++)
        CU_ASSERT_EQUAL(ts_group_node_of(test_world, r), r / 2);
    TsGroup *group = dealt_in_turn();
    CU_ASSERT_EQUAL(ts_group_nodes(group), nodes());
    for (int r = 0; r < ts_group_size(group); r++)
        CU_ASSERT_EQUAL(ts_group_node_of(group, r), r % nodes());
    CU_ASSERT_EQUAL(ts_group_node_rank(group), ts_group_rank(group) / nodes());
    CU_ASSERT_EQUAL(ts_group_node_size(group), ts_group_node_size(test_world));
    ts_group_free(&group);
    int last = ts_group_size(test_world) - 1; /* the last rank first: its node is now node 0 */
    group = ts_group_split(test_world, "backwards", 0, -ts_group_rank(test_world));
    CU_ASSERT_EQUAL(ts_group_node_of(group, 0), 0);
    CU_ASSERT_EQUAL(ts_group_node_of(group, last), nodes() - 1);
    ts_group_free(&group);
}

static void model_lies_within_a_node(void)
{
    if (ts_group_size(test_world) % 2 != 0)
        return; /* a node of one rank cannot hold a model group of two */
    TsGroup *group = dealt_in_turn();
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = TS_MESH_AUTO, [TS_AXIS_MODEL] = 2}};
    TsMesh *mesh;
    TEST_OK(ts_mesh_create(&mesh, group, shape));
    TsGroup *model = ts_mesh_group(mesh, TS_AXIS_BIT(TS_AXIS_MODEL));
    TsGroup *data = ts_mesh_group(mesh, TS_AXIS_BIT(TS_AXIS_DATA));
    CU_ASSERT_EQUAL(ts_group_nodes(model), 1);
    CU_ASSERT_EQUAL(ts_group_nodes(data), nodes());
    CU_ASSERT_EQUAL(ts_mesh_coord(mesh, TS_AXIS_DATA), ts_group_node_of(group, ts_group_rank(group)));
    int coord[TS_AXES] = {
        [TS_AXIS_DATA] = ts_mesh_coord(mesh, TS_AXIS_DATA), [TS_AXIS_MODEL] = ts_mesh_coord(mesh, TS_AXIS_MODEL)};
    CU_ASSERT_EQUAL(ts_mesh_rank_at(mesh, coord), ts_group_rank(group));
    ts_mesh_free(&mesh);
    ts_group_free(&group);
}

static void parts_lie_on_few_nodes(void)
{
    int size = ts_group_size(test_world), ranks[2] = {2, size - 2};
    if (size < 4)
        return;
    TsGroup *group = dealt_in_turn();
    TsPartition *partition;
    TEST_OK(ts_partition_create(&partition, group, NULL, ranks, 2));
    int mine = ts_partition_part(partition);
    CU_ASSERT_EQUAL(ts_group_nodes(ts_partition_group(partition)), mine == 0 ? 1 : nodes() - 1);
    ts_partition_free(&partition);
    ts_group_free(&group);
}

static void sums_cross_nodes(void)
{
    TsGroup *group = dealt_in_turn();
    int32_t value = 1 + ts_group_rank(group), size = ts_group_size(group);
    ts_all_reduce(group, (TsTransfer){.out = &value, .in = &value, .count_elems = 1, .dtype = TS_I32, .label = "sum"});
    CU_ASSERT_EQUAL(value, size * (size + 1) / 2);
    ts_group_free(&group);
}

int main(void)
{
    setenv("TESSERA_NODE_RANKS", "2", 1);
    const CU_TestInfo cases[] = {{"nodes are numbered by their lowest rank", nodes_are_numbered_by_their_lowest_rank},
                                 {"model lies within a node", model_lies_within_a_node},
                                 {"parts lie on few nodes", parts_lie_on_few_nodes},
                                 {"sums cross nodes", sums_cross_nodes},
                                 CU_TEST_INFO_NULL};
    return test_run("layout", cases);
}
