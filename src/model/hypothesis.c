/* SPDX-License-Identifier: Apache-2.0 */
#include "model/hypothesis.h"

#include <string.h>

#include "base/memory.h"

TsHypothesis *ts_hypotheses_create(int64_t count, int64_t max_steps)
{
    TsHypothesis *made = ts_calloc((size_t)count + 1, sizeof *made);
    for (int64_t i = 0; i < count; i++) {
        made[i].tokens = ts_calloc((size_t)max_steps + 1, sizeof(int32_t));
        made[i].text_bytes = -1;
    }
    return made;
}

void ts_hypotheses_free(TsHypothesis **hypotheses, int64_t count)
{
    for (int64_t i = 0; *hypotheses && i < count; i++)
        ts_free((*hypotheses)[i].tokens);
    ts_free(*hypotheses);
    *hypotheses = NULL;
}

void ts_hypothesis_copy(TsHypothesis *to, const TsHypothesis *from)
{
    int32_t *tokens = to->tokens;
    memcpy(tokens, from->tokens, (size_t)from->count_tokens * sizeof *tokens);
    *to = *from;
    to->tokens = tokens;
}

void ts_hypothesis_grow(TsHypothesis *hypothesis, TsCandidate candidate)
{
    hypothesis->tokens[hypothesis->count_tokens++] = candidate.token;
    hypothesis->log_probability = hypothesis->score = candidate.log_probability;
}

bool ts_is_end_token(const TsDecodeOptions *options, int32_t token)
{
    for (int i = 0; i < options->end_count; i++)
        if (options->ends[i] == token)
            return true;
    return false;
}
