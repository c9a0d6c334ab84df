/* SPDX-License-Identifier: Apache-2.0
 *
 * Counted memory. Every allocation of this project goes through here, so that what is live, the peak, and the number of
 * allocations are known; ts_memory_expect_none at the end of a program fails on what was not given back.
 *
 * Large blocks lie in memory that other ranks of the node can be shown (region.h), small ones in the heap.
 *
 * Running out of memory aborts the job with the size and the line that asked for it: no caller checks for NULL. In
 * every build the environment variable TESSERA_FAIL_ALLOC=n makes the n-th allocation (from 1) fail, for tests.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Uninitialised memory, aligned to 64 bytes, owned by the caller; a size of 0 gives a unique pointer. Never NULL. */
void *ts_alloc(size_t size_bytes);

/* `count` elements of `size_bytes` each, all zero. Fails on overflow of the product. */
void *ts_calloc(size_t count, size_t size_bytes);

/* The same as ts_alloc for what is large: NULL where there is not so much, and the caller has a Status to give. */
void *ts_try_alloc(size_t size_bytes);

/* Grows or shrinks, keeping the contents; `pointer` may be NULL. */
void *ts_realloc(void *pointer, size_t size_bytes);

/* Frees memory of the functions of this header; NULL is fine. */
void ts_free(void *pointer);

/* Copies a string; owned by the caller. */
char *ts_strdup(const char *text);

/* printf into a new string; owned by the caller. */
char *ts_format(const char *format, ...) __attribute__((returns_nonnull, format(printf, 1, 2)));
char *ts_format_list(const char *format, va_list arguments) __attribute__((returns_nonnull, format(printf, 1, 0)));

/* What the first ones are, so that a failure names the line that asked for the memory. */
void *ts_alloc_at(size_t size_bytes, const char *file, int line) __attribute__((malloc, returns_nonnull));
void *ts_calloc_at(size_t count, size_t size_bytes, const char *file, int line) __attribute__((returns_nonnull));
void *ts_realloc_at(void *pointer, size_t size_bytes, const char *file, int line) __attribute__((returns_nonnull));
char *ts_strdup_at(const char *text, const char *file, int line) __attribute__((returns_nonnull));
#define ts_alloc(size_bytes)            ts_alloc_at(size_bytes, __FILE__, __LINE__)
#define ts_calloc(count, size_bytes)    ts_calloc_at(count, size_bytes, __FILE__, __LINE__)
#define ts_realloc(pointer, size_bytes) ts_realloc_at(pointer, size_bytes, __FILE__, __LINE__)
#define ts_strdup(text)                 ts_strdup_at(text, __FILE__, __LINE__)

typedef struct TsMemory {
    int64_t live_bytes, peak_bytes; /* as asked for, without the allocator's overhead */
    int64_t live_blocks;
    int64_t allocations; /* calls so far: steady state must not move it */
} TsMemory;

/* The n-th allocation from now on fails, as with TESSERA_FAIL_ALLOC; 0: none does. For tests. */
void ts_memory_fail_at(int64_t n);

/* A snapshot. Safe from any thread. */
TsMemory ts_memory_usage(void);

/* Aborts with the number of blocks and bytes if anything is still live. */
void ts_memory_expect_none(void);
