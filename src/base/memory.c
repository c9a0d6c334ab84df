/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/pages.h"
#include "base/region.h"

enum { ALIGNMENT = 64 };

/* More than any process can address is not asked for. */
static const size_t most_bytes = (size_t)1 << 47;

/* Stands right before each block; as long as the alignment, so that the block is aligned too. */
typedef struct Header {
    _Alignas(ALIGNMENT) size_t size_bytes;
    TsRange *range; /* of the region, owned; NULL: the block is of pages of its own, or of the heap */
    bool paged;
} Header;

static atomic_int_fast64_t live_bytes, peak_bytes, live_blocks, allocations;
static atomic_int_fast64_t fail_at = -1; /* the allocation that fails; 0 none, -1 not read from the environment yet */
static atomic_bool fail_on;              /* and all behind it */

/* Cut from front to back, and free again when all that was cut is. */
static struct {
    pthread_mutex_t lock;
    size_t used_bytes;
    int64_t blocks;
    atomic_bool is_short; /* what follows has not been told */
    int64_t number;       /* of the first allocation that came from here */
    size_t size_bytes;
    int64_t in_use_bytes;
    const char *file;
    int line;
} reserve = {.lock = PTHREAD_MUTEX_INITIALIZER};
static _Alignas(ALIGNMENT) unsigned char reserve_memory[TS_RESERVE_BYTES];

static int64_t failing_allocation(void)
{
    int64_t n = atomic_load(&fail_at);
    if (n < 0) {
        const char *text = getenv("TESSERA_FAIL_ALLOC");
        n = text ? strtoll(text, NULL, 10) : 0;
        atomic_store(&fail_at, n < 0 ? 0 : n);
    }
    return n;
}

/* A header and room for a block behind it; NULL if there is no memory. */
static Header *header_of_new(size_t size_bytes)
{
    TsRange *range = size_bytes >= TS_REGION_LEAST_BYTES ? ts_region_take(sizeof(Header) + size_bytes) : NULL;
    Header *header = range ? ts_region_at(range) : NULL;
    if (!range && size_bytes >= TS_PAGES_LEAST_BYTES)
        header = ts_pages_take(sizeof *header + size_bytes);
    bool paged = !range && header;
    if (!header)
        header = aligned_alloc(ALIGNMENT, (sizeof *header + size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (header)
        *header = (Header){.size_bytes = size_bytes, .range = range, .paged = paged};
    return header;
}

void ts_memory_count(int64_t bytes)
{
    int64_t now = atomic_fetch_add(&live_bytes, bytes) + bytes, peak = atomic_load(&peak_bytes);
    while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now)) {
    }
}

static void *count_block(Header *header)
{
    ts_memory_count((int64_t)header->size_bytes);
    atomic_fetch_add(&live_blocks, 1);
    return header + 1;
}

/* NULL if there is no memory; *number is which allocation it was. */
static void *try_alloc(size_t size_bytes, int64_t *number)
{
    Header *header = NULL;
    *number = atomic_fetch_add(&allocations, 1) + 1;
    int64_t failing = failing_allocation();
    bool fails = failing && (*number == failing || (*number > failing && atomic_load(&fail_on)));
    if (size_bytes <= most_bytes && !fails)
        header = header_of_new(size_bytes);
    return header ? count_block(header) : NULL;
}

void *ts_try_alloc(size_t size_bytes)
{
    int64_t number;
    return try_alloc(size_bytes, &number);
}

/* ---- the reserve ---- */

static bool is_of_reserve(const Header *header)
{
    const unsigned char *at = (const unsigned char *)header;
    return at >= reserve_memory && at < reserve_memory + sizeof reserve_memory;
}

/* A block for allocation `number`, which the system refused; NULL where there is no room. */
static void *take_from_reserve(size_t size_bytes, int64_t number, const char *file, int line)
{
    Header *header = NULL;
    size_t room_bytes = (sizeof *header + size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size_bytes > sizeof reserve_memory)
        return NULL;
    pthread_mutex_lock(&reserve.lock);
    if (room_bytes <= sizeof reserve_memory - reserve.used_bytes) {
        header = (Header *)(reserve_memory + reserve.used_bytes);
        *header = (Header){.size_bytes = size_bytes};
        reserve.used_bytes += room_bytes;
        reserve.blocks++;
    }
    if (header && !atomic_load(&reserve.is_short)) {
        reserve.number = number;
        reserve.size_bytes = size_bytes;
        reserve.in_use_bytes = atomic_load(&live_bytes);
        reserve.file = file;
        reserve.line = line;
        atomic_store(&reserve.is_short, true);
    }
    pthread_mutex_unlock(&reserve.lock);
    return header ? count_block(header) : NULL;
}

static void give_to_reserve(void)
{
    pthread_mutex_lock(&reserve.lock);
    if (--reserve.blocks == 0)
        reserve.used_bytes = 0;
    pthread_mutex_unlock(&reserve.lock);
}

bool ts_memory_short(void)
{
    return atomic_load(&reserve.is_short);
}

TsStatus ts_memory_status(void)
{
    if (!ts_memory_short())
        return TS_OK;
    pthread_mutex_lock(&reserve.lock);
    bool tell = ts_memory_short();
    long long number = reserve.number, in_use_bytes = reserve.in_use_bytes;
    size_t size_bytes = reserve.size_bytes;
    const char *file = reserve.file;
    int line = reserve.line;
    pthread_mutex_unlock(&reserve.lock);
    atomic_store(&reserve.is_short, false);
    return tell ? ts_status_error(TS_CODE_RESOURCES,
                                  "out of memory: allocation %lld, of %zu bytes, failed with %lld bytes in "
                                  "use (%s:%d)",
                                  number, size_bytes, in_use_bytes, file, line)
                : TS_OK;
}

void ts_memory_forget_shortage(void)
{
    atomic_store(&reserve.is_short, false);
}

/* ---- what callers use ---- */

void *ts_alloc_at(size_t size_bytes, const char *file, int line)
{
    int64_t number;
    void *pointer = try_alloc(size_bytes, &number);
    if (!pointer)
        pointer = take_from_reserve(size_bytes, number, file, line);
    if (!pointer)
        ts_fatal(file, line, "out of memory", "allocation %lld, of %zu bytes, failed with %lld bytes in use",
                 (long long)number, size_bytes, (long long)atomic_load(&live_bytes));
    return pointer;
}

void ts_memory_fail_at(int64_t n)
{
    atomic_store(&fail_on, false);
    atomic_store(&fail_at, n > 0 ? atomic_load(&allocations) + n : 0);
}

void ts_memory_fail_from(int64_t n)
{
    ts_memory_fail_at(n);
    atomic_store(&fail_on, n > 0);
}

/* What is new in the region, or a page, is zero. */
static void *clear(void *block, size_t size_bytes)
{
    const Header *header = (Header *)block - 1;
    return header->range || header->paged ? block : memset(block, 0, size_bytes);
}

void *ts_try_calloc(size_t count, size_t size_bytes)
{
    size_t total;
    void *block = __builtin_mul_overflow(count, size_bytes, &total) ? NULL : ts_try_alloc(total);
    return block ? clear(block, total) : NULL;
}

void *ts_calloc_at(size_t count, size_t size_bytes, const char *file, int line)
{
    size_t total;
    if (__builtin_mul_overflow(count, size_bytes, &total))
        ts_fatal(file, line, "out of memory", "%zu elements of %zu bytes", count, size_bytes);
    return clear(ts_alloc_at(total, file, line), total);
}

void *ts_realloc_at(void *pointer, size_t size_bytes, const char *file, int line)
{
    void *moved = ts_alloc_at(size_bytes, file, line);
    if (pointer) {
        size_t kept = ((Header *)pointer - 1)->size_bytes;
        memcpy(moved, pointer, kept < size_bytes ? kept : size_bytes);
        ts_free(pointer);
    }
    return moved;
}

void ts_free(void *pointer)
{
    if (!pointer)
        return;
    Header *header = (Header *)pointer - 1;
    atomic_fetch_sub(&live_bytes, (int64_t)header->size_bytes);
    atomic_fetch_sub(&live_blocks, 1);
    if (header->range)
        ts_region_give(header->range);
    else if (header->paged)
        ts_pages_give(header, sizeof *header + header->size_bytes);
    else if (is_of_reserve(header))
        give_to_reserve();
    else
        free(header);
}

char *ts_strdup_at(const char *text, const char *file, int line)
{
    size_t size_bytes = strlen(text) + 1;
    return memcpy(ts_alloc_at(size_bytes, file, line), text, size_bytes);
}

char *ts_format_list(const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    TS_CHECK(length >= 0, "a format that cannot be printed: %s", format);
    char *text = ts_alloc((size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}

char *ts_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = ts_format_list(format, arguments);
    va_end(arguments);
    return text;
}

TsMemory ts_memory_usage(void)
{
    return (TsMemory){.live_bytes = atomic_load(&live_bytes),
                      .peak_bytes = atomic_load(&peak_bytes),
                      .live_blocks = atomic_load(&live_blocks),
                      .allocations = atomic_load(&allocations)};
}

void ts_memory_expect_none(void)
{
    TsMemory usage = ts_memory_usage();
    TS_CHECK(usage.live_blocks == 0, "memory not given back: %lld blocks, %lld bytes", (long long)usage.live_blocks,
             (long long)usage.live_bytes);
}
