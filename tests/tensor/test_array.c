/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/array.h"

#include <stdint.h>

#include "base/memory.h"
#include "test.h"

static TsMesh *mesh_of_all(void)
{
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}}));
    return mesh;
}

static bool all_zero(const TsArray *array)
{
    size_t bytes = ts_array_local_bytes(array);
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)array->data)[i])
            return false;
    return true;
}

/* Blocks may be uneven, and some of four ranks hold nothing of two rows. */
static void shares_what_is_asked_to_be_shared(void)
{
    TsMesh *mesh = mesh_of_all();
    static const int64_t rows[] = {0, 2, 7, 100000};
    for (int i = 0; i < 4; i++)
        for (int shared = 0; shared < 2; shared++) {
            int64_t before_bytes = ts_memory_usage().live_bytes;
            TsArray *array =
                ts_array_create(mesh, TS_F32, ts_shape(rows[i], 5), ts_shard(ts_replicated, 0, TS_AXIS_DATA),
                                (TsArrayOptions){.shared = shared});
            int64_t taken_bytes = ts_memory_usage().live_bytes - before_bytes;
            size_t bytes = ts_array_local_bytes(array);
            CU_ASSERT_EQUAL(array->shared, shared);
            CU_ASSERT_EQUAL((uintptr_t)array->data % 64, 0);
            CU_ASSERT(all_zero(array));
            CU_ASSERT(taken_bytes >= (int64_t)bytes); /* counted wherever it lies */
            for (int64_t j = 0; j < ts_array_local_elems(array); j++)
                ((float *)array->data)[j] = (float)ts_group_rank(test_world);
            ts_array_free(&array);
            CU_ASSERT_PTR_NULL(array);
            CU_ASSERT_EQUAL(ts_memory_usage().live_bytes, before_bytes);
        }
    ts_mesh_free(&mesh);
}

/* Arrays are freed in the order in which a batch has them, not that in which they were made. */
static void sums_what_is_shared(void)
{
    enum { ELEMS = 30000 };
    TsMesh *mesh = mesh_of_all();
    TsArray *array[2];
    for (int i = 0; i < 2; i++)
        array[i] = ts_array_create(mesh, TS_F32, ts_shape(ELEMS), ts_replicated, (TsArrayOptions){.shared = true});
    int ranks = ts_group_size(test_world), wrong = 0;
    for (int i = 0; i < ELEMS; i++)
        ((float *)array[0]->data)[i] = (float)(ts_group_rank(test_world) + i);
    ts_all_reduce(test_world, (TsTransfer){.out = array[1]->data, .in = array[0]->data, .count_elems = ELEMS});
    for (int i = 0; i < ELEMS; i++)
        wrong += ((float *)array[1]->data)[i] != (float)(ranks * (ranks - 1) / 2 + ranks * i);
    CU_ASSERT_EQUAL(wrong, 0);
    ts_array_free(&array[0]);
    ts_array_free(&array[1]);
    ts_mesh_free(&mesh);
}

static void has_memory_of_its_own_where_nobody_shares(void)
{
    TsMesh *mesh = ts_mesh_describe((TsMeshShape){.size = {[TS_AXIS_DATA] = 8}}, 3);
    const TsMesh *meshes[] = {NULL, mesh};
    for (int i = 0; i < 2; i++) {
        TsArray *array = ts_array_create(meshes[i], TS_F64, ts_shape(16), ts_shard(ts_replicated, 0, TS_AXIS_DATA),
                                         (TsArrayOptions){.shared = true});
        CU_ASSERT_FALSE(array->shared);
        CU_ASSERT_EQUAL(ts_array_local_elems(array), i ? 2 : 16);
        CU_ASSERT(all_zero(array));
        ts_array_free(&array);
    }
    ts_mesh_free(&mesh);
}

TEST_MAIN("array", {"shares what is asked to be shared", shares_what_is_asked_to_be_shared},
          {"sums what is shared", sums_what_is_shared},
          {"has memory of its own where nobody shares", has_memory_of_its_own_where_nobody_shares})
