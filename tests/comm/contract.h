/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of collectives, for every implementation: the same results for every size from 0 to beyond several
 * pieces, uneven and empty blocks, in place and not, every dtype and reduction, in memory of every kind. Values are
 * small integers, so that every order of summing gives the same bits.
 */
#pragma once

#include "test.h"

#include "base/memory.h"
#include "base/region.h"
#include "comm/algorithm.h"
#include "comm/collectives.h"
#include "comm/shared.h"

static const TsDtype dtypes[] = {TS_F32, TS_F64, TS_BF16, TS_I32, TS_I64};
static const TsReduction reductions[] = {TS_SUM, TS_MAX, TS_MIN};
enum { DTYPES = 5, REDUCTIONS = 3 };

/* Sizes from nothing to what is many pieces, once ts_algorithm_set_cuts has made pieces small. */
static const int64_t counts[] = {0, 1, 2, 7, 64, 301, 3001};
enum { COUNTS = sizeof counts / sizeof counts[0], LARGEST = 3001, EVERY_REDUCTION = 301, SENTINEL = 99 };

/* Where the buffers lie: in windows on no rank, on all, the even ones', or in turn only those read or only those
 * written; in large blocks that neighbours see, on all ranks or on the even ones. */
typedef enum Memory { ORDINARY, SHARED, MIXED, SHARED_IN, SHARED_OUT, LARGE, LARGE_MIXED } Memory;

/* What rank `rank` brings at element `i`: -8..8. */
static int value(int rank, int64_t i)
{
    return (int)((i * 7 + rank * 5 + i * rank) % 17) - 8;
}

static void put(void *buffer, int64_t i, TsDtype dtype, int number)
{
    switch (dtype) {
    case TS_F32:
        ((float *)buffer)[i] = (float)number;
        break;
    case TS_F64:
        ((double *)buffer)[i] = number;
        break;
    case TS_BF16:
        ((TsBf16 *)buffer)[i] = ts_bf16_from_f32((float)number);
        break;
    case TS_I32:
        ((int32_t *)buffer)[i] = number;
        break;
    case TS_I64:
        ((int64_t *)buffer)[i] = number;
        break;
    default:
        ((uint8_t *)buffer)[i] = (uint8_t)number;
    }
}

static double get(const void *buffer, int64_t i, TsDtype dtype)
{
    switch (dtype) {
    case TS_F32:
        return (double)((const float *)buffer)[i];
    case TS_F64:
        return ((const double *)buffer)[i];
    case TS_BF16:
        return (double)ts_bf16_to_f32(((const TsBf16 *)buffer)[i]);
    case TS_I32:
        return ((const int32_t *)buffer)[i];
    case TS_I64:
        return (double)((const int64_t *)buffer)[i];
    default:
        return ((const uint8_t *)buffer)[i];
    }
}

static double reduced(int size, int64_t i, TsReduction reduction)
{
    int result = value(0, i);
    for (int rank = 1; rank < size; rank++) {
        int v = value(rank, i);
        result = reduction == TS_SUM   ? result + v
                 : reduction == TS_MAX ? (v > result ? v : result)
                                       : (v < result ? v : result);
    }
    return result;
}

/* A group of the tests with what every case needs. */
typedef struct Scene {
    TsGroup *group;
    int rank, size;
    void *in, *out;  /* (LARGEST * size + 1) elements of up to 8 bytes */
    void *window[2]; /* those of in and out; NULL with ordinary memory */
    int64_t *first;  /* (size + 1) */
    Memory memory;
    TsAlgorithm algorithm;
    int wrong; /* elements that were not as they should be, with the first of them printed */
} Scene;

static void fill(const Scene *scene, void *buffer, int64_t count, TsDtype dtype)
{
    for (int64_t i = 0; i < count; i++)
        put(buffer, i, dtype, value(scene->rank, i));
}

static void clear(void *buffer, int64_t count, TsDtype dtype)
{
    for (int64_t i = 0; i < count; i++)
        put(buffer, i, dtype, SENTINEL);
}

static void expect(Scene *scene, const char *what, const void *buffer, int64_t i, TsDtype dtype, double wanted)
{
    double found = get(buffer, i, dtype);
    if (found != wanted && scene->wrong++ == 0)
        fprintf(stderr, "rank %d of %d, %s, %s, %s: element %lld is %g, not %g\n", scene->rank, scene->size,
                ts_algorithm_name(scene->algorithm), what, ts_dtype_name(dtype), (long long)i, found, wanted);
}

static TsTransfer transfer_of(const Scene *scene, int64_t count, TsDtype dtype, TsReduction reduction)
{
    return (TsTransfer){.out = scene->out,
                        .in = scene->in,
                        .count_elems = count,
                        .first_elem = scene->first,
                        .dtype = dtype,
                        .reduction = reduction,
                        .algorithm = scene->algorithm,
                        .label = "contract"};
}

/* Blocks of 0..2 * mean elements that differ from rank to rank; the last takes what is left. */
static void cut_unevenly(const Scene *scene, int64_t count)
{
    int64_t mean = count / scene->size;
    for (int r = 0; r < scene->size; r++)
        scene->first[r + 1] = scene->first[r] + (r % 3 == 1 ? 0 : r % 3 == 2 ? mean + mean / 2 : mean);
    if (scene->first[scene->size] > count)
        for (int r = 0; r <= scene->size; r++)
            scene->first[r] = scene->first[r] < count ? scene->first[r] : count;
    scene->first[scene->size] = count;
}

static void all_in_one_block(const Scene *scene, int64_t count)
{
    for (int r = 0; r <= scene->size; r++)
        scene->first[r] = r <= scene->size / 2 ? 0 : count;
}

static void check_all_reduce(Scene *scene, int64_t count, TsDtype dtype, TsReduction reduction, bool in_place)
{
    TsTransfer transfer = transfer_of(scene, count, dtype, reduction);
    transfer.in = in_place ? scene->out : scene->in;
    clear(scene->out, count + 1, dtype);
    fill(scene, in_place ? scene->out : scene->in, count, dtype);
    ts_all_reduce(scene->group, transfer);
    for (int64_t i = 0; i < count; i++)
        expect(scene, in_place ? "all-reduce in place" : "all-reduce", scene->out, i, dtype,
               reduced(scene->size, i, reduction));
    if (!in_place)
        for (int64_t i = 0; i < count; i++)
            expect(scene, "what an all-reduce read", scene->in, i, dtype, value(scene->rank, i));
    expect(scene, "beyond an all-reduce", scene->out, count, dtype, SENTINEL);
}

static void check_reduce_scatter(Scene *scene, int64_t count, TsDtype dtype, TsReduction reduction)
{
    fill(scene, scene->in, count, dtype);
    clear(scene->out, count + 1, dtype);
    ts_reduce_scatter(scene->group, transfer_of(scene, 0, dtype, reduction));
    int64_t begin = scene->first[scene->rank], own = scene->first[scene->rank + 1] - begin;
    for (int64_t i = 0; i < own; i++)
        expect(scene, "reduce-scatter", scene->out, i, dtype, reduced(scene->size, begin + i, reduction));
    expect(scene, "beyond a reduce-scatter", scene->out, own, dtype, SENTINEL);
}

static void check_all_gather(Scene *scene, int64_t count, TsDtype dtype, bool in_place)
{
    int64_t begin = scene->first[scene->rank], own = scene->first[scene->rank + 1] - begin;
    clear(scene->out, count + 1, dtype);
    TsTransfer transfer = transfer_of(scene, 0, dtype, TS_SUM);
    void *block = in_place ? (char *)scene->out + begin * (int64_t)ts_dtype_bytes(dtype) : scene->in;
    transfer.in = block;
    for (int64_t i = 0; i < own; i++)
        put(block, i, dtype, value(scene->rank, begin + i));
    ts_all_gather(scene->group, transfer);
    for (int r = 0; r < scene->size; r++)
        for (int64_t i = scene->first[r]; i < scene->first[r + 1]; i++)
            expect(scene, in_place ? "all-gather in place" : "all-gather", scene->out, i, dtype,
                   dtype == TS_BOOL ? (uint8_t)value(r, i) : value(r, i));
    expect(scene, "beyond an all-gather", scene->out, count, dtype, SENTINEL);
}

static void check_broadcast(Scene *scene, int64_t count, TsDtype dtype, int root)
{
    clear(scene->out, count + 1, dtype);
    fill(scene, scene->in, count, dtype);
    TsTransfer transfer = transfer_of(scene, count, dtype, TS_SUM);
    if (scene->rank != root)
        transfer.in = NULL;
    ts_broadcast(scene->group, transfer, root);
    for (int64_t i = 0; i < count; i++)
        expect(scene, "broadcast", scene->out, i, dtype, dtype == TS_BOOL ? (uint8_t)value(root, i) : value(root, i));
    expect(scene, "beyond a broadcast", scene->out, count, dtype, SENTINEL);
}

/* How much rank `from` sends to rank `to`: some pairs nothing. */
static int64_t between(int from, int to, int64_t count)
{
    return (from * 3 + to) % 4 == 0 ? 0 : count / 4 * ((from + 2 * to) % 4) + (from + to) % 2;
}

static void check_all_to_all(Scene *scene, int64_t count, TsDtype dtype)
{
    int size = scene->size, rank = scene->rank;
    int64_t *send_first = ts_calloc((size_t)size + 1, sizeof *send_first);
    int64_t *receive_first = ts_calloc((size_t)size + 1, sizeof *receive_first);
    for (int r = 0; r < size; r++) {
        send_first[r + 1] = send_first[r] + between(rank, r, count);
        receive_first[r + 1] = receive_first[r] + between(r, rank, count);
    }
    for (int r = 0; r < size; r++)
        for (int64_t i = 0; i < between(rank, r, count); i++)
            put(scene->in, send_first[r] + i, dtype, value(rank + 10 * r, i));
    clear(scene->out, receive_first[size] + 1, dtype);
    ts_all_to_all(scene->group, (TsExchange){.out = scene->out,
                                             .in = scene->in,
                                             .send_first = send_first,
                                             .receive_first = receive_first,
                                             .dtype = dtype,
                                             .algorithm = scene->algorithm,
                                             .label = "contract"});
    for (int r = 0; r < size; r++)
        for (int64_t i = 0; i < between(r, rank, count); i++)
            expect(scene, "all-to-all", scene->out, receive_first[r] + i, dtype, value(r + 10 * rank, i));
    expect(scene, "beyond an all-to-all", scene->out, receive_first[size], dtype, SENTINEL);
    ts_free(send_first);
    ts_free(receive_first);
}

/* All that is called with one size. Every reduction of every dtype with one size alone, which several pieces make up;
 * else the reductions in turn. */
static void check_size(Scene *scene, int size_index)
{
    int64_t count = counts[size_index];
    for (int d = 0; d < DTYPES; d++) {
        for (int r = 0; r < REDUCTIONS; r++) {
            if (count != EVERY_REDUCTION && (size_index + d) % REDUCTIONS != r)
                continue;
            check_all_reduce(scene, count, dtypes[d], reductions[r], false);
            check_all_reduce(scene, count, dtypes[d], reductions[r], true);
            cut_unevenly(scene, count);
            check_reduce_scatter(scene, count, dtypes[d], reductions[r]);
        }
        all_in_one_block(scene, count);
        check_reduce_scatter(scene, count, dtypes[d], TS_SUM);
        check_all_gather(scene, count, dtypes[d], false);
        cut_unevenly(scene, count);
        check_all_gather(scene, count, dtypes[d], d % 2 == 0);
        check_all_to_all(scene, count, dtypes[d]);
        check_broadcast(scene, count, dtypes[d], d % scene->size);
    }
    check_all_gather(scene, count, TS_BOOL, true);
    check_broadcast(scene, count, TS_BOOL, scene->size - 1);
}

static bool in_is_shared(const Scene *scene)
{
    return scene->memory == SHARED || scene->memory == SHARED_IN || (scene->memory == MIXED && scene->rank % 2 == 0);
}

static bool out_is_shared(const Scene *scene)
{
    return scene->memory == SHARED || scene->memory == SHARED_OUT || (scene->memory == MIXED && scene->rank % 3 == 0);
}

static bool is_large(const Scene *scene)
{
    return scene->memory == LARGE || (scene->memory == LARGE_MIXED && scene->rank % 2 == 0);
}

static Scene scene_create(TsGroup *group, Memory memory)
{
    Scene scene = {.group = group, .rank = ts_group_rank(group), .size = ts_group_size(group), .memory = memory};
    size_t bytes = ((size_t)LARGEST * (size_t)scene.size + 1) * sizeof(double);
    if (is_large(&scene) && bytes < TS_REGION_LEAST_BYTES)
        bytes = TS_REGION_LEAST_BYTES;
    if (memory != ORDINARY && memory != LARGE && memory != LARGE_MIXED) {
        scene.window[0] = ts_shared_alloc(group, in_is_shared(&scene) ? bytes : 0);
        scene.window[1] = ts_shared_alloc(group, out_is_shared(&scene) ? bytes : 0);
    }
    scene.in = in_is_shared(&scene) ? scene.window[0] : ts_calloc(bytes, 1);
    scene.out = out_is_shared(&scene) ? scene.window[1] : ts_calloc(bytes, 1);
    scene.first = ts_calloc((size_t)scene.size + 1, sizeof *scene.first);
    return scene;
}

static void scene_free(Scene *scene)
{
    CU_ASSERT_EQUAL(scene->wrong, 0);
    if (!in_is_shared(scene))
        ts_free(scene->in);
    if (!out_is_shared(scene))
        ts_free(scene->out);
    ts_shared_free(scene->window[0]);
    ts_shared_free(scene->window[1]);
    ts_free(scene->first);
}

/* The contract of all implementations on the group. Collective. */
static void contract_on(TsGroup *group, Memory memory)
{
    Scene scene = scene_create(group, memory);
    for (int algorithm = 0; algorithm < TS_ALGORITHMS; algorithm++) {
        scene.algorithm = (TsAlgorithm)algorithm;
        for (int c = 0; c < COUNTS; c++)
            check_size(&scene, c);
    }
    scene_free(&scene);
}
