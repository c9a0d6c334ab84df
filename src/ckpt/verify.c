/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/verify.h"

#include "base/memory.h"
#include "ckpt/segments.h"
#include "ckpt/slab.h"
#include "ckpt/state_file.h"

/* How much a rank reads at once: it stays in the processor's cache. */
static const int64_t buffer_bytes = 1 << 20;

/* What is read and added up, one piece at a time. */
typedef struct Reader {
    TsStateFile *file;
    const TsManifestArray *array;
    int index;
    void *buffer;
    uint32_t *sums; /* of the array */
    TsPace *pace;
} Reader;

static TsStatus add_piece(TsBlockRange piece, void *context)
{
    Reader *reader = context;
    TS_TRY(ts_state_file_read(reader->file, reader->index, reader->buffer, piece, piece));
    ts_segments_add(reader->sums, (TsSegmentPart){.dtype = reader->array->dtype,
                                                  .shape = reader->array->shape,
                                                  .block = piece,
                                                  .slab = piece,
                                                  .data = reader->buffer});
    ts_pace_rest(reader->pace);
    return TS_OK;
}

/* Adds up this rank's share of each array. Not collective. */
static TsStatus add_shares(TsStateFile *file, uint32_t *sums, const TsManifest *manifest, const TsGroup *group,
                           TsPace *pace)
{
    TsStatus status = TS_OK;
    void *buffer = ts_alloc((size_t)buffer_bytes);
    for (int i = 0; !status && i < manifest->count; i++) {
        const TsManifestArray *array = &manifest->arrays[i];
        Reader reader = {.file = file, .array = array, .index = i, .buffer = buffer, .sums = sums, .pace = pace};
        TsBlockRange share = ts_slab_share(ts_slab_whole(array->shape), ts_group_rank(group), ts_group_size(group));
        status = ts_slab_pieces(share, buffer_bytes / (int64_t)ts_dtype_bytes(array->dtype), add_piece, &reader);
        sums += array->segments;
    }
    ts_free(buffer);
    return status;
}

static TsStatus compare(uint32_t *sums, const TsManifest *manifest, const char *state_path)
{
    for (int i = 0; i < manifest->count; i++) {
        const TsManifestArray *array = &manifest->arrays[i];
        ts_segments_finish(sums, array->dtype, array->shape);
        TS_TRY(ts_segments_compare(sums, array, state_path));
        sums += array->segments;
    }
    return TS_OK;
}

/* Collective. */
static TsStatus verify_open_file(TsStateFile *file, TsGroup *group, const TsManifest *manifest, const char *state_path,
                                 TsPace *pace)
{
    int64_t segments = 0;
    for (int i = 0; i < manifest->count; i++)
        segments += manifest->arrays[i].segments;
    uint32_t *sums = ts_calloc((size_t)segments, sizeof *sums);
    TsStatus status = add_shares(file, sums, manifest, group, pace);
    ts_pace_meet(pace, group);
    status = ts_comm_agree(group, status);
    if (!status) {
        ts_segments_reduce(group, sums, segments);
        status = compare(sums, manifest, state_path); /* the same sums everywhere */
    }
    ts_free(sums);
    return status;
}

TsStatus ts_verify_state(TsGroup *group, const TsManifest *manifest, const char *state_path, TsPace *pace)
{
    TsStateFile *file;
    TS_TRY(ts_state_file_open(&file, group, state_path, manifest, false));
    TsStatus status = verify_open_file(file, group, manifest, state_path, pace);
    ts_state_file_close(&file);
    return status;
}
