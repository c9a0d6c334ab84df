/* SPDX-License-Identifier: Apache-2.0 */
#include "model/decode.h"

#include <string.h>

#include "base/memory.h"
#include "model/binding.h"

/* One compiled pass over T tokens of every row, and the arrays it takes and gives. */
typedef struct Pass {
    TsProgram *program;
    TsBatch
        *arrays;    /* tokens (B, T), first (), ids (T), position () of what is chosen; next (B), log_probability (B) */
    int64_t length; /* T */
} Pass;

typedef struct Decoder {
    TsNextToken next;
    TsWeights weights;
    TsDecodeOptions options;
    const TsMesh *mesh;
    TsBatch *caches;   /* shared by the passes */
    int64_t rows;      /* B */
    int64_t positions; /* of the cache */
} Decoder;

/* The token to take at each row: logits (B, V) -> (B) i32. Argmax of logits / temperature + Gumbel noise is a sample of
 * the softmax (Gumbel 1954; Maddison et al. 2014). */
static TsTensor choose(const Decoder *decoder, TsTensor logits)
{
    if (decoder->options.temperature == 0)
        return ts_argmax(logits);
    TsTensor position = ts_input(logits.graph, "position", TS_I64, ts_scalar, ts_replicated);
    TsTensor scaled = ts_scale(ts_cast(logits, TS_F32), 1 / decoder->options.temperature);
    uint64_t stream = ts_stream_key(decoder->options.seed, "decode/sample");
    return ts_argmax(ts_add(scaled, ts_gumbel(position, ts_shape_of_tensor(logits), stream)));
}

static void trace_pass(TsGraph *graph, const Decoder *decoder, int64_t T)
{
    TsPlacement rows = ts_batch_placement();
    TsScope scope = {
        .graph = graph, .parameters = decoder->weights.parameters, .dtype = decoder->weights.dtype, .step = TS_NONE};
    TsTensor tokens = ts_input(graph, "tokens", TS_I32, ts_shape(decoder->rows, T), rows);
    TsCache cache = {.positions = decoder->positions,
                     .first = ts_input(graph, "first", TS_I64, ts_scalar, ts_replicated),
                     .ids = ts_input(graph, "ids", TS_I32, ts_shape(T), ts_replicated),
                     .placement = rows};
    TsTensor logits = decoder->next.logits(scope, decoder->next.options, tokens, &cache);
    ts_graph_set_path(graph, "decode");
    TsTensor token = choose(decoder, logits);
    TsTensor surprise = ts_cross_entropy(logits, token, (TsCrossEntropy){.ignore = -1});
    ts_output("next", token, ts_replicated);
    ts_output("log_probability", ts_cast(ts_scale(surprise, -1), TS_F32), ts_replicated);
}

static TsStatus create_pass(Pass *pass, const Decoder *decoder, int64_t T)
{
    *pass = (Pass){.length = T, .arrays = ts_batch_create()};
    TsGraph *graph = ts_graph_create();
    trace_pass(graph, decoder, T);
    TsCompileOptions options = {.mesh = decoder->mesh, .threads = decoder->weights.threads};
    TS_TRY(ts_program_compile(&pass->program, graph, options));
    ts_bind_batch(pass->program, decoder->weights.arrays);
    ts_bind_new(pass->program, pass->arrays, TS_BIND_INPUT, decoder->mesh);
    ts_bind_new(pass->program, pass->arrays, TS_BIND_OUTPUT, decoder->mesh);
    ts_bind_new(pass->program, decoder->caches, TS_BIND_STATE, decoder->mesh);
    return TS_OK;
}

static void free_pass(Pass *pass)
{
    ts_program_free(&pass->program);
    ts_batch_free(&pass->arrays);
}

static int64_t min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Runs the tokens at positions [first, first + T) of all rows. */
static void run_pass(Pass *pass, const TsDecoded *decoded, int64_t first)
{
    TsArray *tokens = ts_batch_find(pass->arrays, "tokens");
    TsArray *position = ts_batch_find(pass->arrays, "position");
    *(int64_t *)ts_batch_find(pass->arrays, "first")->data = first;
    if (position)
        *(int64_t *)position->data = first + pass->length;
    for (int64_t t = 0; t < pass->length; t++)
        ((int32_t *)ts_batch_find(pass->arrays, "ids")->data)[t] = (int32_t)(first + t);
    for (int64_t row = 0; row < tokens->block.shape.size[0]; row++)
        memcpy((int32_t *)tokens->data + row * pass->length,
               decoded->tokens + (tokens->block.first[0] + row) * decoded->capacity_tokens + first,
               (size_t)pass->length * sizeof(int32_t));
    ts_program_run(pass->program);
}

/* Appends what the last pass chose for `position` to the rows whose prompt ended before it and that have not ended.
 * Returns how many rows still grow. */
static int64_t append(TsDecoded *decoded, bool *ended, const Pass *pass, int64_t position, TsDecodeOptions options)
{
    const int32_t *next = ts_batch_find(pass->arrays, "next")->data;
    const float *log_probability = ts_batch_find(pass->arrays, "log_probability")->data;
    int64_t growing = 0;
    for (int64_t row = 0; row < decoded->count; row++) {
        int32_t *tokens = decoded->tokens + row * decoded->capacity_tokens;
        int64_t limit = min(decoded->prompt_tokens[row] + options.max_tokens, decoded->capacity_tokens);
        if (position >= decoded->prompt_tokens[row] && !ended[row] && position < limit) {
            tokens[position] = next[row];
            decoded->length_tokens[row] = position + 1;
            decoded->log_probability[row] += (double)log_probability[row];
            ended[row] = options.end >= 0 && next[row] == options.end;
        }
        growing += !ended[row] && position + 1 < limit;
    }
    return growing;
}

static TsStatus check_prompts(TsNextToken next, TsPrompts prompts)
{
    for (int64_t row = 0; row < prompts.count; row++) {
        int64_t length = prompts.length_tokens[row];
        if (length < 1)
            return ts_status_error(TS_CODE_INVALID, "prompt %lld is empty: at least one token is needed",
                                   (long long)row);
        if (length > next.context)
            return ts_status_error(TS_CODE_INVALID, "prompt %lld has %lld tokens, more than the context of %lld",
                                   (long long)row, (long long)length, (long long)next.context);
        for (int64_t i = 0; i < length; i++)
            if (prompts.tokens[row][i] < 0 || prompts.tokens[row][i] >= next.vocab)
                return ts_status_error(TS_CODE_INVALID, "prompt %lld has the token %d; tokens are 0..%lld",
                                       (long long)row, prompts.tokens[row][i], (long long)next.vocab - 1);
    }
    return TS_OK;
}

static TsDecoded *create_rows(TsPrompts prompts, int64_t capacity)
{
    TsDecoded *decoded = ts_calloc(1, sizeof *decoded);
    size_t count = (size_t)prompts.count;
    *decoded = (TsDecoded){.count = prompts.count,
                           .capacity_tokens = capacity,
                           .tokens = ts_calloc(count * (size_t)capacity, sizeof(int32_t)),
                           .prompt_tokens = ts_calloc(count, sizeof(int64_t)),
                           .length_tokens = ts_calloc(count, sizeof(int64_t)),
                           .log_probability = ts_calloc(count, sizeof(double))};
    for (int64_t row = 0; row < prompts.count; row++) {
        int64_t length = prompts.length_tokens[row];
        memcpy(decoded->tokens + row * capacity, prompts.tokens[row], (size_t)length * sizeof(int32_t));
        decoded->prompt_tokens[row] = decoded->length_tokens[row] = length;
    }
    return decoded;
}

/* Reads the prompts up to `shortest` in one pass, then goes on token by token. */
static TsStatus decode_rows(Decoder *decoder, TsDecoded *decoded, int64_t shortest)
{
    Pass prefill = {0}, step = {0};
    bool *ended = ts_calloc((size_t)decoded->count, sizeof *ended);
    TsStatus status = create_pass(&prefill, decoder, shortest);
    if (!status)
        status = create_pass(&step, decoder, 1);
    if (!status) {
        run_pass(&prefill, decoded, 0);
        int64_t growing = append(decoded, ended, &prefill, shortest, decoder->options);
        for (int64_t position = shortest; growing > 0; position++) {
            run_pass(&step, decoded, position);
            growing = append(decoded, ended, &step, position + 1, decoder->options);
        }
    }
    free_pass(&prefill);
    free_pass(&step);
    ts_free(ended);
    return status;
}

TsStatus ts_decode(TsDecoded **decoded, TsNextToken next, TsWeights weights, TsPrompts prompts, TsDecodeOptions options)
{
    *decoded = NULL;
    TS_TRY(check_prompts(next, prompts));
    int64_t longest = 0, shortest = next.context;
    for (int64_t row = 0; row < prompts.count; row++) {
        shortest = min(shortest, prompts.length_tokens[row]);
        longest = longest > prompts.length_tokens[row] ? longest : prompts.length_tokens[row];
    }
    Decoder decoder = {.next = next,
                       .weights = weights,
                       .options = options,
                       .mesh = ts_parameters_mesh(weights.parameters),
                       .caches = ts_batch_create(),
                       .rows = prompts.count,
                       .positions = min(next.context, longest + options.max_tokens)};
    TsDecoded *rows = create_rows(prompts, decoder.positions);
    TsStatus status = prompts.count && options.max_tokens > 0 ? decode_rows(&decoder, rows, shortest) : TS_OK;
    ts_batch_free(&decoder.caches);
    if (status)
        ts_decoded_free(&rows);
    *decoded = rows;
    return status;
}
