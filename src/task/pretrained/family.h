/* SPDX-License-Identifier: Apache-2.0
 *
 * Family: a pre-trained architecture as others publish it: its config.json as options of our transformer, and for each
 * of our parameters the tensor of its safetensors that holds it.
 *
 *     gpt2, llama, bert, roberta, esm
 *
 * Radford et al. 2019; Touvron et al. 2023; Devlin et al. 2019; Liu et al. 2019; Lin et al. 2023 (ESM-2). Names of
 * tensors and options are those of Hugging Face's transformers.
 */
#pragma once

#include "ckpt/safetensors.h"
#include "model/transformer.h"
#include "tensor/batch.h"

typedef struct TsFamily TsFamily;

/* "gpt2", ... */
const char *ts_family_name(const TsFamily *family);

/* Reads DIR/config.json. Fails on an architecture that is not known (those that are, are listed) and on options that
 * change the computation in a way this program does not do, each named. Not collective. */
TS_MUST_USE TsStatus ts_family_read(const TsFamily **family, TsTransformer *options, const char *dir);

/* Where the parameter `path` of this shape is: *view of a tensor of `weights`. Fails where there is no such tensor
 * (TS_CODE_NOT_FOUND) or it has another shape. */
TS_MUST_USE TsStatus ts_family_view(const TsFamily *family, TsSafetensorsView *view, const TsSafetensors *weights,
                                    const char *path, TsShape shape);

/* Whether `path` is of a head that the weights, published without one, lack. */
bool ts_family_lacks(const TsFamily *family, const TsSafetensors *weights, const char *path);

/* Where the parameter `path` of this shape goes: the name of a tensor (owned by the caller), its shape, and the
 * elements of it as a view. A tensor may hold several parameters. Fails where the family has no place for it. */
TS_MUST_USE TsStatus ts_family_target(const TsFamily *family, char **name, TsShape *shape, TsSafetensorsView *view,
                                      const char *path, TsShape parameter_shape);

/* The family that such a transformer belongs to, with the config.json that describes it (owned by the caller). Where
 * several would do, as BERT and RoBERTa, it is that of the name `wanted` (NULL: the first). Fails where there is none.
 */
TS_MUST_USE TsStatus ts_family_of(const TsFamily **family, char **config, const TsTransformer *options,
                                  const char *wanted);

/* Fills this rank's blocks of `arrays`, by path ("backbone/..."), from `weights`, cast to their dtypes. Fails with
 * lists of what is missing or has another shape. Heads that the weights lack, of a model that was published without
 * one, keep what they hold; *left says how many. Not collective: agree on the Status. */
TS_MUST_USE TsStatus ts_family_load(const TsFamily *family, const TsSafetensors *weights, const TsBatch *arrays,
                                    int *left);
