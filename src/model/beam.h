/* SPDX-License-Identifier: Apache-2.0
 *
 * Beam: the search for what continues one prompt most likely as a whole, as t5x does it.
 *
 * `beams` hypotheses live, and `beams` of those that have ended are kept. An ended one scores sum(log p) /
 * ((5 + L) / 6)^alpha, where L counts its tokens with the end (Wu et al. 2016; Praxis has (5 + L) / 5 and 0.8); live
 * ones are not normalised. The search is over where no live one can come to beat the worst of the ended, or, with
 * early_exit, where `beams` have ended. On the host; not collective; a function of the candidates alone.
 */
#pragma once

#include "model/hypothesis.h"
#include "model/sample.h"

typedef struct TsBeam {
    int64_t beams, max_steps;
    int64_t live_count, ended_count;
    TsHypothesis *live, *ended; /* (beams): live ones by falling log-probability, ended ones by falling score */
    TsHypothesis *next;         /* (beams): room */
    TsHypothesis *one;          /* (1): room */
    bool over;
} TsBeam;

/* One live hypothesis without tokens. */
void ts_beam_start(TsBeam *beam, int64_t beams, int64_t max_steps);
void ts_beam_free(TsBeam *beam);

/* How many candidates of a prompt are needed so that `beams` of them go on. */
int64_t ts_beam_candidates(const TsDecodeOptions *options);

/* The likeliest candidates, best first; what is left of candidates (ts_beam_candidates) has the token -1.
 * log_probability (live_count, vocab), rows `row` apart; `room` is for as many. */
void ts_beam_propose(TsCandidate *candidates, const TsBeam *beam, const TsDecodeOptions *options,
                     const float *log_probability, int64_t row, int64_t vocab, TsWeighed *room);

/* Lets hypotheses end and live on. parent (beams): where in `live` each live one came from. */
void ts_beam_accept(TsBeam *beam, int64_t *parent, const TsDecodeOptions *options, const TsCandidate *candidates);

/* sum(log p) / ((5 + length) / 6)^alpha */
double ts_beam_score(double log_probability, int64_t length_tokens, double alpha);

/* What is given back: ended ones, then live ones up to `beams`. Borrowed; NULL where there are not so many. */
TsHypothesis *ts_beam_result(const TsBeam *beam, int64_t index);
