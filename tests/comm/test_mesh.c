/* ranks: 1 2 3 4 8 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/mesh.h"

#include <string.h>

#include "base/log.h"
#include "test.h"

static void axes_have_names(void)
{
    CU_ASSERT_STRING_EQUAL(ts_axis_name(TS_AXIS_NONE), "none");
    CU_ASSERT_STRING_EQUAL(ts_axis_name(TS_AXIS_EXPERT), "expert");
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXIS_MICRO; axis++)
        CU_ASSERT_EQUAL(ts_axis_from_name(ts_axis_name(axis)), axis);
    CU_ASSERT_EQUAL(ts_axis_from_name("micro"), TS_AXIS_NONE); /* not of ranks */
    CU_ASSERT_EQUAL(ts_axis_from_name("none"), TS_AXIS_NONE);
    TsAxis axis;
    TEST_OK(ts_axis_parse(&axis, "seq"));
    CU_ASSERT_EQUAL(axis, TS_AXIS_SEQ);
    TEST_ERROR(ts_axis_parse(&axis, "modle"), "no axis \"modle\"; its axes are stage, data, expert, seq, model");
}

static void shapes_are_checked(void)
{
    TsMeshShape six = {.size = {[TS_AXIS_DATA] = 3, [TS_AXIS_MODEL] = 2}};
    TEST_ERROR(ts_mesh_shape_check(&six, 4), "mesh {data: 3, model: 2} needs 6 ranks, this job has 4");
    TEST_OK(ts_mesh_shape_check(&six, 6));
    CU_ASSERT_EQUAL(six.size[TS_AXIS_STAGE], 1);
    TsMeshShape negative = {.size = {[TS_AXIS_SEQ] = -2}};
    TEST_ERROR(ts_mesh_shape_check(&negative, 4), "axis seq has size -2");
    TsMeshShape two_autos = {.size = {[TS_AXIS_DATA] = TS_MESH_AUTO, [TS_AXIS_SEQ] = TS_MESH_AUTO}};
    TEST_ERROR(ts_mesh_shape_check(&two_autos, 4), "both data and seq are auto");
    TsMeshShape left = {.size = {[TS_AXIS_DATA] = TS_MESH_AUTO, [TS_AXIS_MODEL] = 3}};
    TEST_ERROR(ts_mesh_shape_check(&left, 8), "mesh {data: auto, model: 3}: its other axes take 3 ranks");
    TEST_OK(ts_mesh_shape_check(&left, 12));
    CU_ASSERT_EQUAL(left.size[TS_AXIS_DATA], 4);
    TsMeshShape huge = {
        .size = {[TS_AXIS_DATA] = 2000000000, [TS_AXIS_MODEL] = 2000000000, [TS_AXIS_SEQ] = 2000000000}};
    TEST_ERROR(ts_mesh_shape_check(&huge, 4), "needs");
}

static void creation_fails_alike_everywhere(void)
{
    TsMesh *mesh = NULL;
    int size = ts_group_size(test_world);
    TsMeshShape wrong = {.size = {[TS_AXIS_DATA] = size + 1}};
    char words[80];
    snprintf(words, sizeof words, "mesh {data: %d} needs %d ranks, this job has %d", size + 1, size + 1, size);
    TEST_ERROR(ts_mesh_create(&mesh, test_world, wrong), words);
    CU_ASSERT_PTR_NULL(mesh);
}

/* The groups along every set of axes: as large as the axes say, ordered by coordinates. */
static void check_groups(const TsMesh *mesh)
{
    for (TsAxisSet axes = 0; axes < 1 << TS_AXES; axes += 2) {
        int size = 1, index = 0;
        for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++)
            if (axes & TS_AXIS_BIT(axis)) {
                size *= ts_mesh_size(mesh, axis);
                index = index * ts_mesh_size(mesh, axis) + ts_mesh_coord(mesh, axis);
            }
        TsGroup *group = ts_mesh_group(mesh, axes);
        CU_ASSERT_EQUAL(ts_group_size(group), size);
        CU_ASSERT_EQUAL(ts_group_rank(group), index);
    }
}

static void every_shape_has_its_groups(void)
{
    int size = ts_group_size(test_world);
    for (int model = 1; model <= size; model++)
        for (int seq = 1; seq * model <= size; seq++) {
            if (size % (model * seq) != 0)
                continue;
            TsMeshShape shape = {.size = {[TS_AXIS_DATA] = TS_MESH_AUTO, [TS_AXIS_SEQ] = seq, [TS_AXIS_MODEL] = model}};
            TsMesh *mesh;
            TEST_OK(ts_mesh_create(&mesh, test_world, shape));
            CU_ASSERT_EQUAL(ts_mesh_size(mesh, TS_AXIS_DATA), size / (model * seq));
            CU_ASSERT_EQUAL(ts_mesh_size(mesh, TS_AXIS_STAGE), 1);
            CU_ASSERT_EQUAL(ts_mesh_ranks(mesh), size);
            CU_ASSERT_PTR_EQUAL(ts_mesh_all(mesh), test_world);
            int coord[TS_AXES] = {0};
            for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++)
                coord[axis] = ts_mesh_coord(mesh, axis);
            CU_ASSERT_EQUAL(ts_mesh_rank_at(mesh, coord), ts_group_rank(test_world));
            check_groups(mesh);
            ts_mesh_free(&mesh);
            CU_ASSERT_PTR_NULL(mesh);
        }
}

static void a_described_mesh_has_no_ranks(void)
{
    TsMeshShape shape = {.size = {[TS_AXIS_STAGE] = 16, [TS_AXIS_DATA] = 64, [TS_AXIS_MODEL] = 8}};
    TsMesh *mesh = ts_mesh_describe(shape, 8 * 64 * 3 + 8 * 5 + 7);
    CU_ASSERT_EQUAL(ts_mesh_ranks(mesh), 8192);
    CU_ASSERT_EQUAL(ts_mesh_coord(mesh, TS_AXIS_STAGE), 3);
    CU_ASSERT_EQUAL(ts_mesh_coord(mesh, TS_AXIS_DATA), 5);
    CU_ASSERT_EQUAL(ts_mesh_coord(mesh, TS_AXIS_MODEL), 7);
    CU_ASSERT_EQUAL(ts_mesh_shape(mesh).size[TS_AXIS_SEQ], 1);
    CU_ASSERT_PTR_NULL(ts_mesh_group(mesh, TS_AXIS_BIT(TS_AXIS_DATA)));
    CU_ASSERT_PTR_NULL(ts_mesh_all(mesh));
    ts_mesh_free(&mesh);
}

TEST_MAIN("mesh", {"axes have names", axes_have_names}, {"shapes are checked", shapes_are_checked},
          {"creation fails alike everywhere", creation_fails_alike_everywhere},
          {"every shape has its groups", every_shape_has_its_groups},
          {"a described mesh has no ranks", a_described_mesh_has_no_ranks})
