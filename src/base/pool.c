/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

enum { ALIGNMENT = 16, BLOCK_BYTES = 32 * 1024 };

typedef struct Block {
    struct Block *next;
    size_t padding;
    char bytes[];
} Block;

struct TsPool {
    Block *blocks; /* owned; the first one is being filled */
    size_t used_bytes, size_bytes;
};

TsPool *ts_pool_create(void)
{
    return ts_calloc(1, sizeof(TsPool));
}

void ts_pool_free(TsPool **pool)
{
    if (!*pool)
        return;
    for (Block *block = (*pool)->blocks, *next; block; block = next) {
        next = block->next;
        ts_free(block);
    }
    ts_free(*pool);
    *pool = NULL;
}

void *ts_pool_calloc(TsPool *pool, size_t count, size_t size_bytes)
{
    size_t total;
    TS_CHECK(!__builtin_mul_overflow(count, size_bytes, &total) && total < (size_t)PTRDIFF_MAX / 2,
             "out of memory: %zu elements of %zu bytes", count, size_bytes);
    total = (total + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (total > BLOCK_BYTES / 4) { /* a block of its own, behind the one being filled */
        Block *block = ts_calloc(1, sizeof *block + total);
        Block **place = pool->blocks ? &pool->blocks->next : &pool->blocks;
        block->next = *place;
        *place = block;
        return block->bytes;
    }
    if (!pool->blocks || pool->size_bytes - pool->used_bytes < total) {
        Block *block = ts_calloc(1, sizeof *block + BLOCK_BYTES);
        block->next = pool->blocks;
        pool->blocks = block;
        pool->used_bytes = 0;
        pool->size_bytes = BLOCK_BYTES;
    }
    pool->used_bytes += total;
    return pool->blocks->bytes + pool->used_bytes - total;
}

char *ts_pool_copy(TsPool *pool, const char *bytes, size_t size_bytes)
{
    char *copy = ts_pool_calloc(pool, size_bytes + 1, 1);
    if (size_bytes)
        memcpy(copy, bytes, size_bytes);
    return copy;
}
