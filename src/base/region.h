/* SPDX-License-Identifier: Apache-2.0
 *
 * Region: one sparse file in memory from which ts_alloc takes large blocks, so that whoever is given the file can map
 * them too: other ranks of the node read and write a rank's buffers where they lie (comm/neighbour.h).
 *
 * The file is as long as the host's memory; pages come with their first use and go when their range is given back.
 * There is none before ts_region asks for it, which a rank does that has neighbours: until then, and where it has none,
 * large blocks are private (base/pages.h). Where the system allows no such file, or private memory would come in huge
 * pages and the file would not, there is no region, and ts_alloc takes everything from the heap; so it does with
 * AddressSanitizer, which watches the heap. A process that is forked keeps a private copy of what there was, and takes
 * new blocks from the heap.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether AddressSanitizer watches the heap, so that all blocks must be of it. */
#if defined(__SANITIZE_ADDRESS__)
#define TS_HEAP_ALONE true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TS_HEAP_ALONE true
#endif
#endif
#ifndef TS_HEAP_ALONE
#define TS_HEAP_ALONE false
#endif

/* Blocks of ts_alloc from here on lie in the region. */
enum { TS_REGION_LEAST_BYTES = 1 << 20 };

typedef struct TsRegion {
    int fd;            /* of the file; -1: there is none */
    char *base;        /* where this process has it */
    size_t size_bytes; /* of the file */
} TsRegion;

/* A range of the region that is taken; opaque. */
typedef struct TsRange TsRange;

/* The region of this process, made by the first call. Environment: TESSERA_REGION=0 for none. Safe from any thread. */
TsRegion ts_region(void);

/* Takes `size_bytes` zeroed bytes; NULL where ts_region was not called yet, there is no region, or no room in it. Safe
 * from any thread. */
TsRange *ts_region_take(size_t size_bytes);

/* Where the range begins, aligned to a page. */
void *ts_region_at(const TsRange *range);

/* Gives the range and its memory back. Safe from any thread. */
void ts_region_give(TsRange *range);

/* Maps the file of a region, this process's or another's. NULL if it cannot be. To be unmapped by munmap. */
char *ts_region_map(int fd, size_t size_bytes);
