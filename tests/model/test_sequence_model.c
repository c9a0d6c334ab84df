/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoder-decoders: cached decoding of sources of several lengths equals what the model predicts all at once, on every
 * mesh; beams, samples and guidance too; the classes of T5's distances; finite differences of the bias.
 */
#include "model/sequence_model.h"

#include <math.h>
#include <string.h>

#include "comm/mesh.h"
#include "model/binding.h"
#include "tensor/program.h"
#include "test.h"

enum { ROWS = 3, ADDED = 6, VOCAB = 13, CONTEXT = 10, START = 12 };

static const int32_t row_a[] = {1, 4, 2}, row_b[] = {9, 9, 3, 0, 5, 8, 7}, row_c[] = {7};
static const TsPrompts prompts = {.count = ROWS,
                                  .tokens = (const int32_t *const[]){row_a, row_b, row_c},
                                  .length_tokens = (const int64_t[]){3, 7, 1}};

static const TsTransformer parts = {.layers = 2,
                                    .heads = 4,
                                    .width = 8,
                                    .hidden = TS_AUTO,
                                    .context = CONTEXT,
                                    .vocab = VOCAB,
                                    .biases = true,
                                    .tied = true};

typedef struct Opened {
    TsMesh *mesh;
    TsParameters *parameters;
    TsBatch *arrays;
} Opened;

/* Scores (1, T, V) of targets that begin with the start, behind a source; traced without a cache. */
static TsProgram *compile(const TsSequenceModel *model, TsParameters *parameters, const TsMesh *mesh, int64_t S,
                          int64_t T)
{
    TsGraph *graph = ts_graph_create();
    TsScope scope = {.graph = graph, .parameters = parameters, .dtype = TS_F32, .step = TS_NONE};
    TsColumns columns = {.graph = graph, .count = 3, .name = {"sources", "sources_seen", "tokens"}};
    columns.tensor[0] = ts_input(graph, "sources", TS_I32, ts_shape(1, S), ts_replicated);
    columns.tensor[1] = ts_input(graph, "sources_seen", TS_BOOL, ts_shape(1, S), ts_replicated);
    columns.tensor[2] = ts_input(graph, "tokens", TS_I32, ts_shape(1, T), ts_replicated);
    ts_output("logits", ts_sequence_model.compute_predictions(scope, model, &columns), ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh, .threads = 1}));
    return program;
}

static void open_model(Opened *opened, const TsSequenceModel *model, int along_model)
{
    TsMeshShape shape = {
        .size = {[TS_AXIS_DATA] = ts_group_size(test_world) / along_model, [TS_AXIS_MODEL] = along_model}};
    TEST_OK(ts_mesh_create(&opened->mesh, test_world, shape));
    opened->parameters = ts_parameters_create(opened->mesh);
    TsProgram *program = compile(model, opened->parameters, opened->mesh, 2, 2);
    ts_program_free(&program);
    opened->arrays = ts_parameters_initialize(opened->parameters, 21);
    for (int i = 0; i < ts_batch_count(opened->arrays); i++)
        for (int64_t e = 0; e < ts_array_local_elems(ts_batch_array(opened->arrays, i)); e++)
            ((float *)ts_batch_array(opened->arrays, i)->data)[e] *= 3;
}

static void close_model(Opened *opened)
{
    ts_batch_free(&opened->arrays);
    ts_parameters_free(&opened->parameters);
    ts_mesh_free(&opened->mesh);
}

static TsDecoded *decode(const Opened *opened, const TsSequenceModel *model, TsPrompts some, TsDecodeOptions options)
{
    TsWeights weights = {.parameters = opened->parameters, .arrays = opened->arrays, .dtype = TS_F32, .threads = 1};
    TsDecoded *decoded = NULL;
    TEST_OK(ts_sequence_model.decode(&decoded, model, weights, some, options));
    return decoded;
}

/* log p (count, V) of each of `count` targets' tokens behind a source. */
static void score(double *log_probability, const Opened *opened, const TsSequenceModel *model, const int32_t *source,
                  int64_t S, const int32_t *added, int64_t count)
{
    TsProgram *program = compile(model, opened->parameters, opened->mesh, S, count);
    TsBatch *arrays = ts_batch_create();
    if (program) {
        ts_bind_batch(program, opened->arrays);
        ts_bind_new(program, arrays, TS_BIND_INPUT, opened->mesh);
        ts_bind_new(program, arrays, TS_BIND_OUTPUT, opened->mesh);
        int32_t *tokens = ts_batch_find(arrays, "tokens")->data;
        memcpy(ts_batch_find(arrays, "sources")->data, source, (size_t)S * sizeof *source);
        memset(ts_batch_find(arrays, "sources_seen")->data, 1, (size_t)S);
        tokens[0] = model->start;
        memcpy(tokens + 1, added, (size_t)(count - 1) * sizeof *tokens);
        ts_program_run(program);
        const float *logits = ts_batch_find(arrays, "logits")->data;
        for (int64_t t = 0; t < count; t++) {
            double largest = -INFINITY, sum = 0;
            for (int v = 0; v < VOCAB; v++)
                largest = fmax(largest, (double)logits[t * VOCAB + v]);
            for (int v = 0; v < VOCAB; v++)
                sum += exp((double)logits[t * VOCAB + v] - largest);
            for (int v = 0; v < VOCAB; v++)
                log_probability[t * VOCAB + v] = (double)logits[t * VOCAB + v] - largest - log(sum);
        }
    }
    ts_program_free(&program);
    ts_batch_free(&arrays);
}

/* What was added to each source is as likely as the model says without a cache; greedily, nothing is likelier. */
static void expect_rows(const Opened *opened, const TsSequenceModel *model, const TsDecoded *decoded, bool greedy)
{
    for (int64_t row = 0; decoded && row < decoded->count; row++) {
        const int32_t *tokens = decoded->tokens + row * decoded->capacity_tokens;
        int64_t source = decoded->prompt_tokens[row], count = decoded->length_tokens[row] - source;
        double expected[CONTEXT * VOCAB], sum = 0;
        CU_ASSERT_EQUAL(count, ADDED);
        score(expected, opened, model, tokens, source, tokens + source, count);
        for (int64_t t = 0; t < count; t++) {
            sum += expected[t * VOCAB + tokens[source + t]];
            for (int v = 0; greedy && v < VOCAB; v++)
                CU_ASSERT(expected[t * VOCAB + tokens[source + t]] >= expected[t * VOCAB + v] - 1e-5);
        }
        CU_ASSERT_DOUBLE_EQUAL(decoded->log_probability[row], sum, 1e-4);
    }
}

static TsSequenceModel with_positions(TsPositions positions)
{
    TsSequenceModel model = {.encoder = parts, .decoder = parts, .start = START};
    model.encoder.positions = model.decoder.positions = positions;
    model.decoder.layers = 1;
    return model;
}

static void cached_equals_uncached(void)
{
    static const TsPositions positions[] = {TS_POSITIONS_LEARNED, TS_POSITIONS_ROTARY, TS_POSITIONS_RELATIVE};
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++)
        for (int along_model = 1; along_model <= ts_group_size(test_world); along_model *= 2) {
            TsSequenceModel model = with_positions(positions[i]);
            Opened opened;
            open_model(&opened, &model, along_model);
            TsDecodeOptions options = {.max_decode_steps = ADDED};
            TsDecoded *decoded = decode(&opened, &model, prompts, options);
            CU_ASSERT(decoded && decoded->apart);
            expect_rows(&opened, &model, decoded, true);
            ts_decoded_free(&decoded);
            close_model(&opened);
        }
}

/* Hypotheses of one source: beams and samples, each as likely as it says; a beam of 4 finds no less than a greedy one;
 * guidance by a source of another length. */
static void hypotheses(void)
{
    TsSequenceModel model = with_positions(TS_POSITIONS_RELATIVE);
    Opened opened;
    open_model(&opened, &model, ts_group_size(test_world) > 1 ? 2 : 1);
    TsDecodeOptions options = {.max_decode_steps = ADDED};
    TsDecoded *greedy = decode(&opened, &model, prompts, options);
    options.beams = 4;
    TsDecoded *beams = decode(&opened, &model, prompts, options);
    expect_rows(&opened, &model, beams, false);
    for (int64_t prompt = 0; greedy && beams && prompt < ROWS; prompt++)
        CU_ASSERT(beams->score[prompt * 4] >= greedy->score[prompt] - 1e-5);
    TsDecodeOptions several = {.max_decode_steps = ADDED, .samples = 3, .temperature = 1, .seed = 8};
    TsDecoded *samples = decode(&opened, &model, prompts, several);
    expect_rows(&opened, &model, samples, false);
    TsPrompts guided = prompts;
    guided.unguided = prompts.tokens;
    guided.unguided_tokens = prompts.length_tokens;
    TsDecoded *same = decode(&opened, &model, guided, (TsDecodeOptions){.max_decode_steps = ADDED, .guidance = 3});
    if (same && greedy) /* away from itself is nowhere */
        CU_ASSERT_EQUAL(memcmp(same->tokens, greedy->tokens, (size_t)(ROWS * same->capacity_tokens) * sizeof(int32_t)),
                        0);
    ts_decoded_free(&greedy);
    ts_decoded_free(&beams);
    ts_decoded_free(&samples);
    ts_decoded_free(&same);
    close_model(&opened);
}

/* bias (H, T, T) of a table whose row of class c is c in each head: classes of distances as T5 has them, by values from
 * transformers' T5Attention._relative_position_bucket. */
static void classes_of_distances(void)
{
    enum { T = 160, HEADS = 2 };
    static const struct {
        int query, key, both, causal;
    } known[] = {{0, 0, 0, 0},      {5, 4, 1, 1},     {4, 5, 17, 0},    {20, 13, 7, 7},   {20, 12, 8, 8},
                 {50, 38, 9, 12},   {50, 35, 9, 15},  {50, 34, 10, 16}, {90, 40, 13, 24}, {34, 50, 26, 0},
                 {150, 10, 15, 31}, {10, 150, 31, 0}, {130, 40, 14, 29}};
    for (int causal = 0; causal < 2; causal++) {
        TsGraph *graph = ts_graph_create();
        TsParameters *parameters = ts_parameters_create(NULL);
        TsScope scope = {.graph = graph, .parameters = parameters, .dtype = TS_F32, .step = TS_NONE};
        ts_output("bias", ts_relative_bias(ts_in(scope, "relative"), HEADS, causal, T, NULL), ts_replicated);
        TsProgram *program = NULL;
        TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
        TsBatch *arrays = ts_parameters_initialize(parameters, 1), *out = ts_batch_create();
        for (int64_t i = 0; i < 32 * HEADS; i++)
            ((float *)ts_batch_find(arrays, "relative/table")->data)[i] = (float)(i / HEADS);
        ts_bind_batch(program, arrays);
        ts_bind_new(program, out, TS_BIND_OUTPUT, NULL);
        ts_program_run(program);
        const float *bias = ts_batch_find(out, "bias")->data;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            for (int head = 0; head < HEADS; head++) {
                float value = bias[(head * T + known[i].query) * T + known[i].key];
                CU_ASSERT_EQUAL(value, causal ? known[i].causal : known[i].both);
                if (value != (causal ? known[i].causal : known[i].both))
                    fprintf(stderr, "query %d, key %d, causal %d: %g\n", known[i].query, known[i].key, causal,
                            (double)value);
            }
        ts_program_free(&program);
        ts_batch_free(&arrays);
        ts_batch_free(&out);
        ts_parameters_free(&parameters);
    }
}

TEST_MAIN("sequence model", {"cached equals uncached", cached_equals_uncached}, {"hypotheses", hypotheses},
          {"classes of distances", classes_of_distances})
