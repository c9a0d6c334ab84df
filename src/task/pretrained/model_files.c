/* SPDX-License-Identifier: Apache-2.0 */
#include "task/pretrained/model_files.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "task/task.h"

/* ---- the configuration of a run ---- */

typedef struct ModelConfig {
    TsChoice backbone;
    TsFineTuneConfig fine_tune;
} ModelConfig;

static const TsKey keys[] = {TS_KEY_CHOICE(ModelConfig, backbone, &ts_backbones, "what computes", .required = true),
                             TS_KEY_STRUCT(ModelConfig, fine_tune, &ts_fine_tune_table, "which part of it learns"),
                             TS_KEYS_END};
static const TsConfigTable model_table = {"model", "A backbone alone.", sizeof(ModelConfig), keys, NULL};

/* The word at `key` of a map; NULL where there is none. */
static const char *word_of(const TsYaml *map, const char *key)
{
    const TsYaml *node = map && map->kind == TS_YAML_MAP ? ts_yaml_get(map, key) : NULL;
    return node && node->kind == TS_YAML_SCALAR ? node->text : NULL;
}

static const TsYaml *map_of(const TsYaml *map, const char *key)
{
    const TsYaml *node = map && map->kind == TS_YAML_MAP ? ts_yaml_get(map, key) : NULL;
    return node && node->kind == TS_YAML_MAP ? node : NULL;
}

/* The pre-trained tokenizer of the first task that has one. */
static const char *tokenizer_of(const TsYaml *tree)
{
    const TsYaml *tasks = map_of(tree, "tasks");
    for (int64_t i = 0; tasks && i < tasks->count; i++) {
        const TsYaml *tokenizer = map_of(map_of(tasks->items[i], "data"), "tokenizer");
        const char *type = word_of(tokenizer, "type");
        if (type && strcmp(type, "pretrained") == 0)
            return word_of(tokenizer, "path");
    }
    return NULL;
}

static TsStatus bind(TsModelKeys *read, const char *text, size_t text_bytes, const char *path)
{
    static const char *const names[] = {"backbone", "fine_tune"};
    const TsYaml *tree;
    const char *found[2];
    TsYaml *items[2];
    int count = 0;
    read->pool = ts_pool_create();
    TS_TRY(ts_yaml_parse(read->pool, &tree, path, text, text_bytes));
    for (int i = 0; i < 2; i++) {
        const TsYaml *node = tree->kind == TS_YAML_MAP ? ts_yaml_get(tree, names[i]) : NULL;
        found[count] = names[i];
        items[count] = (TsYaml *)(uintptr_t)node;
        count += node != NULL;
    }
    if (count == 0 || strcmp(found[0], "backbone") != 0)
        return ts_status_error(TS_CODE_INVALID, "%s: has no backbone", path);
    TS_TRY(ts_config_bind(&read->config, &model_table, ts_yaml_map(read->pool, path, 1, count, found, items)));
    const ModelConfig *config = ts_config_value(read->config);
    read->backbone = *(const TsTransformer *)config->backbone.value;
    read->fine_tune = config->fine_tune;
    read->init_from = word_of(map_of(tree, "init_from"), "path");
    const char *tokenizer = tokenizer_of(tree);
    read->tokenizer = tokenizer ? ts_strdup(tokenizer) : NULL;
    return TS_OK;
}

TsStatus ts_model_keys_read(TsModelKeys *read, const char *run_dir)
{
    char *path = ts_format("%s/config.yaml", run_dir), *own = ts_format("%s/tokenizer", run_dir), *text = NULL;
    size_t bytes;
    *read = (TsModelKeys){0};
    TsStatus status = ts_file_read(&text, &bytes, path, TS_YAML_BYTES);
    if (!status)
        status = bind(read, text, bytes, path);
    if (!status && !read->tokenizer && ts_model_files_has_tokenizer(own))
        read->tokenizer = ts_strdup(own);
    ts_free(text);
    ts_free(path);
    ts_free(own);
    return status;
}

void ts_model_keys_free(TsModelKeys *read)
{
    ts_config_free(&read->config);
    ts_pool_free(&read->pool);
    ts_free(read->tokenizer);
    *read = (TsModelKeys){0};
}

static const char *yes_or_no(bool value)
{
    return value ? "true" : "false";
}

static void append_backbone(TsText *text, const TsTransformer *o)
{
    static const char *const activation[] = {"gelu", "gelu_tanh", "relu", "silu", "swiglu", "geglu"};
    static const char *const positions[] = {"learned", "sinusoidal", "rotary", "alibi", "relative", "none"};
    ts_text_append(text,
                   "backbone:\n  type: transformer\n  layers: %lld\n  heads: %lld\n  width: %lld\n  context: %lld\n"
                   "  vocab: %lld\n",
                   (long long)o->layers, (long long)o->heads, (long long)o->width, (long long)o->context,
                   (long long)o->vocab);
    if (o->hidden != TS_AUTO)
        ts_text_append(text, "  hidden: %lld\n", (long long)o->hidden);
    if (o->key_value_heads != TS_AUTO)
        ts_text_append(text, "  key_value_heads: %lld\n", (long long)o->key_value_heads);
    ts_text_append(text, "  dropout: %.17g\n  activation: %s\n  norm: %s\n  norm_epsilon: %.17g\n  post_norm: %s\n",
                   o->dropout, activation[o->activation], o->norm == TS_NORM_RMS ? "rms" : "layer", o->norm_epsilon,
                   yes_or_no(o->post_norm));
    ts_text_append(text, "  positions: %s\n", positions[o->positions]);
    if (o->positions == TS_POSITIONS_ROTARY && o->rotary_base > 0)
        ts_text_append(text, "  rotary_base: %.17g\n", o->rotary_base);
    const TsRotaryScaling *scaling = &o->rotary_scaling;
    if (scaling->factor > 1)
        ts_text_append(text, "  rotary_scaling: {factor: %.17g, low: %.17g, high: %.17g, original: %.17g}\n",
                       scaling->factor, scaling->low, scaling->high, scaling->original);
    ts_text_append(text,
                   "  biases: %s\n  token_types: %lld\n  mask_token: %lld\n  head_transform: %s\n  tied: %s\n"
                   "  causal: %s\n",
                   yes_or_no(o->biases), (long long)o->token_types, (long long)o->mask_token,
                   yes_or_no(o->head_transform), yes_or_no(o->tied), yes_or_no(o->causal));
}

TsStatus ts_model_files_write_config(const TsTransformer *backbone, const char *dir, const char *out_dir,
                                     bool has_tokenizer)
{
    TsText text = {0};
    char *path = ts_format("%s/config.yaml", out_dir);
    ts_text_append(&text, "# The model of %s. Name this file in front of one with tasks", dir);
    if (has_tokenizer)
        ts_text_append(&text, ", whose tokenizer is\n# {type: pretrained, path: %s/tokenizer}", out_dir);
    ts_text_append(&text, ".\nrun: {dir: \"%s\"}\n", out_dir);
    append_backbone(&text, backbone);
    TsStatus status = ts_file_write(path, text.data, text.size_bytes);
    ts_text_free(&text);
    ts_free(path);
    return status;
}

/* ---- tokenizers ---- */

static const size_t most_bytes = (size_t)256 << 20;

static const char *const tokenizer_files[] = {
    "tokenizer.json",          "vocab.json",        "merges.txt",     "vocab.txt", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "tokenizer.model"};

enum { TOKENIZER_FILES = sizeof tokenizer_files / sizeof *tokenizer_files, TELLING_FILES = 4 };

bool ts_model_files_has_tokenizer(const char *dir)
{
    bool has = false;
    for (int i = 0; i < TELLING_FILES && !has; i++) {
        char *path = ts_format("%s/%s", dir, tokenizer_files[i]);
        has = ts_file_exists(path);
        ts_free(path);
    }
    return has;
}

static TsStatus copy(const char *from, const char *out_dir, const char *name)
{
    char *bytes, *to = ts_format("%s/%s", out_dir, name);
    size_t size_bytes;
    TsStatus status = ts_file_read(&bytes, &size_bytes, from, most_bytes);
    if (!status)
        status = ts_file_write(to, bytes, size_bytes);
    ts_free(bytes);
    ts_free(to);
    return status;
}

TsStatus ts_model_files_copy_tokenizer(const char *from, const char *out_dir)
{
    struct stat info;
    if (stat(from, &info) == 0 && !S_ISDIR(info.st_mode))
        return copy(from, out_dir, "tokenizer.json");
    TsStatus status = TS_OK;
    for (int i = 0; i < TOKENIZER_FILES && !status; i++) {
        char *path = ts_format("%s/%s", from, tokenizer_files[i]);
        if (ts_file_exists(path))
            status = copy(path, out_dir, tokenizer_files[i]);
        ts_free(path);
    }
    return status;
}
