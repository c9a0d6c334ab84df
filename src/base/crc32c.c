/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

/* The polynomial 0x1edc6f41 with its bits reversed: bit 31 is x^0. */
static const uint32_t polynomial = 0x82f63b78u;

/* Three streams of these lengths hide the latency of the instruction; the checksums are then shifted into place. */
enum { LONG_BYTES = 8192, SHORT_BYTES = 256, TABLES = 8 };

static uint32_t byte_table[TABLES][256];                 /* slicing by eight */
static uint32_t long_shift[4][256], short_shift[4][256]; /* a checksum times x^(8 LONG_BYTES), byte by byte */
static uint32_t power_of_2[64];                          /* x^(2^i) */

/* a(x) b(x) mod P(x). */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 0x80000000u; bit; bit >>= 1) {
        product ^= a & bit ? b : 0;
        b = b & 1 ? b >> 1 ^ polynomial : b >> 1;
    }
    return product;
}

static void make_shift(uint32_t table[4][256], uint32_t factor)
{
    for (uint32_t byte = 0; byte < 256; byte++)
        for (uint32_t place = 0; place < 4; place++)
            table[place][byte] = multiply(factor, byte << (8 * place));
}

/* x^(8 bytes) mod P: how a checksum moves when as many zeros follow. */
static uint32_t zeros_factor(uint64_t bytes)
{
    uint32_t factor = 0x80000000u; /* x^0 */
    for (int i = 3; bytes && i < 64; bytes >>= 1, i++)
        if (bytes & 1)
            factor = multiply(factor, power_of_2[i]);
    return factor;
}

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ polynomial : crc >> 1;
        byte_table[0][byte] = crc;
    }
    for (int k = 1; k < TABLES; k++)
        for (int byte = 0; byte < 256; byte++)
            byte_table[k][byte] = byte_table[k - 1][byte] >> 8 ^ byte_table[0][byte_table[k - 1][byte] & 0xff];
    power_of_2[0] = 0x40000000u; /* x */
    for (int i = 1; i < 64; i++)
        power_of_2[i] = multiply(power_of_2[i - 1], power_of_2[i - 1]);
    make_shift(long_shift, zeros_factor(LONG_BYTES));
    make_shift(short_shift, zeros_factor(SHORT_BYTES));
}

static void need_tables(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_tables);
}

/* Both take and give the bare remainder, without the inversions at its ends. */
static uint32_t remainder_portable(uint32_t crc, const unsigned char *data, size_t size_bytes)
{
    while (size_bytes >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        word ^= crc;
        crc = 0;
        for (int k = 0; k < 8; k++)
            crc ^= byte_table[7 - k][word >> (8 * k) & 0xff];
        data += 8;
        size_bytes -= 8;
    }
    while (size_bytes--)
        crc = crc >> 8 ^ byte_table[0][(crc ^ *data++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
static inline uint32_t shift(const uint32_t table[4][256], uint32_t crc)
{
    return table[0][crc & 0xff] ^ table[1][crc >> 8 & 0xff] ^ table[2][crc >> 16 & 0xff] ^ table[3][crc >> 24];
}

static inline uint64_t load_u64(const unsigned char *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof word);
    return word;
}

/* Three blocks of `block_bytes` side by side. */
static inline __attribute__((always_inline, target("sse4.2"))) uint32_t
three_blocks(uint32_t crc, const unsigned char *data, size_t block_bytes, const uint32_t table[4][256])
{
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < block_bytes; i += 8) {
        a = _mm_crc32_u64(a, load_u64(data + i));
        b = _mm_crc32_u64(b, load_u64(data + block_bytes + i));
        c = _mm_crc32_u64(c, load_u64(data + 2 * block_bytes + i));
    }
    return shift(table, shift(table, (uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t remainder_sse42(uint32_t crc, const unsigned char *data,
                                                                  size_t size_bytes)
{
    for (; size_bytes >= 3 * LONG_BYTES; data += 3 * LONG_BYTES, size_bytes -= 3 * LONG_BYTES)
        crc = three_blocks(crc, data, LONG_BYTES, long_shift);
    for (; size_bytes >= 3 * SHORT_BYTES; data += 3 * SHORT_BYTES, size_bytes -= 3 * SHORT_BYTES)
        crc = three_blocks(crc, data, SHORT_BYTES, short_shift);
    for (; size_bytes >= 8; data += 8, size_bytes -= 8)
        crc = (uint32_t)_mm_crc32_u64(crc, load_u64(data));
    for (; size_bytes; data++, size_bytes--)
        crc = _mm_crc32_u8(crc, *data);
    return crc;
}
#endif

int ts_crc32c_has_instruction(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2") != 0;
#else
    return 0;
#endif
}

static uint32_t remainder_of(uint32_t crc, const void *data, size_t size_bytes)
{
    need_tables();
#if defined(__x86_64__)
    if (ts_crc32c_has_instruction())
        return remainder_sse42(crc, data, size_bytes);
#endif
    return remainder_portable(crc, data, size_bytes);
}

uint32_t ts_crc32c(uint32_t crc, const void *data, size_t size_bytes)
{
    return ~remainder_of(~crc, data, size_bytes);
}

uint32_t ts_crc32c_portable(uint32_t crc, const void *data, size_t size_bytes)
{
    need_tables();
    return ~remainder_portable(~crc, data, size_bytes);
}

uint32_t ts_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t b_bytes)
{
    need_tables();
    return multiply(zeros_factor(b_bytes), crc_a) ^ crc_b;
}

uint32_t ts_crc32c_contribution(const void *data, size_t size_bytes, uint64_t after_bytes)
{
    uint32_t crc = remainder_of(0, data, size_bytes);
    return multiply(zeros_factor(after_bytes), crc);
}

uint32_t ts_crc32c_of_contributions(uint32_t contributions, uint64_t segment_bytes)
{
    need_tables();
    return ~(multiply(zeros_factor(segment_bytes), 0xffffffffu) ^ contributions);
}
