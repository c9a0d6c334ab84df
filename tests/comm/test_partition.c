/* ranks: 1 2 3 4 6 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/partition.h"

#include <string.h>

#include "comm/collectives.h"
#include "test.h"

static int sum_over(TsGroup *group, int value)
{
    int32_t sum = value;
    ts_all_reduce(group, (TsTransfer){.out = &sum, .in = &sum, .count_elems = 1, .dtype = TS_I32, .label = "test/sum"});
    return sum;
}

/* Every part works: its group, its mesh, and what each rank knows of the other parts. */
static void check(const TsPartition *partition, const int *ranks, int parts)
{
    int mine = ts_partition_part(partition);
    TsGroup *group = ts_partition_group(partition), *all = ts_partition_all(partition);
    CU_ASSERT_EQUAL(ts_partition_parts(partition), parts);
    CU_ASSERT_EQUAL(ts_group_size(group), ranks[mine]);
    CU_ASSERT_EQUAL(ts_mesh_ranks(ts_partition_mesh(partition)), ranks[mine]);
    CU_ASSERT_PTR_EQUAL(ts_mesh_all(ts_partition_mesh(partition)), group);
    CU_ASSERT_EQUAL(ts_partition_rank_at(partition, mine, ts_group_rank(group)), ts_group_rank(all));
    int seen = 0; /* bit of each rank of the whole: each is in exactly one part */
    for (int k = 0; k < parts; k++) {
        CU_ASSERT_EQUAL(ts_partition_ranks(partition, k), ranks[k]);
        for (int r = 0; r < ranks[k]; r++) {
            CU_ASSERT_EQUAL(seen & 1 << ts_partition_rank_at(partition, k, r), 0);
            seen |= 1 << ts_partition_rank_at(partition, k, r);
        }
    }
    CU_ASSERT_EQUAL(seen, (1 << ts_group_size(all)) - 1);
    CU_ASSERT_EQUAL(sum_over(group, 1 + mine), ranks[mine] * (1 + mine)); /* only the ranks of this part add up */
    CU_ASSERT_EQUAL(sum_over(all, 1), ts_group_size(all));
}

static void parts_of_every_size(void)
{
    int size = ts_group_size(test_world);
    for (int first = 1; first <= size; first++) {
        int ranks[3] = {first, size - first, 0}, parts = size > first ? 2 : 1;
        if (ranks[1] > 2) { /* three parts, the last of one rank */
            ranks[1]--;
            ranks[2] = 1;
            parts = 3;
        }
        TsPartition *partition;
        TEST_OK(ts_partition_create(&partition, test_world, NULL, ranks, parts));
        if (!partition)
            return;
        CU_ASSERT_EQUAL(ts_mesh_size(ts_partition_mesh(partition), TS_AXIS_DATA), ranks[ts_partition_part(partition)]);
        check(partition, ranks, parts);
        ts_partition_free(&partition);
        CU_ASSERT_PTR_NULL(partition);
    }
}

static void each_part_has_its_own_mesh(void)
{
    int size = ts_group_size(test_world);
    if (size < 3)
        return; /* too few for meshes that differ */
    TsMeshShape shapes[2] = {{.size = {[TS_AXIS_MODEL] = 2}}, {.size = {[TS_AXIS_DATA] = TS_MESH_AUTO}}};
    int ranks[2] = {2, size - 2};
    TsPartition *partition;
    TEST_OK(ts_partition_create(&partition, test_world, shapes, ranks, 2));
    if (!partition)
        return;
    check(partition, ranks, 2);
    int mine = ts_partition_part(partition);
    TsMesh *mesh = ts_partition_mesh(partition);
    CU_ASSERT_EQUAL(ts_mesh_size(mesh, TS_AXIS_MODEL), mine == 0 ? 2 : 1);
    CU_ASSERT_EQUAL(ts_mesh_size(mesh, TS_AXIS_DATA), mine == 0 ? 1 : size - 2);
    CU_ASSERT_EQUAL(ts_partition_shape(partition, 0).size[TS_AXIS_MODEL], 2);
    CU_ASSERT_EQUAL(ts_partition_shape(partition, 1).size[TS_AXIS_DATA], size - 2);
    CU_ASSERT_EQUAL(sum_over(ts_mesh_group(mesh, TS_AXIS_BIT(TS_AXIS_MODEL)), 1), mine == 0 ? 2 : 1);
    ts_partition_free(&partition);
}

/* A part is a group like any other: it can be cut again. */
static void parts_of_parts(void)
{
    int size = ts_group_size(test_world);
    int ranks[2] = {size / 2, size - size / 2};
    if (size < 2)
        return;
    TsPartition *outer, *inner;
    TEST_OK(ts_partition_create(&outer, test_world, NULL, ranks, 2));
    TsGroup *part = ts_partition_group(outer);
    int singles[3] = {1, 1, 1};
    TEST_OK(ts_partition_create(&inner, part, NULL, singles, ts_group_size(part)));
    CU_ASSERT_EQUAL(ts_group_size(ts_partition_group(inner)), 1);
    CU_ASSERT_EQUAL(ts_partition_part(inner), ts_group_rank(part));
    ts_partition_free(&inner);
    ts_partition_free(&outer);
}

static void what_does_not_fit_is_told(void)
{
    int size = ts_group_size(test_world);
    TsPartition *partition;
    int many[2] = {size, 1}, few[1] = {size + 1}, none[2] = {size, 0};
    TEST_ERROR(ts_partition_create(&partition, test_world, NULL, many, 2), "2 parts of the partition need");
    CU_ASSERT_PTR_NULL(partition);
    TEST_ERROR(ts_partition_create(&partition, test_world, NULL, few, 1), "group world has");
    TEST_ERROR(ts_partition_create(&partition, test_world, NULL, none, 2), "part 1 of the partition has no ranks");
    TsMeshShape automatic = {.size = {[TS_AXIS_DATA] = TS_MESH_AUTO}};
    TEST_ERROR(ts_partition_create(&partition, test_world, &automatic, NULL, 1), "an axis that is auto");
    TsMeshShape wrong = {.size = {[TS_AXIS_MODEL] = size + 1}};
    TEST_ERROR(ts_partition_create(&partition, test_world, &wrong, &size, 1), "part 0 of the partition: mesh {model: ");
    if (size > 1) {
        int short_of[1] = {size - 1};
        TEST_ERROR(ts_partition_create(&partition, test_world, NULL, short_of, 1), "leaves 1 of the");
    }
}

TEST_MAIN("partition", {"parts of every size", parts_of_every_size},
          {"each part has its own mesh", each_part_has_its_own_mesh}, {"parts of parts", parts_of_parts},
          {"what does not fit is told", what_does_not_fit_is_told})
