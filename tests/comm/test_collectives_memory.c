/* ranks: 2 3 4 5 8 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract with buffers in shared windows, on all ranks and on some; and large ones, whose sums depend on the order
 * of summing, against the tree.
 */
#include "contract.h"

#include <math.h>

static void contract_in(Memory memory)
{
    contract_on(test_world, memory);
    ts_algorithm_set_cuts(512);
    contract_on(test_world, memory);
    ts_algorithm_set_cuts(0);
}

static void all_shared(void)
{
    contract_in(SHARED);
}

static void mixed(void)
{
    contract_in(MIXED);
    contract_in(SHARED_IN);
    contract_in(SHARED_OUT);
}

/* Blocks of ts_alloc that neighbours see, and some that they do not. */
static void large_blocks(void)
{
    contract_in(LARGE);
    contract_in(LARGE_MIXED);
}

/* Windows of the whole group serve its halves; a window of a half is not for the whole. */
static void windows_of_other_groups(void)
{
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world);
    TsGroup *half = ts_group_split(test_world, "half", rank % 2, rank);
    enum { COUNT = 5000 };
    float *of_world = ts_shared_alloc(test_world, COUNT * sizeof *of_world);
    float *of_half = ts_shared_alloc(half, COUNT * sizeof *of_half);
    CU_ASSERT_EQUAL((uintptr_t)of_world % 64, 0);
    CU_ASSERT_EQUAL((uintptr_t)of_half % 64, 0);
    TsGroup *groups[] = {half, test_world};
    float *buffers[] = {of_world, of_half};
    for (int g = 0; g < 2; g++) {
        for (int i = 0; i < COUNT; i++)
            buffers[g][i] = (float)(rank + i % 3);
        ts_all_reduce(groups[g], (TsTransfer){.out = buffers[g],
                                              .in = buffers[g],
                                              .count_elems = COUNT,
                                              .dtype = TS_F32,
                                              .reduction = TS_MAX,
                                              .algorithm = TS_ALGORITHM_SHARED,
                                              .label = "other windows"});
        int highest = g == 1 ? size - 1 : (size - 1) % 2 == rank % 2 ? size - 1 : size - 2;
        int wrong = 0;
        for (int i = 0; i < COUNT; i++)
            wrong += buffers[g][i] != (float)(highest + i % 3);
        CU_ASSERT_EQUAL(wrong, 0);
    }
    ts_shared_free(of_half);
    ts_shared_free(of_world);
    ts_group_free(&half);
}

/* An irrational of (rank, i) in -1..1. */
static float irrational(int rank, int64_t i)
{
    return sinf((float)(rank * 1000 + 1) * 0.37f + (float)i);
}

/* 3 MiB and a bit, past every small path, with rounding: all implementations within the error bound of a sum, twice
 * the same bits, and the same bits on all ranks. */
static void large_sums(void)
{
    const int64_t count = 800011;
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world);
    size_t bytes = (size_t)count * sizeof(float);
    float *in = ts_shared_alloc(test_world, bytes), *out = ts_shared_alloc(test_world, bytes);
    float *ordinary = ts_alloc(bytes), *reference = ts_alloc(bytes), *again = ts_alloc(bytes);
    for (int64_t i = 0; i < count; i++)
        in[i] = irrational(rank, i);
    TsTransfer transfer = {.out = reference, .in = in, .count_elems = count, .dtype = TS_F32, .label = "large"};
    transfer.algorithm = TS_ALGORITHM_TREE;
    ts_all_reduce(test_world, transfer);
    for (int algorithm = 0; algorithm < TS_ALGORITHMS; algorithm++) {
        transfer.algorithm = (TsAlgorithm)algorithm;
        float *outs[] = {ordinary, out, again};
        for (int o = 0; o < 3; o++) {
            transfer.out = outs[o];
            ts_all_reduce(test_world, transfer);
        }
        float error = 0;
        for (int64_t i = 0; i < count; i++)
            error = fmaxf(error, fabsf(ordinary[i] - reference[i]));
        CU_ASSERT(error <= (float)(size * size) * 1.2e-7f);
        CU_ASSERT_EQUAL(memcmp(ordinary, again, bytes), 0);
        CU_ASSERT_EQUAL(memcmp(ordinary, out, bytes), 0);
        ts_broadcast(
            test_world,
            (TsTransfer){.out = again, .in = ordinary, .count_elems = count, .dtype = TS_F32, .label = "large"}, 0);
        CU_ASSERT_EQUAL(memcmp(ordinary, again, bytes), 0);
    }
    ts_free(ordinary);
    ts_free(reference);
    ts_free(again);
    ts_shared_free(out);
    ts_shared_free(in);
}

/* What one shared sum writes the next one reads, without anything in between, thousands of times. */
static void over_and_over(void)
{
    int size = ts_group_size(test_world), wrong = 0;
    static const int64_t sizes[] = {1, 500, 5000, 70001};
    int64_t *data = ts_shared_alloc(test_world, 70001 * sizeof *data);
    int64_t *ordinary = ts_calloc(70001, sizeof *ordinary);
    int rounds = size > 4 ? 100 : 400;
    for (int round = 0; round < rounds; round++) {
        int64_t *buffer = round / 4 % 2 ? data : ordinary, count = sizes[round % 4];
        for (int64_t i = 0; i < count; i++)
            buffer[i] = round + i;
        TsTransfer transfer = {
            .out = buffer, .in = buffer, .count_elems = count, .dtype = TS_I64, .label = "over and over"};
        ts_all_reduce(test_world, transfer);
        ts_all_reduce(test_world, transfer);
        for (int64_t i = 0; i < count; i++)
            wrong += buffer[i] != (round + i) * size * size;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    ts_free(ordinary);
    ts_shared_free(data);
}

TEST_MAIN("collectives and memory", {"all buffers shared", all_shared}, {"some buffers shared", mixed},
          {"large blocks", large_blocks}, {"windows of other groups", windows_of_other_groups},
          {"large sums", large_sums}, {"over and over", over_and_over})
