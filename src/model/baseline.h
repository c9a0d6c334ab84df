/* SPDX-License-Identifier: Apache-2.0
 *
 * Baseline: trunks that are no transformer, to compare one with: what is reached without learning a trunk at all, and
 * with convolutions alone. They take the place of a transformer in every task but those that decode.
 *
 *     backbone: {type: onehot}                             a token is a row of zeros with a single one
 *     backbone: {type: conv1d, layers: 4, width: 128, kernel: 5}
 *
 * B batch, T sequence, C width, V vocabulary.
 */
#pragma once

#include "model/transformer.h"

/* The keys of these backbones; their values are TsTransformers, whose `trunk` ts_trunk_options sets. */
extern const TsConfigTable ts_onehot_table, ts_conv1d_trunk_table;

/* The options of a backbone as a task hands them to its model: `value` is what its table gave; kind NULL: a
 * transformer. */
TsTransformer ts_trunk_options(const TsTransformer *value, const TsTrunkKind *kind, int64_t vocab);

/* Hidden states of tokens (B, T): (B, T, V), what stands at each; no parameters. */
TsTensor ts_onehot(TsScope scope, const TsTransformer *options, TsTensor tokens);

/* Hidden states (B, T, C): an embedding, then x + gelu(conv(norm(x))) in each layer, and a norm. What is not seen is
 * zero to the convolutions. */
TsTensor ts_conv1d_trunk(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor seen);
