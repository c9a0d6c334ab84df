/* SPDX-License-Identifier: Apache-2.0
 *
 * Hypothesis: one way in which a prompt may go on; and a candidate, by which one may grow. On the host.
 */
#pragma once

#include "model/model.h"

typedef struct TsHypothesis {
    int32_t *tokens; /* (room of max_steps), owned: what was added */
    int64_t count_tokens;
    double log_probability; /* of all of them */
    double score;
    bool ended;
    TsDecodeEnd end;
    int64_t text_bytes; /* as in TsDecoded */
} TsHypothesis;

/* The hypothesis `parent` of a prompt and one more token. */
typedef struct TsCandidate {
    int32_t token;          /* -1: there is no more */
    int32_t parent;         /* among the prompt's hypotheses */
    double log_probability; /* of all tokens together, this one included */
} TsCandidate;

/* (count), each with room for `max_steps` tokens. Owned by the caller. */
TsHypothesis *ts_hypotheses_create(int64_t count, int64_t max_steps);

/* Sets *hypotheses to NULL; NULL is fine. */
void ts_hypotheses_free(TsHypothesis **hypotheses, int64_t count);

/* Copies what `from` holds into the room of `to`. */
void ts_hypothesis_copy(TsHypothesis *to, const TsHypothesis *from);

/* Adds the token of a candidate. */
void ts_hypothesis_grow(TsHypothesis *hypothesis, TsCandidate candidate);

bool ts_is_end_token(const TsDecodeOptions *options, int32_t token);
