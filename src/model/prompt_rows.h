/* SPDX-License-Identifier: Apache-2.0
 *
 * PromptRows: how prompts become the rows of a batch, whatever is made of them: what all models that decode share.
 */
#pragma once

#include "comm/mesh.h"
#include "model/model.h"

/* An error where prompt `number`, `what` it is, has no tokens, more than `context`, or such as the vocabulary lacks. */
TS_MUST_USE TsStatus ts_prompt_row_check(const char *what, int64_t number, const int32_t *tokens, int64_t length_tokens,
                                         int64_t context, int64_t vocab);

/* Prompts of the whole, filled up so that each rank along the batch has as many. */
int64_t ts_prompt_rows_fill_up(int64_t prompts, const TsMesh *mesh);

/* Sums up what each rank knows of its own rows and is zero elsewhere, so that all know all; of ranks that hold the same
 * rows, with the same values, only the first is heard. Collective on the mesh (NULL: one rank). */
void ts_prompt_rows_share(const TsMesh *mesh, void *values, int64_t count_elems, TsDtype dtype, const char *label);
