/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "ckpt/hdf5_file.h"
#include "ckpt/root.h"
#include "ckpt/slab.h"
#include "comm/watchdog.h"

/* One call moves no more: Linux takes less than 2 GiB, and a slow disk is to be seen alive. */
static const int64_t transfer_limit_bytes = (int64_t)1 << 30;

struct TsStateFile {
    const char *path;           /* borrowed */
    const TsManifest *manifest; /* borrowed */
    int file;                   /* descriptor */
    int64_t *offsets;           /* (manifest->count) where arrays begin; -1: elsewhere. Owned */
    TsHdf5File *tables;         /* NULL where all arrays lie in the file */
};

static TsStatus system_error(const TsStateFile *file, const char *array, const char *what)
{
    int reason = errno;
    return ts_status_error(reason == ENOENT   ? TS_CODE_NOT_FOUND
                           : reason == ENOSPC ? TS_CODE_RESOURCES
                                              : TS_CODE_IO,
                           "%s: %s%scannot %s: %s", file->path, array ? array : "", array ? ": " : "", what,
                           strerror(reason));
}

/* ---- opening and closing ---- */

static int64_t array_bytes(const TsManifestArray *array)
{
    return ts_shape_elems(array->shape) * (int64_t)ts_dtype_bytes(array->dtype);
}

/* Where the arrays lie, by the tables, which are left open. */
static TsStatus find_offsets(TsStateFile *file)
{
    struct stat found;
    TS_TRY(ts_hdf5_open(&file->tables, file->path, file->manifest));
    if (stat(file->path, &found) != 0)
        return system_error(file, NULL, "read it");
    for (int i = 0; i < file->manifest->count; i++) {
        const TsManifestArray *array = &file->manifest->arrays[i];
        file->offsets[i] = ts_hdf5_offset(file->tables, i);
        if (file->offsets[i] >= 0 && file->offsets[i] > (int64_t)found.st_size - array_bytes(array))
            return ts_status_error(TS_CODE_CORRUPT, "%s: %s: lies behind the end of the file", file->path, array->name);
    }
    return TS_OK;
}

/* Whether an array is to be read through its tables. */
static bool has_views(const TsStateFile *file)
{
    for (int i = 0; i < file->manifest->count; i++)
        if (file->offsets[i] < 0)
            return true;
    return false;
}

static TsStatus open_own(TsStateFile *file, bool writable)
{
    bool views = has_views(file);
    TS_CHECK(!views || !writable, "%s: a view is only read", file->path);
    if (!views)
        ts_hdf5_close(&file->tables);
    else if (!file->tables)
        TS_TRY(ts_hdf5_open(&file->tables, file->path, file->manifest));
    file->file = open(file->path, (writable ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    return file->file < 0 ? system_error(file, NULL, "open the file") : TS_OK;
}

TsStatus ts_state_file_open(TsStateFile **file, TsGroup *group, const char *path, const TsManifest *manifest,
                            bool writable)
{
    TsStateFile *opened = ts_alloc(sizeof *opened);
    *opened = (TsStateFile){.path = path,
                            .manifest = manifest,
                            .file = -1,
                            .offsets = ts_calloc((size_t)manifest->count + 1, sizeof *opened->offsets)};
    TsStatus status = ts_root_status(group, ts_group_rank(group) == 0 ? find_offsets(opened) : TS_OK);
    if (!status) {
        ts_root_integers(group, opened->offsets, manifest->count);
        status = ts_comm_agree(group, open_own(opened, writable));
    }
    if (status)
        ts_state_file_close(&opened);
    *file = opened;
    return status;
}

void ts_state_file_close(TsStateFile **file)
{
    if (!*file)
        return;
    ts_hdf5_close(&(*file)->tables);
    if ((*file)->file >= 0)
        close((*file)->file);
    ts_free((*file)->offsets);
    ts_free(*file);
    *file = NULL;
}

TsStatus ts_state_file_sync(TsStateFile *file)
{
    ts_watch_alive("checkpoint: sync");
    return fsync(file->file) == 0 ? TS_OK : system_error(file, NULL, "make it last");
}

/* ---- reading and writing ---- */

/* A rectangle on its way. */
typedef struct Transfer {
    TsStateFile *file;
    int index;
    char *read;        /* where to, or NULL */
    const char *write; /* where from, or NULL */
} Transfer;

/* Lets the disk begin with what was just written: so the sync at the end finds little to do. Only a hint. */
static void begin_writing(const TsStateFile *file, int64_t offset, int64_t bytes)
{
#ifdef SYNC_FILE_RANGE_WRITE
    (void)sync_file_range(file->file, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
#else
    (void)file, (void)offset, (void)bytes;
#endif
}

/* Moves the bytes of a run that lie together in the file and in memory. */
static TsStatus transfer_run(TsSlabRun run, void *context)
{
    const Transfer *transfer = context;
    const TsStateFile *file = transfer->file;
    const TsManifestArray *array = &file->manifest->arrays[transfer->index];
    int64_t elem_bytes = (int64_t)ts_dtype_bytes(array->dtype), left = run.elems * elem_bytes;
    int64_t offset = file->offsets[transfer->index] + run.array_elem * elem_bytes, at = run.block_elem * elem_bytes;
    while (left > 0) {
        size_t bytes = (size_t)(left < transfer_limit_bytes ? left : transfer_limit_bytes);
        ssize_t moved = transfer->read ? pread(file->file, transfer->read + at, bytes, (off_t)offset)
                                       : pwrite(file->file, transfer->write + at, bytes, (off_t)offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return system_error(file, array->name, transfer->read ? "read its values" : "write its values");
        if (moved == 0)
            return ts_status_error(TS_CODE_CORRUPT, "%s: %s: the file ends %lld bytes too early", file->path,
                                   array->name, (long long)left);
        if (!transfer->read)
            begin_writing(file, offset, moved);
        offset += moved;
        at += moved;
        left -= moved;
    }
    return TS_OK;
}

TsStatus ts_state_file_write(TsStateFile *file, int index, const void *data, TsBlockRange block, TsBlockRange slab)
{
    Transfer transfer = {.file = file, .index = index, .write = data};
    ts_watch_alive("checkpoint: arrays"); /* a slow disk is no rank that hangs */
    return ts_slab_runs(file->manifest->arrays[index].shape, block, slab, transfer_run, &transfer);
}

TsStatus ts_state_file_read(TsStateFile *file, int index, void *data, TsBlockRange block, TsBlockRange slab)
{
    Transfer transfer = {.file = file, .index = index, .read = data};
    ts_watch_alive("checkpoint: arrays");
    if (file->offsets[index] < 0)
        return ts_hdf5_read(file->tables, index, data, block, slab);
    return ts_slab_runs(file->manifest->arrays[index].shape, block, slab, transfer_run, &transfer);
}
