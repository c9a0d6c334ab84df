/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/placement.h"

#include <string.h>

#include "test.h"

static const TsMeshShape mesh_3x2x2 = {.size = {[TS_AXIS_DATA] = 3, [TS_AXIS_SEQ] = 2, [TS_AXIS_MODEL] = 2}};

/* The blocks of all ranks cover every element of (7, 5, 1) exactly once for each axis that does not cut. */
static void expect_cover(TsPlacement placement, int copies)
{
    enum { I = 7, J = 5 };
    int seen[I][J] = {{0}};
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 2; b++)
            for (int c = 0; c < 2; c++) {
                int coord[TS_AXES] = {[TS_AXIS_DATA] = a, [TS_AXIS_SEQ] = b, [TS_AXIS_MODEL] = c};
                TsBlockRange block = ts_placement_block(placement, ts_shape(I, J, 1), mesh_3x2x2, coord);
                if (block.shape.size[2] == 0)
                    continue;
                for (int64_t i = 0; i < block.shape.size[0]; i++)
                    for (int64_t j = 0; j < block.shape.size[1]; j++)
                        seen[block.first[0] + i][block.first[1] + j]++;
            }
    for (int i = 0; i < I; i++)
        for (int j = 0; j < J; j++)
            CU_ASSERT_EQUAL(seen[i][j], copies);
}

static void blocks_cover_once(void)
{
    TsPlacement data0 = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    expect_cover(ts_replicated, 12);
    expect_cover(data0, 4);
    expect_cover(ts_shard(data0, 0, TS_AXIS_MODEL), 2);
    expect_cover(ts_shard(ts_shard(data0, 1, TS_AXIS_MODEL), 0, TS_AXIS_SEQ), 1);
    expect_cover(ts_shard(ts_shard(data0, 2, TS_AXIS_MODEL), 1, TS_AXIS_SEQ), 1); /* empty blocks */
    expect_cover(ts_partial(data0, TS_AXIS_BIT(TS_AXIS_SEQ)), 4);
}

static void order_matters(void)
{
    int coord[TS_AXES] = {[TS_AXIS_DATA] = 1, [TS_AXIS_MODEL] = 1};
    TsPlacement major = ts_shard(ts_shard(ts_replicated, 0, TS_AXIS_DATA), 0, TS_AXIS_MODEL);
    TsPlacement minor = ts_shard(ts_shard(ts_replicated, 0, TS_AXIS_MODEL), 0, TS_AXIS_DATA);
    TsBlockRange block = ts_placement_block(major, ts_shape(12), mesh_3x2x2, coord);
    CU_ASSERT_EQUAL(block.first[0], 6); /* [4, 8), then its upper half */
    CU_ASSERT_EQUAL(block.shape.size[0], 2);
    block = ts_placement_block(minor, ts_shape(12), mesh_3x2x2, coord);
    CU_ASSERT_EQUAL(block.first[0], 8); /* [6, 12), then its middle third */
    CU_ASSERT_FALSE(ts_placement_equal(major, minor));
}

static void reads_what_it_prints(void)
{
    static const char *const texts[] = {"replicated",
                                        "0: data",
                                        "0: model, data",
                                        "0: model, data; 1: seq; partial: expert",
                                        "2: stage, expert, data",
                                        "partial: data, model",
                                        "partial max: seq",
                                        "1: data; partial min: model",
                                        "0: data; at: stage 2",
                                        "partial: data, expert, seq, model; at: stage 11"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        TsPlacement placement;
        TEST_OK(ts_placement_parse(&placement, texts[i], 3));
        CU_ASSERT_STRING_EQUAL(ts_placement_text(placement).text, texts[i]);
    }
    TsPlacement placement;
    TEST_OK(ts_placement_parse(&placement, " 0 :model,data ;1:seq", 2));
    CU_ASSERT_STRING_EQUAL(ts_placement_text(placement).text, "0: model, data; 1: seq");
}

static void names_what_it_does_not_understand(void)
{
    TsPlacement placement = ts_replicated;
    TEST_ERROR(ts_placement_parse(&placement, "0: dat", 2), "\"dat\" is not a mesh axis");
    TEST_ERROR(ts_placement_parse(&placement, "2: data", 2), "\"2\" is not a dim: expected 0 to 1");
    TEST_ERROR(ts_placement_parse(&placement, "0: data; 1: data", 2), "axis data occurs twice");
    TEST_ERROR(ts_placement_parse(&placement, "0: data; 0: model", 2), "dim 0 occurs twice");
    TEST_ERROR(ts_placement_parse(&placement, "0: data, model; partial: data", 2), "axis data occurs twice");
    TEST_ERROR(ts_placement_parse(&placement, "0 data", 2), "expected \":\"");
    TEST_ERROR(ts_placement_parse(&placement, "0: data 1", 2), "\"1\" is not understood");
    TEST_ERROR(ts_placement_parse(&placement, "partial mean: data", 2), "\"mean\" is not a reduction");
    TEST_ERROR(ts_placement_parse(&placement, "at: stage two", 2), "\"two\" is not a coordinate");
    TEST_ERROR(ts_placement_parse(&placement, "", 2), "placement \"\"");
    TEST_ERROR(ts_placement_parse(&placement, "none: data", 2), "\"none\" is not a dim");
    CU_ASSERT_TRUE(ts_placement_equal(placement, ts_replicated));
}

static void forgets_axes_of_size_one(void)
{
    TsPlacement placement;
    TEST_OK(ts_placement_parse(&placement, "0: expert, data; 1: stage; partial: model, seq", 2));
    TsMeshShape mesh = {.size = {[TS_AXIS_DATA] = 2, [TS_AXIS_MODEL] = 4, [TS_AXIS_SEQ] = 1}};
    CU_ASSERT_STRING_EQUAL(ts_placement_text(ts_placement_simplify(placement, mesh)).text, "0: data; partial: model");
    CU_ASSERT_TRUE(ts_placement_equal(ts_placement_simplify(placement, (TsMeshShape){{0}}), ts_replicated));
}

TEST_MAIN("placement", {"blocks cover once", blocks_cover_once}, {"order matters", order_matters},
          {"reads what it prints", reads_what_it_prints},
          {"names what it does not understand", names_what_it_does_not_understand},
          {"forgets axes of size one", forgets_axes_of_size_one})
