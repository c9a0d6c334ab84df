/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool: many small pieces of memory that are freed together, such as the values of one configuration.
 *
 * What comes from a pool is aligned to 16 bytes and lives until ts_pool_free. Not safe from several threads at once.
 */
#pragma once

#include <stddef.h>

typedef struct TsPool TsPool;

TsPool *ts_pool_create(void) __attribute__((returns_nonnull));

/* Frees the pool and all that came from it, and sets *pool to NULL; NULL is fine. */
void ts_pool_free(TsPool **pool);

/* Zeroed memory, owned by the pool; never NULL. */
void *ts_pool_calloc(TsPool *pool, size_t count, size_t size_bytes) __attribute__((returns_nonnull));

/* A copy of `size_bytes` bytes with a NUL after them, owned by the pool. */
char *ts_pool_copy(TsPool *pool, const char *bytes, size_t size_bytes) __attribute__((returns_nonnull));
