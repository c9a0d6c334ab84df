/* SPDX-License-Identifier: Apache-2.0
 *
 * Export: a run as a pre-trained model that other programs load. What a LoRA run learned is merged into its base.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/names.h"
#include "ckpt/checkpoint.h"
#include "ckpt/share.h"
#include "model/fine_tune.h"
#include "task/run/base.h"
#include "task/pretrained/exchange.h"
#include "task/pretrained/family.h"
#include "task/pretrained/model_files.h"

#define KEPT "parameters/" /* in front of a path, in a checkpoint */

/* An array of the run: in its newest checkpoint, or in that of its base. */
typedef struct Source {
    TsCheckpoint *checkpoint; /* borrowed */
    char *name;               /* there; owned */
    char *path;               /* "backbone/..."; owned */
    TsDtype dtype;
    TsShape shape;
} Source;

/* A tensor of theirs. */
typedef struct Target {
    char *name; /* owned */
    TsShape shape;
    int first; /* of its parts, which are linked; -1: none */
} Target;

/* A parameter that is one part of a tensor. */
typedef struct Part {
    int source, lora_a, lora_b; /* sources; lora_a < 0: nothing is merged into it */
    TsSafetensorsView view;
    int next; /* of the same tensor, -1: none */
} Part;

typedef struct Export {
    TsGroup *group;
    TsCheckpoint *checkpoint, *base; /* base NULL: there is none */
    TsModelKeys keys;
    const TsFamily *family;
    Source *source; /* (sources) */
    Target *target; /* (targets) */
    Part *part;     /* (sources) */
    int sources, targets;
    TsNames paths, names; /* of sources; of targets */
    char *config;         /* the text of config.json, owned */
} Export;

static void free_export(Export *export)
{
    for (int i = 0; i < export->sources; i++) {
        ts_free(export->source[i].name);
        ts_free(export->source[i].path);
    }
    for (int i = 0; i < export->targets; i++)
        ts_free(export->target[i].name);
    ts_free(export->source);
    ts_free(export->target);
    ts_free(export->part);
    ts_names_free(&export->paths);
    ts_names_free(&export->names);
    ts_free(export->config);
    ts_model_keys_free(&export->keys);
    ts_checkpoint_close(&export->checkpoint);
    ts_checkpoint_close(&export->base);
}

/* ---- what there is ---- */

static void add_source(Export *export, TsCheckpoint *checkpoint, const char *name, const char *path,
                       TsCheckpointEntry entry)
{
    if (strncmp(path, "backbone/", 9) != 0 || ts_names_find(&export->paths, path) >= 0)
        return;
    export->source = ts_realloc(export->source, ((size_t) export->sources + 1) * sizeof *export->source);
    export->source[export->sources] = (Source){.checkpoint = checkpoint,
                                               .name = ts_strdup(name),
                                               .path = ts_strdup(path),
                                               .dtype = entry.dtype,
                                               .shape = entry.shape};
    ts_names_add(&export->paths, export->source[export->sources].path, export->sources);
    export->sources++;
}

/* The backbone of the checkpoint, and what it took from its base and did not keep. */
static void list_sources(Export *export)
{
    TsNames entries = {0};
    const char *name;
    json_t *source,
        *from = json_object_get(
            json_object_get((json_t *)(uintptr_t)ts_checkpoint_state(export->checkpoint), "initialized"), "arrays");
    for (int i = 0; i < ts_checkpoint_count(export->checkpoint); i++) {
        TsCheckpointEntry entry = ts_checkpoint_entry(export->checkpoint, i);
        if (strncmp(entry.name, KEPT, strlen(KEPT)) == 0)
            add_source(export, export->checkpoint, entry.name, entry.name + strlen(KEPT), entry);
    }
    for (int i = 0; export->base && i < ts_checkpoint_count(export->base); i++)
        ts_names_add(&entries, ts_checkpoint_entry(export->base, i).name, i);
    json_object_foreach(from, name, source)
    {
        int64_t there = json_is_string(source) ? ts_names_find(&entries, json_string_value(source)) : -1;
        if (there >= 0 && strncmp(name, KEPT, strlen(KEPT)) == 0)
            add_source(export, export->base, json_string_value(source), name + strlen(KEPT),
                       ts_checkpoint_entry(export->base, (int)there));
    }
    ts_names_free(&entries);
}

/* The source of a matrix that is merged into the layer of `path`, .../kernel; -1: there is none. */
static int find_lora(const Export *export, const char *path, const char *which)
{
    const char *last = strrchr(path, '/');
    if (!last || strcmp(last, "/kernel") != 0)
        return -1;
    char *name = ts_format("%.*s/%s", (int)(last - path), path, which);
    int64_t found = ts_names_find(&export->paths, name);
    ts_free(name);
    return (int)found;
}

/* Which tensors there will be: in the order of their first parameters. */
static TsStatus plan(Export *export)
{
    export->target = ts_calloc((size_t) export->sources + 1, sizeof *export->target);
    export->part = ts_calloc((size_t) export->sources + 1, sizeof *export->part);
    for (int i = 0; i < export->sources; i++) {
        const Source *source = &export->source[i];
        Target target = {.first = -1};
        if (ts_fine_tune_adds(source->path))
            continue;
        export->part[i] = (Part){.source = i,
                                 .lora_a = find_lora(export, source->path, "lora_a"),
                                 .lora_b = find_lora(export, source->path, "lora_b")};
        TS_TRY(ts_family_target(export->family, &target.name, &target.shape, &export->part[i].view, source->path,
                                source->shape));
        int64_t at = ts_names_find(&export->names, target.name);
        if (at < 0) {
            at = export->targets++;
            export->target[at] = target;
            ts_names_add(&export->names, target.name, at);
        } else {
            ts_free(target.name);
        }
        export->part[i].next = export->target[at].first;
        export->target[at].first = i;
    }
    return export->targets ? TS_OK
                           : ts_status_error(TS_CODE_INVALID, "%s: has no parameters of a backbone",
                                             ts_checkpoint_path(export->checkpoint));
}

/* ---- the file ---- */

static TsStatus write_all(int fd, const void *bytes, size_t size_bytes)
{
    for (size_t done = 0; done < size_bytes;) {
        ssize_t wrote = write(fd, (const char *)bytes + done, size_bytes - done);
        if (wrote <= 0)
            return ts_status_error(TS_CODE_IO, "it cannot be written: is the disk full?");
        done += (size_t)wrote;
    }
    return TS_OK;
}

/* {"name": {"dtype": "F32", ...}}, with blanks behind it so that the tensors begin at a multiple of 8. */
static TsStatus write_header(int fd, const Export *export)
{
    json_t *json = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    int64_t at = 0;
    for (int i = 0; i < export->targets; i++) {
        json_t *shape = json_array();
        int64_t bytes = ts_shape_elems(export->target[i].shape) * (int64_t)sizeof(float);
        for (int d = 0; d < export->target[i].shape.dims; d++)
            json_array_append_new(shape, json_integer(export->target[i].shape.size[d]));
        json_object_set_new(json, export->target[i].name,
                            json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape", shape, "data_offsets",
                                      (json_int_t)at, (json_int_t)(at + bytes)));
        at += bytes;
    }
    char *text = json_dumps(json, JSON_COMPACT);
    size_t bytes = strlen(text), padded = (bytes + 7) / 8 * 8;
    TsText whole = {0};
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)(padded >> (8 * i));
    ts_text_append_bytes(&whole, prefix, sizeof prefix);
    ts_text_append(&whole, "%s%*s", text, (int)(padded - bytes), "");
    TsStatus status = write_all(fd, whole.data, whole.size_bytes);
    ts_text_free(&whole);
    free(text); /* jansson's own memory */
    json_decref(json);
    return status;
}

/* The whole array, as doubles; NULL after an error. Owned by the caller. Collective. */
static TsStatus read_source(double **values, const Source *source)
{
    TsBatch *one = ts_batch_create();
    TsArray *array = ts_array_create(NULL, source->dtype, source->shape, ts_replicated, (TsArrayOptions){0});
    int64_t elems = ts_shape_elems(source->shape);
    ts_batch_put(one, source->name, array);
    TsStatus status = ts_checkpoint_restore(source->checkpoint, one, (TsRestoreOptions){.allow_unused = true});
    *values = status ? NULL : ts_alloc((size_t)elems * sizeof **values + 1);
    for (int64_t e = 0; e < elems && !status; e++)
        (*values)[e] = ts_share_value(array, e);
    ts_batch_free(&one);
    return status;
}

/* kernel (in..., out...) += scale * A (in..., r) B (r, out...). Collective. */
static TsStatus merge(double *kernel, const Export *export, const Part *part)
{
    const Source *of_a = &export->source[part->lora_a], *of_b = &export->source[part->lora_b];
    int64_t r = of_b->shape.dims ? of_b->shape.size[0] : 0, elems = ts_shape_elems(export->source[part->source].shape);
    int64_t in = r ? ts_shape_elems(of_a->shape) / r : 0, out = r ? ts_shape_elems(of_b->shape) / r : 0;
    TsFineTuneConfig keys = export->keys.fine_tune;
    if (r < 1 || in * out != elems || in * r != ts_shape_elems(of_a->shape))
        return ts_status_error(TS_CODE_CORRUPT, "%s %s and %s do not go with their kernel", of_b->name,
                               ts_shape_text(of_b->shape).text, ts_shape_text(of_a->shape).text);
    double *a = NULL, *b = NULL;
    TsStatus status = read_source(&a, of_a);
    if (!status)
        status = read_source(&b, of_b);
    keys.r = r;
    double scale = ts_fine_tune_scale(&keys);
    for (int64_t i = 0; i < in && !status; i++)
        for (int64_t k = 0; k < r; k++)
            for (int64_t o = 0; o < out; o++)
                kernel[i * out + o] += scale * a[i * r + k] * b[k * out + o];
    ts_free(a);
    ts_free(b);
    return status;
}

/* tensor[...] = the parameter's elements, where they belong. */
static void scatter(float *tensor, const double *values, TsShape shape, const TsSafetensorsView *view)
{
    int64_t elems = ts_shape_elems(shape), at[TS_MAX_DIMS] = {0};
    for (int64_t e = 0; e < elems; e++) {
        int64_t to = view->first_elem;
        for (int d = 0; d < shape.dims; d++)
            to += at[d] * view->stride_elems[d];
        tensor[to] = (float)values[e];
        for (int d = shape.dims - 1; d >= 0 && ++at[d] == shape.size[d]; d--)
            at[d] = 0;
    }
}

/* One tensor after another; rank 0 has the file. Collective. */
static TsStatus write_tensors(int fd, const Export *export)
{
    TsStatus status = ts_comm_agree(export->group, fd >= 0 ? write_header(fd, export) : TS_OK);
    for (int i = 0; i < export->targets && !status; i++) {
        const Target *target = &export->target[i];
        int64_t elems = ts_shape_elems(target->shape);
        float *tensor = ts_calloc((size_t)elems + 1, sizeof *tensor);
        for (int p = target->first; p >= 0 && !status; p = export->part[p].next) {
            const Part *part = &export->part[p];
            double *values = NULL;
            status = read_source(&values, &export->source[part->source]);
            if (!status && part->lora_a >= 0 && part->lora_b >= 0)
                status = merge(values, export, part);
            if (!status && fd >= 0)
                scatter(tensor, values, export->source[part->source].shape, &part->view);
            ts_free(values);
        }
        if (!status)
            status =
                ts_comm_agree(export->group, fd >= 0 ? write_all(fd, tensor, (size_t)elems * sizeof *tensor) : TS_OK);
        ts_free(tensor);
    }
    return status;
}

/* The files under their names, the weights last: where they are, all is. */
static TsStatus finish(int fd, const Export *export, const char *temporary, const char *path, const char *out_dir)
{
    char *config_path = ts_format("%s/config.json", out_dir);
    TsStatus status =
        fsync(fd) == 0 ? TS_OK : ts_status_error(TS_CODE_IO, "%s: cannot be written to the disk", temporary);
    if (!status)
        status = ts_file_write(config_path, export->config, strlen(export->config));
    if (!status && export->keys.tokenizer)
        status = ts_model_files_copy_tokenizer(export->keys.tokenizer, out_dir);
    if (!status)
        status = ts_file_rename(temporary, path);
    ts_free(config_path);
    return status;
}

static TsStatus open_new(int *fd, const char *out_dir, const char *temporary, const char *path)
{
    TS_TRY(ts_file_make_directory(out_dir));
    if (ts_file_exists(path))
        return ts_status_error(TS_CODE_INVALID, "%s is there already", path);
    *fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return *fd >= 0 ? TS_OK : ts_status_error(TS_CODE_IO, "%s: cannot be made", temporary);
}

static TsStatus write_files(const Export *export, const char *out_dir)
{
    char *path = ts_format("%s/model.safetensors", out_dir), *temporary = ts_format("%s.tmp", path);
    int fd = -1;
    bool writes = ts_group_rank(export->group) == 0;
    TsStatus status = ts_comm_agree(export->group, writes ? open_new(&fd, out_dir, temporary, path) : TS_OK);
    if (!status)
        status = write_tensors(fd, export);
    if (!status)
        status = ts_comm_agree(export->group, writes ? finish(fd, export, temporary, path, out_dir) : TS_OK);
    if (fd >= 0)
        close(fd);
    if (status && fd >= 0) {
        TsStatus removed = ts_file_remove(temporary);
        ts_status_free(&removed);
    }
    ts_free(path);
    ts_free(temporary);
    return ts_status_annotate(status, "%s", out_dir);
}

/* ---- all of it ---- */

/* The run's options, with the vocabulary that its weights have. */
static TsStatus describe(Export *export)
{
    TsTransformer options = export->keys.backbone;
    int64_t table = ts_names_find(&export->paths, "backbone/tokens/table");
    if (export->keys.fine_tune.mode == TS_FINE_TUNE_ADAPTERS)
        return ts_status_error(TS_CODE_UNSUPPORTED,
                               "%s has residual adapters (fine_tune.mode), for which no other program's model has a "
                               "place",
                               ts_checkpoint_path(export->checkpoint));
    if (table < 0)
        return ts_status_error(TS_CODE_INVALID,
                               "%s: has no backbone: it was frozen, and taken from nowhere (init_from)",
                               ts_checkpoint_path(export->checkpoint));
    options.vocab = export->source[table].shape.size[0];
    const char *imported = json_string_value(json_object_get(ts_checkpoint_state(export->checkpoint), "family"));
    if (!imported && export->base)
        imported = json_string_value(json_object_get(ts_checkpoint_state(export->base), "family"));
    return ts_family_of(&export->family, &export->config, &options, imported);
}

static TsStatus export_run(Export *export, const char *run_dir, const char *out_dir)
{
    TS_TRY(ts_checkpoint_latest(&export->checkpoint, export->group, run_dir));
    if (!export->checkpoint)
        return ts_status_error(TS_CODE_NOT_FOUND, "%s has no checkpoint", run_dir);
    TS_TRY(ts_comm_agree(export->group, ts_model_keys_read(&export->keys, run_dir)));
    if (export->keys.fine_tune.mode != TS_FINE_TUNE_FULL)
        TS_TRY(ts_base_open(&export->base, export->group, ts_checkpoint_state(export->checkpoint),
                            export->keys.init_from));
    list_sources(export);
    TS_TRY(ts_comm_agree(export->group, describe(export)));
    TS_TRY(ts_comm_agree(export->group, plan(export)));
    return write_files(export, out_dir);
}

TsStatus ts_export(TsGroup *group, const char *run_dir, const char *out_dir)
{
    Export export = {.group = group};
    TsStatus status = export_run(&export, run_dir, out_dir);
    free_export(&export);
    return status;
}
