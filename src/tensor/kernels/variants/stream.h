/* SPDX-License-Identifier: Apache-2.0
 *
 * Results too large to stay in any cache go to memory past the caches: an ordinary store would first read the line that
 * it overwrites, a third to a half more traffic. A kernel makes a piece in a small buffer, which is then streamed.
 */
#pragma once

#include "tensor/kernels/variants/variant.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
typedef __m512i StreamWord;
#define STREAM_WORD(to, from) _mm512_stream_si512((to), _mm512_loadu_si512(from))
#elif defined(__AVX__)
typedef __m256i StreamWord;
#define STREAM_WORD(to, from) _mm256_stream_si256((to), _mm256_loadu_si256(from))
#elif defined(__SSE2__)
typedef __m128i StreamWord;
#define STREAM_WORD(to, from) _mm_stream_si128((to), _mm_loadu_si128(from))
#endif

/* Whether a kernel that moves so many elements in all finds none of its result in a cache later. */
static inline bool worth_streaming(int64_t elems)
{
    return elems * (int64_t)sizeof(Stored) >= (int64_t)96 << 20;
}

/* Asks for the lines of x[0, count), into the second cache; they may lie past the end of an array: while a kernel
 * computes, the processor's own window is too short to see the loads to come. */
static inline void fetch(const Stored *x, int64_t count)
{
    for (int64_t i = 0; i < count; i += 64 / (int64_t)sizeof(Stored))
        __builtin_prefetch((const void *)((uintptr_t)x + (uintptr_t)i * sizeof(Stored)), 0, 2);
}

/* out[0, count) = in[0, count). */
static inline void stream(Stored *out, const Stored *in, int64_t count)
{
#if defined(__SSE2__)
    enum { ELEMS = sizeof(StreamWord) / sizeof(Stored) };
    int64_t done =
        (int64_t)((sizeof(StreamWord) - (uintptr_t)out % sizeof(StreamWord)) % sizeof(StreamWord) / sizeof(Stored));
    done = smaller(done, count);
    memcpy(out, in, (size_t)done * sizeof *out);
    for (; done + ELEMS <= count; done += ELEMS)
        STREAM_WORD((StreamWord *)(out + done), (const StreamWord *)(in + done));
    memcpy(out + done, in + done, (size_t)(count - done) * sizeof *out);
#else
    memcpy(out, in, (size_t)count * sizeof *out);
#endif
}

/* Each thread that streamed calls it once, when it is done: what it streamed is then there for all. */
static inline void stream_end(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}
