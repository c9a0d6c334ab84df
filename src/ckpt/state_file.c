/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "ckpt/slab.h"
#include "comm/native.h"
#include "comm/watchdog.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "state.h5 and its checksums are little-endian: values would have to be swapped on their way"
#endif

/* One transfer moves less than MPI-IO's counts can say: 2.5 GiB at once fails in HDF5 1.10. */
static const int64_t transfer_limit_bytes = (int64_t)1 << 30;

/* Large arrays begin at multiples of a stripe. */
static const hsize_t alignment_bytes = (hsize_t)1 << 20;

struct TsStateFile {
    TsGroup *group;             /* borrowed; NULL while it is made */
    const char *path;           /* borrowed */
    const TsManifest *manifest; /* borrowed */
    hid_t id;
    hid_t *datasets; /* (manifest->count), owned; -1 where not open */
};

#define DIGITS(number)                 #number
#define VERSION(major, minor, release) DIGITS(major) "." DIGITS(minor) "." DIGITS(release)

const char *ts_state_file_library(void)
{
    return VERSION(H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE);
}

/* The innermost entry of HDF5's error stack: what failed first. */
typedef struct Reason {
    char text[256];
} Reason;

static herr_t note_reason(unsigned depth, const H5E_error2_t *error, void *reason)
{
    (void)depth;
    snprintf(((Reason *)reason)->text, sizeof((Reason *)reason)->text, "%s", error->desc ? error->desc : "no reason");
    return 1; /* the first is enough */
}

/* An error with HDF5's reason; its error stack is emptied. */
static TsStatus hdf5_error(const TsStateFile *file, const char *array, const char *what)
{
    Reason reason = {"HDF5 gives no reason"};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_reason, &reason);
    H5Eclear2(H5E_DEFAULT);
    return ts_status_error(TS_CODE_IO, "%s: %s%scannot %s: %s", file->path, array ? array : "", array ? ": " : "", what,
                           reason.text);
}

/* HDF5's type of a dtype, in memory as in the file; the caller closes it. */
static hid_t type_of(TsDtype dtype)
{
    hid_t type;
    switch (dtype) {
    case TS_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case TS_F64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case TS_I32:
        return H5Tcopy(H5T_STD_I32LE);
    case TS_I64:
        return H5Tcopy(H5T_STD_I64LE);
    case TS_BF16: /* sign 1, exponent 8, mantissa 7, bias 127 */
        type = H5Tcopy(H5T_IEEE_F32LE);
        H5Tset_fields(type, 15, 7, 8, 0, 7);
        H5Tset_size(type, 2);
        return type;
    case TS_F16: /* sign 1, exponent 5, mantissa 10, bias 15 */
        type = H5Tcopy(H5T_IEEE_F32LE);
        H5Tset_fields(type, 15, 10, 5, 0, 10);
        H5Tset_size(type, 2);
        H5Tset_ebias(type, 15);
        return type;
    case TS_BOOL:
        type = H5Tenum_create(H5T_STD_I8LE);
        H5Tenum_insert(type, "FALSE", &(int8_t){0});
        H5Tenum_insert(type, "TRUE", &(int8_t){1});
        return type;
    case TS_DTYPES:
        break;
    }
    TS_CHECK(false, "dtype %d", (int)dtype);
    return -1;
}

static hid_t space_of(TsShape shape)
{
    hsize_t size[TS_MAX_DIMS];
    for (int d = 0; d < shape.dims; d++)
        size[d] = (hsize_t)shape.size[d];
    return shape.dims == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(shape.dims, size, NULL);
}

/* Selects `slab` in a space that begins at `origin` of the array. */
static herr_t select_slab(hid_t space, TsBlockRange slab, const int64_t *origin)
{
    hsize_t first[TS_MAX_DIMS], size[TS_MAX_DIMS];
    for (int d = 0; d < slab.shape.dims; d++) {
        first[d] = (hsize_t)(slab.first[d] - origin[d]);
        size[d] = (hsize_t)slab.shape.size[d];
    }
    return slab.shape.dims == 0 ? 0 : H5Sselect_hyperslab(space, H5S_SELECT_SET, first, NULL, size, NULL);
}

/* Making a file. */

/* Creates the file at its full size, to see whether there is room for it, or reserves the room of one that is there. */
static TsStatus reserve(const char *path, int64_t bytes, bool create)
{
    int file = open(path, O_WRONLY | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0666);
    int failed = file < 0 ? -1 : fallocate(file, 0, 0, bytes);
    if (failed && file >= 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        failed = create ? ftruncate(file, bytes) : 0;
    TsStatus status =
        failed ? ts_status_error(TS_CODE_IO, "%s: no room for %lld bytes: %s", path, (long long)bytes, strerror(errno))
               : TS_OK;
    if (file >= 0)
        close(file);
    return status;
}

/* No less than the file will have. */
static int64_t most_bytes(const TsManifest *manifest)
{
    int64_t bytes = (int64_t)alignment_bytes;
    for (int i = 0; i < manifest->count; i++)
        bytes += ts_shape_elems(manifest->arrays[i].shape) * (int64_t)ts_dtype_bytes(manifest->arrays[i].dtype) +
                 (int64_t)alignment_bytes;
    return bytes;
}

/* An access list; the caller closes it. Files are not locked: only finished ones are read, and many file systems of
 * clusters refuse locks. */
static hid_t file_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
    H5Pset_file_locking(access, false, true);
#endif
    return access;
}

static TsStatus make_dataset(const TsStateFile *file, const TsManifestArray *array)
{
    hid_t type = type_of(array->dtype), space = space_of(array->shape);
    hid_t links = H5Pcreate(H5P_LINK_CREATE), creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_layout(creation, H5D_CONTIGUOUS);
    H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
    hid_t id = H5Dcreate2(file->id, array->name, type, space, links, creation, H5P_DEFAULT);
    TsStatus status = id < 0 || H5Dclose(id) < 0 ? hdf5_error(file, array->name, "make the dataset") : TS_OK;
    H5Pclose(creation);
    H5Pclose(links);
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

/* Makes the datasets, writes the file's own tables, and closes it; *bytes is its length. */
static TsStatus make_datasets(TsStateFile *file, int64_t *bytes)
{
    TsStatus status = TS_OK;
    for (int i = 0; !status && i < file->manifest->count; i++)
        status = make_dataset(file, &file->manifest->arrays[i]);
    hsize_t length = 0;
    if (!status && H5Fget_filesize(file->id, &length) < 0)
        status = hdf5_error(file, NULL, "find the length of the file");
    if (H5Fclose(file->id) < 0 && !status)
        status = hdf5_error(file, NULL, "write the file");
    H5Eclear2(H5E_DEFAULT);
    *bytes = (int64_t)length;
    return status;
}

TsStatus ts_state_file_make(const char *path, const TsManifest *manifest)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* errors become a Status here, not a print */
    TS_TRY(reserve(path, most_bytes(manifest), true));
    TsStateFile file = {.path = path, .manifest = manifest};
    hid_t access = file_access();
    H5Pset_alignment(access, alignment_bytes, alignment_bytes);
    file.id = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    TsStatus status = file.id < 0 ? hdf5_error(&file, NULL, "make the file") : TS_OK;
    H5Pclose(access); /* any call empties the error stack: the reason has been read */
    TS_TRY(status);
    int64_t bytes = 0;
    TS_TRY(make_datasets(&file, &bytes));
    return reserve(path, bytes, false);
}

/* Making a view. */

/* Maps the rectangle that `rank` wrote into the view's dataset. */
static herr_t map_part(hid_t creation, hid_t space, const TsParts *parts, int rank, int index, const char *array)
{
    TsBlockRange slab = ts_parts_slab(parts, rank, index);
    char *file = ts_parts_file_name(rank / parts->ranks_per_file), *dataset = ts_parts_dataset(array, rank);
    hid_t source = space_of(slab.shape);
    herr_t failed = select_slab(space, slab, (const int64_t[TS_MAX_DIMS]){0});
    if (failed >= 0)
        failed = H5Pset_virtual(creation, space, file, dataset, source);
    H5Sclose(source);
    ts_free(dataset);
    ts_free(file);
    return failed;
}

static TsStatus make_view_dataset(const TsStateFile *file, const TsParts *parts, int index)
{
    const TsManifestArray *array = &file->manifest->arrays[index];
    hid_t type = type_of(array->dtype), space = space_of(array->shape), mapped = H5Scopy(space);
    hid_t links = H5Pcreate(H5P_LINK_CREATE), creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    herr_t failed = 0;
    for (int rank = 0; rank < parts->ranks && failed >= 0; rank++)
        if (ts_parts_has(parts, rank, index))
            failed = map_part(creation, mapped, parts, rank, index, array->name);
    hid_t id = failed < 0 ? -1 : H5Dcreate2(file->id, array->name, type, space, links, creation, H5P_DEFAULT);
    if (id >= 0 && array->shape.dims == 0)
        failed = H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &parts->scalars[index]);
    TsStatus status = id < 0 || failed < 0 || H5Dclose(id) < 0 ? hdf5_error(file, array->name, "make the view") : TS_OK;
    H5Pclose(creation);
    H5Pclose(links);
    H5Sclose(mapped);
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

TsStatus ts_state_file_make_view(const char *path, const TsManifest *manifest, const TsParts *parts)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    TsStateFile file = {.path = path, .manifest = manifest};
    hid_t access = file_access();
    file.id = H5Fcreate(path, H5F_ACC_EXCL, H5P_DEFAULT, access);
    TsStatus status = file.id < 0 ? hdf5_error(&file, NULL, "make the file") : TS_OK;
    H5Pclose(access); /* any call empties the error stack: the reason has been read */
    TS_TRY(status);
    for (int i = 0; !status && i < manifest->count; i++)
        status = make_view_dataset(&file, parts, i);
    if (H5Fclose(file.id) < 0 && !status)
        status = hdf5_error(&file, NULL, "write the file");
    H5Eclear2(H5E_DEFAULT);
    return status;
}

/* Opening and closing. */

/* That the dataset is what the manifest says. */
static TsStatus compare_dataset(const TsStateFile *file, const TsManifestArray *array, hid_t id)
{
    hid_t type = type_of(array->dtype), found_type = H5Dget_type(id), space = H5Dget_space(id);
    hsize_t size[H5S_MAX_RANK];
    int dims = H5Sget_simple_extent_dims(space, size, NULL);
    bool same = H5Tequal(type, found_type) > 0 && dims == array->shape.dims;
    for (int d = 0; same && d < dims; d++)
        same = size[d] == (hsize_t)array->shape.size[d];
    H5Sclose(space);
    H5Tclose(found_type);
    H5Tclose(type);
    return same ? TS_OK
                : ts_status_error(TS_CODE_CORRUPT, "%s: %s: not of dtype %s and shape %s, as the manifest has it",
                                  file->path, array->name, ts_dtype_name(array->dtype),
                                  ts_shape_text(array->shape).text);
}

static TsStatus open_datasets(TsStateFile *file)
{
    for (int i = 0; i < file->manifest->count; i++) {
        const TsManifestArray *array = &file->manifest->arrays[i];
        file->datasets[i] = H5Dopen2(file->id, array->name, H5P_DEFAULT);
        if (file->datasets[i] < 0)
            return hdf5_error(file, array->name, "open the dataset");
        TS_TRY(compare_dataset(file, array, file->datasets[i]));
    }
    return TS_OK;
}

TsStatus ts_state_file_open(TsStateFile **file, TsGroup *group, const char *path, const TsManifest *manifest,
                            bool writable)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    TsStateFile *opened = ts_alloc(sizeof *opened);
    *opened = (TsStateFile){.group = group, .path = path, .manifest = manifest};
    opened->datasets = ts_alloc((size_t)manifest->count * sizeof *opened->datasets);
    for (int i = 0; i < manifest->count; i++)
        opened->datasets[i] = -1;
    hid_t access = file_access();
    if (writable)
        H5Pset_fapl_mpio(access, ts_group_native(group), MPI_INFO_NULL);
    opened->id = H5Fopen(path, writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access);
    TsStatus status = opened->id < 0 ? hdf5_error(opened, NULL, "open the file") : TS_OK;
    H5Pclose(access); /* any call empties the error stack: the reason has been read */
    status = ts_comm_agree(group, status);
    if (!status)
        status = ts_comm_agree(group, open_datasets(opened));
    *file = opened;
    if (status) {
        TsStatus closed = ts_state_file_close(file);
        ts_status_free(&closed);
    }
    return status;
}

TsStatus ts_state_file_close(TsStateFile **file)
{
    TsStateFile *closing = *file;
    if (!closing)
        return TS_OK;
    TsStatus status = TS_OK;
    for (int i = 0; i < closing->manifest->count; i++)
        if (closing->datasets[i] >= 0 && H5Dclose(closing->datasets[i]) < 0 && !status)
            status = hdf5_error(closing, closing->manifest->arrays[i].name, "close the dataset");
    if (closing->id >= 0 && H5Fclose(closing->id) < 0 && !status)
        status = hdf5_error(closing, NULL, "close the file");
    H5Eclear2(H5E_DEFAULT);
    status = ts_comm_agree(closing->group, status);
    ts_free(closing->datasets);
    ts_free(closing);
    *file = NULL;
    return status;
}

/* Reading and writing. */

/* One transfer of many, below the limit. */
typedef struct Transfer {
    TsStateFile *file;
    int index;
    TsBlockRange block;
    void *read;        /* where to, or NULL */
    const void *write; /* where from, or NULL */
} Transfer;

static TsStatus transfer_piece(TsBlockRange piece, void *context)
{
    const Transfer *transfer = context;
    const TsManifestArray *array = &transfer->file->manifest->arrays[transfer->index];
    hid_t id = transfer->file->datasets[transfer->index], type = type_of(array->dtype);
    hid_t in_memory = space_of(transfer->block.shape), in_file = H5Dget_space(id);
    herr_t failed = select_slab(in_memory, piece, transfer->block.first);
    if (failed >= 0)
        failed = select_slab(in_file, piece, (const int64_t[TS_MAX_DIMS]){0});
    if (failed >= 0) /* H5P_DEFAULT: independent */
        failed = transfer->read ? H5Dread(id, type, in_memory, in_file, H5P_DEFAULT, transfer->read)
                                : H5Dwrite(id, type, in_memory, in_file, H5P_DEFAULT, transfer->write);
    TsStatus status = TS_OK;
    if (failed < 0)
        status = hdf5_error(transfer->file, array->name, transfer->read ? "read the dataset" : "write the dataset");
    H5Sclose(in_file);
    H5Sclose(in_memory);
    H5Tclose(type);
    ts_watch_alive("checkpoint: arrays"); /* a slow disk is no rank that hangs */
    return status;
}

static TsStatus transfer_slab(Transfer transfer, TsBlockRange slab)
{
    const TsManifest *manifest = transfer.file->manifest;
    TS_CHECK(transfer.index >= 0 && transfer.index < manifest->count, "array %d of %d", transfer.index,
             manifest->count);
    int64_t limit_elems = transfer_limit_bytes / (int64_t)ts_dtype_bytes(manifest->arrays[transfer.index].dtype);
    return ts_slab_pieces(slab, limit_elems, transfer_piece, &transfer);
}

TsStatus ts_state_file_write(TsStateFile *file, int index, const void *data, TsBlockRange block, TsBlockRange slab)
{
    return transfer_slab((Transfer){.file = file, .index = index, .block = block, .write = data}, slab);
}

TsStatus ts_state_file_read(TsStateFile *file, int index, void *data, TsBlockRange block, TsBlockRange slab)
{
    return transfer_slab((Transfer){.file = file, .index = index, .block = block, .read = data}, slab);
}
