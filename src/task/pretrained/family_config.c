/* SPDX-License-Identifier: Apache-2.0 */
#include "task/pretrained/family_config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

/* ---- reading ---- */

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

/* A number of rope_scaling that must be there. */
static TsStatus read_scale(double *value, const json_t *scaling, const char *key, double least, const char *path)
{
    *value = number(scaling, key, -1);
    return *value >= least ? TS_OK
                           : ts_status_error(TS_CODE_INVALID, "%s: rope_scaling: %s: expected a number from %g on",
                                             path, key, least);
}

/* What dynamic scaling stretches only beyond the context, which nothing is read beyond, stays as it is. */
static TsStatus read_scaling(TsRotaryScaling *scaling, const json_t *json, const char *path)
{
    if (!given(json, "rope_scaling"))
        return TS_OK;
    const json_t *object = json_object_get(json, "rope_scaling");
    const char *type = json_string_value(json_object_get(object, given(object, "rope_type") ? "rope_type" : "type"));
    if (type && (strcmp(type, "default") == 0 || strcmp(type, "dynamic") == 0))
        return TS_OK;
    if (!type || (strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0))
        return ts_status_error(TS_CODE_UNSUPPORTED,
                               "%s: rope_scaling: type %s is not supported; there are default, linear, dynamic, llama3",
                               path, type ? type : "(none)");
    TS_TRY(read_scale(&scaling->factor, object, "factor", 1, path));
    if (strcmp(type, "linear") == 0)
        return TS_OK;
    TS_TRY(read_scale(&scaling->low, object, "low_freq_factor", 0, path));
    TS_TRY(read_scale(&scaling->high, object, "high_freq_factor", 0, path));
    TS_TRY(read_scale(&scaling->original, object, "original_max_position_embeddings", 1, path));
    return scaling->high > scaling->low
               ? TS_OK
               : ts_status_error(TS_CODE_INVALID,
                                 "%s: rope_scaling: high_freq_factor: expected more than low_freq_factor", path);
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
    TS_TRY(read_scaling(&options->rotary_scaling, json, path));
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
    if ((int)number(json, "pad_token_id", 1) != TS_FAMILY_SKIPPED_ROWS - 1)
        return refuse(path, "pad_token_id", "1");
    options->context -= TS_FAMILY_SKIPPED_ROWS;
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

/* ---- writing ---- */

static const char *activation_name(TsActivation activation)
{
    static const char *const names[] = {
        [TS_ACTIVATION_GELU] = "gelu", [TS_ACTIVATION_GELU_TANH] = "gelu_new", [TS_ACTIVATION_RELU] = "relu",
        [TS_ACTIVATION_SILU] = "silu", [TS_ACTIVATION_SWIGLU] = "silu",        [TS_ACTIVATION_GEGLU] = "gelu"};
    return names[activation];
}

static int64_t hidden_of(const TsTransformer *options)
{
    return options->hidden == TS_AUTO ? 4 * options->width : options->hidden;
}

static double epsilon_of(const TsTransformer *options)
{
    return options->norm_epsilon > 0 ? options->norm_epsilon : options->norm == TS_NORM_RMS ? 1e-6 : 1e-5;
}

static json_t *describe_gpt2(const TsTransformer *options)
{
    return json_pack("{s:[s], s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:f, s:f}", "architectures", "GPT2LMHeadModel",
                     "n_layer", (json_int_t)options->layers, "n_head", (json_int_t)options->heads, "n_embd",
                     (json_int_t)options->width, "n_positions", (json_int_t)options->context, "n_inner",
                     (json_int_t)hidden_of(options), "activation_function", activation_name(options->activation),
                     "layer_norm_epsilon", epsilon_of(options), "resid_pdrop", options->dropout, "embd_pdrop",
                     options->dropout, "attn_pdrop", 0.0);
}

/* What all others call alike. */
static json_t *describe_common(const TsTransformer *options, const char *architecture)
{
    return json_pack("{s:[s], s:I, s:I, s:I, s:I, s:I, s:s}", "architectures", architecture, "num_hidden_layers",
                     (json_int_t)options->layers, "num_attention_heads", (json_int_t)options->heads, "hidden_size",
                     (json_int_t)options->width, "max_position_embeddings", (json_int_t)options->context,
                     "intermediate_size", (json_int_t)hidden_of(options), "hidden_act",
                     activation_name(options->activation));
}

static json_t *describe_llama(const TsTransformer *options)
{
    json_t *json = describe_common(options, "LlamaForCausalLM");
    int64_t shared = options->key_value_heads > 0 ? options->key_value_heads : options->heads;
    json_object_set_new(json, "num_key_value_heads", json_integer(shared));
    json_object_set_new(json, "rms_norm_eps", json_real(epsilon_of(options)));
    json_object_set_new(json, "rope_theta", json_real(options->rotary_base > 0 ? options->rotary_base : 10000));
    const TsRotaryScaling *scaling = &options->rotary_scaling;
    if (scaling->factor > 1 && scaling->high > 0)
        json_object_set_new(json, "rope_scaling",
                            json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", scaling->factor,
                                      "low_freq_factor", scaling->low, "high_freq_factor", scaling->high,
                                      "original_max_position_embeddings", (json_int_t)scaling->original));
    else if (scaling->factor > 1)
        json_object_set_new(json, "rope_scaling",
                            json_pack("{s:s, s:f}", "rope_type", "linear", "factor", scaling->factor));
    return json;
}

static json_t *describe_encoder(const TsTransformer *options, const char *architecture)
{
    json_t *json = describe_common(options, architecture);
    json_object_set_new(json, "layer_norm_eps", json_real(epsilon_of(options)));
    json_object_set_new(json, "hidden_dropout_prob", json_real(options->dropout));
    json_object_set_new(json, "attention_probs_dropout_prob", json_real(0));
    if (options->token_types > 0)
        json_object_set_new(json, "type_vocab_size", json_integer(options->token_types));
    return json;
}

static json_t *describe_bert(const TsTransformer *options)
{
    return describe_encoder(options, "BertForMaskedLM");
}

static json_t *describe_roberta(const TsTransformer *options)
{
    json_t *json = describe_encoder(options, "RobertaForMaskedLM");
    json_object_set_new(json, "max_position_embeddings", json_integer(options->context + TS_FAMILY_SKIPPED_ROWS));
    json_object_set_new(json, "pad_token_id", json_integer(TS_FAMILY_SKIPPED_ROWS - 1));
    return json;
}

static json_t *describe_esm(const TsTransformer *options)
{
    json_t *json = describe_encoder(options, "EsmForMaskedLM");
    json_object_set_new(json, "position_embedding_type", json_string("rotary"));
    json_object_set_new(json, "emb_layer_norm_before", json_false());
    json_object_set_new(json, "pad_token_id", json_integer(1));
    json_object_set_new(json, "token_dropout", json_boolean(options->mask_token > 0));
    if (options->mask_token > 0)
        json_object_set_new(json, "mask_token_id", json_integer(options->mask_token));
    return json;
}

static bool same_scaling(TsRotaryScaling one, TsRotaryScaling other)
{
    if (one.factor <= 1 && other.factor <= 1)
        return true;
    return one.factor == other.factor && one.high == other.high &&
           (one.high == 0 || (one.low == other.low && one.original == other.original));
}

/* What the config.json of a family says it is, read again, must be what it was made of. */
static bool says_the_same(const TsTransformer *one, const TsTransformer *other)
{
    int64_t one_shared = one->key_value_heads > 0 ? one->key_value_heads : one->heads;
    int64_t other_shared = other->key_value_heads > 0 ? other->key_value_heads : other->heads;
    bool same_base =
        one->positions != TS_POSITIONS_ROTARY ||
        ((one->rotary_base > 0 ? one->rotary_base : 10000) == (other->rotary_base > 0 ? other->rotary_base : 10000) &&
         same_scaling(one->rotary_scaling, other->rotary_scaling));
    return one->layers == other->layers && one->heads == other->heads && one->width == other->width &&
           hidden_of(one) == hidden_of(other) && one_shared == other_shared && one->context == other->context &&
           one->vocab == other->vocab && one->activation == other->activation && one->norm == other->norm &&
           one->positions == other->positions && same_base && one->window == other->window &&
           one->post_norm == other->post_norm && epsilon_of(one) == epsilon_of(other) && one->biases == other->biases &&
           one->token_types == other->token_types && one->mask_token == other->mask_token &&
           one->head_transform == other->head_transform && one->tied == other->tied && one->causal == other->causal;
}

/* ---- one or the other ---- */

static const struct {
    const char *model_type;
    TsStatus (*configure)(TsTransformer *options, const json_t *json, const char *path);
    json_t *(*describe)(const TsTransformer *options);
} kinds[TS_FAMILIES] = {[TS_FAMILY_GPT2] = {"gpt2", configure_gpt2, describe_gpt2},
                        [TS_FAMILY_LLAMA] = {"llama", configure_llama, describe_llama},
                        [TS_FAMILY_BERT] = {"bert", configure_bert, describe_bert},
                        [TS_FAMILY_ROBERTA] = {"roberta", configure_roberta, describe_roberta},
                        [TS_FAMILY_ESM] = {"esm", configure_esm, describe_esm}};

static TsStatus choose(TsFamilyKind *kind, const json_t *json, const char *path)
{
    const char *type = json_string_value(json_object_get(json, "model_type"));
    TsText known = {0};
    int found = -1;
    for (int i = 0; i < TS_FAMILIES; i++) {
        if (type && strcmp(type, kinds[i].model_type) == 0)
            found = i;
        ts_text_append(&known, "%s%s", i ? ", " : "", kinds[i].model_type);
    }
    *kind = (TsFamilyKind)(found < 0 ? 0 : found);
    TsStatus status = found >= 0 ? TS_OK
                                 : ts_status_error(TS_CODE_UNSUPPORTED, "%s: model_type %s is not known; there are %s",
                                                   path, type ? type : "(none)", known.data);
    ts_text_free(&known);
    return status;
}

TsStatus ts_family_config_read(TsFamilyKind *kind, TsTransformer *options, const char *dir)
{
    static const size_t most_bytes = 1 << 20;
    char *path = ts_format("%s/config.json", dir), *text = NULL;
    size_t bytes;
    json_error_t error;
    json_t *json = NULL;
    *options = (TsTransformer){.hidden = TS_AUTO, .key_value_heads = TS_AUTO, .biases = true};
    TsStatus status = ts_file_read(&text, &bytes, path, most_bytes);
    if (!status && !(json = json_loadb(text, bytes, 0, &error)))
        status = ts_status_error(TS_CODE_CORRUPT, "%s:%d: not JSON: %s", path, error.line, error.text);
    if (!status)
        status = choose(kind, json, path);
    if (!status)
        status = read_size(&options->vocab, json, "vocab_size", path);
    if (!status)
        status = kinds[*kind].configure(options, json, path);
    if (!status && options->width % options->heads)
        status = ts_status_error(TS_CODE_INVALID, "%s: %lld heads do not divide the width %lld", path,
                                 (long long)options->heads, (long long)options->width);
    json_decref(json);
    ts_free(text);
    ts_free(path);
    return status;
}

char *ts_family_config_write(TsFamilyKind kind, const TsTransformer *options)
{
    json_t *json = kinds[kind].describe(options);
    TsTransformer again = {.hidden = TS_AUTO, .key_value_heads = TS_AUTO, .biases = true, .vocab = options->vocab};
    char *config = NULL;
    json_object_set_new(json, "model_type", json_string(kinds[kind].model_type));
    json_object_set_new(json, "vocab_size", json_integer(options->vocab));
    json_object_set_new(json, "tie_word_embeddings", json_boolean(options->tied));
    json_object_set_new(json, "torch_dtype", json_string("float32"));
    TsStatus status = kinds[kind].configure(&again, json, kinds[kind].model_type);
    if (!status && says_the_same(&again, options)) {
        char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
        config = ts_format("%s\n", text);
        free(text); /* jansson's own memory */
    }
    ts_status_free(&status);
    json_decref(json);
    return config;
}
