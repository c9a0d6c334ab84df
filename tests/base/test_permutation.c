/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/memory.h"
#include "base/permutation.h"

/* Every number once, and the inverse finds it: every small n, and some around powers of two. */
static void is_a_permutation(void)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000, 1023, 1024, 1025, 4097};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int64_t n = sizes[s], wrong = 0;
        TsPermutation p = ts_permutation(ts_stream(3, "data/order", n), n);
        bool *seen = ts_calloc((size_t)n, sizeof *seen);
        for (int64_t i = 0; i < n; i++) {
            int64_t number = ts_permute(&p, i);
            if (number < 0 || number >= n || seen[number] || ts_permute_inverse(&p, number) != i)
                wrong++;
            else
                seen[number] = true;
        }
        CU_ASSERT_EQUAL(wrong, 0);
        ts_free(seen);
    }
    CU_ASSERT_EQUAL(ts_permutation(ts_stream(3, "none", 0), 0).n, 0);
}

static void large_sizes(void)
{
    static const int64_t sizes[] = {((int64_t)1 << 40) + 1, ((int64_t)1 << 62) - 3, INT64_MAX};
    for (int s = 0; s < 3; s++) {
        TsPermutation p = ts_permutation(ts_stream(3, "data/order", 0), sizes[s]);
        for (int64_t i = 0; i < 1000; i++) {
            int64_t index = i % 2 ? i : sizes[s] - 1 - i, number = ts_permute(&p, index);
            CU_ASSERT(number >= 0 && number < sizes[s]);
            CU_ASSERT_EQUAL(ts_permute_inverse(&p, number), index);
        }
    }
}

/* Chi-square over keys: where the first number goes, for n = 5 and 10, and all 6 orders of n = 3. */
static void is_even(void)
{
    enum { KEYS = 20000 };
    for (int64_t n = 5; n <= 10; n += 5)
        for (int64_t index = 0; index < n; index += n - 1) {
            double counts[10] = {0}, chi = 0, expected = (double)KEYS / (double)n;
            for (int key = 0; key < KEYS; key++) {
                TsPermutation p = ts_permutation(ts_stream((uint64_t)key, "data/order", 0), n);
                counts[ts_permute(&p, index)]++;
            }
            for (int64_t i = 0; i < n; i++)
                chi += (counts[i] - expected) * (counts[i] - expected) / expected;
            CU_ASSERT(chi < 33.7); /* 0.01 % for 9 degrees of freedom */
        }
    double orders[27] = {0}, chi = 0;
    for (int key = 0; key < KEYS; key++) {
        TsPermutation p = ts_permutation(ts_stream((uint64_t)key, "data/order", 0), 3);
        orders[ts_permute(&p, 0) * 9 + ts_permute(&p, 1) * 3 + ts_permute(&p, 2)]++;
    }
    for (int i = 0; i < 27; i++)
        chi += orders[i] ? (orders[i] - KEYS / 6.0) * (orders[i] - KEYS / 6.0) / (KEYS / 6.0) : 0;
    CU_ASSERT(chi < 25.8); /* 0.01 % for 5 */
}

/* Neighbours do not stay neighbours: correlation of place and number, and of successive numbers. */
static void is_shuffled(void)
{
    enum { N = 100000 };
    TsPermutation p = ts_permutation(ts_stream(9, "data/order", 1), N);
    double mean = (N - 1) / 2.0, variance = ((double)N * N - 1) / 12, with_place = 0, with_next = 0;
    for (int64_t i = 0; i < N - 1; i++) {
        double number = (double)ts_permute(&p, i) - mean;
        with_place += number * ((double)i - mean) / variance / N;
        with_next += number * ((double)ts_permute(&p, i + 1) - mean) / variance / N;
    }
    CU_ASSERT_DOUBLE_EQUAL(with_place, 0, 0.016);
    CU_ASSERT_DOUBLE_EQUAL(with_next, 0, 0.016);
    TsPermutation other = ts_permutation(ts_stream(9, "data/order", 2), N);
    int64_t same = 0;
    for (int64_t i = 0; i < N; i++)
        same += ts_permute(&p, i) == ts_permute(&other, i);
    CU_ASSERT(same < 10);
}

TEST_MAIN("permutation", {"is a permutation", is_a_permutation}, {"large sizes", large_sizes}, {"is even", is_even},
          {"is shuffled", is_shuffled})
