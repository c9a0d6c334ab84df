/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies of any length between any addresses are right, and write nothing else.
 */
#include "base/copy.h"

#include "base/memory.h"
#include "test.h"

enum { ROOM = 300000 };

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 2654435761u >> 13);
}

static void expect_copy(unsigned char *out, const unsigned char *in, size_t to, size_t from, size_t bytes)
{
    memset(out, 0xA5, ROOM);
    ts_copy_past_caches(out + to, in + from, bytes);
    bool right = true;
    for (size_t i = 0; i < ROOM; i++)
        right &= out[i] == (i < to || i >= to + bytes ? 0xA5 : in[from + i - to]);
    CU_ASSERT(right);
}

static void any_length_and_address(void)
{
    static const size_t lengths[] = {0, 1, 63, 4096, 65535, 65536, 65537, 65600, 81920, 200000, 262144 + 17};
    static const size_t places[] = {0, 1, 16, 63, 64, 4097};
    unsigned char *in = ts_alloc(ROOM), *out = ts_alloc(ROOM);
    for (size_t i = 0; i < ROOM; i++)
        in[i] = pattern(i);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (size_t p = 0; p < sizeof places / sizeof *places; p++)
            expect_copy(out, in, places[p], places[(p + l) % (sizeof places / sizeof *places)], lengths[l]);
    ts_free(in);
    ts_free(out);
}

TEST_MAIN("copy", {"any length and address", any_length_and_address})
