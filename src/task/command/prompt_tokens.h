/* SPDX-License-Identifier: Apache-2.0
 *
 * Prompt tokens: what a task's model is given of a prompt's text.
 *
 * A task that learned prompts with something behind them gets it behind each, unless it is there already; one that
 * guesses hidden tokens gets its mask for "<mask>"; one that reads sources gets what texts begin and end with around
 * it.
 */
#pragma once

#include "task/task.h"

/* (*count) tokens of `text`, which stands for "{prompt}" in `frame`; NULL: as the task learned prompts. A prompt
 * without any is what texts begin or end with. Not collective. Owned by the caller.
 */
int32_t *ts_prompt_tokens(int64_t *count, const TsTask *task, const char *frame, const char *text);
