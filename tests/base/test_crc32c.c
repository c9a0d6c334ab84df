/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "base/philox.h"

/* RFC 3720, B.4, and the usual check value. */
static void known_answers(void)
{
    unsigned char block[32];
    CU_ASSERT_EQUAL(ts_crc32c(0, "123456789", 9), 0xe3069283u);
    CU_ASSERT_EQUAL(ts_crc32c(0, "", 0), 0);
    memset(block, 0, 32);
    CU_ASSERT_EQUAL(ts_crc32c(0, block, 32), 0x8a9136aau);
    memset(block, 0xff, 32);
    CU_ASSERT_EQUAL(ts_crc32c(0, block, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++)
        block[i] = (unsigned char)i;
    CU_ASSERT_EQUAL(ts_crc32c(0, block, 32), 0x46dd794eu);
    for (int i = 0; i < 32; i++)
        block[i] = (unsigned char)(31 - i);
    CU_ASSERT_EQUAL(ts_crc32c(0, block, 32), 0x113fdb5cu);
}

enum { BYTES = 3 * 8192 * 2 + 3 * 256 * 2 + 777 };

static unsigned char *random_bytes(void)
{
    unsigned char *bytes = ts_alloc(BYTES + 8);
    uint32_t *words = ts_alloc((BYTES + 8) / 4 * 4 + 4);
    ts_stream_fill_bits(ts_stream(1, "bytes", 0), words, 0, (BYTES + 8) / 4);
    memcpy(bytes, words, (BYTES + 8) / 4 * 4);
    ts_free(words);
    return bytes;
}

/* The instruction and the tables agree, for every length around the sizes of their blocks, and every alignment. */
static void implementations_agree(void)
{
    if (!ts_crc32c_has_instruction())
        fprintf(stderr, "no SSE 4.2 here: only the portable implementation is tested\n");
    static const size_t lengths[] = {0,   1,    7,     8,     9,     255,   256,   767,  768,
                                     769, 1543, 24575, 24576, 24577, 25344, 49152, BYTES};
    unsigned char *bytes = random_bytes();
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
        for (size_t offset = 0; offset < 8 && offset + lengths[l] <= BYTES + 8; offset++)
            CU_ASSERT_EQUAL(ts_crc32c(0x12345678, bytes + offset, lengths[l]),
                            ts_crc32c_portable(0x12345678, bytes + offset, lengths[l]));
    ts_free(bytes);
}

static void continues_and_combines(void)
{
    unsigned char *bytes = random_bytes();
    uint32_t whole = ts_crc32c(0, bytes, BYTES);
    static const size_t cuts[] = {0, 1, 8, 1000, 24576, BYTES - 1, BYTES};
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
        uint32_t a = ts_crc32c(0, bytes, cuts[c]), b = ts_crc32c(0, bytes + cuts[c], BYTES - cuts[c]);
        CU_ASSERT_EQUAL(ts_crc32c(a, bytes + cuts[c], BYTES - cuts[c]), whole);
        CU_ASSERT_EQUAL(ts_crc32c_combine(a, b, BYTES - cuts[c]), whole);
    }
    ts_free(bytes);
}

/* Pieces in any order, uneven, some empty, some missing: the XOR of what they contribute is the checksum of the segment
 * with zeros where nothing was. */
static void contributions(void)
{
    unsigned char *bytes = random_bytes();
    static const size_t cuts[] = {0, 3, 3, 500, 24576, 30000, BYTES};
    memset(bytes + 500, 0, 24576 - 500); /* the piece that nobody brings */
    static const int order[] = {5, 0, 4, 1, 2};
    uint32_t sum = 0;
    for (int i = 0; i < 5; i++) {
        int piece = order[i];
        sum ^= ts_crc32c_contribution(bytes + cuts[piece], cuts[piece + 1] - cuts[piece], BYTES - cuts[piece + 1]);
    }
    CU_ASSERT_EQUAL(ts_crc32c_of_contributions(sum, BYTES), ts_crc32c(0, bytes, BYTES));
    bytes[40000] ^= 1;
    CU_ASSERT_NOT_EQUAL(ts_crc32c_of_contributions(sum, BYTES), ts_crc32c(0, bytes, BYTES));
    ts_free(bytes);
}

/* Lengths that nobody could hold: zeros appended in one step or in many. */
static void long_zeros(void)
{
    uint32_t crc = ts_crc32c(0, "tessera", 7), zero_1 = ts_crc32c(0, "", 1), doubled = zero_1, once;
    for (int i = 0; i < 40; i++) /* the checksum of 2^i zeros, by doubling */
        doubled = ts_crc32c_combine(doubled, doubled, (uint64_t)1 << i);
    once = ts_crc32c_combine(crc, doubled, (uint64_t)1 << 40);
    uint32_t contribution = ts_crc32c_contribution("tessera", 7, (uint64_t)1 << 40);
    CU_ASSERT_EQUAL(ts_crc32c_of_contributions(contribution, 7 + ((uint64_t)1 << 40)), once);
}

TEST_MAIN("crc32c", {"known answers", known_answers}, {"implementations agree", implementations_agree},
          {"continues and combines", continues_and_combines}, {"contributions", contributions},
          {"long zeros", long_zeros})
