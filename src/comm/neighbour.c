/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/neighbour.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/region.h"
#include "comm/group_internal.h"

/* Of all regions that a rank maps: what 47 bits of addresses leave room for, with as much again. */
static const double most_bytes = 64.0 * (1ull << 40);

/* What a rank tells of its region, so that a neighbour finds it and knows that it found the right one. */
typedef struct Told {
    int64_t pid, fd;
    uint64_t device, inode, size_bytes;
} Told;

static TsRegion own = {.fd = -1}; /* fd -1: neighbours do not see it */
static TsRegion *seen;            /* (ranks) owned: of each rank of the node; fd is -1 */
static int ranks, self;

static Told tell(TsRegion region)
{
    struct stat file = {0};
    if (region.fd < 0 || fstat(region.fd, &file) != 0)
        return (Told){.fd = -1};
    return (Told){
        .pid = getpid(), .fd = region.fd, .device = file.st_dev, .inode = file.st_ino, .size_bytes = region.size_bytes};
}

/* Maps a neighbour's region; NULL if that cannot be. */
static char *look_at(Told told)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%lld/fd/%lld", (long long)told.pid, (long long)told.fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct stat file;
    char *base = NULL;
    if (fstat(fd, &file) == 0 && file.st_dev == told.device && file.st_ino == told.inode &&
        (uint64_t)file.st_size == told.size_bytes)
        base = ts_region_map(fd, told.size_bytes);
    close(fd);
    if (base) { /* its owner dumps it, and a child that is forked has no business there */
        (void)madvise(base, told.size_bytes, MADV_DONTDUMP);
        (void)madvise(base, told.size_bytes, MADV_DONTFORK);
    }
    return base;
}

/* A place in the lowest rank's region where all of the node say why they fail; it stays for good. */
static void share_failures(const TsGroup *world)
{
    TsRange *range = self == 0 ? ts_region_take(sizeof(TsSaid)) : NULL;
    int64_t offset = range ? (char *)ts_region_at(range) - own.base : -1;
    TS_MPI(MPI_Bcast(&offset, 1, MPI_INT64_T, 0, world->node_comm));
    if (offset >= 0)
        ts_fatal_set_said((TsSaid *)(void *)(seen[0].base + offset));
}

void ts_neighbours_meet(TsGroup *world)
{
    ranks = ts_group_node_size(world);
    self = ts_group_node_rank(world);
    if (ranks == 1) /* what nobody else looks at stays private */
        return;
    own = ts_region();
    Told mine = tell(own), *told = ts_calloc((size_t)ranks, sizeof *told);
    TS_MPI(MPI_Allgather(&mine, (int)sizeof mine, MPI_BYTE, told, (int)sizeof mine, MPI_BYTE, world->node_comm));
    double bytes = 0;
    int all = 1;
    for (int i = 0; i < ranks; i++) {
        all = all && told[i].fd >= 0;
        bytes += (double)told[i].size_bytes;
    }
    all = all && bytes <= most_bytes;
    seen = ts_calloc((size_t)ranks, sizeof *seen);
    for (int i = 0; i < ranks && all; i++) {
        seen[i] =
            (TsRegion){.fd = -1, .base = i == self ? own.base : look_at(told[i]), .size_bytes = told[i].size_bytes};
        all = seen[i].base != NULL;
    }
    TS_MPI(MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, world->node_comm)); /* now files may be closed */
    ts_free(told);
    if (!all)
        ts_neighbours_leave();
    else
        share_failures(world);
}

void ts_neighbours_leave(void)
{
    ts_free(seen); /* the mappings end with the process, which may still fail and say so in one of them */
    seen = NULL;
    own = (TsRegion){.fd = -1};
}

TsPlace ts_neighbour_place(const void *pointer, size_t size_bytes)
{
    uintptr_t begin = (uintptr_t)pointer, base = (uintptr_t)own.base;
    if (own.fd < 0 || begin < base || begin - base > own.size_bytes || size_bytes > own.size_bytes - (begin - base))
        return (TsPlace){0};
    return (TsPlace){.window = TS_PLACE_NEIGHBOUR, .owner = self, .offset = (int64_t)(begin - base)};
}

void *ts_neighbour_at(TsPlace place)
{
    TS_CHECK(seen && place.owner < ranks, "a neighbour names memory that this rank does not see");
    return seen[place.owner].base + place.offset;
}
