/* SPDX-License-Identifier: Apache-2.0 */
#include "task/pretrained/family.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "task/pretrained/family_config.h"

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
    int in_dims;     /* of ours that are contracted: 0 counts as 1, or ALL_BUT_LAST */
} Row;

enum { ALL_BUT_LAST = -1 };

enum { MOST_ROWS = 40 };

struct TsFamily {
    const char *name, *prefix;
    Row row[MOST_ROWS];
};

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
#define OUT_LINEAR(ours, theirs)                                                                                       \
    {ours "/kernel", theirs ".weight", OUT_BY_IN, 0, 0, ALL_BUT_LAST},                                                 \
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
        OUT_LINEAR("layer/attention/out", "encoder.layer.%d.attention.output.dense"),                                  \
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
    [TS_FAMILY_GPT2] = {"gpt2",
                        "transformer.",
                        {TABLE("tokens", "wte"), TABLE("positions", "wpe"), NORM("layer/attention_norm", "h.%d.ln_1"),
                         GPT2_PART("layer/attention/query", "h.%d.attn.c_attn", 0, 3, 1),
                         GPT2_PART("layer/attention/key", "h.%d.attn.c_attn", 1, 3, 1),
                         GPT2_PART("layer/attention/value", "h.%d.attn.c_attn", 2, 3, 1),
                         GPT2_PART("layer/attention/out", "h.%d.attn.c_proj", 0, 1, ALL_BUT_LAST),
                         NORM("layer/feed_forward_norm", "h.%d.ln_2"),
                         GPT2_PART("layer/feed_forward/up", "h.%d.mlp.c_fc", 0, 1, 1),
                         GPT2_PART("layer/feed_forward/down", "h.%d.mlp.c_proj", 0, 1, 1), NORM("norm", "ln_f"),
                         LINEAR("logits", "lm_head")}},
    [TS_FAMILY_LLAMA] = {"llama",
                         "model.",
                         {TABLE("tokens", "embed_tokens"), NORM("layer/attention_norm", "layers.%d.input_layernorm"),
                          LINEAR("layer/attention/query", "layers.%d.self_attn.q_proj"),
                          LINEAR("layer/attention/key", "layers.%d.self_attn.k_proj"),
                          LINEAR("layer/attention/value", "layers.%d.self_attn.v_proj"),
                          OUT_LINEAR("layer/attention/out", "layers.%d.self_attn.o_proj"),
                          NORM("layer/feed_forward_norm", "layers.%d.post_attention_layernorm"),
                          LINEAR("layer/feed_forward/gate", "layers.%d.mlp.gate_proj"),
                          LINEAR("layer/feed_forward/up", "layers.%d.mlp.up_proj"),
                          LINEAR("layer/feed_forward/down", "layers.%d.mlp.down_proj"), NORM("norm", "norm"),
                          LINEAR("logits", "lm_head")}},
    [TS_FAMILY_BERT] = {"bert",
                        "bert.",
                        {TABLE("tokens", "embeddings.word_embeddings"),
                         TABLE("positions", "embeddings.position_embeddings"),
                         TABLE("token_types", "embeddings.token_type_embeddings"),
                         BERT_NORMS,
                         ENCODER_LAYER,
                         LINEAR("head/dense", "cls.predictions.transform.dense"),
                         NORM("head/norm", "cls.predictions.transform.LayerNorm"),
                         {"head/bias", "cls.predictions.bias", AS_IS, 0, 0, 0}}},
    [TS_FAMILY_ROBERTA] = {"roberta",
                           "roberta.",
                           {TABLE("tokens", "embeddings.word_embeddings"),
                            {"positions/table", "embeddings.position_embeddings.weight", LATER_ROWS, 0, 0, 0},
                            TABLE("token_types", "embeddings.token_type_embeddings"),
                            BERT_NORMS,
                            ENCODER_LAYER,
                            LM_HEAD}},
    [TS_FAMILY_ESM] = {
        "esm",
        "esm.",
        {TABLE("tokens", "embeddings.word_embeddings"),
         NORM("layer/attention_norm", "encoder.layer.%d.attention.LayerNorm"),
         NORM("layer/feed_forward_norm", "encoder.layer.%d.LayerNorm"), ENCODER_LAYER,
         NORM("norm", "encoder.emb_layer_norm_after"), LM_HEAD}}};

const char *ts_family_name(const TsFamily *family)
{
    return family->name;
}

TsStatus ts_family_read(const TsFamily **family, TsTransformer *options, const char *dir)
{
    TsFamilyKind kind;
    *family = NULL;
    TS_TRY(ts_family_config_read(&kind, options, dir));
    *family = &families[kind];
    return TS_OK;
}

TsStatus ts_family_of(const TsFamily **family, char **config, const TsTransformer *options, const char *wanted)
{
    *family = NULL;
    *config = NULL;
    for (int i = 0; i < TS_FAMILIES; i++) {
        bool is_wanted = wanted && strcmp(families[i].name, wanted) == 0;
        char *text = *family && !is_wanted ? NULL : ts_family_config_write((TsFamilyKind)i, options);
        if (!text)
            continue;
        ts_free(*config);
        *family = &families[i];
        *config = text;
    }
    return *family
               ? TS_OK
               : ts_status_error(TS_CODE_UNSUPPORTED,
                                 "the options of this backbone are those of none of gpt2, llama, bert, roberta, esm");
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
    int in_dims = row->in_dims == ALL_BUT_LAST ? shape.dims - 1 : 1, parts = row->parts ? row->parts : 1;
    int64_t in = product(&shape, 0, in_dims), out = product(&shape, in_dims, shape.dims);
    view->shape = shape;
    for (int d = 0; d < shape.dims; d++)
        view->stride_elems[d] = product(&shape, d + 1, shape.dims);
    switch (row->layout) {
    case AS_IS:
        view->first_elem = row->part * product(&shape, 0, shape.dims);
        return row->parts ? ts_shape(parts * product(&shape, 0, shape.dims)) : shape;
    case LATER_ROWS:
        view->first_elem = TS_FAMILY_SKIPPED_ROWS * shape.size[1];
        return ts_shape(shape.size[0] + TS_FAMILY_SKIPPED_ROWS, shape.size[1]);
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

bool ts_family_lacks(const TsFamily *family, const TsSafetensors *weights, const char *path)
{
    int layer;
    const Row *row = find_row(family, &layer, path);
    return strncmp(path, "backbone/head/", 14) == 0 && (!row || find_tensor(family, weights, row, layer) < 0);
}

TsStatus ts_family_target(const TsFamily *family, char **name, TsShape *shape, TsSafetensorsView *view,
                          const char *path, TsShape parameter_shape)
{
    int layer;
    const Row *row = find_row(family, &layer, path);
    *name = NULL;
    *view = (TsSafetensorsView){.index = -1};
    if (!row)
        return ts_status_error(TS_CODE_NOT_FOUND, "%s has no place in weights of %s", path, family->name);
    bool head = strncmp(row->theirs, "lm_head.", 8) == 0 || strncmp(row->theirs, "cls.", 4) == 0;
    const char *prefix = head ? "" : family->prefix, *number = strstr(row->theirs, "%d");
    *name = number ? ts_format("%s%.*s%d%s", prefix, (int)(number - row->theirs), row->theirs, layer, number + 2)
                   : ts_format("%s%s", prefix, row->theirs);
    *shape = lay_out(view, row, parameter_shape);
    if (row->layout == AS_IS && !row->parts && strstr(row->theirs, ".bias")) /* heads are merged there */
        *shape = ts_shape(product(&parameter_shape, 0, parameter_shape.dims));
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
        if (ts_family_lacks(family, weights, path)) {
            ++*left;
            continue;
        }
        TsStatus status = ts_family_view(family, &view, weights, path, array->shape);
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
