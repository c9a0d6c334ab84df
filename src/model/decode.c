/* SPDX-License-Identifier: Apache-2.0 */
#include "model/decode.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "model/decode_choice.h"
#include "model/decode_pass.h"
#include "model/prompt_rows.h"

enum { CACHE_STEP = 32 }; /* positions */

/* Everything that one call of ts_decode works with. */
typedef struct Decoder {
    TsDecodeLayout layout;
    TsPrompts prompts;
    TsDecodeOptions options;
    TsDecodeChoice choice;
    int32_t *chosen;   /* (prompts, candidates, 2): tokens and parents */
    double *summed;    /* (prompts, candidates) */
    float *guided;     /* (each, vocab), where there is guidance */
    int64_t positions; /* that all rows have in their caches */
    int64_t steps;
    double read_s, steps_s;
} Decoder;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int64_t min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- checks ---- */

static bool is_guided(const TsPrompts *prompts, const TsDecodeOptions *options)
{
    return prompts->unguided && options->guidance != 0 && options->guidance != 1;
}

static TsStatus check_prompts(TsNextToken next, const TsPrompts *prompts, const TsDecodeOptions *options)
{
    for (int64_t i = 0; i < prompts->count; i++) {
        int64_t number = prompts->first + i;
        TS_TRY(ts_prompt_row_check("prompt", number, prompts->tokens[i], prompts->length_tokens[i], next.context,
                                   next.vocab));
        if (is_guided(prompts, options))
            TS_TRY(ts_prompt_row_check("the unguided prompt", number, prompts->unguided[i], prompts->unguided_tokens[i],
                                       next.context, next.vocab));
    }
    if (options->beams > 0 && (options->stop_count || options->samples > 1))
        return ts_status_error(TS_CODE_INVALID, "beams do not go with %s",
                               options->stop_count ? "stop sequences: their ends are tokens" : "several samples");
    if (options->stop_count && !options->detokenise)
        return ts_status_error(TS_CODE_INVALID, "stop sequences take a tokenizer: they are looked for in text");
    return TS_OK;
}

/* ---- layout ---- */

/* The tokens that are given for a line; of prompts that only fill up, a 0. */
static const int32_t *given(const Decoder *decoder, int64_t prompt, int64_t line, int64_t *length)
{
    static const int32_t nothing[] = {0};
    const TsPrompts *prompts = &decoder->prompts;
    *length = 1;
    if (prompt >= prompts->count)
        return nothing;
    *length = line ? prompts->unguided_tokens[prompt] : prompts->length_tokens[prompt];
    return line ? prompts->unguided[prompt] : prompts->tokens[prompt];
}

/* The tokens that a line begins with; behind a source only the start. */
static const int32_t *line_of(const Decoder *decoder, int64_t prompt, int64_t line, int64_t *length)
{
    const int32_t *tokens = given(decoder, prompt, line, length);
    if (!decoder->layout.next.encode)
        return tokens;
    *length = 1;
    return &decoder->layout.next.start;
}

/* How long sources are. */
static void lay_out_sources(Decoder *decoder)
{
    TsDecodeLayout *layout = &decoder->layout;
    if (!layout->next.encode)
        return;
    layout->source_tokens = ts_calloc((size_t)(layout->prompts * layout->lines) + 1, sizeof(int64_t));
    for (int64_t i = 0; i < layout->prompts * layout->lines; i++) {
        (void)given(decoder, i / layout->lines, i % layout->lines, &layout->source_tokens[i]);
        layout->sources = max(layout->sources, layout->source_tokens[i]);
    }
}

/* Tokens that may be added to a prompt. */
static int64_t limit_of(const Decoder *decoder, int64_t prompt)
{
    int64_t limit = decoder->options.max_decode_steps;
    if (prompt >= decoder->prompts.count)
        return 0;
    if (decoder->prompts.max_steps)
        limit = min(limit, decoder->prompts.max_steps[prompt]);
    for (int64_t line = 0, length; line < decoder->layout.lines; line++) {
        (void)line_of(decoder, prompt, line, &length);
        limit = min(limit, decoder->layout.next.context - length);
    }
    return max(limit, 0);
}

/* Where lines stand, and how far they may grow: limit (prompts), owned by the caller. */
static int64_t *lay_out(Decoder *decoder)
{
    TsDecodeLayout *layout = &decoder->layout;
    int64_t *limit = ts_calloc((size_t)layout->prompts + 1, sizeof *limit), longest = 1, shortest = INT64_MAX,
            added = 0;
    for (int64_t prompt = 0; prompt < layout->prompts; prompt++) {
        limit[prompt] = limit_of(decoder, prompt);
        added = max(added, limit[prompt]);
        for (int64_t line = 0, length; prompt < decoder->prompts.count && line < layout->lines; line++) {
            (void)line_of(decoder, prompt, line, &length);
            longest = max(longest, length);
            shortest = min(shortest, length);
        }
    }
    layout->prompt_positions = longest;
    layout->positions = longest + max(added, 1) - 1; /* the last one is not read */
    if (layout->weights.programs) /* of one size for many lengths, so that one program goes on with them all */
        layout->positions = (layout->positions + CACHE_STEP - 1) / CACHE_STEP * CACHE_STEP;
    if (shortest >= longest)
        return limit;
    layout->padding = ts_calloc((size_t)(layout->prompts * layout->lines), sizeof(int64_t));
    for (int64_t prompt = 0; prompt < layout->prompts; prompt++)
        for (int64_t line = 0, length; line < layout->lines; line++) {
            (void)line_of(decoder, prompt, line, &length);
            layout->padding[prompt * layout->lines + line] = longest - length;
        }
    return limit;
}

/* ---- choosing ---- */

/* u + guidance (p - u) of the scores of a hypothesis, normalised: Ho and Salimans 2022, on tokens Sanchez et al. 2023.
 */
static void guide(float *out, const float *with, const float *without, int64_t vocab, double guidance)
{
    float largest = -INFINITY, strength = (float)guidance;
    for (int64_t v = 0; v < vocab; v++) {
        out[v] = without[v] + strength * (with[v] - without[v]);
        largest = out[v] > largest ? out[v] : largest;
    }
    double sum = 0;
    for (int64_t v = 0; v < vocab; v++)
        sum += (double)expf(out[v] - largest);
    float norm = largest + (sum > 0 ? (float)log(sum) : 0);
    for (int64_t v = 0; v < vocab; v++)
        out[v] -= norm;
}

/* Candidates of a prompt whose first row in the pass is local row `row`. */
static void propose(Decoder *decoder, TsCandidate *candidates, const TsDecodePass *pass, int64_t prompt, int64_t row)
{
    int64_t vocab = decoder->layout.next.vocab;
    float *scores = ts_decode_pass_scores(pass, row);
    if (decoder->guided) {
        for (int64_t h = 0; h < pass->each; h++)
            guide(decoder->guided + h * vocab, scores + 2 * h * vocab, scores + (2 * h + 1) * vocab, vocab,
                  decoder->options.guidance);
        scores = decoder->guided;
    }
    ts_decode_choice_propose(&decoder->choice, candidates, prompt, scores, pass->each > 1 ? vocab : 0);
}

/* Makes what each rank chose for its prompts known to all. */
static void share(Decoder *decoder)
{
    const TsMesh *mesh = decoder->layout.mesh;
    int64_t count = decoder->layout.prompts * decoder->choice.candidates;
    ts_prompt_rows_share(mesh, decoder->chosen, 2 * count, TS_I32, "decode: tokens");
    ts_prompt_rows_share(mesh, decoder->summed, count, TS_F64, "decode: log-probabilities");
}

/* Hypotheses of all prompts grow by what was chosen; caches of those here follow. */
static TsStatus accept(Decoder *decoder, const TsDecodePass *pass, TsBatch *caches, bool *grows)
{
    TsDecodeChoice *choice = &decoder->choice;
    int64_t first, count, most = choice->candidates;
    TsCandidate *candidates = ts_calloc((size_t)most, sizeof *candidates);
    int64_t *parent = ts_calloc((size_t)choice->each, sizeof *parent);
    TsStatus status = TS_OK;
    *grows = false;
    ts_decode_pass_prompts(pass, &decoder->layout, &first, &count);
    for (int64_t prompt = 0; prompt < choice->count && !status; prompt++) {
        if (ts_decode_choice_is_over(choice, prompt))
            continue;
        for (int64_t i = 0; i < most; i++)
            candidates[i] =
                (TsCandidate){decoder->chosen[2 * (prompt * most + i)], decoder->chosen[2 * (prompt * most + i) + 1],
                              decoder->summed[prompt * most + i]};
        status = ts_decode_choice_accept(choice, parent, prompt, candidates);
        bool over = ts_decode_choice_is_over(choice, prompt);
        *grows = *grows || !over;
        if (choice->beams && caches && !over && prompt >= first && prompt < first + count)
            ts_decode_caches_reorder(caches, prompt - first, parent, decoder->layout.lines, choice->each,
                                     decoder->positions);
    }
    ts_free(candidates);
    ts_free(parent);
    return status;
}

/* What the last run of the pass says about each prompt. `caches` are those of the hypotheses; NULL: they are alike. */
static TsStatus choose(Decoder *decoder, const TsDecodePass *pass, TsBatch *caches, bool *grows)
{
    TsDecodeChoice *choice = &decoder->choice;
    int64_t first, count, most = choice->candidates, rows = pass->each * decoder->layout.lines;
    TsCandidate *candidates = ts_calloc((size_t)most, sizeof *candidates);
    ts_decode_pass_prompts(pass, &decoder->layout, &first, &count);
    memset(decoder->chosen, 0, (size_t)(2 * decoder->layout.prompts * most) * sizeof *decoder->chosen);
    memset(decoder->summed, 0, (size_t)(decoder->layout.prompts * most) * sizeof *decoder->summed);
    for (int64_t prompt = first; prompt < first + count; prompt++) {
        if (ts_decode_choice_is_over(choice, prompt))
            continue;
        propose(decoder, candidates, pass, prompt, (prompt - first) * rows);
        for (int64_t i = 0; i < most; i++) {
            decoder->chosen[2 * (prompt * most + i)] = candidates[i].token;
            decoder->chosen[2 * (prompt * most + i) + 1] = candidates[i].parent;
            decoder->summed[prompt * most + i] = candidates[i].log_probability;
        }
    }
    ts_free(candidates);
    share(decoder);
    return accept(decoder, pass, caches, grows);
}

/* ---- running ---- */

/* Reads the sources, where there are such. */
static TsStatus read_sources(Decoder *decoder, TsBatch *caches)
{
    const TsDecodeLayout *layout = &decoder->layout;
    TsDecodePass pass = {0};
    int64_t first, count, length;
    if (!layout->sources)
        return TS_OK;
    TsStatus status = ts_decode_pass_create_encoder(&pass, layout, caches);
    if (!status) {
        ts_decode_pass_prompts(&pass, layout, &first, &count);
        for (int64_t row = 0; row < count * layout->lines; row++) {
            const int32_t *source = given(decoder, first + row / layout->lines, row % layout->lines, &length);
            memset(ts_decode_pass_tokens(&pass, row), 0, (size_t)layout->sources * sizeof *source);
            memcpy(ts_decode_pass_tokens(&pass, row), source, (size_t)length * sizeof *source);
        }
        ts_decode_pass_run(&pass, layout, 0);
    }
    ts_decode_pass_free(&pass);
    return status;
}

/* Reads the prompts in one pass. */
static void read_prompts(Decoder *decoder, TsDecodePass *pass)
{
    int64_t first, count, positions = decoder->layout.prompt_positions, lines = decoder->layout.lines;
    ts_decode_pass_prompts(pass, &decoder->layout, &first, &count);
    for (int64_t row = 0; row < count * lines; row++) {
        int64_t length;
        const int32_t *line = line_of(decoder, first + row / lines, row % lines, &length);
        memset(ts_decode_pass_tokens(pass, row), 0, (size_t)positions * sizeof *line);
        memcpy(ts_decode_pass_tokens(pass, row) + positions - length, line, (size_t)length * sizeof *line);
    }
    ts_decode_pass_run(pass, &decoder->layout, 0);
    decoder->positions = positions;
}

/* Reads the tokens that hypotheses grew by. */
static void read_last(Decoder *decoder, TsDecodePass *pass)
{
    int64_t first, count, lines = decoder->layout.lines, rows = pass->each * lines;
    ts_decode_pass_prompts(pass, &decoder->layout, &first, &count);
    for (int64_t row = 0; row < count * rows; row++)
        *ts_decode_pass_tokens(pass, row) =
            ts_decode_choice_last(&decoder->choice, first + row / rows, row % rows / lines);
    ts_decode_pass_run(pass, &decoder->layout, decoder->positions++);
    decoder->steps++;
}

/* Token by token, from where the prompts were read into `prompt_caches`. */
static TsStatus go_on(Decoder *decoder, TsBatch *prompt_caches)
{
    int64_t each = decoder->choice.each;
    TsDecodePass step = {0};
    TsBatch *caches = each > 1 ? ts_batch_create() : prompt_caches;
    TsStatus status = ts_decode_pass_create(&step, &decoder->layout, 1, each, caches);
    if (!status && each > 1)
        ts_decode_caches_expand(caches, prompt_caches, decoder->layout.lines, each);
    double begin_s = now_s();
    for (bool grows = true; grows && !status;) {
        read_last(decoder, &step);
        status = choose(decoder, &step, caches, &grows);
    }
    decoder->steps_s = now_s() - begin_s;
    ts_decode_pass_free(&step);
    if (each > 1)
        ts_batch_free(&caches);
    return status;
}

static TsStatus run(Decoder *decoder)
{
    TsDecodePass prefill = {0};
    TsBatch *caches = ts_batch_create();
    bool grows = false;
    TsStatus status = read_sources(decoder, caches);
    if (!status)
        status = ts_decode_pass_create(&prefill, &decoder->layout, decoder->layout.prompt_positions, 1, caches);
    if (!status) {
        double begin_s = now_s();
        read_prompts(decoder, &prefill);
        status = choose(decoder, &prefill, NULL, &grows);
        decoder->read_s = now_s() - begin_s;
    }
    ts_decode_pass_free(&prefill);
    if (!status && grows)
        status = go_on(decoder, caches);
    ts_batch_free(&caches);
    return status;
}

/* ---- what comes out ---- */

static void fill_row(TsDecoded *decoded, int64_t row, const TsPrompts *prompts, const TsHypothesis *hypothesis)
{
    int64_t prompt = row / decoded->each, length = prompts->length_tokens[prompt];
    int32_t *tokens = decoded->tokens + row * decoded->capacity_tokens;
    memcpy(tokens, prompts->tokens[prompt], (size_t)length * sizeof *tokens);
    decoded->prompt_tokens[row] = decoded->length_tokens[row] = length;
    decoded->score[row] = decoded->log_probability[row] = -INFINITY; /* where there is no such hypothesis */
    if (!hypothesis)
        return;
    memcpy(tokens + length, hypothesis->tokens, (size_t)hypothesis->count_tokens * sizeof *tokens);
    decoded->length_tokens[row] += hypothesis->count_tokens;
    decoded->log_probability[row] = hypothesis->log_probability;
    decoded->score[row] = hypothesis->score;
    decoded->end[row] = hypothesis->end;
    decoded->text_bytes[row] = hypothesis->text_bytes;
    TsWeightedScalar length_of = {(double)hypothesis->count_tokens, 1}, mean = {0, length_of.value};
    if (mean.weight > 0)
        mean.value = hypothesis->log_probability / mean.weight;
    decoded->mean_length = ts_weighted_scalar_merge(decoded->mean_length, length_of);
    decoded->mean_log_probability = ts_weighted_scalar_merge(decoded->mean_log_probability, mean);
}

static TsDecoded *collect(Decoder *decoder)
{
    const TsPrompts *prompts = &decoder->prompts;
    int64_t each = decoder->choice.each, longest = 0;
    for (int64_t i = 0; i < prompts->count; i++)
        longest = max(longest, prompts->length_tokens[i] + decoder->choice.limit[i]);
    TsDecoded *decoded = ts_decoded_create(prompts->count, each, longest);
    decoded->steps = decoder->steps;
    decoded->read_s = decoder->read_s;
    decoded->steps_s = decoder->steps_s;
    decoded->apart = decoder->layout.next.encode != NULL;
    ts_decode_choice_sort(&decoder->choice);
    for (int64_t row = 0; row < decoded->count; row++)
        fill_row(decoded, row, prompts, ts_decode_choice_result(&decoder->choice, row / each, row % each));
    return decoded;
}

TsStatus ts_decode(TsDecoded **decoded, TsNextToken next, TsWeights weights, TsPrompts prompts, TsDecodeOptions options)
{
    *decoded = NULL;
    TS_TRY(check_prompts(next, &prompts, &options));
    const TsMesh *mesh = ts_parameters_mesh(weights.parameters);
    Decoder decoder = {.layout = {.next = next,
                                  .weights = weights,
                                  .mesh = mesh,
                                  .prompts = ts_prompt_rows_fill_up(prompts.count, mesh),
                                  .lines = is_guided(&prompts, &options) ? 2 : 1},
                       .prompts = prompts,
                       .options = options};
    lay_out_sources(&decoder);
    int64_t *limit = lay_out(&decoder);
    ts_decode_choice_start(&decoder.choice, &decoder.options, &decoder.prompts, decoder.layout.prompts, limit,
                           next.vocab);
    size_t candidates = (size_t)(decoder.layout.prompts * decoder.choice.candidates);
    decoder.chosen = ts_calloc(2 * candidates + 1, sizeof *decoder.chosen);
    decoder.summed = ts_calloc(candidates + 1, sizeof *decoder.summed);
    if (decoder.layout.lines > 1)
        decoder.guided = ts_calloc((size_t)(decoder.choice.each * next.vocab), sizeof *decoder.guided);
    bool any = false;
    for (int64_t i = 0; i < prompts.count; i++)
        any = any || limit[i] > 0;
    TsStatus status = any ? run(&decoder) : TS_OK;
    if (!status)
        *decoded = collect(&decoder);
    ts_decode_choice_free(&decoder.choice);
    ts_free(decoder.layout.padding);
    ts_free(decoder.layout.source_tokens);
    ts_free(decoder.chosen);
    ts_free(decoder.summed);
    ts_free(decoder.guided);
    return status;
}
