/* SPDX-License-Identifier: Apache-2.0 */
#include "task/family.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

/* How a tensor of theirs holds one of ours, whose first dims are contracted (I elements) and whose last dims are what
 * comes out (O elements). */
typedef enum Layout {
    AS_IS,      /* the same elements in the same order */
    OUT_BY_IN,  /* (O, I): a linear layer of theirs */
    IN_BY_OUT,  /* (I, O): GPT-2's */
    LATER_ROWS, /* a table whose first rows are not used */
} Layout;

/* One parameter. %d stands for the layer. */
typedef struct Row {
    const char *ours;   /* behind "backbone/"; "layer/" of any layer */
    const char *theirs; /* behind the prefix of the family, if it has that */
    Layout layout;
    int part, parts; /* `parts` of ours lie side by side in theirs; 0: one */
    int in_dims;     /* of ours that are contracted; 0 counts as 1 */
} Row;

enum { MOST_ROWS = 40, SKIPPED_ROWS = 2 /* RoBERTa counts positions from its padding token's number plus 1 */ };

struct TsFamily {
    const char *name, *model_type, *prefix;
    Row row[MOST_ROWS];
    TsStatus (*configure)(TsTransformer *options, const json_t *json, const char *path);
};

/* ---- config.json ---- */

static TsStatus read_size(int64_t *size, const json_t *json, const char *key, const char *path)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_integer(value) || json_integer_value(value) < 1)
        return ts_status_error(TS_CODE_INVALID, "%s: %s: expected a whole number from 1 on", path, key);
    *size = json_integer_value(value);
    return TS_OK;
}

static bool given(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    return value && !json_is_null(value);
}

static double number(const json_t *json, const char *key, double fallback)
{
    const json_t *value = json_object_get(json, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

static bool flag(const json_t *json, const char *key, bool fallback)
{
    const json_t *value = json_object_get(json, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static TsStatus read_activation(TsActivation *activation, const json_t *json, const char *key, const char *fallback,
                                const char *path)
{
    static const struct {
        const char *name;
        TsActivation activation;
    } known[] = {{"gelu", TS_ACTIVATION_GELU},           {"gelu_new", TS_ACTIVATION_GELU_TANH},
                 {"gelu_fast", TS_ACTIVATION_GELU_TANH}, {"gelu_pytorch_tanh", TS_ACTIVATION_GELU_TANH},
                 {"relu", TS_ACTIVATION_RELU},           {"silu", TS_ACTIVATION_SILU},
                 {"swish", TS_ACTIVATION_SILU}};
    const char *name = given(json, key) ? json_string_value(json_object_get(json, key)) : fallback;
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) {
            *activation = known[i].activation;
            return TS_OK;
        }
    return ts_status_error(TS_CODE_UNSUPPORTED,
                           "%s: %s %s is not known; there are gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu",
                           path, key, name ? name : "(no word)");
}

static TsStatus refuse(const char *path, const char *key, const char *only)
{
    return ts_status_error(TS_CODE_UNSUPPORTED, "%s: %s: only %s is supported", path, key, only);
}

static TsStatus configure_gpt2(TsTransformer *options, const json_t *json, const char *path)
{
    TS_TRY(read_size(&options->layers, json, "n_layer", path));
    TS_TRY(read_size(&options->heads, json, "n_head", path));
    TS_TRY(read_size(&options->width, json, "n_embd", path));
    TS_TRY(read_size(&options->context, json, given(json, "n_positions") ? "n_positions" : "n_ctx", path));
    if (given(json, "n_inner"))
        TS_TRY(read_size(&options->hidden, json, "n_inner", path));
    TS_TRY(read_activation(&options->activation, json, "activation_function", "gelu_new", path));
    if (!flag(json, "scale_attn_weights", true))
        return refuse(path, "scale_attn_weights", "true");
    if (flag(json, "scale_attn_by_inverse_layer_idx", false))
        return refuse(path, "scale_attn_by_inverse_layer_idx", "false");
    options->norm_epsilon = number(json, "layer_norm_epsilon", 1e-5);
    options->dropout = number(json, "resid_pdrop", 0.1);
    options->causal = true;
    options->tied = flag(json, "tie_word_embeddings", true);
    return TS_OK;
}

static TsStatus configure_llama(TsTransformer *options, const json_t *json, const char *path)
{
    TS_TRY(read_size(&options->layers, json, "num_hidden_layers", path));
    TS_TRY(read_size(&options->heads, json, "num_attention_heads", path));
    TS_TRY(read_size(&options->width, json, "hidden_size", path));
    TS_TRY(read_size(&options->context, json, "max_position_embeddings", path));
    TS_TRY(read_size(&options->hidden, json, "intermediate_size", path));
    if (given(json, "num_key_value_heads"))
        TS_TRY(read_size(&options->key_value_heads, json, "num_key_value_heads", path));
    TS_TRY(read_activation(&options->activation, json, "hidden_act", "silu", path));
    if (options->activation != TS_ACTIVATION_SILU)
        return refuse(path, "hidden_act", "silu");
    if (given(json, "rope_scaling"))
        return refuse(path, "rope_scaling", "null");
    if (flag(json, "attention_bias", false) || flag(json, "mlp_bias", false))
        return refuse(path, flag(json, "mlp_bias", false) ? "mlp_bias" : "attention_bias", "false");
    if (given(json, "head_dim") && (int64_t)number(json, "head_dim", 0) * options->heads != options->width)
        return refuse(path, "head_dim", "hidden_size over num_attention_heads");
    options->activation = TS_ACTIVATION_SWIGLU;
    options->norm = TS_NORM_RMS;
    options->norm_epsilon = number(json, "rms_norm_eps", 1e-6);
    options->positions = TS_POSITIONS_ROTARY;
    options->rotary_base = number(json, "rope_theta", 10000);
    options->biases = false;
    options->causal = true;
    options->tied = flag(json, "tie_word_embeddings", false);
    return TS_OK;
}

/* What BERT, RoBERTa and ESM-2 have in common. */
static TsStatus configure_encoder(TsTransformer *options, const json_t *json, const char *path)
{
    TS_TRY(read_size(&options->layers, json, "num_hidden_layers", path));
    TS_TRY(read_size(&options->heads, json, "num_attention_heads", path));
    TS_TRY(read_size(&options->width, json, "hidden_size", path));
    TS_TRY(read_size(&options->context, json, "max_position_embeddings", path));
    TS_TRY(read_size(&options->hidden, json, "intermediate_size", path));
    TS_TRY(read_activation(&options->activation, json, "hidden_act", "gelu", path));
    if (flag(json, "is_decoder", false))
        return refuse(path, "is_decoder", "false");
    options->norm_epsilon = number(json, "layer_norm_eps", 1e-12);
    options->dropout = number(json, "hidden_dropout_prob", 0.1);
    options->head_transform = true;
    options->tied = flag(json, "tie_word_embeddings", true);
    return options->tied ? TS_OK : refuse(path, "tie_word_embeddings", "true");
}

static TsStatus check_positions(const json_t *json, const char *path, const char *only)
{
    const char *type = json_string_value(json_object_get(json, "position_embedding_type"));
    return strcmp(type ? type : "absolute", only) == 0 ? TS_OK : refuse(path, "position_embedding_type", only);
}

static TsStatus configure_bert(TsTransformer *options, const json_t *json, const char *path)
{
    TS_TRY(configure_encoder(options, json, path));
    TS_TRY(check_positions(json, path, "absolute"));
    options->post_norm = true;
    return read_size(&options->token_types, json, "type_vocab_size", path);
}

static TsStatus configure_roberta(TsTransformer *options, const json_t *json, const char *path)
{
    TS_TRY(configure_bert(options, json, path));
    if ((int)number(json, "pad_token_id", 1) != SKIPPED_ROWS - 1)
        return refuse(path, "pad_token_id", "1");
    options->context -= SKIPPED_ROWS;
    return options->context > 0 ? TS_OK : refuse(path, "max_position_embeddings", "more than 2");
}

static TsStatus configure_esm(TsTransformer *options, const json_t *json, const char *path)
{
    TS_TRY(configure_encoder(options, json, path));
    TS_TRY(check_positions(json, path, "rotary"));
    if (flag(json, "emb_layer_norm_before", false))
        return refuse(path, "emb_layer_norm_before", "false");
    if (flag(json, "is_folding_model", false))
        return refuse(path, "is_folding_model", "false");
    options->positions = TS_POSITIONS_ROTARY;
    if (flag(json, "token_dropout", false))
        TS_TRY(read_size(&options->mask_token, json, "mask_token_id", path));
    return TS_OK;
}

/* ---- parameters ---- */

/* scale and bias of a norm; kernel and bias of a linear layer. */
#define NORM(ours, theirs)                                                                                             \
    {ours "/scale", theirs ".weight", AS_IS, 0, 0, 0},                                                                 \
    {                                                                                                                  \
        ours "/bias", theirs ".bias", AS_IS, 0, 0, 0                                                                   \
    }
#define LINEAR(ours, theirs)                                                                                           \
    {ours "/kernel", theirs ".weight", OUT_BY_IN, 0, 0, 0},                                                            \
    {                                                                                                                  \
        ours "/bias", theirs ".bias", AS_IS, 0, 0, 0                                                                   \
    }
#define LINEAR_OF_2(ours, theirs)                                                                                      \
    {ours "/kernel", theirs ".weight", OUT_BY_IN, 0, 0, 2},                                                            \
    {                                                                                                                  \
        ours "/bias", theirs ".bias", AS_IS, 0, 0, 0                                                                   \
    }
#define GPT2_PART(ours, theirs, part, parts, in_dims)                                                                  \
    {ours "/kernel", theirs ".weight", IN_BY_OUT, part, parts, in_dims},                                               \
    {                                                                                                                  \
        ours "/bias", theirs ".bias", AS_IS, part, parts, 0                                                            \
    }
#define ENCODER_LAYER                                                                                                  \
    LINEAR("layer/attention/query", "encoder.layer.%d.attention.self.query"),                                          \
        LINEAR("layer/attention/key", "encoder.layer.%d.attention.self.key"),                                          \
        LINEAR("layer/attention/value", "encoder.layer.%d.attention.self.value"),                                      \
        LINEAR_OF_2("layer/attention/out", "encoder.layer.%d.attention.output.dense"),                                 \
        LINEAR("layer/feed_forward/up", "encoder.layer.%d.intermediate.dense"),                                        \
        LINEAR("layer/feed_forward/down", "encoder.layer.%d.output.dense")
#define BERT_NORMS                                                                                                     \
    NORM("embedding_norm", "embeddings.LayerNorm"),                                                                    \
        NORM("layer/attention_norm", "encoder.layer.%d.attention.output.LayerNorm"),                                   \
        NORM("layer/feed_forward_norm", "encoder.layer.%d.output.LayerNorm")
#define LM_HEAD                                                                                                        \
    LINEAR("head/dense", "lm_head.dense"), NORM("head/norm", "lm_head.layer_norm"),                                    \
    {                                                                                                                  \
        "head/bias", "lm_head.bias", AS_IS, 0, 0, 0                                                                    \
    }
#define TABLE(ours, theirs)                                                                                            \
    {                                                                                                                  \
        ours "/table", theirs ".weight", AS_IS, 0, 0, 0                                                                \
    }

static const TsFamily families[] = {
    {"gpt2",
     "gpt2",
     "transformer.",
     {TABLE("tokens", "wte"), TABLE("positions", "wpe"), NORM("layer/attention_norm", "h.%d.ln_1"),
      GPT2_PART("layer/attention/query", "h.%d.attn.c_attn", 0, 3, 1),
      GPT2_PART("layer/attention/key", "h.%d.attn.c_attn", 1, 3, 1),
      GPT2_PART("layer/attention/value", "h.%d.attn.c_attn", 2, 3, 1),
      GPT2_PART("layer/attention/out", "h.%d.attn.c_proj", 0, 1, 2), NORM("layer/feed_forward_norm", "h.%d.ln_2"),
      GPT2_PART("layer/feed_forward/up", "h.%d.mlp.c_fc", 0, 1, 1),
      GPT2_PART("layer/feed_forward/down", "h.%d.mlp.c_proj", 0, 1, 1), NORM("norm", "ln_f"),
      LINEAR("logits", "lm_head")},
     configure_gpt2},
    {"llama",
     "llama",
     "model.",
     {TABLE("tokens", "embed_tokens"), NORM("layer/attention_norm", "layers.%d.input_layernorm"),
      LINEAR("layer/attention/query", "layers.%d.self_attn.q_proj"),
      LINEAR("layer/attention/key", "layers.%d.self_attn.k_proj"),
      LINEAR("layer/attention/value", "layers.%d.self_attn.v_proj"),
      LINEAR_OF_2("layer/attention/out", "layers.%d.self_attn.o_proj"),
      NORM("layer/feed_forward_norm", "layers.%d.post_attention_layernorm"),
      LINEAR("layer/feed_forward/gate", "layers.%d.mlp.gate_proj"),
      LINEAR("layer/feed_forward/up", "layers.%d.mlp.up_proj"),
      LINEAR("layer/feed_forward/down", "layers.%d.mlp.down_proj"), NORM("norm", "norm"), LINEAR("logits", "lm_head")},
     configure_llama},
    {"bert",
     "bert",
     "bert.",
     {TABLE("tokens", "embeddings.word_embeddings"),
      TABLE("positions", "embeddings.position_embeddings"),
      TABLE("token_types", "embeddings.token_type_embeddings"),
      BERT_NORMS,
      ENCODER_LAYER,
      LINEAR("head/dense", "cls.predictions.transform.dense"),
      NORM("head/norm", "cls.predictions.transform.LayerNorm"),
      {"head/bias", "cls.predictions.bias", AS_IS, 0, 0, 0}},
     configure_bert},
    {"roberta",
     "roberta",
     "roberta.",
     {TABLE("tokens", "embeddings.word_embeddings"),
      {"positions/table", "embeddings.position_embeddings.weight", LATER_ROWS, 0, 0, 0},
      TABLE("token_types", "embeddings.token_type_embeddings"),
      BERT_NORMS,
      ENCODER_LAYER,
      LM_HEAD},
     configure_roberta},
    {"esm",
     "esm",
     "esm.",
     {TABLE("tokens", "embeddings.word_embeddings"),
      NORM("layer/attention_norm", "encoder.layer.%d.attention.LayerNorm"),
      NORM("layer/feed_forward_norm", "encoder.layer.%d.LayerNorm"), ENCODER_LAYER,
      NORM("norm", "encoder.emb_layer_norm_after"), LM_HEAD},
     configure_esm}};

enum { FAMILIES = sizeof families / sizeof *families };

const char *ts_family_name(const TsFamily *family)
{
    return family->name;
}

static TsStatus choose(const TsFamily **family, const json_t *json, const char *path)
{
    const char *type = json_string_value(json_object_get(json, "model_type"));
    TsText known = {0};
    for (int i = 0; i < FAMILIES; i++) {
        if (type && strcmp(type, families[i].model_type) == 0)
            *family = &families[i];
        ts_text_append(&known, "%s%s", i ? ", " : "", families[i].model_type);
    }
    TsStatus status = *family ? TS_OK
                              : ts_status_error(TS_CODE_UNSUPPORTED, "%s: model_type %s is not known; there are %s",
                                                path, type ? type : "(none)", known.data);
    ts_text_free(&known);
    return status;
}

TsStatus ts_family_read(const TsFamily **family, TsTransformer *options, const char *dir)
{
    static const size_t most_bytes = 1 << 20;
    char *path = ts_format("%s/config.json", dir), *text = NULL;
    size_t bytes;
    json_error_t error;
    json_t *json = NULL;
    *family = NULL;
    *options = (TsTransformer){.hidden = TS_AUTO, .key_value_heads = TS_AUTO, .biases = true};
    TsStatus status = ts_file_read(&text, &bytes, path, most_bytes);
    if (!status && !(json = json_loadb(text, bytes, 0, &error)))
        status = ts_status_error(TS_CODE_CORRUPT, "%s:%d: not JSON: %s", path, error.line, error.text);
    if (!status)
        status = choose(family, json, path);
    if (!status)
        status = read_size(&options->vocab, json, "vocab_size", path);
    if (!status)
        status = (*family)->configure(options, json, path);
    if (!status && options->width % options->heads)
        status = ts_status_error(TS_CODE_INVALID, "%s: %lld heads do not divide the width %lld", path,
                                 (long long)options->heads, (long long)options->width);
    json_decref(json);
    ts_free(text);
    ts_free(path);
    return status;
}

/* ---- views ---- */

/* The row of a parameter, and its layer (-1: none); NULL: there is none. */
static const Row *find_row(const TsFamily *family, int *layer, const char *path)
{
    static const char front[] = "backbone/", numbered[] = "layer_";
    if (strncmp(path, front, sizeof front - 1) != 0)
        return NULL;
    path += sizeof front - 1;
    *layer = -1;
    if (strncmp(path, numbered, sizeof numbered - 1) == 0) {
        char *end;
        *layer = (int)strtol(path + sizeof numbered - 1, &end, 10);
        path = end;
    }
    for (const Row *row = family->row; row < family->row + MOST_ROWS && row->ours; row++) {
        bool in_layer = strncmp(row->ours, "layer/", 6) == 0;
        if (in_layer == (*layer >= 0) && strcmp(in_layer ? row->ours + 5 : row->ours, path) == 0)
            return row;
    }
    return NULL;
}

/* The tensor of a row, with or without the prefix, by its old name too; -1: there is none. */
static int find_tensor(const TsFamily *family, const TsSafetensors *weights, const Row *row, int layer)
{
    static const struct {
        const char *now, *once;
    } renamed[] = {{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}};
    char name[2 * TS_MAX_PATH], numbered[TS_MAX_PATH];
    const char *number = strstr(row->theirs, "%d");
    if (number)
        snprintf(numbered, sizeof numbered, "%.*s%d%s", (int)(number - row->theirs), row->theirs, layer, number + 2);
    else
        snprintf(numbered, sizeof numbered, "%s", row->theirs);
    int found = ts_safetensors_find(weights, numbered);
    snprintf(name, sizeof name, "%s%s", family->prefix, numbered);
    if (found < 0)
        found = ts_safetensors_find(weights, name);
    for (size_t i = 0; found < 0 && i < sizeof renamed / sizeof *renamed; i++) {
        char *tail = strstr(name, renamed[i].now);
        if (!tail)
            continue;
        snprintf(tail, sizeof name - (size_t)(tail - name), "%s", renamed[i].once);
        found = ts_safetensors_find(weights, name);
        if (found < 0)
            found = ts_safetensors_find(weights, name + strlen(family->prefix));
    }
    return found;
}

static int64_t product(const TsShape *shape, int first, int end)
{
    int64_t elems = 1;
    for (int d = first; d < end; d++)
        elems *= shape->size[d];
    return elems;
}

/* The view, and the shape that the tensor must have. */
static TsShape lay_out(TsSafetensorsView *view, const Row *row, TsShape shape)
{
    int in_dims = row->in_dims ? row->in_dims : 1, parts = row->parts ? row->parts : 1;
    int64_t in = product(&shape, 0, in_dims), out = product(&shape, in_dims, shape.dims);
    view->shape = shape;
    for (int d = 0; d < shape.dims; d++)
        view->stride_elems[d] = product(&shape, d + 1, shape.dims);
    switch (row->layout) {
    case AS_IS:
        view->first_elem = row->part * product(&shape, 0, shape.dims);
        if (row->parts || shape.dims == 2) /* biases of heads are flat there; tables are not */
            return row->parts ? ts_shape(parts * product(&shape, 0, shape.dims)) : shape;
        return shape;
    case LATER_ROWS:
        view->first_elem = SKIPPED_ROWS * shape.size[1];
        return ts_shape(shape.size[0] + SKIPPED_ROWS, shape.size[1]);
    case OUT_BY_IN:
        for (int d = 0; d < shape.dims; d++)
            view->stride_elems[d] =
                d < in_dims ? product(&shape, d + 1, in_dims) : in * product(&shape, d + 1, shape.dims);
        view->first_elem = row->part * out * in;
        return ts_shape(parts * out, in);
    case IN_BY_OUT:
        for (int d = 0; d < in_dims; d++)
            view->stride_elems[d] = parts * out * product(&shape, d + 1, in_dims);
        view->first_elem = row->part * out;
        return ts_shape(in, parts * out);
    }
    return shape;
}

/* Whether a tensor of shape `there` is what was expected; dims of biases may be merged. */
static bool fits(TsShape there, TsShape expected)
{
    return ts_shape_equal(there, expected) ||
           (there.dims == 1 && there.size[0] == product(&expected, 0, expected.dims));
}

TsStatus ts_family_view(const TsFamily *family, TsSafetensorsView *view, const TsSafetensors *weights, const char *path,
                        TsShape shape)
{
    int layer;
    const Row *row = find_row(family, &layer, path);
    *view = (TsSafetensorsView){.index = row ? find_tensor(family, weights, row, layer) : -1};
    if (view->index < 0)
        return ts_status_error(TS_CODE_NOT_FOUND, "%s has no place in weights of %s", path, family->name);
    TsSafetensorsEntry entry = ts_safetensors_entry(weights, view->index);
    TsShape expected = lay_out(view, row, shape);
    if (!fits(entry.shape, expected))
        return ts_status_error(TS_CODE_INVALID, "%s is %s there and %s by config.json", entry.name,
                               ts_shape_text(entry.shape).text, ts_shape_text(expected).text);
    return TS_OK;
}

TsStatus ts_family_load(const TsFamily *family, const TsSafetensors *weights, const TsBatch *arrays, int *left)
{
    enum { LISTED = 10 };
    TsText wrong = {0};
    int wrongs = 0;
    *left = 0;
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        TsArray *array = ts_batch_array(arrays, i);
        const char *path = ts_batch_name(arrays, i);
        TsSafetensorsView view;
        TsStatus status = ts_family_view(family, &view, weights, path, array->shape);
        if (ts_status_code(status) == TS_CODE_NOT_FOUND && strncmp(path, "backbone/head/", 14) == 0) {
            ts_status_free(&status);
            ++*left;
            continue;
        }
        if (!status)
            status = ts_safetensors_read(weights, array->data, view, array->block, array->dtype);
        if (status && wrongs++ < LISTED)
            ts_text_append(&wrong, "%s%s", wrongs > 1 ? "; " : "", ts_status_message(status));
        ts_status_free(&status);
    }
    if (wrongs > LISTED)
        ts_text_append(&wrong, "; and %d more", wrongs - LISTED);
    TsStatus status = wrongs ? ts_status_error(TS_CODE_INVALID, "%s", wrong.data) : TS_OK;
    ts_text_free(&wrong);
    return status;
}
