/* SPDX-License-Identifier: Apache-2.0 */
#include "model/headed_decode.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "model/binding.h"
#include "model/prompt_rows.h"
#include "tensor/program.h"

enum { LENGTH_STEP = 32 }; /* tokens: one program for prompts that are about as long */

/* Everything that one call works with. */
typedef struct Reading {
    const TsHeadedModel *model;
    TsWeights weights;
    TsPrompts prompts;
    const TsMesh *mesh;
    int64_t rows, length; /* of the batch: prompts filled up, tokens */
    TsProgram *program;
    TsBatch *arrays; /* tokens (B, T), seen (B, T); values (B, K) or (B, T, K); filled (B, T) */
} Reading;

static void trace(TsGraph *graph, const void *context)
{
    const Reading *reading = context;
    TsShape shape = ts_shape(reading->rows, reading->length);
    TsPlacement rows = ts_batch_placement();
    TsScope scope = {.graph = graph,
                     .parameters = reading->weights.parameters,
                     .dtype = reading->weights.dtype,
                     .narrow = reading->weights.narrow,
                     .step = TS_NONE};
    TsColumns columns = {
        .graph = graph,
        .count = 2,
        .name = {"tokens", "seen"},
        .tensor = {ts_input(graph, "tokens", TS_I32, shape, rows), ts_input(graph, "seen", TS_BOOL, shape, rows)}};
    TsTensor out = ts_cast(ts_headed_model.compute_predictions(scope, reading->model, &columns), TS_F32);
    ts_graph_set_path(graph, "decode");
    switch (reading->model->objective) {
    case TS_OBJECTIVE_CLASSES:
        ts_output("values", ts_softmax(out), rows);
        return;
    case TS_OBJECTIVE_LABELS:
        ts_output("values", ts_sigmoid(out), rows);
        return;
    case TS_OBJECTIVE_TOKENS:
        ts_output("values", ts_max(ts_log_softmax(out), 1 << 2, false), rows);
        ts_output("filled", ts_argmax(out), rows);
        return;
    case TS_OBJECTIVE_VALUES:
    case TS_OBJECTIVE_LOGITS:
    case TS_OBJECTIVE_NOTHING:
        ts_output("values", out, rows);
        return;
    }
}

/* From the cache of the weights, or anew. */
static TsStatus find_program(Reading *reading)
{
    TsCompileOptions options = {.mesh = reading->mesh, .threads = reading->weights.threads};
    int64_t shape[] = {reading->rows, reading->length};
    if (reading->weights.programs)
        return ts_program_cache_get(reading->weights.programs, &reading->program,
                                    (TsProgramKey){reading->model, shape, sizeof shape}, trace, reading, options);
    TsGraph *graph = ts_graph_create();
    trace(graph, reading);
    return ts_program_compile(&reading->program, graph, options);
}

/* The first of this rank's rows among all, and how many of them are prompts. */
static int64_t own_rows(const Reading *reading, int64_t *count)
{
    const TsArray *tokens = ts_batch_find(reading->arrays, "tokens");
    int64_t first = tokens->block.first[0], end = first + tokens->block.shape.size[0];
    end = end < reading->prompts.count ? end : reading->prompts.count;
    *count = end > first ? end - first : 0;
    return first;
}

/* Runs what was compiled over the prompts. */
static void run(Reading *reading)
{
    ts_bind_batch(reading->program, reading->weights.arrays);
    ts_bind_new(reading->program, reading->arrays, TS_BIND_INPUT, reading->mesh);
    ts_bind_new(reading->program, reading->arrays, TS_BIND_OUTPUT, reading->mesh);
    int64_t count, first = own_rows(reading, &count), T = reading->length;
    int32_t *tokens = ts_batch_find(reading->arrays, "tokens")->data;
    bool *seen = ts_batch_find(reading->arrays, "seen")->data;
    for (int64_t row = 0; row < count; row++) {
        int64_t length = reading->prompts.length_tokens[first + row];
        memcpy(tokens + row * T, reading->prompts.tokens[first + row], (size_t)length * sizeof *tokens);
        for (int64_t t = 0; t < T; t++)
            seen[row * T + t] = t < length;
    }
    ts_program_run(reading->program);
}

/* ---- what comes out ---- */

/* The values of all rows, and the tokens that were guessed (NULL where none are): the same on all ranks. Owned by the
 * caller. */
static int32_t *gather(const Reading *reading, TsDecoded *decoded)
{
    const TsArray *values = ts_batch_find(reading->arrays, "values"),
                  *filled = ts_batch_find(reading->arrays, "filled");
    bool of_tokens = values->shape.dims == 3 || filled;
    int64_t count, first = own_rows(reading, &count);
    decoded->positions = of_tokens ? reading->length : 1;
    decoded->outputs = filled ? 1 : values->shape.size[values->shape.dims - 1];
    int64_t row = decoded->positions * decoded->outputs, all = decoded->count * row;
    decoded->values = ts_calloc((size_t)all + 1, sizeof *decoded->values);
    if (count)
        memcpy(decoded->values + first * row, values->data, (size_t)(count * row) * sizeof *decoded->values);
    ts_prompt_rows_share(reading->mesh, decoded->values, all, TS_F32, "decode: values");
    if (!filled)
        return NULL;
    int32_t *guesses = ts_calloc((size_t)all + 1, sizeof *guesses);
    if (count)
        memcpy(guesses + first * row, filled->data, (size_t)(count * row) * sizeof *guesses);
    ts_prompt_rows_share(reading->mesh, guesses, all, TS_I32, "decode: tokens");
    return guesses;
}

/* How likely it is what a row says: the sum of the logarithms of what was chosen, and how many choices there were. */
static double choices_of(const TsHeadedModel *model, const TsDecoded *decoded, int64_t row, const int32_t *prompt,
                         int64_t *choices)
{
    int64_t K = decoded->outputs, positions = decoded->positions > 1 ? decoded->prompt_tokens[row] : 1;
    const float *values = decoded->values + row * decoded->positions * K;
    double sum = 0;
    *choices = 0;
    for (int64_t t = 0; t < positions; t++, values += K) {
        double best = (double)values[0];
        if (model->objective == TS_OBJECTIVE_CLASSES) {
            for (int64_t k = 1; k < K; k++)
                best = fmax(best, (double)values[k]);
            sum += log(best);
            ++*choices;
        }
        for (int64_t k = 0; model->objective == TS_OBJECTIVE_LABELS && k < K; k++, ++*choices)
            sum += log(fmax((double)values[k], 1 - (double)values[k]));
        if (model->objective == TS_OBJECTIVE_TOKENS && prompt[t] == model->mask) {
            sum += (double)values[0];
            ++*choices;
        }
    }
    return sum;
}

static TsDecoded *collect(const Reading *reading, double read_s)
{
    const TsPrompts *prompts = &reading->prompts;
    TsDecoded *decoded = ts_decoded_create(prompts->count, 1, reading->length);
    decoded->read_s = read_s;
    decoded->apart = true;
    int32_t *guesses = gather(reading, decoded);
    for (int64_t row = 0, choices; row < decoded->count; row++) {
        const int32_t *prompt = prompts->tokens[row];
        int64_t length = prompts->length_tokens[row], at = row * reading->length;
        decoded->prompt_tokens[row] = decoded->length_tokens[row] = length;
        for (int64_t t = 0; t < length; t++)
            decoded->tokens[at + t] = guesses && prompt[t] == reading->model->mask ? guesses[at + t] : prompt[t];
        double sum = choices_of(reading->model, decoded, row, prompt, &choices);
        decoded->log_probability[row] = decoded->score[row] = sum;
        TsWeightedScalar mean = {choices ? sum / (double)choices : 0, (double)choices};
        decoded->mean_log_probability = ts_weighted_scalar_merge(decoded->mean_log_probability, mean);
        decoded->mean_length = ts_weighted_scalar_merge(decoded->mean_length, (TsWeightedScalar){(double)choices, 1});
    }
    ts_free(guesses);
    return decoded;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

TsStatus ts_headed_decode(TsDecoded **decoded, const void *options, TsWeights weights, TsPrompts prompts,
                          TsDecodeOptions decode_options)
{
    const TsHeadedModel *model = options;
    (void)decode_options;
    *decoded = NULL;
    if (model->objective == TS_OBJECTIVE_LOGITS || model->objective == TS_OBJECTIVE_NOTHING)
        return ts_status_error(TS_CODE_UNSUPPORTED, "a model without a head says nothing of a prompt");
    Reading reading = {.model = model,
                       .weights = weights,
                       .prompts = prompts,
                       .mesh = ts_parameters_mesh(weights.parameters),
                       .length = 1};
    reading.rows = ts_prompt_rows_fill_up(prompts.count, reading.mesh);
    for (int64_t i = 0; i < prompts.count; i++) {
        TS_TRY(ts_prompt_row_check("prompt", prompts.first + i, prompts.tokens[i], prompts.length_tokens[i],
                                   model->backbone.context, model->backbone.vocab));
        reading.length = reading.length > prompts.length_tokens[i] ? reading.length : prompts.length_tokens[i];
    }
    if (weights.programs)
        reading.length = (reading.length + LENGTH_STEP - 1) / LENGTH_STEP * LENGTH_STEP;
    reading.length = reading.length < model->backbone.context ? reading.length : model->backbone.context;
    reading.arrays = ts_batch_create();
    TsStatus status = find_program(&reading);
    double begin_s = now_s();
    if (!status) {
        run(&reading);
        *decoded = collect(&reading, now_s() - begin_s);
    }
    if (!weights.programs)
        ts_program_free(&reading.program);
    ts_batch_free(&reading.arrays);
    return status;
}

/* ---- text ---- */

TsDecodeText *ts_headed_text(const TsDecoded *decoded, TsDetokeniser detokeniser)
{
    TsDecodeText *text = ts_decode_text_create(decoded);
    for (int64_t i = 0; i < decoded->count; i++) {
        const int32_t *row = decoded->tokens + i * decoded->capacity_tokens;
        int64_t positions = decoded->positions > 1 ? decoded->length_tokens[i] : 1;
        const float *values = decoded->values + i * decoded->positions * decoded->outputs;
        text->prompt[i] = detokeniser.tokens(detokeniser.context, row, decoded->prompt_tokens[i]);
        text->added[i] = detokeniser.values ? detokeniser.values(detokeniser.context, values, positions)
                                            : ts_strdup(text->prompt[i]);
        TsWeightedScalar bytes = {(double)strlen(text->added[i]), 1}, end = {1, 1};
        text->added_bytes = ts_weighted_scalar_merge(text->added_bytes, bytes);
        text->ended = ts_weighted_scalar_merge(text->ended, end);
    }
    return text;
}
