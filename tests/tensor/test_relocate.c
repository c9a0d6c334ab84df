/* ranks: 1 2 3 4 6 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Arrays that move from one group of ranks to another, and to all: every element arrives at every rank that wants it,
 * cut or whole, uneven or empty, of every number of bytes.
 */
#include "tensor/relocate.h"

#include "comm/partition.h"
#include "test.h"

/* The number of an element of the local block in the whole array. */
static int64_t number_of(const TsArray *array, int64_t local)
{
    int64_t index[TS_MAX_DIMS] = {0}, number = 0;
    for (int d = array->shape.dims; d-- > 0;) {
        index[d] = local % array->block.shape.size[d] + array->block.first[d];
        local /= array->block.shape.size[d];
    }
    for (int d = 0; d < array->shape.dims; d++)
        number = number * array->shape.size[d] + index[d];
    return number;
}

static double value_of(const TsArray *array, int64_t i)
{
    return array->dtype == TS_F64 ? ((const double *)array->data)[i] : (double)((const float *)array->data)[i];
}

static void set_value(TsArray *array, int64_t i, double value)
{
    if (array->dtype == TS_F64)
        ((double *)array->data)[i] = value;
    else
        ((float *)array->data)[i] = (float)value;
}

typedef struct Kind {
    TsDtype dtype;
    TsShape shape;
    int dim; /* that is cut along data; -1: whole */
} Kind;

enum { KINDS = 5 };

static Kind kind_of(int k)
{
    const Kind kinds[KINDS] = {{TS_F32, ts_shape(7, 5), 0},
                               {TS_F64, ts_shape(5, 3, 4), 1},
                               {TS_F32, ts_scalar, -1},
                               {TS_F64, ts_shape(2), 0}, /* fewer than ranks: some have nothing */
                               {TS_F32, ts_shape(6), -1}};
    return kinds[k];
}

static TsArray *create(const TsMesh *mesh, int k, bool cut)
{
    Kind kind = kind_of(k);
    TsPlacement placement = cut && kind.dim >= 0 ? ts_shard(ts_replicated, kind.dim, TS_AXIS_DATA) : ts_replicated;
    return ts_array_create(mesh, kind.dtype, kind.shape, placement, (TsArrayOptions){0});
}

/* Ranks are cut after the first `first` of them. */
static TsPartition *part_after(int first)
{
    TsPartition *partition;
    int ranks[] = {first, ts_group_size(test_world) - first};
    TEST_OK(ts_partition_create(&partition, test_world, NULL, ranks, ranks[1] ? 2 : 1));
    return partition;
}

/* From the part `from` of one cut to the part `to` of another; negative: to or from all ranks. */
static void goes(TsPartition *one, int from, TsPartition *other, int to, const TsMesh *all)
{
    TsRelocation relocation[KINDS] = {{.from = NULL}};
    TsArray *have[KINDS] = {NULL}, *want[KINDS] = {NULL};
    for (int k = 0; k < KINDS; k++) {
        if (from < 0 || ts_partition_part(one) == from)
            have[k] = create(from < 0 ? all : ts_partition_mesh(one), k, k != 1);
        if (to < 0 || ts_partition_part(other) == to)
            want[k] = create(to < 0 ? all : ts_partition_mesh(other), k, true);
        for (int64_t i = 0; have[k] && i < ts_array_local_elems(have[k]); i++)
            set_value(have[k], i, 100 * k + 1 + (double)number_of(have[k], i));
        relocation[k] = (TsRelocation){.from = have[k], .to = want[k]};
    }
    ts_relocate(test_world, relocation, KINDS, "test");
    for (int k = 0; k < KINDS; k++) {
        for (int64_t i = 0; want[k] && i < ts_array_local_elems(want[k]); i++)
            CU_ASSERT_EQUAL(value_of(want[k], i), 100 * k + 1 + (double)number_of(want[k], i));
        ts_array_free(&have[k]);
        ts_array_free(&want[k]);
    }
}

static void arrives(void)
{
    int ranks = ts_group_size(test_world);
    TsMesh *all;
    TEST_OK(ts_mesh_create(&all, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ranks}}));
    for (int first = 1; first <= ranks; first++)
        for (int second = 1; second <= ranks; second++) {
            TsPartition *one = part_after(first), *other = part_after(second);
            for (int from = -1; from < ts_partition_parts(one); from++)
                for (int to = -1; to < ts_partition_parts(other); to++)
                    goes(one, from, other, to, all);
            ts_partition_free(&other);
            ts_partition_free(&one);
        }
    ts_mesh_free(&all);
}

/* Values that were given back are there again, as zeros. */
static void values_come_and_go(void)
{
    TsArray *array = create(NULL, 0, false);
    set_value(array, 3, 5);
    ts_array_drop_values(array);
    CU_ASSERT(!array->data);
    ts_array_take_values(array);
    for (int64_t i = 0; i < ts_array_local_elems(array); i++)
        CU_ASSERT_EQUAL(value_of(array, i), 0);
    set_value(array, 3, 5);
    ts_array_take_values(array); /* it has them already */
    CU_ASSERT_EQUAL(value_of(array, 3), 5);
    ts_array_free(&array);
}

TEST_MAIN("relocate", {"arrives", arrives}, {"values come and go", values_come_and_go})
