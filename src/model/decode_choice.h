/* SPDX-License-Identifier: Apache-2.0
 *
 * DecodeChoice: which tokens the hypotheses of all prompts grow by: by sampling or by beams.
 *
 * A rank proposes candidates for the prompts whose scores it holds; then all ranks accept those of all prompts, so that
 * each knows every hypothesis. On the host; not collective.
 */
#pragma once

#include "model/beam.h"
#include "model/sample.h"

typedef struct TsDecodeChoice {
    const TsDecodeOptions *options; /* borrowed */
    const TsPrompts *prompts;       /* borrowed */
    int64_t count;                  /* of prompts, those that fill up included: they are over from the beginning */
    int64_t each;                   /* hypotheses of a prompt */
    int64_t vocab;
    int64_t candidates;    /* of a prompt */
    int64_t *limit;        /* (count) tokens that may be added, owned */
    TsHypothesis *samples; /* (count * each), owned; or */
    TsBeam *beams;         /* (count), owned */
    TsWeighed *room;       /* (vocab), owned */
} TsDecodeChoice;

/* limit (count) is taken over. */
void ts_decode_choice_start(TsDecodeChoice *choice, const TsDecodeOptions *options, const TsPrompts *prompts,
                            int64_t count, int64_t *limit, int64_t vocab);
void ts_decode_choice_free(TsDecodeChoice *choice);

/* Whether the prompt has nothing more to grow. */
bool ts_decode_choice_is_over(const TsDecodeChoice *choice, int64_t prompt);

/* candidates (choice->candidates) of a prompt that is not over. scores (each, vocab), rows `row` apart (0: the same for
 * all hypotheses): log-probabilities, which are changed where ends may not be yet. */
void ts_decode_choice_propose(TsDecodeChoice *choice, TsCandidate *candidates, int64_t prompt, float *scores,
                              int64_t row);

/* Grows a prompt that is not over; parent (each): which hypothesis each one goes on from. An error where scores were no
 * numbers. */
TS_MUST_USE TsStatus ts_decode_choice_accept(TsDecodeChoice *choice, int64_t *parent, int64_t prompt,
                                             const TsCandidate *candidates);

/* The token that a hypothesis was given last; 0 where it is none. */
int32_t ts_decode_choice_last(const TsDecodeChoice *choice, int64_t prompt, int64_t hypothesis);

/* Sorts the hypotheses of each prompt, and gives one: best first; NULL where there are not so many. */
void ts_decode_choice_sort(TsDecodeChoice *choice);
const TsHypothesis *ts_decode_choice_result(const TsDecodeChoice *choice, int64_t prompt, int64_t index);
