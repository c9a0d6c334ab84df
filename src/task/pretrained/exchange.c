/* SPDX-License-Identifier: Apache-2.0
 *
 * Import: a pre-trained model as a run; its way back is in export.c.
 */
#include "task/pretrained/exchange.h"

#include <jansson.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "ckpt/checkpoint.h"
#include "ckpt/share.h"
#include "task/pretrained/family.h"
#include "task/pretrained/model_files.h"

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
    TsBatch *shares = ts_batch_create(); /* by path, lent */
    int left = 0;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (ts_family_lacks(family, weights, row->path)) {
            left++;
            continue;
        }
        char *name = ts_format("parameters/%s", row->path);
        TsArray *share =
            ts_share_create(mesh, (TsCheckpointEntry){.name = row->path, .dtype = row->dtype, .shape = row->shape});
        ts_batch_lend(shares, row->path, share);
        ts_batch_put(kept, name, share);
        ts_free(name);
    }
    int none;
    TsStatus status = ts_family_load(family, weights, shares, &none);
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

/* A run that is there is not written over. */
static TsStatus refuse_run(const char *out_dir)
{
    static const char *const names[] = {"checkpoints", "config.yaml"};
    TsStatus status = TS_OK;
    for (int i = 0; i < 2 && !status; i++) {
        char *path = ts_format("%s/%s", out_dir, names[i]);
        if (ts_file_exists(path))
            status =
                ts_status_error(TS_CODE_INVALID, "%s is there already: an import needs a directory of its own", path);
        ts_free(path);
    }
    return status;
}

/* Beside the checkpoint: the configuration, and the tokenizer if the model came with one. */
static TsStatus write_files(const TsTransformer *options, const char *dir, const char *out_dir)
{
    char *tokenizer = ts_format("%s/tokenizer", out_dir);
    bool has_tokenizer = ts_model_files_has_tokenizer(dir);
    TsStatus status = has_tokenizer ? ts_file_make_directory(tokenizer) : TS_OK;
    if (!status && has_tokenizer)
        status = ts_model_files_copy_tokenizer(dir, tokenizer);
    if (!status)
        status = ts_model_files_write_config(options, dir, out_dir, has_tokenizer);
    ts_free(tokenizer);
    return status;
}

/* Leaves nothing of an import that failed: the whole directory, if it was not there before. */
static void clean_up(const char *out_dir, bool was_there)
{
    static const char *const names[] = {"checkpoints", "tokenizer", "config.yaml"};
    for (int i = 0; i < (was_there ? 3 : 1); i++) {
        char *path = was_there ? ts_format("%s/%s", out_dir, names[i]) : ts_strdup(out_dir);
        TsStatus removed = ts_file_remove(path);
        ts_status_free(&removed);
        ts_free(path);
    }
}

TsStatus ts_import(TsGroup *group, const char *dir, const char *out_dir)
{
    const TsFamily *family = NULL;
    TsTransformer options;
    TsSafetensors *weights = NULL;
    TsMesh *mesh = NULL;
    TsParameters *parameters = ts_parameters_create(NULL);
    TsBatch *kept = ts_batch_create();
    bool was_there = ts_file_exists(out_dir), first = ts_group_rank(group) == 0;
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
    if (!status) {
        status = save(group, kept, family, dir, out_dir);
        if (!status)
            status = ts_comm_agree(group, first ? write_files(&options, dir, out_dir) : TS_OK);
        if (status && first)
            clean_up(out_dir, was_there);
    }
    ts_batch_free(&kept);
    ts_parameters_free(&parameters);
    ts_mesh_free(&mesh);
    ts_safetensors_close(&weights);
    return status;
}
