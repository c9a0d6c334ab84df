/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pages.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/region.h"

static const size_t huge_bytes = (size_t)2 << 20;

void *ts_pages_take(size_t size_bytes)
{
    if (TS_HEAP_ALONE || size_bytes > SIZE_MAX - huge_bytes)
        return NULL;
    size_t whole_bytes = size_bytes + huge_bytes; /* of which what lies before and behind is let go */
    char *all = mmap(NULL, whole_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t before = (huge_bytes - (uintptr_t)all % huge_bytes) % huge_bytes;
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t end = (before + size_bytes + page_bytes - 1) / page_bytes * page_bytes;
    if (before)
        munmap(all, before);
    munmap(all + end, whole_bytes - end);
#ifdef MADV_HUGEPAGE
    (void)madvise(all + before, size_bytes, MADV_HUGEPAGE); /* a wish: what becomes of it does not matter */
#endif
    return all + before;
}

void ts_pages_give(void *pages, size_t size_bytes)
{
    munmap(pages, size_bytes);
}
