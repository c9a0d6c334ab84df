/* ranks: 1 2 3 4 6 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/redistribute.h"

#include <string.h>

#include "comm/collectives.h"
#include "tensor/program.h"
#include "test.h"

static TsMesh *mesh;

/* data x model: 1, 2, 3, 2 x 2, 3 x 2. */
static void create_mesh(void)
{
    static const int sizes[][2] = {[1] = {1, 1}, [2] = {2, 1}, [3] = {3, 1}, [4] = {2, 2}, [6] = {3, 2}};
    int ranks = ts_group_size(test_world);
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = sizes[ranks][0], [TS_AXIS_MODEL] = sizes[ranks][1]}};
    TEST_OK(ts_mesh_create(&mesh, test_world, shape));
}

/* Every way in which two axes can lie on two dims: whole, on the first, on the second, partial; in both orders. */
enum { WAYS = 18 };

static TsPlacement way(int index, int first_dim, int second_dim)
{
    int data = index < 16 ? index % 4 : index == 16 ? 1 : 2, model = index < 16 ? index / 4 : data;
    const int dim[] = {-1, first_dim, second_dim, -1};
    TsPlacement placement = ts_replicated;
    if (index >= 16) /* model outside data */
        return ts_shard(ts_shard(placement, dim[data], TS_AXIS_MODEL), dim[data], TS_AXIS_DATA);
    if (dim[data] >= 0)
        placement = ts_shard(placement, dim[data], TS_AXIS_DATA);
    if (dim[model] >= 0)
        placement = ts_shard(placement, dim[model], TS_AXIS_MODEL);
    return ts_partial(placement,
                      (data == 3 ? TS_AXIS_BIT(TS_AXIS_DATA) : 0) | (model == 3 ? TS_AXIS_BIT(TS_AXIS_MODEL) : 0));
}

/* Which of the ranks that hold parts of a sum this one is, and how many they are. */
static void part_of(TsPlacement placement, int *part, int *parts)
{
    *part = 0;
    *parts = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        if (placement.partial & TS_AXIS_BIT(axis)) {
            *part = *part * ts_mesh_size(mesh, (TsAxis)axis) + ts_mesh_coord(mesh, (TsAxis)axis);
            *parts *= ts_mesh_size(mesh, (TsAxis)axis);
        }
}

/* The number of an element of the local block in the whole array. */
static int64_t number_of(const TsArray *array, int64_t local)
{
    int64_t index[TS_MAX_DIMS], number = 0;
    for (int d = array->shape.dims; d-- > 0;) {
        index[d] = local % array->block.shape.size[d] + array->block.first[d];
        local /= array->block.shape.size[d];
    }
    for (int d = 0; d < array->shape.dims; d++)
        number = number * array->shape.size[d] + index[d];
    return number;
}

/* Element i is i + 1; of a sum, part p > 0 is 10 p, and part 0 is what makes it right. */
static void fill(TsArray *array)
{
    int part, parts;
    part_of(array->placement, &part, &parts);
    for (int64_t i = 0; i < ts_array_local_elems(array); i++) {
        float value = (float)(number_of(array, i) + 1);
        ((float *)array->data)[i] = part ? 10.0f * (float)part : value - 5.0f * (float)(parts * (parts - 1));
    }
}

static int count_wrong(TsArray *array)
{
    int wrong = 0;
    if (array->placement.partial)
        ts_all_reduce(ts_mesh_group(mesh, array->placement.partial),
                      (TsTransfer){.out = array->data,
                                   .in = array->data,
                                   .count_elems = ts_array_local_elems(array),
                                   .dtype = TS_F32,
                                   .label = "test"});
    for (int64_t i = 0; i < ts_array_local_elems(array); i++)
        wrong += ((float *)array->data)[i] != (float)(number_of(array, i) + 1);
    return wrong;
}

static void move_between(TsShape shape, TsPlacement from, TsPlacement to)
{
    TsGraph *graph = ts_graph_create();
    ts_output("y", ts_input(graph, "x", TS_F32, shape, from), to);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh}));
    TsArray *x = ts_array_create(mesh, TS_F32, shape, from, (TsArrayOptions){.shared = false});
    TsArray *y = ts_array_create(mesh, TS_F32, shape, to, (TsArrayOptions){.shared = false});
    fill(x);
    memset(y->data, 0xee, ts_array_local_bytes(y));
    ts_program_bind(program, "x", x);
    ts_program_bind(program, "y", y);
    ts_program_run(program);
    int wrong = count_wrong(y);
    if (wrong)
        fprintf(stderr, "rank %d: %s from \"%s\" to \"%s\": %d elements are wrong\n", ts_group_rank(test_world),
                ts_shape_text(shape).text, ts_placement_text(from).text, ts_placement_text(to).text, wrong);
    CU_ASSERT_EQUAL(wrong, 0);
    ts_program_free(&program);
    ts_array_free(&x);
    ts_array_free(&y);
}

static void move_between_all(TsShape shape, int first_dim, int second_dim)
{
    create_mesh();
    for (int from = 0; from < WAYS; from++)
        for (int to = 0; to < WAYS; to++)
            move_between(shape, way(from, first_dim, second_dim), way(to, first_dim, second_dim));
    ts_mesh_free(&mesh);
}

static void moves_even_sizes(void)
{
    move_between_all(ts_shape(12, 6), 0, 1);
}

static void moves_uneven_sizes(void)
{
    move_between_all(ts_shape(7, 11), 0, 1);
}

static void moves_inner_dims(void)
{
    move_between_all(ts_shape(3, 5, 2, 7), 1, 3);
}

static void moves_empty_blocks(void)
{
    move_between_all(ts_shape(2, 1), 0, 1);
    move_between_all(ts_shape(0, 5), 0, 1);
}

/* The cheapest way, by what is sent of a tensor of one element. */
static void expect_plan(const char *from_text, const char *to_text, const char *moves, double sent_elems)
{
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = 4, [TS_AXIS_MODEL] = 2, [TS_AXIS_SEQ] = 2}};
    TsPlacement from, to;
    TsMovePlan plan;
    char text[200] = "";
    TEST_OK(ts_placement_parse(&from, from_text, 3));
    TEST_OK(ts_placement_parse(&to, to_text, 3));
    TEST_OK(ts_redistribute_plan(&plan, from, to, shape, false));
    for (int s = 0; s < plan.steps; s++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s%s", s ? " " : "", ts_move_op[plan.step[s].kind].name);
    }
    CU_ASSERT_STRING_EQUAL(text, moves);
    CU_ASSERT_DOUBLE_EQUAL(plan.sent_elems, sent_elems, 1e-12);
    if (strcmp(text, moves))
        fprintf(stderr, "from \"%s\" to \"%s\": %s\n", from_text, to_text, text);
}

static void plans_the_cheapest(void)
{
    expect_plan("replicated", "0: data; 1: model", "cut", 0);
    expect_plan("0: data", "replicated", "all_gather", 3.0 / 4);
    expect_plan("partial: data", "replicated", "all_reduce", 6.0 / 4);
    expect_plan("partial: data", "0: data", "reduce_scatter", 3.0 / 4);
    expect_plan("partial: data, model", "0: data", "reduce_scatter all_reduce", 3.0 / 4 + 1.0 / 4);
    expect_plan("partial: data", "0: model, data", "cut reduce_scatter", 3.0 / 8);
    expect_plan("partial: data", "0: data, model", "cut reduce_scatter all_to_all", 3.0 / 8 + 7.0 / 64);
    expect_plan("0: data", "1: data", "all_to_all", 3.0 / 16);
    expect_plan("0: model, data", "0: model", "all_gather", 3.0 / 8);
    expect_plan("0: data, model", "0: model", "all_to_all all_gather", 7.0 / 64 + 3.0 / 8);
    expect_plan("0: data, model", "0: data; 1: model", "all_to_all", 1.0 / 16);
    expect_plan("0: seq", "0: model", "cut all_to_all all_gather", 3.0 / 16 + 1.0 / 4);
    expect_plan("0: data", "partial: data", "all_gather mask", 3.0 / 4);
}

static void refuses_to_leave_a_stage(void)
{
    TsMeshShape shape = {.size = {[TS_AXIS_STAGE] = 2, [TS_AXIS_MODEL] = 2}};
    TsPlacement at = {.at_axis = TS_AXIS_STAGE, .at_coord = 1};
    TsMovePlan plan;
    TEST_ERROR(ts_redistribute_plan(&plan, at, ts_replicated, shape, false), "at: stage 1");
    TEST_OK(ts_redistribute_plan(&plan, at, ts_shard(at, 0, TS_AXIS_MODEL), shape, false));
}

TEST_MAIN("redistribute", {"moves even sizes", moves_even_sizes}, {"moves uneven sizes", moves_uneven_sizes},
          {"moves inner dims", moves_inner_dims}, {"moves empty blocks", moves_empty_blocks},
          {"plans the cheapest", plans_the_cheapest}, {"refuses to leave a stage", refuses_to_leave_a_stage})
