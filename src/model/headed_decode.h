/* SPDX-License-Identifier: Apache-2.0
 *
 * HeadedDecode: what a model with a head says of prompts, in one pass: the class of a text, its labels, its numbers, or
 * the tokens that were hidden in it.
 *
 * Of `classes` and `labels` the values of a row are probabilities, of `values` numbers as the net gives them; a head of
 * tokens has as many positions as the longest prompt, of which a row's are the first. Of `tokens` the row is the prompt
 * with what is guessed where a mask stood, and its values are log-probabilities of the likeliest tokens.
 */
#pragma once

#include "model/headed_model.h"

/* TsModel.decode: of the options nothing is read. An error of a head that says nothing (`logits`, `nothing`). */
TS_MUST_USE TsStatus ts_headed_decode(TsDecoded **decoded, const void *options, TsWeights weights, TsPrompts prompts,
                                      TsDecodeOptions decode_options);

/* TsModel.process_decode_out: what was added to a prompt is what its values are called, or the text that was filled in.
 */
TsDecodeText *ts_headed_text(const TsDecoded *decoded, TsDetokeniser detokeniser);
