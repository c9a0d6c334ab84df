/* SPDX-License-Identifier: Apache-2.0 */
#include "task/exchange.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "ckpt/checkpoint.h"
#include "ckpt/share.h"
#include "task/family.h"
#include "task/task.h"

#define KEPT "parameters/" /* in front of a path, in a checkpoint */

/* ---- the backbone as a configuration ---- */

typedef struct ModelConfig {
    TsChoice backbone;
} ModelConfig;

static const TsKey keys[] = {TS_KEY_CHOICE(ModelConfig, backbone, &ts_backbones, "what computes", .required = true),
                             TS_KEYS_END};
static const TsConfigTable model_table = {"model", "A backbone alone.", sizeof(ModelConfig), keys, NULL};

/* The backbone of a run's config.yaml, all other keys left aside; *config is owned by the caller, also after an error,
 * and borrows from `pool`. */
static TsStatus read_backbone(TsConfig **config, TsPool *pool, const char *text, size_t text_bytes, const char *path)
{
    const TsYaml *tree;
    TS_TRY(ts_yaml_parse(pool, &tree, path, text, text_bytes));
    const TsYaml *backbone = ts_yaml_get(tree, "backbone");
    if (!backbone)
        return ts_status_error(TS_CODE_INVALID, "%s: has no backbone", path);
    return ts_config_bind(config, &model_table,
                          ts_yaml_map(pool, path, 1, 1, (const char *const[]){"backbone"},
                                      (TsYaml *const[]){(TsYaml *)(uintptr_t)backbone}));
}

static const char *word(bool value)
{
    return value ? "true" : "false";
}

/* The same words that a person would write. */
static char *config_text(const TsTransformer *o, const char *dir, const char *out_dir)
{
    static const char *const activation[] = {"gelu", "gelu_tanh", "relu", "silu", "swiglu", "geglu"};
    static const char *const positions[] = {"learned", "sinusoidal", "rotary", "alibi", "none"};
    TsText text = {0};
    ts_text_append(&text,
                   "# The model of %s. Name this file in front of one with tasks, whose tokenizer is\n"
                   "# {type: pretrained, path: %s}.\n"
                   "run: {dir: \"%s\"}\n"
                   "backbone:\n"
                   "  type: transformer\n"
                   "  layers: %lld\n  heads: %lld\n  width: %lld\n  context: %lld\n  vocab: %lld\n",
                   dir, dir, out_dir, (long long)o->layers, (long long)o->heads, (long long)o->width,
                   (long long)o->context, (long long)o->vocab);
    if (o->hidden != TS_AUTO)
        ts_text_append(&text, "  hidden: %lld\n", (long long)o->hidden);
    if (o->key_value_heads != TS_AUTO)
        ts_text_append(&text, "  key_value_heads: %lld\n", (long long)o->key_value_heads);
    ts_text_append(&text, "  dropout: %.17g\n  activation: %s\n  norm: %s\n  norm_epsilon: %.17g\n  post_norm: %s\n",
                   o->dropout, activation[o->activation], o->norm == TS_NORM_RMS ? "rms" : "layer", o->norm_epsilon,
                   word(o->post_norm));
    ts_text_append(&text, "  positions: %s\n", positions[o->positions]);
    if (o->positions == TS_POSITIONS_ROTARY && o->rotary_base > 0)
        ts_text_append(&text, "  rotary_base: %.17g\n", o->rotary_base);
    ts_text_append(&text,
                   "  biases: %s\n  token_types: %lld\n  mask_token: %lld\n  head_transform: %s\n  tied: %s\n"
                   "  causal: %s\n",
                   word(o->biases), (long long)o->token_types, (long long)o->mask_token, word(o->head_transform),
                   word(o->tied), word(o->causal));
    return text.data;
}

/* ---- import ---- */

/* Fills a table with the parameters of the model. */
static TsStatus declare(TsParameters *parameters, const TsTransformer *options)
{
    TsGraph *graph = ts_graph_create();
    TsScope scope = {.graph = graph, .parameters = parameters, .dtype = TS_F32, .step = TS_NONE};
    TsTensor tokens = ts_input(graph, "tokens", TS_I32, ts_shape(1, 1), ts_replicated);
    TsTensor hidden = ts_transformer(ts_in(scope, "backbone"), options, tokens, TS_NONE, NULL);
    ts_transformer_logits(ts_in(scope, "backbone"), options, hidden);
    TsStatus status = ts_graph_status(graph);
    ts_graph_free(&graph);
    return status;
}

/* This rank's shares of the parameters that the weights have; heads may be missing. */
static TsStatus read_shares(TsBatch *kept, const TsMesh *mesh, const TsFamily *family, const TsSafetensors *weights,
                            const TsParameters *parameters)
{
    TsBatch *shares = ts_batch_create();
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        TsArray *share =
            ts_share_create(mesh, (TsCheckpointEntry){.name = row->path, .dtype = row->dtype, .shape = row->shape});
        ts_batch_lend(shares, row->path, share);
    }
    int left;
    TsStatus status = ts_family_load(family, weights, shares, &left);
    for (int i = 0; i < ts_batch_count(shares); i++) {
        TsArray *share = ts_batch_array(shares, i);
        TsSafetensorsView view;
        TsStatus there = ts_family_view(family, &view, weights, ts_batch_name(shares, i), share->shape);
        if (there) {
            ts_array_free(&share);
        } else {
            char *name = ts_format(KEPT "%s", ts_batch_name(shares, i));
            ts_batch_put(kept, name, share);
            ts_free(name);
        }
        ts_status_free(&there);
    }
    ts_batch_free(&shares);
    if (!status && left && ts_mesh_coord(mesh, TS_AXIS_DATA) == 0)
        ts_log(TS_LOG_WARNING, "the weights have no language model head: its %d parameters are left out", left);
    return status;
}

static TsStatus save(TsGroup *group, const TsBatch *kept, const TsFamily *family, const char *dir, const char *out_dir)
{
    json_t *state = json_pack("{s:s, s:s}", "imported", dir, "family", ts_family_name(family));
    TsCheckpointSaver *saver = NULL;
    TsStatus status = state ? ts_checkpoint_saver_create(&saver, group, out_dir, (TsCheckpointSaverOptions){0})
                            : ts_status_error(TS_CODE_INVALID, "import: the name of the directory is not UTF-8");
    if (!status)
        status = ts_checkpoint_save(saver, 0, kept, state);
    ts_checkpoint_saver_free(&saver);
    json_decref(state);
    return status;
}

static TsStatus refuse_run(const char *out_dir)
{
    char *path = ts_format("%s/checkpoints", out_dir);
    TsStatus status =
        ts_file_exists(path)
            ? ts_status_error(TS_CODE_INVALID, "%s is there already: an import needs a directory of its own", path)
            : TS_OK;
    ts_free(path);
    return status;
}

static TsStatus write_config(const TsTransformer *options, const char *dir, const char *out_dir)
{
    char *text = config_text(options, dir, out_dir), *path = ts_format("%s/config.yaml", out_dir);
    TsStatus status = ts_file_write(path, text, strlen(text));
    ts_free(text);
    ts_free(path);
    return status;
}

TsStatus ts_import(TsGroup *group, const char *dir, const char *out_dir)
{
    const TsFamily *family = NULL;
    TsTransformer options;
    TsSafetensors *weights = NULL;
    TsMesh *mesh = NULL;
    TsParameters *parameters = ts_parameters_create(NULL);
    TsBatch *kept = ts_batch_create();
    TsStatus status = ts_comm_agree(group, refuse_run(out_dir));
    if (!status)
        status = ts_comm_agree(group, ts_family_read(&family, &options, dir));
    if (!status)
        status = ts_comm_agree(group, declare(parameters, &options));
    if (!status)
        status = ts_comm_agree(group, ts_safetensors_open(&weights, dir));
    if (!status)
        status = ts_share_mesh(&mesh, group);
    if (!status)
        status =
            ts_comm_agree(group, ts_status_annotate(read_shares(kept, mesh, family, weights, parameters), "%s", dir));
    if (!status)
        status = save(group, kept, family, dir, out_dir);
    if (!status)
        status = ts_comm_agree(group, ts_group_rank(group) == 0 ? write_config(&options, dir, out_dir) : TS_OK);
    ts_batch_free(&kept);
    ts_parameters_free(&parameters);
    ts_mesh_free(&mesh);
    ts_safetensors_close(&weights);
    return status;
}

/* ---- export ---- */

/* A tensor of theirs, and the parameters that it is made of. */
typedef struct Target {
    char *name; /* owned */
    TsShape shape;
    int first, count; /* rows of the list of parts */
} Target;

typedef struct Part {
    char *kept; /* the array in the checkpoint, owned */
    TsShape shape;
    TsSafetensorsView view;
} Part;

typedef struct Export {
    const TsFamily *family;
    Target *target; /* (targets), each followed by its parts in `part` */
    Part *part;     /* (parts) */
    int targets, parts;
} Export;

static void free_export(Export *export)
{
    for (int i = 0; i < export->targets; i++)
        ts_free(export->target[i].name);
    for (int i = 0; i < export->parts; i++)
        ts_free(export->part[i].kept);
    ts_free(export->target);
    ts_free(export->part);
}

/* Which tensors there will be: parameters of the checkpoint in its order; those of one tensor follow each other. */
static TsStatus plan(Export *export, const TsCheckpoint *checkpoint)
{
    int count = ts_checkpoint_count(checkpoint);
    export->target = ts_calloc((size_t)count + 1, sizeof *export->target);
    export->part = ts_calloc((size_t)count + 1, sizeof *export->part);
    for (int i = 0; i < count; i++) {
        TsCheckpointEntry entry = ts_checkpoint_entry(checkpoint, i);
        if (strncmp(entry.name, KEPT "backbone/", strlen(KEPT "backbone/")) != 0)
            continue;
        Part *part = &export->part[export->parts];
        Target target = {.first = export->parts, .count = 1};
        TS_TRY(ts_family_target(export->family, &target.name, &target.shape, &part->view, entry.name + strlen(KEPT),
                                entry.shape));
        part->kept = ts_strdup(entry.name);
        part->shape = entry.shape;
        export->parts++;
        Target *same = NULL;
        for (int t = 0; t < export->targets && !same; t++)
            if (strcmp(export->target[t].name, target.name) == 0)
                same = &export->target[t];
        if (!same) {
            export->target[export->targets++] = target;
            continue;
        }
        ts_free(target.name);
        Part moved = export->part[export->parts - 1]; /* behind those of the same tensor */
        int at = same->first + same->count++;
        memmove(&export->part[at + 1], &export->part[at], (size_t)(export->parts - 1 - at) * sizeof moved);
        export->part[at] = moved;
        for (int t = 0; t < export->targets; t++)
            if (export->target[t].first >= at && &export->target[t] != same)
                export->target[t].first++;
    }
    return export->targets ? TS_OK
                           : ts_status_error(TS_CODE_INVALID, "%s: has no parameters of a backbone",
                                             ts_checkpoint_path(checkpoint));
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
    bool written = write(fd, whole.data, whole.size_bytes) == (ssize_t)whole.size_bytes;
    ts_text_free(&whole);
    free(text); /* jansson's own memory */
    json_decref(json);
    return written ? TS_OK : ts_status_error(TS_CODE_IO, "the header cannot be written");
}

/* tensor[...] = the parameter's elements, where they belong. */
static void scatter(float *tensor, const TsArray *array, const TsSafetensorsView *view)
{
    int64_t elems = ts_shape_elems(array->shape), at[TS_MAX_DIMS] = {0};
    for (int64_t e = 0; e < elems; e++) {
        int64_t to = view->first_elem;
        for (int d = 0; d < array->shape.dims; d++)
            to += at[d] * view->stride_elems[d];
        tensor[to] = (float)ts_share_value(array, e);
        for (int d = array->shape.dims - 1; d >= 0 && ++at[d] == array->shape.size[d]; d--)
            at[d] = 0;
    }
}

static TsStatus write_all(int fd, const void *bytes, size_t size_bytes)
{
    for (size_t done = 0; done < size_bytes;) {
        ssize_t wrote = write(fd, (const char *)bytes + done, size_bytes - done);
        if (wrote <= 0)
            return ts_status_error(TS_CODE_IO, "a tensor cannot be written: is the disk full?");
        done += (size_t)wrote;
    }
    return TS_OK;
}

/* One tensor after another; rank 0 has the file. Collective. */
static TsStatus write_tensors(int fd, const Export *export, TsCheckpoint *checkpoint, TsGroup *group)
{
    TsStatus status = ts_comm_agree(group, fd >= 0 ? write_header(fd, export) : TS_OK);
    for (int i = 0; i < export->targets && !status; i++) {
        const Target *target = &export->target[i];
        int64_t elems = ts_shape_elems(target->shape);
        float *tensor = ts_calloc((size_t)elems + 1, sizeof *tensor);
        for (int p = target->first; p < target->first + target->count && !status; p++) {
            const Part *part = &export->part[p];
            TsDtype dtype = TS_F32;
            for (int e = 0; e < ts_checkpoint_count(checkpoint); e++)
                if (strcmp(ts_checkpoint_entry(checkpoint, e).name, part->kept) == 0)
                    dtype = ts_checkpoint_entry(checkpoint, e).dtype;
            TsBatch *one = ts_batch_create();
            TsArray *array = ts_array_create(NULL, dtype, part->shape, ts_replicated, (TsArrayOptions){0});
            ts_batch_put(one, part->kept, array);
            status = ts_checkpoint_restore(checkpoint, one, (TsRestoreOptions){.allow_unused = true});
            if (!status && fd >= 0)
                scatter(tensor, array, &part->view);
            ts_batch_free(&one);
        }
        if (!status)
            status = ts_comm_agree(group, fd >= 0 ? write_all(fd, tensor, (size_t)elems * sizeof *tensor) : TS_OK);
        ts_free(tensor);
    }
    return status;
}

/* The files under their names, the description last. */
static TsStatus finish(int fd, const char *temporary, const char *path, const char *config_path, const char *config)
{
    if (fsync(fd) != 0)
        return ts_status_error(TS_CODE_IO, "%s: cannot be written to the disk", temporary);
    TS_TRY(ts_file_rename(temporary, path));
    return ts_file_write(config_path, config, strlen(config));
}

static TsStatus open_new(int *fd, const char *out_dir, const char *temporary, const char *path)
{
    TS_TRY(ts_file_make_directory(out_dir));
    if (ts_file_exists(path))
        return ts_status_error(TS_CODE_INVALID, "%s is there already", path);
    *fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return *fd >= 0 ? TS_OK : ts_status_error(TS_CODE_IO, "%s: cannot be made", temporary);
}

static TsStatus write_files(const Export *export, TsCheckpoint *checkpoint, TsGroup *group, const char *out_dir,
                            const char *config)
{
    char *path = ts_format("%s/model.safetensors", out_dir), *temporary = ts_format("%s.tmp", path);
    char *config_path = ts_format("%s/config.json", out_dir);
    int fd = -1;
    bool writes = ts_group_rank(group) == 0;
    TsStatus status = ts_comm_agree(group, writes ? open_new(&fd, out_dir, temporary, path) : TS_OK);
    if (!status)
        status = write_tensors(fd, export, checkpoint, group);
    if (!status)
        status = ts_comm_agree(group, writes ? finish(fd, temporary, path, config_path, config) : TS_OK);
    if (fd >= 0)
        close(fd);
    if (status && fd >= 0) {
        TsStatus removed = ts_file_remove(temporary);
        ts_status_free(&removed);
    }
    ts_free(path);
    ts_free(temporary);
    ts_free(config_path);
    return ts_status_annotate(status, "%s", out_dir);
}

/* The options of the run's backbone, with the vocabulary that its checkpoint has. */
static TsStatus read_options(TsTransformer *options, const TsCheckpoint *checkpoint, const char *run_dir)
{
    static const size_t most_bytes = 16 << 20;
    char *path = ts_format("%s/config.yaml", run_dir), *text = NULL;
    size_t bytes;
    TsPool *pool = ts_pool_create();
    TsConfig *config = NULL;
    TsStatus status = ts_file_read(&text, &bytes, path, most_bytes);
    if (!status)
        status = read_backbone(&config, pool, text, bytes, path);
    if (!status) {
        *options = *(const TsTransformer *)((const ModelConfig *)ts_config_value(config))->backbone.value;
        for (int i = 0; i < ts_checkpoint_count(checkpoint); i++)
            if (strcmp(ts_checkpoint_entry(checkpoint, i).name, KEPT "backbone/tokens/table") == 0)
                options->vocab = ts_checkpoint_entry(checkpoint, i).shape.size[0];
    }
    ts_config_free(&config);
    ts_pool_free(&pool);
    ts_free(text);
    ts_free(path);
    return status;
}

/* The family that an import noted, or NULL. */
static const char *imported_as(const TsCheckpoint *checkpoint)
{
    return json_string_value(json_object_get(ts_checkpoint_state(checkpoint), "family"));
}

TsStatus ts_export(TsGroup *group, const char *run_dir, const char *out_dir)
{
    TsCheckpoint *checkpoint = NULL;
    TsTransformer options;
    Export export = {0};
    char *config = NULL;
    TS_TRY(ts_checkpoint_latest(&checkpoint, group, run_dir));
    TsStatus status = checkpoint ? TS_OK : ts_status_error(TS_CODE_NOT_FOUND, "%s has no checkpoint", run_dir);
    if (!status)
        status = ts_comm_agree(group, read_options(&options, checkpoint, run_dir));
    if (!status)
        status = ts_comm_agree(group, ts_family_of(&export.family, &config, &options, imported_as(checkpoint)));
    if (!status)
        status = ts_comm_agree(group, plan(&export, checkpoint));
    if (!status)
        status = write_files(&export, checkpoint, group, out_dir, config);
    free_export(&export);
    ts_free(config);
    ts_checkpoint_close(&checkpoint);
    return status;
}
