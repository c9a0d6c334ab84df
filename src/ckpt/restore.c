/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/restore.h"

#include "base/check.h"
#include "base/memory.h"
#include "base/text.h"
#include "ckpt/convert.h"
#include "ckpt/segments.h"
#include "ckpt/slab.h"
#include "ckpt/state_file.h"
#include "comm/collectives.h"

enum { NAMES_LISTED = 20 };

/* Read and added to the checksums at once: it is in the processor's cache when it is read again. */
static const int64_t piece_bytes = 1 << 19;

/* A list of names in a message, cut where it gets long. */
typedef struct Names {
    const char *title;
    TsText text;
    int count;
} Names;

static void add_name(Names *names, const char *name)
{
    if (names->count++ < NAMES_LISTED)
        ts_text_append(&names->text, "%s%s", names->count > 1 ? ", " : names->title, name);
}

/* Appends the list to a message, and frees it. */
static void append_names(TsText *message, Names *names)
{
    if (names->count > 0)
        ts_text_append(message, "%s%s", message->size_bytes ? "; " : "", names->text.data);
    if (names->count > NAMES_LISTED)
        ts_text_append(message, " and %d more", names->count - NAMES_LISTED);
    ts_text_free(&names->text);
}

static void compare_one(Names *different, const TsManifestArray *saved, const TsArray *array, bool cast)
{
    bool same_dtype = saved->dtype == array->dtype || (cast && ts_convert_allowed(array->dtype, saved->dtype));
    if (ts_shape_equal(saved->shape, array->shape) && same_dtype)
        return;
    char *words =
        ts_format("%s is %s %s there and %s %s here", saved->name, ts_dtype_name(saved->dtype),
                  ts_shape_text(saved->shape).text, ts_dtype_name(array->dtype), ts_shape_text(array->shape).text);
    add_name(different, words);
    ts_free(words);
}

/* Adds a name that the checkpoint lacks, with the nearest of those that nobody asks for. */
static void add_missing(Names *missing, const char *name, const TsManifest *manifest, const TsBatch *arrays)
{
    const char **spare = ts_calloc((size_t)manifest->count + 1, sizeof *spare);
    size_t count = 0;
    for (int i = 0; i < manifest->count && missing->count < NAMES_LISTED; i++)
        if (!ts_batch_find(arrays, manifest->arrays[i].name))
            spare[count++] = manifest->arrays[i].name;
    const char *nearest = ts_text_nearest(name, spare, count);
    char *words = nearest ? ts_format("%s (is it %s?)", name, nearest) : ts_strdup(name);
    add_name(missing, words);
    ts_free(words);
    ts_free(spare);
}

TsStatus ts_restore_compare(const TsManifest *manifest, const TsBatch *arrays, TsRestoreOptions options,
                            const char *path)
{
    Names missing = {.title = "it lacks "}, unused = {.title = "nobody asks for its "}, different = {.title = ""};
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        int saved = ts_manifest_find(manifest, ts_batch_name(arrays, i));
        if (saved >= 0)
            compare_one(&different, &manifest->arrays[saved], ts_batch_array(arrays, i), options.cast);
        else
            add_missing(&missing, ts_batch_name(arrays, i), manifest, arrays);
    }
    for (int i = 0; !options.allow_unused && i < manifest->count; i++)
        if (!ts_batch_find(arrays, manifest->arrays[i].name))
            add_name(&unused, manifest->arrays[i].name);
    TsText message = {0};
    append_names(&message, &missing);
    append_names(&message, &unused);
    append_names(&message, &different);
    TsStatus status =
        message.size_bytes ? ts_status_error(TS_CODE_INVALID, "%s: does not fit: %s", path, message.data) : TS_OK;
    ts_text_free(&message);
    return status;
}

/* Replicas: the ranks that hold the same block of an array divide the reading, and give one another what they read, so
 * that the file system is asked once. A share is some of the rows of the block's first dim that is longer than one: it
 * lies together in memory. */

/* The ranks of `group` that hold the same block; NULL where there is no other. An array on no mesh is whole on all. */
static TsGroup *replica_group(const TsArray *array, TsGroup *group)
{
    if (array->mesh) {
        TsAxisSet others = 0, cut = ts_placement_axes(array->placement);
        for (int axis = TS_AXIS_STAGE; axis < TS_AXES; axis++)
            if (!(cut & TS_AXIS_BIT(axis)) && axis != array->placement.at_axis)
                others |= TS_AXIS_BIT(axis);
        group = ts_mesh_group(array->mesh, others);
    }
    return ts_group_size(group) > 1 ? group : NULL;
}

/* What `part` of `parts` reads of a block. */
static TsBlockRange share_of(TsBlockRange block, int part, int parts)
{
    int d = 0;
    while (d < block.shape.dims - 1 && block.shape.size[d] == 1)
        d++;
    if (block.shape.dims == 0 && part > 0)
        return (TsBlockRange){.shape = ts_shape(0)};
    if (block.shape.dims > 0) {
        int64_t size = block.shape.size[d], first = part * size / parts;
        block.first[d] += first;
        block.shape.size[d] = (part + 1) * size / parts - first;
    }
    return block;
}

/* This rank's. */
static TsBlockRange own_share(const TsArray *array, TsGroup *group)
{
    TsGroup *replicas = replica_group(array, group);
    return replicas ? share_of(array->block, ts_group_rank(replicas), ts_group_size(replicas)) : array->block;
}

/* Collects the shares of an array's block. Collective on its replicas. */
static void exchange_share(TsArray *array, TsGroup *group)
{
    TsGroup *replicas = replica_group(array, group);
    if (!replicas || ts_array_local_elems(array) == 0)
        return;
    int parts = ts_group_size(replicas), rank = ts_group_rank(replicas);
    int64_t *first_elem = ts_calloc((size_t)parts + 1, sizeof *first_elem);
    for (int part = 0; part < parts; part++)
        first_elem[part + 1] = first_elem[part] + ts_shape_elems(share_of(array->block, part, parts).shape);
    ts_all_gather(replicas,
                  (TsTransfer){.out = array->data,
                               .in = (char *)array->data + (size_t)first_elem[rank] * ts_dtype_bytes(array->dtype),
                               .first_elem = first_elem,
                               .dtype = array->dtype,
                               .label = "checkpoint: shares"});
    ts_free(first_elem);
}

/* Whether this rank's group holds a copy at all: not where the array is pinned to elsewhere. */
static bool holds_copy(const TsArray *array)
{
    TsAxis pinned = (TsAxis)array->placement.at_axis;
    return !array->mesh || pinned == TS_AXIS_NONE || ts_mesh_coord(array->mesh, pinned) == array->placement.at_coord;
}

/* What is read, added to the checksums and converted, one piece at a time. */
typedef struct Reader {
    TsStateFile *file;
    const TsManifestArray *saved;
    int index; /* of `saved` */
    TsArray *array;
    uint32_t *sums;
    void *buffer; /* of piece_bytes; NULL: straight into the array */
} Reader;

/* Puts a piece from the buffer where it belongs in the array's block, a row of its last dim at a time. */
static void convert_piece(const Reader *reader, TsBlockRange piece)
{
    TsArray *array = reader->array;
    int dims = array->shape.dims;
    int64_t row_elems = dims ? piece.shape.size[dims - 1] : 1, rows = ts_shape_elems(piece.shape) / row_elems;
    for (int64_t row = 0; row < rows; row++) {
        int64_t rest = row, at = dims ? piece.first[dims - 1] - array->block.first[dims - 1] : 0;
        int64_t stride = dims ? array->block.shape.size[dims - 1] : 1;
        for (int d = dims - 2; d >= 0; d--) {
            at += (piece.first[d] - array->block.first[d] + rest % piece.shape.size[d]) * stride;
            rest /= piece.shape.size[d];
            stride *= array->block.shape.size[d];
        }
        ts_convert((char *)array->data + (size_t)at * ts_dtype_bytes(array->dtype), array->dtype,
                   (const char *)reader->buffer + (size_t)(row * row_elems) * ts_dtype_bytes(reader->saved->dtype),
                   reader->saved->dtype, row_elems);
    }
}

static TsStatus read_piece(TsBlockRange piece, void *context)
{
    const Reader *reader = context;
    void *data = reader->buffer ? reader->buffer : reader->array->data;
    TsBlockRange block = reader->buffer ? piece : reader->array->block;
    TS_TRY(ts_state_file_read(reader->file, reader->index, data, block, piece));
    ts_segments_add(
        reader->sums,
        (TsSegmentPart){
            .dtype = reader->saved->dtype, .shape = reader->saved->shape, .block = block, .slab = piece, .data = data});
    if (reader->buffer)
        convert_piece(reader, piece);
    return TS_OK;
}

/* Reads this rank's share of one array, and adds up its checksums. */
static TsStatus read_share(Reader *reader, TsGroup *group)
{
    if (reader->saved->dtype != reader->array->dtype)
        reader->buffer = ts_alloc((size_t)piece_bytes);
    TsStatus status = ts_slab_pieces(own_share(reader->array, group),
                                     piece_bytes / (int64_t)ts_dtype_bytes(reader->saved->dtype), read_piece, reader);
    ts_free(reader->buffer);
    return status;
}

/* What of the manifest is to be read, and its checksums one behind another. */
typedef struct Plan {
    TsGroup *group;
    const TsManifest *manifest;
    const TsBatch *arrays;
    int64_t segments;
    uint32_t *sums; /* (segments) */
} Plan;

static const TsManifestArray *saved_of(const Plan *plan, int index)
{
    return &plan->manifest->arrays[ts_manifest_find(plan->manifest, ts_batch_name(plan->arrays, index))];
}

/* Reads this rank's shares, and adds up their checksums. Not collective. */
static TsStatus read_shares(TsStateFile *file, const Plan *plan)
{
    uint32_t *sums = plan->sums;
    for (int i = 0; i < ts_batch_count(plan->arrays); i++) {
        Reader reader = {
            .file = file, .saved = saved_of(plan, i), .array = ts_batch_array(plan->arrays, i), .sums = sums};
        reader.index = (int)(reader.saved - plan->manifest->arrays);
        if (holds_copy(reader.array))
            TS_TRY(read_share(&reader, plan->group));
        sums += reader.saved->segments;
    }
    return TS_OK;
}

/* Each byte was read by one rank: puts their sums together, and compares. The same on all ranks. Collective. */
static TsStatus compare_sums(const Plan *plan, const char *state_path)
{
    uint32_t *sums = plan->sums;
    ts_segments_reduce(plan->group, sums, plan->segments);
    for (int i = 0; i < ts_batch_count(plan->arrays); i++) {
        const TsManifestArray *saved = saved_of(plan, i);
        ts_segments_finish(sums, saved->dtype, saved->shape);
        TS_TRY(ts_segments_compare(sums, saved, state_path));
        sums += saved->segments;
    }
    return TS_OK;
}

/* Collective. */
static TsStatus read_open_file(TsStateFile *file, Plan plan, const char *state_path)
{
    for (int i = 0; i < ts_batch_count(plan.arrays); i++) {
        const TsArray *array = ts_batch_array(plan.arrays, i);
        TS_CHECK(!array->placement.partial, "%s is Partial: it cannot be restored", ts_batch_name(plan.arrays, i));
        TS_CHECK(!array->mesh || ts_mesh_ranks(array->mesh) == ts_group_size(plan.group),
                 "%s lies on a mesh of %d ranks, not of the %d that restore", ts_batch_name(plan.arrays, i),
                 ts_mesh_ranks(array->mesh), ts_group_size(plan.group));
        plan.segments += saved_of(&plan, i)->segments;
    }
    plan.sums = ts_calloc((size_t)plan.segments, sizeof *plan.sums);
    TsStatus status = ts_comm_agree(plan.group, read_shares(file, &plan));
    if (!status)
        status = compare_sums(&plan, state_path);
    ts_free(plan.sums);
    for (int i = 0; !status && i < ts_batch_count(plan.arrays); i++)
        if (holds_copy(ts_batch_array(plan.arrays, i)))
            exchange_share(ts_batch_array(plan.arrays, i), plan.group);
    return status;
}

TsStatus ts_restore_read(TsGroup *group, const TsManifest *manifest, const TsBatch *arrays, const char *state_path)
{
    TsStateFile *file;
    TS_TRY(ts_state_file_open(&file, group, state_path, manifest, false));
    TsStatus status = read_open_file(file, (Plan){.group = group, .manifest = manifest, .arrays = arrays}, state_path);
    ts_state_file_close(&file);
    return status;
}
