/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/apart.h"

#include <math.h>
#include <string.h>

#include "base/permutation.h"
#include "base/philox.h"
#include "comm/collectives.h"
#include "model/sharding.h"
#include "task/mixture/balance.h"
#include "task/learner/learner.h"
#include "test.h"

/* Five tasks, three shared parameters of which one is bound by two of them alone, and a head each. */
enum { TASKS = 5, ROWS = 3, KERNEL = 11 * 6, BIAS = 3, TABLE = 9 * 500, WIDTH = KERNEL + BIAS + TABLE, HEAD = 4 };

typedef struct Setup {
    TsShardingConfig sharding;
    TsMesh *mesh;
    TsParameters *all, *own[TASKS];
    TsApart *apart;
    TsBatch *sum; /* as the Learner's gradients */
} Setup;

static const char *const paths[ROWS] = {"kernel", "bias", "table"};

static TsShape shape_of(int row)
{
    return row == 0 ? ts_shape(11, 6) : row == 1 ? ts_shape(3) : ts_shape(9, 500);
}

static bool binds(int task, int row)
{
    return row != 1 || task == 1 || task == 3;
}

static void declare(TsParameters *table, const char *path, TsShape shape, TsPlacement placement, TsDtype dtype)
{
    TEST_OK(ts_parameters_declare(
        table, (TsParameter){.path = path, .shape = shape, .dtype = dtype, .placement = placement, .trainable = true}));
}

static void create(Setup *setup, TsShardingConfig sharding, int model, bool in_parts, TsDtype dtype)
{
    int ranks = ts_group_size(test_world);
    *setup = (Setup){.sharding = sharding};
    TEST_OK(ts_mesh_create(&setup->mesh, test_world,
                           (TsMeshShape){.size = {[TS_AXIS_DATA] = ranks / model, [TS_AXIS_MODEL] = model}}));
    setup->all = ts_parameters_create(setup->mesh);
    TEST_OK(ts_parameters_shard(setup->all, &setup->sharding));
    setup->sum = ts_batch_create();
    for (int task = 0; task < TASKS; task++) {
        char head[32];
        snprintf(head, sizeof head, "tasks/%d/head", task);
        setup->own[task] = ts_parameters_create(setup->mesh);
        TEST_OK(ts_parameters_shard(setup->own[task], &setup->sharding));
        for (int row = 0; row < ROWS; row++) {
            TsPlacement placement = row == 2 ? ts_shard(ts_replicated, 1, TS_AXIS_MODEL) : ts_replicated;
            declare(setup->all, paths[row], shape_of(row), placement, dtype);
            if (binds(task, row))
                declare(setup->own[task], paths[row], shape_of(row), placement, dtype);
        }
        declare(setup->all, head, ts_shape(HEAD), ts_replicated, dtype);
        declare(setup->own[task], head, ts_shape(HEAD), ts_replicated, dtype);
    }
    for (int i = 0; i < ts_parameters_count(setup->all); i++) {
        const TsParameter *row = ts_parameters_at(setup->all, i);
        ts_batch_put(setup->sum, ts_learner_gradient_name(row->path).text,
                     ts_array_create(setup->mesh, row->dtype, row->shape, row->state, (TsArrayOptions){0}));
    }
    TEST_OK(ts_apart_create(&setup->apart, (TsApartSetting){.parameters = setup->all,
                                                            .users = (const TsParameters *const *)setup->own,
                                                            .user_count = TASKS,
                                                            .in_parts = in_parts,
                                                            .threads = 2}));
}

static void end(Setup *setup)
{
    ts_apart_free(&setup->apart);
    ts_batch_free(&setup->sum);
    for (int task = 0; task < TASKS; task++)
        ts_parameters_free(&setup->own[task]);
    ts_parameters_free(&setup->all);
    ts_mesh_free(&setup->mesh);
}

/* The gradient of a task, whole: rows of `paths` one behind another, and its head; 0 where it does not bind one. */
static void whole_gradient(double *gradient, int task)
{
    float normal[WIDTH + HEAD];
    int at = 0;
    ts_stream_fill_normal_f32(ts_stream(7, "gradients", task), normal, 0, WIDTH + HEAD);
    for (int row = 0; row < ROWS; row++)
        for (int64_t k = 0; k < ts_shape_elems(shape_of(row)); k++, at++)
            gradient[at] = binds(task, row) ? (double)normal[at] : 0;
    for (; at < WIDTH + HEAD; at++)
        gradient[at] = (double)normal[at];
}

static int64_t global_index(const TsArray *array, int64_t k)
{
    int64_t index = 0, stride = 1;
    for (int d = array->shape.dims - 1; d >= 0; d--) {
        int64_t size = array->block.shape.size[d];
        index += (array->block.first[d] + k % size) * stride;
        stride *= array->shape.size[d];
        k /= size;
    }
    return index;
}

/* Where the values of an array begin in a whole gradient. */
static int begin_of(const char *name)
{
    return strstr(name, "head") ? WIDTH : strstr(name, "bias") ? KERNEL : strstr(name, "table") ? KERNEL + BIAS : 0;
}

static double get(const TsArray *array, int64_t k)
{
    return array->dtype == TS_F64 ? ((double *)array->data)[k] : (double)((float *)array->data)[k];
}

/* Fills what the passes of a task would; of parts, each value on one of the ranks that share the batch. */
static void fill(Setup *setup, int task, bool in_parts)
{
    double gradient[WIDTH + HEAD];
    TsBatch *batch = ts_apart_gradients(setup->apart, task);
    int rank = ts_mesh_coord(setup->mesh, TS_AXIS_DATA), ranks = ts_mesh_size(setup->mesh, TS_AXIS_DATA);
    whole_gradient(gradient, task);
    for (int i = 0; i < ts_batch_count(batch); i++) {
        TsArray *array = ts_batch_array(batch, i);
        for (int64_t k = 0; k < ts_array_local_elems(array); k++) {
            int64_t at = global_index(array, k);
            double value = in_parts && at % ranks != rank ? 0 : gradient[begin_of(ts_batch_name(batch, i)) + at];
            if (array->dtype == TS_F64)
                ((double *)array->data)[k] = value;
            else
                ((float *)array->data)[k] = (float)value;
        }
    }
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int k = 0; k < WIDTH; k++)
        sum += a[k] * b[k];
    return sum;
}

/* PCGrad on whole gradients, in the order that the seed gives: as the paper has it. */
static void project_all(double *sum, double (*gradient)[WIDTH + HEAD], uint64_t seed)
{
    memset(sum, 0, WIDTH * sizeof *sum);
    for (int i = 0; i < TASKS; i++) {
        TsPermutation order = ts_permutation(ts_stream(seed, "pcgrad", TASKS + i), TASKS);
        double own[WIDTH];
        memcpy(own, gradient[i], sizeof own);
        for (int at = 0; at < TASKS; at++) {
            int j = (int)ts_permute(&order, at);
            double overlap = dot(own, gradient[j]);
            for (int k = 0; k < WIDTH && j != i && overlap < 0; k++)
                own[k] -= overlap / dot(gradient[j], gradient[j]) * gradient[j][k];
        }
        for (int k = 0; k < WIDTH; k++)
            sum[k] += own[k];
    }
}

static void expect(Setup *setup, double (*gradient)[WIDTH + HEAD], bool in_parts, double bound)
{
    static const bool active[TASKS] = {true, true, true, true, true};
    static const double ones[TASKS] = {1, 1, 1, 1, 1};
    double gram[TASKS * TASKS], coefficient[TASKS], expected[WIDTH];
    TsBalance *balance = ts_balance_create((TsChoice){&ts_balances.items[4], NULL}, TASKS, 5);
    ts_apart_begin(setup->apart);
    for (int task = 0; task < TASKS; task++)
        fill(setup, task, in_parts);
    if (in_parts)
        ts_apart_gather(setup->apart, active);
    ts_apart_gram(setup->apart, gram, active);
    for (int i = 0; i < TASKS * TASKS; i++) {
        double right = dot(gradient[i / TASKS], gradient[i % TASKS]);
        CU_ASSERT_DOUBLE_EQUAL(gram[i], right, bound * WIDTH);
    }
    ts_balance_coefficients(balance, coefficient, gram, active, 1);
    ts_apart_combine(setup->apart, setup->sum, coefficient, ones, active);
    project_all(expected, gradient, 5);
    for (int i = 0; i < ts_batch_count(setup->sum); i++) {
        TsArray *array = ts_batch_array(setup->sum, i);
        const char *name = ts_batch_name(setup->sum, i);
        int task = strstr(name, "head") ? name[strlen("gradient/tasks/")] - '0' : -1;
        for (int64_t k = 0; k < ts_array_local_elems(array); k++) {
            int64_t at = begin_of(name) + global_index(array, k);
            CU_ASSERT_DOUBLE_EQUAL(get(array, k), task < 0 ? expected[at] : gradient[task][at], bound);
        }
    }
    ts_balance_free(&balance);
}

static void run(TsShardingConfig sharding, int model, bool in_parts, TsDtype dtype)
{
    static double gradient[TASKS][WIDTH + HEAD];
    Setup setup;
    for (int task = 0; task < TASKS; task++)
        whole_gradient(gradient[task], task);
    create(&setup, sharding, model, in_parts, dtype);
    expect(&setup, gradient, in_parts, dtype == TS_F64 ? 1e-11 : 1e-4);
    expect(&setup, gradient, in_parts, dtype == TS_F64 ? 1e-11 : 1e-4); /* nothing is left of the step before */
    end(&setup);
}

static void on_every_mesh(void)
{
    TsShardingConfig plain = {0}, zero1 = {.optimizer_shard = TS_SHARD_DATA},
                     zero3 = {.optimizer_shard = TS_SHARD_DATA, .shard = TS_SHARD_DATA};
    for (int model = 1; model <= 2 && ts_group_size(test_world) % model == 0; model++) {
        run(plain, model, false, TS_F64);
        run(plain, model, true, TS_F64);
        run(zero1, model, false, TS_F64);
        run(zero1, model, true, TS_F64);
        run(zero1, model, true, TS_F32);
        run(zero3, model, false, TS_F64);
    }
}

/* The same bits of the Gram matrix, however many ranks the fixed parts lie on. */
static void reproducible_bits(void)
{
    TsShardingConfig sharding = {.optimizer_shard = TS_SHARD_DATA, .virtual_shards = 8};
    bool active[TASKS] = {true, true, false, true, true};
    double here[TASKS * TASKS], one[TASKS * TASKS];
    TsGroup *world = test_world, *self = ts_group_split(test_world, "alone", ts_group_rank(test_world), 0);
    for (int k = 0; k < 2; k++) {
        Setup setup;
        test_world = k ? self : world;
        create(&setup, sharding, 1, false, TS_F32);
        for (int task = 0; task < TASKS; task++)
            fill(&setup, task, false);
        ts_apart_gram(setup.apart, k ? one : here, active);
        end(&setup);
    }
    test_world = world;
    CU_ASSERT_EQUAL(memcmp(here, one, sizeof here), 0);
    for (int i = 0; i < TASKS; i++) {
        CU_ASSERT_EQUAL(one[2 * TASKS + i], 0);
        CU_ASSERT(i == 2 || one[i * TASKS + i] > 0);
    }
    ts_group_free(&self);
}

TEST_MAIN("apart", {"on every mesh", on_every_mesh}, {"reproducible bits", reproducible_bits})
