/* SPDX-License-Identifier: Apache-2.0 */
#include "model/sequence_model.h"

#include "model/decode.h"

static TsScope decoder_scope(TsScope scope)
{
    return ts_in(ts_in(scope, "backbone"), "decoder");
}

/* Hidden states of the sources: (B, S) -> (B, S, C) */
static TsTensor encode(TsScope scope, const TsSequenceModel *model, TsTensor sources, TsTensor seen)
{
    return ts_transformer(ts_in(scope, "backbone"), &model->encoder, sources, seen, NULL);
}

static TsTensor compute_predictions(TsScope scope, const void *options, const TsColumns *columns)
{
    const TsSequenceModel *model = options;
    TsTensor sources = ts_column(columns, "sources"), seen = ts_column(columns, "sources_seen");
    TsCrossMemory memory = {
        .hidden = encode(scope, model, sources, seen), .seen = seen, .tables = ts_in(scope, "backbone")};
    TsTensor hidden =
        ts_transformer_decoder(decoder_scope(scope), &model->decoder, ts_column(columns, "tokens"), memory, NULL);
    return ts_transformer_logits(ts_in(scope, "backbone"), &model->decoder, hidden);
}

static TsLosses compute_loss(TsScope scope, const void *options, TsTensor predictions, const TsColumns *columns)
{
    const TsSequenceModel *model = options;
    TsTensor labels = ts_column(columns, "labels");
    TsTensor loss =
        ts_cross_entropy(predictions, labels, (TsCrossEntropy){.ignore = -100, .smoothing = model->smoothing});
    TsTensor counted = ts_counted_labels(labels, ts_dtype_of(loss));
    ts_graph_set_path(scope.graph, scope.path);
    TsLosses losses = {.count = 1,
                       .loss = {{"loss", ts_sum(loss, -1, false), ts_sum(counted, -1, false)}},
                       .per_example = ts_sum(loss, 1 << 1, false)};
    ts_losses_add_asides(&losses, scope, ts_sum(counted, 1 << 1, false), model->encoder.load_balance);
    return losses;
}

/* ---- decoding ---- */

static void remember(TsScope scope, const void *options, TsTensor sources, TsTensor seen, const TsCache *cache)
{
    const TsSequenceModel *model = options;
    TsTensor memory = encode(scope, model, sources, seen);
    ts_transformer_remember(decoder_scope(scope), &model->decoder, memory, cache);
}

static TsTensor next_logits(TsScope scope, const void *options, TsTensor tokens, const TsCache *cache)
{
    const TsSequenceModel *model = options;
    int64_t T = ts_dim(tokens, 1);
    TsCrossMemory memory = {.tables = ts_in(scope, "backbone")};
    TsTensor hidden = ts_transformer_decoder(decoder_scope(scope), &model->decoder, tokens, memory, cache);
    TsTensor last = ts_slice(hidden, 1, T - 1, 1);
    last = ts_reshape(last, ts_shape(ts_dim(hidden, 0), ts_dim(hidden, 2)));
    return ts_transformer_logits(ts_in(scope, "backbone"), &model->decoder, last);
}

static TsStatus decode(TsDecoded **decoded, const void *options, TsWeights weights, TsPrompts prompts,
                       TsDecodeOptions decode_options)
{
    const TsSequenceModel *model = options;
    TsNextToken next = {.logits = next_logits,
                        .options = model,
                        .context = model->decoder.context,
                        .vocab = model->decoder.vocab,
                        .encode = remember,
                        .start = model->start};
    return ts_decode(decoded, next, weights, prompts, decode_options);
}

const TsModel ts_sequence_model = {"sequence_model", compute_predictions, compute_loss, decode, ts_decode_text};
