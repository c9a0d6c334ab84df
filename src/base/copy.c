/* SPDX-License-Identifier: Apache-2.0 */
#include "base/copy.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

enum { LINE_BYTES = 64, PAGE_BYTES = 4096, PAGES = 4, LEAST_BYTES = 1 << 16 };

static void copy_line(char *out, const char *in)
{
    __m128i a = _mm_loadu_si128((const __m128i *)in), b = _mm_loadu_si128((const __m128i *)(in + 16)),
            c = _mm_loadu_si128((const __m128i *)(in + 32)), d = _mm_loadu_si128((const __m128i *)(in + 48));
    _mm_stream_si128((__m128i *)out, a);
    _mm_stream_si128((__m128i *)(out + 16), b);
    _mm_stream_si128((__m128i *)(out + 32), c);
    _mm_stream_si128((__m128i *)(out + 48), d);
}

/* Several pages side by side: each is a stream of its own to the prefetcher. */
static void copy_pages(char *out, const char *in)
{
    for (size_t line = 0; line < PAGE_BYTES; line += LINE_BYTES)
        for (size_t page = 0; page < PAGES; page++)
            copy_line(out + page * PAGE_BYTES + line, in + page * PAGE_BYTES + line);
}

void ts_copy_past_caches(void *restrict out, const void *restrict in, size_t bytes)
{
    char *to = out;
    const char *from = in;
    if (bytes >= LEAST_BYTES) {
        size_t before = (LINE_BYTES - (uintptr_t)to % LINE_BYTES) % LINE_BYTES; /* until whole lines are written */
        memcpy(to, from, before);
        to += before, from += before, bytes -= before;
        for (; bytes >= PAGES * PAGE_BYTES; to += PAGES * PAGE_BYTES, from += PAGES * PAGE_BYTES)
            copy_pages(to, from), bytes -= PAGES * PAGE_BYTES;
        _mm_sfence(); /* other threads see what was written once they are told of it */
    }
    memcpy(to, from, bytes);
}

#else

void ts_copy_past_caches(void *restrict out, const void *restrict in, size_t bytes)
{
    memcpy(out, in, bytes);
}

#endif
