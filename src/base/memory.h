/* SPDX-License-Identifier: Apache-2.0
 *
 * Counted memory. Every allocation of this project goes through here, so that what is live, the peak, and the number of
 * allocations are known; ts_memory_expect_none at the end of a program fails on what was not given back.
 *
 * Large blocks lie in memory that other ranks of the node can be shown (region.h), small ones in the heap.
 *
 * No caller checks for NULL. Where the system gives no more, blocks come from a reserve, so that what was begun goes on
 * to where an error can be told: the shortage is kept until ts_memory_status makes it a Status, as ts_graph_status,
 * ts_program_compile and ts_comm_agree do. What the reserve has no room for aborts the job, with the size and the line
 * that asked for it; what is large is therefore asked for with ts_try_alloc. In every build the environment variable
 * TESSERA_FAIL_ALLOC=n makes the n-th allocation (from 1) fail, for tests.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* What the reserve has room for at once; it takes address space alone until it is needed. */
enum { TS_RESERVE_BYTES = 32 << 20 };

/* Uninitialised memory, aligned to 64 bytes, owned by the caller; a size of 0 gives a unique pointer. Never NULL. */
void *ts_alloc(size_t size_bytes);

/* `count` elements of `size_bytes` each, all zero. Fails on overflow of the product. */
void *ts_calloc(size_t count, size_t size_bytes);

/* The same as ts_alloc and ts_calloc for what is large: NULL where there is not so much, and the caller has a Status to
 * give. */
void *ts_try_alloc(size_t size_bytes);
void *ts_try_calloc(size_t count, size_t size_bytes);

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

/* Counts memory that was taken elsewhere, or, negative, given back, as what is shared with other processes is. */
void ts_memory_count(int64_t bytes);

typedef struct TsMemory {
    int64_t live_bytes, peak_bytes; /* as asked for, without the allocator's overhead; what was counted too */
    int64_t live_blocks;
    int64_t allocations; /* calls so far: steady state must not move it */
} TsMemory;

/* Whether an allocation came from the reserve, and nobody has told yet. */
bool ts_memory_short(void);

/* Success, or once after it ran short: which allocation was the first, of what size, and the line that asked for it.
 * The caller owns it. Safe from any thread; one of them is told. */
TS_MUST_USE TsStatus ts_memory_status(void);

/* Nobody need be told: of what the words of an error took, since an error there is. */
void ts_memory_forget_shortage(void);

/* The n-th allocation from now on fails, as with TESSERA_FAIL_ALLOC, or that and all behind it; 0: none does. For
 * tests. */
void ts_memory_fail_at(int64_t n);
void ts_memory_fail_from(int64_t n);

/* A snapshot. Safe from any thread. */
TsMemory ts_memory_usage(void);

/* Aborts with the number of blocks and bytes if anything is still live. */
void ts_memory_expect_none(void);
