/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Beam search: against greedy decoding, against a search through everything, and its ways of ending.
 */
#include "model/beam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/decode.h"
#include "test.h"
#include "tiny.h"

enum { ROWS = 3, ADDED = 6, SMALL_VOCAB = 3, STEPS = 4, ALL = 27, MOST = 64 };

static const int32_t row_a[] = {1, 2, 2}, row_b[] = {0, 1, 1, 0, 2}, row_c[] = {2, 1};
static const TsPrompts prompts = {.count = ROWS,
                                  .tokens = (const int32_t *const[]){row_a, row_b, row_c},
                                  .length_tokens = (const int64_t[]){3, 5, 2}};

static void scale_weights(TsBatch *arrays)
{
    for (int i = 0; i < ts_batch_count(arrays); i++)
        for (int64_t e = 0; e < ts_array_local_elems(ts_batch_array(arrays, i)); e++)
            ((float *)ts_batch_array(arrays, i)->data)[e] *= 3;
}

static TsDecoded *decode(Tiny *tiny, const TsLanguageModel *model, TsDecodeOptions options)
{
    TsWeights weights = {.parameters = tiny->parameters, .arrays = tiny->arrays, .dtype = TS_F32, .threads = 1};
    TsDecoded *decoded = NULL;
    TEST_OK(ts_language_model.decode(&decoded, model, weights, prompts, options));
    return decoded;
}

static void open_tiny(Tiny *tiny, TsMesh **mesh, const TsLanguageModel *model, int along_model)
{
    *mesh = tiny_mesh(test_world, along_model);
    *tiny = (Tiny){.parameters = ts_parameters_create(*mesh)};
    TsGraph *graph = ts_graph_create(); /* only to declare the parameters */
    TsScope scope = {.graph = graph, .parameters = tiny->parameters, .dtype = TS_F32, .step = TS_NONE};
    (void)ts_language_model_logits(scope, model, ts_input(graph, "tokens", TS_I32, ts_shape(1, 1), ts_replicated),
                                   NULL);
    ts_graph_free(&graph);
    tiny->arrays = ts_parameters_initialize(tiny->parameters, 11);
    scale_weights(tiny->arrays);
}

static void close_tiny(Tiny *tiny, TsMesh **mesh)
{
    tiny_free(tiny);
    ts_mesh_free(mesh);
}

static void greedy_is_a_beam_of_one(void)
{
    Tiny tiny;
    TsMesh *mesh;
    int32_t end = 4;
    for (int along_model = 1; along_model <= ts_group_size(test_world); along_model *= 2) {
        open_tiny(&tiny, &mesh, &tiny_model, along_model);
        TsDecodeOptions options = {.max_decode_steps = ADDED, .ends = &end, .end_count = 1};
        TsDecoded *greedy = decode(&tiny, &tiny_model, options);
        options.beams = 1;
        TsDecoded *beam = decode(&tiny, &tiny_model, options);
        for (int64_t row = 0; greedy && beam && row < ROWS; row++) {
            /* A beam also keeps an end that was second, and may find it likelier than what came after the first. */
            if (beam->log_probability[row] > greedy->log_probability[row] + 1e-5)
                continue;
            CU_ASSERT_EQUAL(beam->length_tokens[row], greedy->length_tokens[row]);
            CU_ASSERT_EQUAL(memcmp(beam->tokens + row * beam->capacity_tokens,
                                   greedy->tokens + row * greedy->capacity_tokens,
                                   (size_t)greedy->length_tokens[row] * sizeof(int32_t)),
                            0);
            CU_ASSERT_DOUBLE_EQUAL(beam->log_probability[row], greedy->log_probability[row], 1e-5);
        }
        options.end_count = 0;
        options.beams = 0;
        TsDecoded *endless = decode(&tiny, &tiny_model, options);
        options.beams = 1;
        TsDecoded *endless_beam = decode(&tiny, &tiny_model, options);
        if (endless && endless_beam)
            CU_ASSERT_EQUAL(memcmp(endless->tokens, endless_beam->tokens,
                                   (size_t)(ROWS * endless->capacity_tokens) * sizeof(int32_t)),
                            0);
        ts_decoded_free(&greedy);
        ts_decoded_free(&beam);
        ts_decoded_free(&endless);
        ts_decoded_free(&endless_beam);
        close_tiny(&tiny, &mesh);
    }
}

/* ---- everything there is ---- */

typedef struct Found {
    int32_t tokens[STEPS];
    int64_t count;
    bool ended;
    double log_probability, score;
} Found;

/* log p of each token after the row, from a pass without a cache. */
static void score(double *log_probability, TsProgram *program, const TsBatch *arrays, const int32_t *row,
                  int64_t length)
{
    TsArray *tokens = ts_batch_find(arrays, "tokens");
    memset(tokens->data, 0, ts_array_local_bytes(tokens));
    memcpy(tokens->data, row, (size_t)length * sizeof *row);
    ts_program_run(program);
    const float *logits = (const float *)ts_batch_find(arrays, "logits")->data + (length - 1) * SMALL_VOCAB;
    double sum = 0;
    for (int v = 0; v < SMALL_VOCAB; v++)
        sum += exp((double)logits[v]);
    for (int v = 0; v < SMALL_VOCAB; v++)
        log_probability[v] = (double)logits[v] - log(sum);
}

typedef struct Search {
    TsProgram *program;
    const TsBatch *arrays;
    int32_t row[TINY_CONTEXT];
    int64_t prompt, count;
    Found found[MOST];
} Search;

/* All ways on from `depth` added tokens. */
static void go_through(Search *search, int64_t depth, double so_far, int32_t end, double alpha)
{
    double log_probability[SMALL_VOCAB];
    score(log_probability, search->program, search->arrays, search->row, search->prompt + depth);
    for (int32_t v = 0; v < SMALL_VOCAB; v++) {
        double sum = so_far + log_probability[v];
        search->row[search->prompt + depth] = v;
        if (v == end || depth + 1 == STEPS) {
            Found *found = &search->found[search->count++];
            memcpy(found->tokens, search->row + search->prompt, sizeof found->tokens);
            found->count = depth + 1;
            found->ended = v == end;
            found->log_probability = sum;
            found->score = v == end ? sum / pow((5 + (double)depth + 1) / 6, alpha) : sum;
        } else {
            go_through(search, depth + 1, sum, end, alpha);
        }
    }
}

/* Ended ones first, by score; then those that live, by log-probability. */
static int by_rank(const void *a, const void *b)
{
    const Found *x = a, *y = b;
    return x->ended != y->ended ? (x->ended ? -1 : 1) : (x->score < y->score) - (x->score > y->score);
}

/* A beam that holds every hypothesis finds what a search through all finds, in its order. */
static void a_wide_beam_is_exhaustive(void)
{
    TsLanguageModel small = tiny_model;
    small.backbone.vocab = SMALL_VOCAB;
    Tiny tiny, alone;
    TsMesh *mesh, *none = NULL;
    open_tiny(&tiny, &mesh, &small, ts_group_size(test_world) == 4 ? 2 : 1);
    TsGraph *graph = ts_graph_create();
    alone = (Tiny){.parameters = ts_parameters_create(NULL)};
    TsScope scope = {.graph = graph, .parameters = alone.parameters, .dtype = TS_F32, .step = TS_NONE};
    TsTensor input = ts_input(graph, "tokens", TS_I32, ts_shape(1, TINY_CONTEXT), ts_replicated);
    ts_output("logits", ts_language_model_logits(scope, &small, input, NULL), ts_replicated);
    Search search = {0};
    TsBatch *arrays = ts_batch_create();
    TEST_OK(ts_program_compile(&search.program, graph, (TsCompileOptions){.threads = 1}));
    alone.arrays = ts_parameters_initialize(alone.parameters, 11);
    scale_weights(alone.arrays);
    ts_bind_batch(search.program, alone.arrays);
    ts_bind_new(search.program, arrays, TS_BIND_INPUT, NULL);
    ts_bind_new(search.program, arrays, TS_BIND_OUTPUT, NULL);
    search.arrays = arrays;
    int32_t end = 2;
    TsDecodeOptions options = {
        .max_decode_steps = STEPS, .beams = ALL, .length_penalty = 0.6, .ends = &end, .end_count = 1};
    TsDecoded *decoded = decode(&tiny, &small, options);
    for (int64_t prompt = 0; decoded && prompt < ROWS; prompt++) {
        search.count = 0;
        search.prompt = prompts.length_tokens[prompt];
        memcpy(search.row, prompts.tokens[prompt], (size_t)search.prompt * sizeof(int32_t));
        go_through(&search, 0, 0, end, options.length_penalty);
        CU_ASSERT_EQUAL(search.count, 15 + 16);
        qsort(search.found, (size_t)search.count, sizeof *search.found, by_rank);
        for (int64_t i = 0; i < ALL; i++) {
            int64_t row = prompt * ALL + i;
            const Found *found = &search.found[i];
            const int32_t *added = decoded->tokens + row * decoded->capacity_tokens + search.prompt;
            CU_ASSERT_EQUAL(decoded->length_tokens[row] - search.prompt, found->count);
            CU_ASSERT_EQUAL(memcmp(added, found->tokens, (size_t)found->count * sizeof *added), 0);
            CU_ASSERT_DOUBLE_EQUAL(decoded->score[row], found->score, 1e-5);
            CU_ASSERT_DOUBLE_EQUAL(decoded->log_probability[row], found->log_probability, 1e-5);
        }
    }
    ts_decoded_free(&decoded);
    ts_program_free(&search.program);
    ts_batch_free(&arrays);
    close_tiny(&alone, &none);
    close_tiny(&tiny, &mesh);
}

/* ---- ends ---- */

/* One candidate a hypothesis, and an end: the bookkeeping alone. */
static void beams_end(void)
{
    int32_t end = 0;
    TsDecodeOptions options = {.beams = 2, .length_penalty = 0.6, .ends = &end, .end_count = 1};
    int64_t parent[2];
    CU_ASSERT_EQUAL(ts_beam_candidates(&options), 4);
    CU_ASSERT_DOUBLE_EQUAL(ts_beam_score(-3, 7, 0.6), -3 / pow(2, 0.6), 1e-12);
    for (int early = 0; early < 2; early++) {
        TsBeam beam;
        options.early_exit = early;
        ts_beam_start(&beam, 2, 10);
        ts_beam_accept(&beam, parent, &options,
                       (const TsCandidate[]){{5, 0, -0.1}, {0, 0, -2.0}, {6, 0, -2.5}, {-1, 0, -INFINITY}});
        CU_ASSERT(!beam.over && beam.ended_count == 1 && beam.live_count == 2);
        CU_ASSERT(parent[0] == 0 && parent[1] == 0);
        ts_beam_accept(&beam, parent, &options,
                       (const TsCandidate[]){{7, 0, -0.2}, {8, 0, -2.6}, {0, 1, -3.0}, {0, 0, -9.0}});
        CU_ASSERT_EQUAL(beam.over, early == 1); /* one at -0.2 can still beat those two */
        CU_ASSERT(beam.ended_count == 2 && ts_beam_result(&beam, 0)->count_tokens == 1);
        CU_ASSERT(parent[0] == 0 && parent[1] == 0 && beam.live[1].tokens[0] == 5 && beam.live[1].tokens[1] == 8);
        CU_ASSERT_PTR_NULL(ts_beam_result(&beam, 2));
        ts_beam_free(&beam);
    }
}

static void what_does_not_go_together(void)
{
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &tiny_model, TS_F32));
    TsWeights weights = {.parameters = tiny.parameters, .arrays = tiny.arrays, .dtype = TS_F32, .threads = 1};
    TsDecoded *decoded = NULL;
    const char *const stops[] = {"a"};
    TEST_ERROR(ts_language_model.decode(&decoded, &tiny_model, weights, prompts,
                                        (TsDecodeOptions){.beams = 2, .stops = stops, .stop_count = 1}),
               "beams do not go with stop sequences");
    TEST_ERROR(
        ts_language_model.decode(&decoded, &tiny_model, weights, prompts, (TsDecodeOptions){.beams = 2, .samples = 2}),
        "beams do not go with several samples");
    TEST_ERROR(ts_language_model.decode(&decoded, &tiny_model, weights, prompts,
                                        (TsDecodeOptions){.stops = stops, .stop_count = 1}),
               "stop sequences take a tokenizer");
    float *scale = ts_batch_find(tiny.arrays, "backbone/norm/scale")->data;
    scale[0] = NAN;
    TEST_ERROR(
        ts_language_model.decode(&decoded, &tiny_model, weights, prompts, (TsDecodeOptions){.max_decode_steps = 2}),
        "prompt 0: the scores of its next token are not numbers");
    TEST_ERROR(ts_language_model.decode(&decoded, &tiny_model, weights, prompts,
                                        (TsDecodeOptions){.max_decode_steps = 2, .beams = 2}),
               "prompt 0: the scores of its next token are not numbers");
    tiny_free(&tiny);
}

TEST_MAIN("beam", {"greedy is a beam of one", greedy_is_a_beam_of_one},
          {"a wide beam is exhaustive", a_wide_beam_is_exhaustive}, {"beams end", beams_end},
          {"what does not go together", what_does_not_go_together})
