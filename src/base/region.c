/* SPDX-License-Identifier: Apache-2.0 */
#include "base/region.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"

struct TsRange {
    size_t first_byte, size_bytes; /* whole pages of the region */
    bool taken;
    TsRange *previous, *next; /* in the order of addresses, without gaps; no two free ones side by side */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the ranges */
static TsRegion region = {.fd = -1};
static size_t page_bytes;
static TsRange *ranges;   /* owned; the lowest */
static atomic_bool asked; /* for it */
static bool copied;       /* this process was forked from the one that made it */

/* ---- making it */

/* Whether the system takes the memory it promises for granted. */
static bool overcommits_never(void)
{
    char line[16] = "";
    FILE *file = fopen("/proc/sys/vm/overcommit_memory", "re");
    if (!file)
        return false;
    bool never = fgets(line, sizeof line, file) && line[0] == '2';
    fclose(file);
    return never;
}

/* Whether a file of that length is right here: it is asked for, growing it does not end the process by a signal, and
 * too little memory need not be told when memory is asked for, but only when it is used. */
static bool wanted(size_t size_bytes)
{
    const char *setting = getenv("TESSERA_REGION");
    struct rlimit longest;
    return !TS_HEAP_ALONE && !(setting && strcmp(setting, "0") == 0) && getrlimit(RLIMIT_FSIZE, &longest) == 0 &&
           longest.rlim_cur >= size_bytes && !overcommits_never();
}

/* Without a wish for huge pages: where they are to be had for files in memory they were no faster, and passes over
 * several such files at once slower. */
char *ts_region_map(int fd, size_t size_bytes)
{
    void *base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    return base == MAP_FAILED ? NULL : base;
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

/* The child sees what the parent had, and writes to its own copy. */
static void in_child(void)
{
    if (region.fd >= 0 && !copied)
        (void)mmap(region.base, region.size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                   region.fd, 0);
    copied = true;
    pthread_mutex_unlock(&lock);
}

static void make(void)
{
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    long pages = sysconf(_SC_PHYS_PAGES);
    size_t size_bytes = pages > 0 ? (size_t)pages * page_bytes : 0;
    TsRange *all = calloc(1, sizeof *all);
    if (!all || size_bytes == 0 || !wanted(size_bytes)) {
        free(all);
        return;
    }
    int fd = memfd_create("tessera", MFD_CLOEXEC);
    char *base = fd >= 0 && ftruncate(fd, (off_t)size_bytes) == 0 ? ts_region_map(fd, size_bytes) : NULL;
    if (!base || pthread_atfork(before_fork, after_fork, in_child) != 0) {
        if (base)
            munmap(base, size_bytes);
        if (fd >= 0)
            close(fd);
        free(all);
        return;
    }
    all->size_bytes = size_bytes;
    ranges = all;
    region = (TsRegion){.fd = fd, .base = base, .size_bytes = size_bytes};
}

TsRegion ts_region(void)
{
    pthread_once(&once, make);
    atomic_store(&asked, true);
    if (copied)
        return (TsRegion){.fd = -1};
    return region;
}

/* ---- its ranges */

TsRange *ts_region_take(size_t size_bytes)
{
    if (!atomic_load(&asked) || ts_region().fd < 0 || size_bytes > region.size_bytes)
        return NULL;
    size_t needed = (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
    pthread_mutex_lock(&lock);
    TsRange *range = ranges;
    while (range && (range->taken || range->size_bytes < needed))
        range = range->next;
    TsRange *rest = range && range->size_bytes > needed ? malloc(sizeof *rest) : NULL;
    if (rest) {
        *rest = (TsRange){.first_byte = range->first_byte + needed,
                          .size_bytes = range->size_bytes - needed,
                          .previous = range,
                          .next = range->next};
        if (rest->next)
            rest->next->previous = rest;
        range->next = rest;
        range->size_bytes = needed;
    }
    if (range)
        range->taken = true;
    pthread_mutex_unlock(&lock);
    return range;
}

void *ts_region_at(const TsRange *range)
{
    return region.base + range->first_byte;
}

/* Joins the range with the next one. */
static void join(TsRange *range)
{
    TsRange *next = range->next;
    range->size_bytes += next->size_bytes;
    range->next = next->next;
    if (next->next)
        next->next->previous = range;
    free(next);
}

void ts_region_give(TsRange *range)
{
    TS_CHECK(range->taken, "a range of memory is given back twice");
    char *begin = ts_region_at(range);
    /* By madvise, of which libraries that keep memory registered with a network take notice; without that it would be
     * fallocate. Memory that is locked cannot be given back. */
    if (!copied && madvise(begin, range->size_bytes, MADV_REMOVE) != 0)
        memset(begin, 0, range->size_bytes);
    pthread_mutex_lock(&lock);
    range->taken = false;
    if (range->next && !range->next->taken)
        join(range);
    if (range->previous && !range->previous->taken)
        join(range->previous);
    pthread_mutex_unlock(&lock);
}
