/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/hdf5_file.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "ckpt/slab.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "state.h5 and its checksums are little-endian: values would have to be swapped on their way"
#endif

/* Large arrays begin at multiples of a stripe. */
static const hsize_t alignment_bytes = (hsize_t)1 << 20;

struct TsHdf5File {
    const char *path;           /* borrowed: the one on the disk */
    const TsManifest *manifest; /* borrowed */
    hid_t id;
    hid_t *datasets; /* (manifest->count), owned; -1 where not open; NULL while the file is made */
};

#define DIGITS(number)                 #number
#define VERSION(major, minor, release) DIGITS(major) "." DIGITS(minor) "." DIGITS(release)

const char *ts_hdf5_library(void)
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
static TsStatus hdf5_error(const TsHdf5File *file, const char *array, const char *what)
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

/* ---- in memory ---- */

enum { COPIED_BYTES = 1 << 20 };

/* Where HDF5 makes a file: one in memory that has a name while it is open. */
typedef struct Draft {
    int memory;
    char name[64];
} Draft;

static TsStatus draft_error(const char *path, const char *what)
{
    int reason = errno;
    return ts_status_error(reason == ENOSPC ? TS_CODE_RESOURCES : TS_CODE_IO, "%s: cannot %s: %s", path, what,
                           strerror(reason));
}

static TsStatus no_room(const char *path, int64_t bytes)
{
    int reason = errno;
    return ts_status_error(reason == ENOSPC ? TS_CODE_RESOURCES : TS_CODE_IO, "%s: no room for %lld bytes: %s", path,
                           (long long)bytes, strerror(reason));
}

/* For a file that will have no more than `most_bytes`; a limit on the length of files shows here already. */
static TsStatus draft_open(Draft *draft, const char *path, int64_t most_bytes)
{
    draft->memory = memfd_create("checkpoint", MFD_CLOEXEC);
    if (draft->memory < 0)
        return draft_error(path, "make its tables in memory");
    snprintf(draft->name, sizeof draft->name, "/proc/self/fd/%d", draft->memory);
    if (ftruncate(draft->memory, most_bytes) == 0)
        return TS_OK;
    TsStatus status = no_room(path, most_bytes);
    close(draft->memory);
    return status;
}

/* Copies [from, end) of the draft to the same place in `file`. */
static TsStatus copy_range(const Draft *draft, int file, int64_t from, int64_t end, const char *path)
{
    char *buffer = ts_alloc(COPIED_BYTES);
    TsStatus status = TS_OK;
    while (!status && from < end) {
        size_t bytes = end - from < COPIED_BYTES ? (size_t)(end - from) : COPIED_BYTES;
        ssize_t put = pread(draft->memory, buffer, bytes, (off_t)from);
        if (put > 0)
            put = pwrite(file, buffer, (size_t)put, (off_t)from);
        if (put < 0 && errno != EINTR)
            status = draft_error(path, "write it");
        TS_CHECK(put != 0, "%s: what was made of it in memory is gone", path);
        from += put > 0 ? put : 0;
    }
    ts_free(buffer);
    return status;
}

/* Gives `file` the length of the draft, with its room reserved, and copies what is not empty in it. */
static TsStatus copy_draft(const Draft *draft, int file, const char *path)
{
    off_t length = lseek(draft->memory, 0, SEEK_END);
    int failed = length < 0 ? -1 : fallocate(file, 0, 0, length);
    if (failed && (errno == EOPNOTSUPP || errno == ENOSYS))
        failed = ftruncate(file, length);
    if (failed)
        return no_room(path, (int64_t)length);
    TsStatus status = TS_OK;
    for (off_t from = 0, end; !status && (from = lseek(draft->memory, from, SEEK_DATA)) >= 0; from = end) {
        end = lseek(draft->memory, from, SEEK_HOLE);
        status = copy_range(draft, file, from, end, path);
    }
    return status;
}

/* Puts the draft on the disk as a new file, and frees it; or only frees it where `status` is an error already. */
static TsStatus draft_close(Draft *draft, const char *path, TsStatus status)
{
    int file = status ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (!status && file < 0)
        status = draft_error(path, "make the file");
    if (!status)
        status = copy_draft(draft, file, path);
    if (file >= 0 && close(file) != 0 && !status)
        status = draft_error(path, "close it");
    close(draft->memory);
    return status;
}

/* ---- making a file ---- */

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

static TsStatus make_dataset(const TsHdf5File *file, const TsManifestArray *array)
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

/* Creates the draft's file; HDF5's access list is freed. */
static TsStatus create_file(TsHdf5File *file, const Draft *draft, hid_t access)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* errors become a Status here, not a print */
    H5Pset_fapl_stdio(access);             /* the one driver that asks for no path on a disk */
    file->id = H5Fcreate(draft->name, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    TsStatus status = file->id < 0 ? hdf5_error(file, NULL, "make the file") : TS_OK;
    H5Pclose(access); /* any call empties the error stack: the reason has been read */
    return status;
}

/* Closes what create_file made. */
static TsStatus finish_file(TsHdf5File *file, TsStatus status)
{
    if (file->id >= 0 && H5Fclose(file->id) < 0 && !status)
        status = hdf5_error(file, NULL, "make the file");
    H5Eclear2(H5E_DEFAULT);
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

TsStatus ts_hdf5_make(const char *path, const TsManifest *manifest)
{
    Draft draft;
    TS_TRY(draft_open(&draft, path, most_bytes(manifest)));
    TsHdf5File file = {.path = path, .manifest = manifest};
    hid_t access = file_access();
    H5Pset_alignment(access, alignment_bytes, alignment_bytes);
    TsStatus status = create_file(&file, &draft, access);
    for (int i = 0; !status && i < manifest->count; i++)
        status = make_dataset(&file, &manifest->arrays[i]);
    return draft_close(&draft, path, finish_file(&file, status));
}

/* ---- making a view ---- */

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

static TsStatus make_view_dataset(const TsHdf5File *file, const TsParts *parts, int index)
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

TsStatus ts_hdf5_make_view(const char *path, const TsManifest *manifest, const TsParts *parts)
{
    enum { HEAD_BYTES = 1 << 20, DATASET_BYTES = 4096, PART_BYTES = 512 }; /* each is less */
    Draft draft;
    int64_t bytes = HEAD_BYTES + (int64_t)manifest->count * (DATASET_BYTES + (int64_t)parts->ranks * PART_BYTES);
    TS_TRY(draft_open(&draft, path, bytes));
    TsHdf5File file = {.path = path, .manifest = manifest};
    TsStatus status = create_file(&file, &draft, file_access());
    for (int i = 0; !status && i < manifest->count; i++)
        status = make_view_dataset(&file, parts, i);
    return draft_close(&draft, path, finish_file(&file, status));
}

/* ---- opening and closing ---- */

/* That the dataset is what the manifest says. */
static TsStatus compare_dataset(const TsHdf5File *file, const TsManifestArray *array, hid_t id)
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

static TsStatus open_datasets(TsHdf5File *file)
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

TsStatus ts_hdf5_open(TsHdf5File **file, const char *path, const TsManifest *manifest)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    TsHdf5File *opened = ts_alloc(sizeof *opened);
    *opened = (TsHdf5File){.path = path, .manifest = manifest};
    opened->datasets = ts_alloc((size_t)manifest->count * sizeof *opened->datasets);
    for (int i = 0; i < manifest->count; i++)
        opened->datasets[i] = -1;
    hid_t access = file_access();
    opened->id = H5Fopen(path, H5F_ACC_RDONLY, access);
    TsStatus status = opened->id < 0 ? hdf5_error(opened, NULL, "open the file") : TS_OK;
    H5Pclose(access); /* any call empties the error stack: the reason has been read */
    if (!status)
        status = open_datasets(opened);
    if (status)
        ts_hdf5_close(&opened);
    *file = opened;
    return status;
}

void ts_hdf5_close(TsHdf5File **file)
{
    TsHdf5File *closing = *file;
    if (!closing)
        return;
    for (int i = 0; i < closing->manifest->count; i++)
        if (closing->datasets[i] >= 0)
            H5Dclose(closing->datasets[i]);
    if (closing->id >= 0)
        H5Fclose(closing->id); /* it was only read: nothing can be lost */
    H5Eclear2(H5E_DEFAULT);
    ts_free(closing->datasets);
    ts_free(closing);
    *file = NULL;
}

/* ---- reading ---- */

int64_t ts_hdf5_offset(const TsHdf5File *file, int index)
{
    if (ts_shape_elems(file->manifest->arrays[index].shape) == 0)
        return 0;
    hid_t creation = H5Dget_create_plist(file->datasets[index]);
    bool together = H5Pget_layout(creation) == H5D_CONTIGUOUS;
    haddr_t offset = together ? H5Dget_offset(file->datasets[index]) : HADDR_UNDEF;
    H5Pclose(creation);
    return offset == HADDR_UNDEF ? -1 : (int64_t)offset;
}

TsStatus ts_hdf5_read(TsHdf5File *file, int index, void *data, TsBlockRange block, TsBlockRange slab)
{
    const TsManifestArray *array = &file->manifest->arrays[index];
    hid_t id = file->datasets[index], type = type_of(array->dtype);
    hid_t in_memory = space_of(block.shape), in_file = H5Dget_space(id);
    herr_t failed = select_slab(in_memory, slab, block.first);
    if (failed >= 0)
        failed = select_slab(in_file, slab, (const int64_t[TS_MAX_DIMS]){0});
    if (failed >= 0)
        failed = H5Dread(id, type, in_memory, in_file, H5P_DEFAULT, data);
    TsStatus status = failed < 0 ? hdf5_error(file, array->name, "read the dataset") : TS_OK;
    H5Sclose(in_file);
    H5Sclose(in_memory);
    H5Tclose(type);
    return status;
}
