/* SPDX-License-Identifier: Apache-2.0 */
#include "model/language_model.h"

#include <math.h>

#include "model/decode.h"

TsTensor ts_language_model_logits(TsScope scope, const TsLanguageModel *model, TsTensor tokens, const TsCache *cache)
{
    TsTensor hidden = ts_transformer(ts_in(scope, "backbone"), &model->backbone, tokens, TS_NONE, cache);
    return ts_transformer_logits(ts_in(scope, "backbone"), &model->backbone, hidden);
}

TsTensor ts_language_model_next(TsScope scope, const TsLanguageModel *model, TsTensor tokens, const TsCache *cache)
{
    int64_t T = ts_dim(tokens, 1);
    TsTensor hidden =
        ts_transformer(ts_in(scope, "backbone"), &model->backbone, tokens, TS_NONE, cache); /* (B, T, C) */
    TsTensor last = ts_slice(hidden, 1, T - 1, 1);                                          /* (B, 1, C) */
    last = ts_reshape(last, ts_shape(ts_dim(hidden, 0), ts_dim(hidden, 2)));                /* (B, C) */
    return ts_transformer_logits(ts_in(scope, "backbone"), &model->backbone, last);         /* (B, V) */
}

static TsTensor compute_predictions(TsScope scope, const void *options, const TsColumns *columns)
{
    const TsLanguageModel *model = options;
    TsTensor tokens = ts_column(columns, "tokens"), seen = TS_NONE;
    TsPackedRows packed = {0};
    if (model->backbone.experts && ts_has_column(columns, "seen")) /* padding comes last: hidden but from experts */
        seen = ts_column(columns, "seen");
    if (ts_has_column(columns, "segments"))
        packed = (TsPackedRows){ts_column(columns, "segments"), ts_column(columns, "positions")};
    if (model->distillation) /* declares the teacher's parameters; what nobody reads is not computed */
        (void)ts_teacher_logits(scope, model->distillation, tokens);
    TsTensor hidden = ts_transformer_packed(ts_in(scope, "backbone"), &model->backbone, tokens, packed, seen);
    return ts_transformer_logits(ts_in(scope, "backbone"), &model->backbone, hidden);
}

static TsLosses compute_loss(TsScope scope, const void *options, TsTensor predictions, const TsColumns *columns)
{
    const TsLanguageModel *model = options;
    TsTensor labels = ts_column(columns, "labels");
    TsTensor loss = ts_cross_entropy(
        predictions, labels,
        (TsCrossEntropy){.ignore = model->ignored, .smoothing = model->smoothing, .z_loss = model->z_loss});
    TsTensor weight = ts_counted_labels(labels, ts_dtype_of(loss));
    if (model->distillation && scope.training)
        loss = ts_distillation_loss(model->distillation, predictions,
                                    ts_teacher_logits(scope, model->distillation, ts_column(columns, "tokens")), loss,
                                    weight);
    ts_graph_set_path(scope.graph, scope.path);
    TsLosses losses = {.count = 1,
                       .loss = {{"loss", ts_sum(loss, -1, false), ts_sum(weight, -1, false)}},
                       .per_example = ts_sum(loss, 1 << 1, false)};
    if (!scope.training && ts_has_column(columns, "bytes")) {
        TsTensor plain = ts_cross_entropy(predictions, labels, (TsCrossEntropy){.ignore = model->ignored});
        TsTensor bytes = ts_cast(ts_column(columns, "bytes"), ts_dtype_of(plain));
        losses.loss[losses.count++] =
            (TsLoss){"bits_a_byte", ts_scale(ts_sum(plain, -1, false), 1 / log(2)), ts_sum(bytes, -1, false)};
    }
    ts_losses_add_asides(&losses, scope, ts_sum(weight, 1 << 1, false), model->backbone.load_balance);
    return losses;
}

static TsTensor next_logits(TsScope scope, const void *options, TsTensor tokens, const TsCache *cache)
{
    return ts_language_model_next(scope, options, tokens, cache);
}

static TsStatus decode(TsDecoded **decoded, const void *options, TsWeights weights, TsPrompts prompts,
                       TsDecodeOptions decode_options)
{
    const TsLanguageModel *model = options;
    TsNextToken next = {
        .logits = next_logits, .options = model, .context = model->backbone.context, .vocab = model->backbone.vocab};
    return ts_decode(decoded, next, weights, prompts, decode_options);
}

const TsModel ts_language_model = {"language_model", compute_predictions, compute_loss, decode, ts_decode_text};
