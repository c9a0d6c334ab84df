/* SPDX-License-Identifier: Apache-2.0
 *
 * Permutation: the numbers 0 .. n-1 in a random order that is computed, never stored: the order of data.
 *
 * A Feistel network on the smallest power of two that holds n, walked until it is below n again (Black and Rogaway,
 * "Ciphers with arbitrary finite domains", 2002). Either way takes a few steps, whatever n. Not collective.
 */
#pragma once

#include <stdint.h>

#include "base/philox.h"

enum { TS_PERMUTATION_ROUNDS = 8 };

typedef struct TsPermutation {
    int64_t n;
    int left_bits, right_bits;
    uint64_t keys[TS_PERMUTATION_ROUNDS];
} TsPermutation;

/* The permutation of [0, n) that belongs to this stream; n >= 0. */
TsPermutation ts_permutation(TsStream stream, int64_t n);

/* Which number stands at place `index`, and at which place `number` stands: each other's inverse on [0, n). */
int64_t ts_permute(const TsPermutation *permutation, int64_t index);
int64_t ts_permute_inverse(const TsPermutation *permutation, int64_t number);
