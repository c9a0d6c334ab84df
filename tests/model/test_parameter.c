/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "model/parameter.h"

#include <math.h>
#include <string.h>

#include "comm/mesh.h"
#include "test.h"

/* A table with one matrix of normals, cut as `placement` says, a bias and a scale. */
static TsParameters *make(const TsMesh *mesh, TsPlacement placement)
{
    TsParameters *parameters = ts_parameters_create(mesh);
    TEST_OK(ts_parameters_declare(parameters, (TsParameter){.path = "a/kernel",
                                                            .shape = ts_shape(7, 5, 1030),
                                                            .placement = placement,
                                                            .initializer = {TS_INIT_NORMAL, 0.5}}));
    TEST_OK(ts_parameters_declare(parameters, (TsParameter){.path = "a/bias", .shape = ts_shape(5)}));
    TEST_OK(ts_parameters_declare(
        parameters, (TsParameter){.path = "a/scale", .shape = ts_shape(5), .initializer = {.kind = TS_INIT_ONES}}));
    return parameters;
}

static int64_t global_index(const TsArray *array, int64_t local)
{
    int64_t global = 0, stride = 1;
    for (int dim = array->shape.dims - 1; dim >= 0; dim--) {
        int64_t size = array->block.shape.size[dim];
        global += stride * (array->block.first[dim] + local % size);
        local /= size;
        stride *= array->shape.size[dim];
    }
    return global;
}

/* Every block of the matrix has the bits that the whole has in its place. */
static void same_bits_on_any_mesh(void)
{
    int ranks = ts_group_size(test_world);
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = ranks > 2 ? ranks / 2 : 1, [TS_AXIS_MODEL] = ranks > 1 ? 2 : 1}};
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world, shape));
    TsParameters *whole = make(NULL, ts_replicated);
    TsBatch *expected = ts_parameters_initialize(whole, 42);
    const float *all = ts_batch_find(expected, "a/kernel")->data;
    for (int dim = 0; dim < 3; dim++) {
        TsPlacement placement = ts_shard(ts_shard(ts_replicated, dim, TS_AXIS_MODEL), 0, TS_AXIS_DATA);
        TsParameters *parameters = make(mesh, placement);
        TsBatch *arrays = ts_parameters_initialize(parameters, 42);
        const TsArray *kernel = ts_batch_find(arrays, "a/kernel");
        int64_t elems = ts_array_local_elems(kernel), differ = 0;
        for (int64_t i = 0; i < elems; i++)
            differ += memcmp(&((float *)kernel->data)[i], &all[global_index(kernel, i)], sizeof(float)) != 0;
        CU_ASSERT(elems > 0);
        CU_ASSERT_EQUAL(differ, 0);
        ts_batch_free(&arrays);
        ts_parameters_free(&parameters);
    }
    ts_batch_free(&expected);
    ts_parameters_free(&whole);
    ts_mesh_free(&mesh);
}

static void values_are_as_declared(void)
{
    TsParameters *parameters = make(NULL, ts_replicated);
    TsBatch *arrays = ts_parameters_initialize(parameters, 1);
    const TsArray *kernel = ts_batch_find(arrays, "a/kernel");
    double sum = 0, squares = 0, count = (double)ts_array_local_elems(kernel);
    for (int64_t i = 0; i < ts_array_local_elems(kernel); i++) {
        double value = (double)((float *)kernel->data)[i];
        sum += value;
        squares += value * value;
    }
    CU_ASSERT_DOUBLE_EQUAL(sum / count, 0, 0.01); /* 5 standard deviations of the mean of 36050 */
    CU_ASSERT_DOUBLE_EQUAL(sqrt(squares / count), 0.5, 0.01);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(((float *)ts_batch_find(arrays, "a/bias")->data)[i], 0);
        CU_ASSERT_EQUAL(((float *)ts_batch_find(arrays, "a/scale")->data)[i], 1);
    }
    CU_ASSERT_EQUAL(ts_parameters_elems(parameters), 7 * 5 * 1030 + 10);
    ts_batch_free(&arrays);
    ts_parameters_free(&parameters);
}

static void seed_and_path_tell_streams_apart(void)
{
    TsParameters *parameters = make(NULL, ts_replicated);
    TEST_OK(ts_parameters_declare(
        parameters,
        (TsParameter){.path = "b/kernel", .shape = ts_shape(7, 5, 1030), .initializer = {TS_INIT_NORMAL, 0.5}}));
    TsBatch *one = ts_parameters_initialize(parameters, 1), *two = ts_parameters_initialize(parameters, 2);
    const float *a1 = ts_batch_find(one, "a/kernel")->data, *b1 = ts_batch_find(one, "b/kernel")->data;
    const float *a2 = ts_batch_find(two, "a/kernel")->data;
    int same_path = 0, same_seed = 0;
    for (int i = 0; i < 1000; i++) {
        same_path += a1[i] == a2[i];
        same_seed += a1[i] == b1[i];
    }
    CU_ASSERT(same_path < 10);
    CU_ASSERT(same_seed < 10);
    ts_batch_free(&one);
    ts_batch_free(&two);
    ts_parameters_free(&parameters);
}

static void a_path_is_shared_or_an_error(void)
{
    TsParameters *parameters = make(NULL, ts_replicated);
    TEST_OK(ts_parameters_declare(parameters, (TsParameter){.path = "a/bias", .shape = ts_shape(5)}));
    CU_ASSERT_EQUAL(ts_parameters_count(parameters), 3);
    TEST_ERROR(ts_parameters_declare(parameters, (TsParameter){.path = "a/bias", .shape = ts_shape(6)}),
               "a/bias is f32 (6) here and f32 (5)");
    TEST_ERROR(ts_parameters_declare(
                   parameters, (TsParameter){.path = "a/bias", .shape = ts_shape(5), .initializer = {TS_INIT_ONES, 0}}),
               "different initial values");
    ts_parameters_free(&parameters);
}

TEST_MAIN("parameter", {"same bits on any mesh", same_bits_on_any_mesh},
          {"values are as declared", values_are_as_declared},
          {"seed and path tell streams apart", seed_and_path_tell_streams_apart},
          {"a path is shared or an error", a_path_is_shared_or_an_error})
