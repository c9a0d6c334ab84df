/* SPDX-License-Identifier: Apache-2.0 */
#include "model/decode_choice.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"

static int64_t most(const int64_t *values, int64_t count)
{
    int64_t largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = values[i] > largest ? values[i] : largest;
    return largest;
}

void ts_decode_choice_start(TsDecodeChoice *choice, const TsDecodeOptions *options, const TsPrompts *prompts,
                            int64_t count, int64_t *limit, int64_t vocab)
{
    bool beams = options->beams > 0;
    int64_t each = beams ? options->beams : options->samples > 1 ? options->samples : 1;
    *choice = (TsDecodeChoice){.options = options,
                               .prompts = prompts,
                               .count = count,
                               .each = each,
                               .vocab = vocab,
                               .candidates = beams ? ts_beam_candidates(options) : each,
                               .limit = limit};
    int64_t room = vocab > choice->candidates ? vocab : choice->candidates;
    choice->room = ts_alloc((size_t)room * sizeof *choice->room);
    if (!beams) {
        choice->samples = ts_hypotheses_create(count * each, most(limit, count));
        return;
    }
    choice->beams = ts_calloc((size_t)count + 1, sizeof *choice->beams);
    for (int64_t i = 0; i < count; i++)
        ts_beam_start(&choice->beams[i], each, limit[i]);
}

void ts_decode_choice_free(TsDecodeChoice *choice)
{
    ts_hypotheses_free(&choice->samples, choice->count * choice->each);
    for (int64_t i = 0; choice->beams && i < choice->count; i++)
        ts_beam_free(&choice->beams[i]);
    ts_free(choice->beams);
    ts_free(choice->room);
    ts_free(choice->limit);
    *choice = (TsDecodeChoice){0};
}

/* Whether a sample takes no more tokens. */
static bool has_ended(const TsDecodeChoice *choice, int64_t prompt, const TsHypothesis *sample)
{
    return sample->ended || sample->count_tokens >= choice->limit[prompt];
}

bool ts_decode_choice_is_over(const TsDecodeChoice *choice, int64_t prompt)
{
    if (choice->beams)
        return choice->beams[prompt].over;
    for (int64_t i = 0; i < choice->each; i++)
        if (!has_ended(choice, prompt, &choice->samples[prompt * choice->each + i]))
            return false;
    return true;
}

/* No hypothesis of a prompt ends before it has so many tokens. */
static void forbid_ends(const TsDecodeChoice *choice, int64_t added, float *scores, int64_t row)
{
    if (added >= choice->options->min_decode_steps)
        return;
    for (int64_t h = 0; h < (row ? choice->each : 1); h++)
        for (int i = 0; i < choice->options->end_count; i++)
            if (choice->options->ends[i] >= 0 && choice->options->ends[i] < choice->vocab)
                scores[h * row + choice->options->ends[i]] = -INFINITY;
}

/* How many tokens the hypotheses that still grow have: all as many. */
static int64_t tokens_so_far(const TsDecodeChoice *choice, int64_t prompt)
{
    if (choice->beams)
        return choice->beams[prompt].live[0].count_tokens;
    for (int64_t i = 0; i < choice->each; i++) {
        const TsHypothesis *sample = &choice->samples[prompt * choice->each + i];
        if (!has_ended(choice, prompt, sample))
            return sample->count_tokens;
    }
    return 0;
}

void ts_decode_choice_propose(TsDecodeChoice *choice, TsCandidate *candidates, int64_t prompt, float *scores,
                              int64_t row)
{
    const TsDecodeOptions *options = choice->options;
    int64_t added = tokens_so_far(choice, prompt);
    forbid_ends(choice, added, scores, row);
    if (choice->beams) {
        ts_beam_propose(candidates, &choice->beams[prompt], options, scores, row, choice->vocab, choice->room);
        return;
    }
    TsSampling sampling = {.temperature = options->temperature, .top_k = options->top_k, .top_p = options->top_p};
    TsStream stream = ts_stream(options->seed, "decode/sample", added);
    for (int64_t i = 0; i < choice->each; i++) {
        const TsHypothesis *sample = &choice->samples[prompt * choice->each + i];
        candidates[i] = (TsCandidate){.token = 0, .parent = (int32_t)i};
        if (has_ended(choice, prompt, sample))
            continue;
        double uniform = ts_stream_uniform_f64(stream, (choice->prompts->first + prompt) * choice->each + i);
        const float *log_probability = scores + i * row;
        int32_t token = ts_sample(log_probability, choice->vocab, sampling, uniform, choice->room);
        candidates[i].token = token;
        candidates[i].log_probability = sample->log_probability + (double)log_probability[token];
    }
}

/* Ends a sample in whose text a stop sequence stands: the first of all. */
static void look_for_stops(const TsDecodeOptions *options, TsHypothesis *sample)
{
    if (!options->stop_count || !options->detokenise)
        return;
    char *text = options->detokenise(options->detokenise_context, sample->tokens, sample->count_tokens);
    const char *first = NULL;
    for (int i = 0; i < options->stop_count; i++) {
        const char *found = options->stops[i][0] ? strstr(text, options->stops[i]) : NULL;
        first = found && (!first || found < first) ? found : first;
    }
    if (first) {
        sample->ended = true;
        sample->end = TS_DECODE_END_STOP;
        sample->text_bytes = first - text;
    }
    ts_free(text);
}

static void grow_sample(const TsDecodeChoice *choice, int64_t prompt, TsHypothesis *sample, TsCandidate candidate)
{
    const TsDecodeOptions *options = choice->options;
    ts_hypothesis_grow(sample, candidate);
    if (ts_is_end_token(options, candidate.token)) {
        sample->ended = true;
        sample->end = TS_DECODE_END_TOKEN;
    } else {
        look_for_stops(options, sample);
    }
    if (options->listener)
        options->listener(options->listener_context, prompt, sample->tokens, sample->count_tokens,
                          has_ended(choice, prompt, sample));
}

TsStatus ts_decode_choice_accept(TsDecodeChoice *choice, int64_t *parent, int64_t prompt, const TsCandidate *candidates)
{
    for (int64_t i = 0; i < choice->each; i++) {
        parent[i] = i;
        bool grows = choice->beams ? i == 0 : !has_ended(choice, prompt, &choice->samples[prompt * choice->each + i]);
        if (grows && !isfinite(candidates[i].log_probability))
            return ts_status_error(TS_CODE_INVALID,
                                   "prompt %lld: the scores of its next token are not numbers, or leave none to take",
                                   (long long)(choice->prompts->first + prompt));
    }
    if (choice->beams) {
        ts_beam_accept(&choice->beams[prompt], parent, choice->options, candidates);
        return TS_OK;
    }
    for (int64_t i = 0; i < choice->each; i++) {
        TsHypothesis *sample = &choice->samples[prompt * choice->each + i];
        if (!has_ended(choice, prompt, sample))
            grow_sample(choice, prompt, sample, candidates[i]);
    }
    return TS_OK;
}

int32_t ts_decode_choice_last(const TsDecodeChoice *choice, int64_t prompt, int64_t hypothesis)
{
    const TsHypothesis *grown =
        choice->beams ? &choice->beams[prompt].live[hypothesis] : &choice->samples[prompt * choice->each + hypothesis];
    bool lives = !choice->beams || hypothesis < choice->beams[prompt].live_count;
    return lives && grown->count_tokens ? grown->tokens[grown->count_tokens - 1] : 0;
}

void ts_decode_choice_sort(TsDecodeChoice *choice)
{
    for (int64_t prompt = 0; !choice->beams && prompt < choice->count; prompt++) {
        TsHypothesis *sample = choice->samples + prompt * choice->each;
        for (int64_t i = 1; i < choice->each; i++) /* equals stay in their order */
            for (int64_t k = i; k > 0 && sample[k - 1].score < sample[k].score; k--) {
                TsHypothesis moved = sample[k];
                sample[k] = sample[k - 1];
                sample[k - 1] = moved;
            }
    }
}

const TsHypothesis *ts_decode_choice_result(const TsDecodeChoice *choice, int64_t prompt, int64_t index)
{
    return choice->beams ? ts_beam_result(&choice->beams[prompt], index)
                         : &choice->samples[prompt * choice->each + index];
}
