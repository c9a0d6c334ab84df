/* SPDX-License-Identifier: Apache-2.0 */
#include "base/permutation.h"

#include "base/check.h"

TsPermutation ts_permutation(TsStream stream, int64_t n)
{
    TS_CHECK(n >= 0, "a permutation of %lld", (long long)n);
    int bits = 2; /* each half has at least one */
    while (bits < 63 && (int64_t)1 << bits < n)
        bits++;
    TsPermutation made = {.n = n, .left_bits = bits / 2, .right_bits = bits - bits / 2};
    for (int round = 0; round < TS_PERMUTATION_ROUNDS; round++) {
        uint32_t words[2];
        ts_stream_fill_bits(stream, words, 2 * round, 2);
        made.keys[round] = (uint64_t)words[0] << 32 | words[1];
    }
    return made;
}

/* Bits of half of the block and the key of the round; the finaliser of splitmix64 (Steele, Lea, Flood, 2014). */
static inline uint64_t mix(uint64_t half, uint64_t key)
{
    uint64_t x = half * 0x9e3779b97f4a7c15u + key;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint64_t mask(int bits)
{
    return ((uint64_t)1 << bits) - 1;
}

/* Halves keep their sizes: each round changes one by the other, in turn. */
static uint64_t forward(const TsPermutation *p, uint64_t block)
{
    uint64_t left = block >> p->right_bits, right = block & mask(p->right_bits);
    for (int round = 0; round < TS_PERMUTATION_ROUNDS; round += 2) {
        left ^= mix(right, p->keys[round]) & mask(p->left_bits);
        right ^= mix(left, p->keys[round + 1]) & mask(p->right_bits);
    }
    return left << p->right_bits | right;
}

static uint64_t backward(const TsPermutation *p, uint64_t block)
{
    uint64_t left = block >> p->right_bits, right = block & mask(p->right_bits);
    for (int round = TS_PERMUTATION_ROUNDS - 2; round >= 0; round -= 2) {
        right ^= mix(left, p->keys[round + 1]) & mask(p->right_bits);
        left ^= mix(right, p->keys[round]) & mask(p->left_bits);
    }
    return left << p->right_bits | right;
}

int64_t ts_permute(const TsPermutation *permutation, int64_t index)
{
    TS_CHECK(index >= 0 && index < permutation->n, "place %lld of %lld", (long long)index, (long long)permutation->n);
    uint64_t block = (uint64_t)index;
    do
        block = forward(permutation, block);
    while (block >= (uint64_t)permutation->n);
    return (int64_t)block;
}

int64_t ts_permute_inverse(const TsPermutation *permutation, int64_t number)
{
    TS_CHECK(number >= 0 && number < permutation->n, "number %lld of %lld", (long long)number,
             (long long)permutation->n);
    uint64_t block = (uint64_t)number;
    do
        block = backward(permutation, block);
    while (block >= (uint64_t)permutation->n);
    return (int64_t)block;
}
