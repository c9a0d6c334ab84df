/* SPDX-License-Identifier: Apache-2.0 */
#include "model/beam.h"

#include <math.h>

void ts_beam_start(TsBeam *beam, int64_t beams, int64_t max_steps)
{
    *beam = (TsBeam){.beams = beams,
                     .max_steps = max_steps,
                     .live_count = 1,
                     .live = ts_hypotheses_create(beams, max_steps),
                     .ended = ts_hypotheses_create(beams, max_steps),
                     .next = ts_hypotheses_create(beams, max_steps),
                     .one = ts_hypotheses_create(1, max_steps),
                     .over = max_steps < 1};
}

void ts_beam_free(TsBeam *beam)
{
    ts_hypotheses_free(&beam->live, beam->beams);
    ts_hypotheses_free(&beam->ended, beam->beams);
    ts_hypotheses_free(&beam->next, beam->beams);
    ts_hypotheses_free(&beam->one, 1);
}

int64_t ts_beam_candidates(const TsDecodeOptions *options)
{
    return options->beams * (1 + (options->end_count > 1 ? options->end_count : 1));
}

double ts_beam_score(double log_probability, int64_t length_tokens, double alpha)
{
    return log_probability / pow((5 + (double)length_tokens) / 6, alpha);
}

/* Puts a candidate among the best, in falling order; equals stay in the order in which they came. */
static int64_t insert(TsCandidate *best, int64_t count, int64_t most, TsCandidate candidate)
{
    int64_t at = count;
    while (at > 0 && best[at - 1].log_probability < candidate.log_probability)
        at--;
    if (at == most)
        return count;
    for (int64_t i = count < most ? count : most - 1; i > at; i--)
        best[i] = best[i - 1];
    best[at] = candidate;
    return count < most ? count + 1 : most;
}

void ts_beam_propose(TsCandidate *candidates, const TsBeam *beam, const TsDecodeOptions *options,
                     const float *log_probability, int64_t row, int64_t vocab, TsWeighed *room)
{
    int64_t most = ts_beam_candidates(options), count = 0;
    for (int64_t parent = 0; parent < beam->live_count; parent++) {
        int64_t found = ts_likeliest_many(room, most, log_probability + parent * row, vocab);
        for (int64_t i = 0; i < found; i++) {
            double sum = beam->live[parent].log_probability + (double)room[i].weight;
            count = insert(candidates, count, most, (TsCandidate){room[i].token, (int32_t)parent, sum});
        }
    }
    for (; count < most; count++)
        candidates[count] = (TsCandidate){.token = -1, .log_probability = -INFINITY};
}

/* Puts a hypothesis that ends with the candidate among the ended. */
static void end(TsBeam *beam, TsCandidate candidate, double alpha)
{
    TsHypothesis *one = beam->one;
    ts_hypothesis_copy(one, &beam->live[candidate.parent]);
    ts_hypothesis_grow(one, candidate);
    one->score = ts_beam_score(one->log_probability, one->count_tokens, alpha);
    one->ended = true;
    one->end = TS_DECODE_END_TOKEN;
    int64_t at = beam->ended_count;
    while (at > 0 && beam->ended[at - 1].score < one->score)
        at--;
    if (at == beam->beams)
        return;
    if (beam->ended_count < beam->beams)
        beam->ended_count++;
    TsHypothesis last = beam->ended[beam->ended_count - 1]; /* its room */
    for (int64_t i = beam->ended_count - 1; i > at; i--)
        beam->ended[i] = beam->ended[i - 1];
    beam->ended[at] = last;
    ts_hypothesis_copy(&beam->ended[at], one);
}

/* Whether no live one can come to beat the worst of the ended. */
static bool is_over(const TsBeam *beam, const TsDecodeOptions *options)
{
    if (beam->live_count == 0 || beam->live[0].count_tokens >= beam->max_steps)
        return true;
    if (beam->ended_count < beam->beams)
        return false;
    if (options->early_exit)
        return true;
    double likeliest = beam->live[0].log_probability, alpha = options->length_penalty;
    double soon = ts_beam_score(likeliest, beam->live[0].count_tokens + 1, alpha);
    double late = ts_beam_score(likeliest, beam->max_steps, alpha);
    return beam->ended[beam->beams - 1].score >= (soon > late ? soon : late);
}

void ts_beam_accept(TsBeam *beam, int64_t *parent, const TsDecodeOptions *options, const TsCandidate *candidates)
{
    int64_t most = ts_beam_candidates(options), live = 0;
    for (int64_t i = 0; i < beam->beams; i++)
        parent[i] = i;
    if (beam->over)
        return;
    for (int64_t i = 0; i < most; i++) {
        TsCandidate candidate = candidates[i];
        if (candidate.token < 0 || isinf(candidate.log_probability))
            continue;
        if (ts_is_end_token(options, candidate.token)) {
            end(beam, candidate, options->length_penalty);
        } else if (live < beam->beams) {
            ts_hypothesis_copy(&beam->next[live], &beam->live[candidate.parent]);
            ts_hypothesis_grow(&beam->next[live], candidate);
            parent[live++] = candidate.parent;
        }
    }
    TsHypothesis *before = beam->live;
    beam->live = beam->next;
    beam->next = before;
    beam->live_count = live;
    beam->over = is_over(beam, options);
}

TsHypothesis *ts_beam_result(const TsBeam *beam, int64_t index)
{
    if (index < beam->ended_count)
        return &beam->ended[index];
    index -= beam->ended_count;
    return index < beam->live_count && index + beam->ended_count < beam->beams ? &beam->live[index] : NULL;
}
