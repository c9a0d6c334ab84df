/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "model/decode.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "test.h"
#include "tiny.h"

enum { ROWS = 3, ADDED = 7 };

static const int32_t row_a[] = {1, 4, 2}, row_b[] = {9, 9, 3, 0, 5}, row_c[] = {7, 1};
static const TsPrompts prompts = {.count = ROWS,
                                  .tokens = (const int32_t *const[]){row_a, row_b, row_c},
                                  .length_tokens = (const int64_t[]){3, 5, 2}};

/* Weights away from their beginning, so that scores differ. */
static void scale_weights(TsBatch *arrays)
{
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        TsArray *array = ts_batch_array(arrays, i);
        for (int64_t e = 0; e < ts_array_local_elems(array); e++)
            ((float *)array->data)[e] *= 3;
    }
}

static TsDecoded *decode_prompts(Tiny *tiny, const TsLanguageModel *model, TsPrompts some, TsDecodeOptions options)
{
    TsWeights weights = {.parameters = tiny->parameters, .arrays = tiny->arrays, .dtype = TS_F32, .threads = 1};
    TsDecoded *decoded = NULL;
    TEST_OK(ts_language_model.decode(&decoded, model, weights, some, options));
    return decoded;
}

static TsDecoded *decode_with(Tiny *tiny, const TsLanguageModel *model, TsDecodeOptions options)
{
    return decode_prompts(tiny, model, prompts, options);
}

static TsDecoded *decode(Tiny *tiny, TsDecodeOptions options)
{
    return decode_with(tiny, &tiny_model, options);
}

/* Logits (1, length, V) of one row, all at once and without a cache. */
static void score_row(float *logits, Tiny *tiny, const TsLanguageModel *model, const int32_t *tokens, int64_t length)
{
    TsGraph *graph = ts_graph_create();
    TsScope scope = {.graph = graph, .parameters = tiny->parameters, .dtype = TS_F32, .step = TS_NONE};
    TsTensor input = ts_input(graph, "tokens", TS_I32, ts_shape(1, length), ts_replicated);
    ts_output("logits", ts_language_model_logits(scope, model, input, NULL), ts_replicated);
    TsProgram *program = NULL;
    TsBatch *arrays = ts_batch_create();
    const TsMesh *mesh = ts_parameters_mesh(tiny->parameters);
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh, .threads = 1}));
    if (program) {
        ts_bind_batch(program, tiny->arrays);
        ts_bind_new(program, arrays, TS_BIND_INPUT, mesh);
        ts_bind_new(program, arrays, TS_BIND_OUTPUT, mesh);
        memcpy(ts_batch_find(arrays, "tokens")->data, tokens, (size_t)length * sizeof *tokens);
        ts_program_run(program);
        memcpy(logits, ts_batch_find(arrays, "logits")->data,
               (size_t)(length * model->backbone.vocab) * sizeof *logits);
    }
    ts_program_free(&program);
    ts_batch_free(&arrays);
}

static double log_softmax(const float *logits, int32_t token)
{
    double largest = -INFINITY, sum = 0;
    for (int v = 0; v < TINY_VOCAB; v++)
        largest = fmax(largest, (double)logits[v]);
    for (int v = 0; v < TINY_VOCAB; v++)
        sum += exp((double)logits[v] - largest);
    return (double)logits[token] - largest - log(sum);
}

/* Every token that greedy decoding added is the likeliest after the whole row before it, computed without a cache. */
static void expect_uncached(Tiny *tiny, const TsLanguageModel *model, const TsDecoded *decoded, int64_t row)
{
    const int32_t *tokens = decoded->tokens + row * decoded->capacity_tokens;
    int64_t length = decoded->length_tokens[row], prompt = decoded->prompt_tokens[row];
    float logits[TINY_CONTEXT * TINY_VOCAB] = {0};
    double log_probability = 0;
    CU_ASSERT_EQUAL(length, prompts.length_tokens[row] + ADDED);
    CU_ASSERT_EQUAL(memcmp(tokens, prompts.tokens[row], (size_t)prompt * sizeof *tokens), 0);
    score_row(logits, tiny, model, tokens, length);
    for (int64_t t = prompt; t < length; t++) {
        const float *scores = logits + (t - 1) * TINY_VOCAB;
        for (int v = 0; v < TINY_VOCAB; v++) /* the likeliest, up to rounding */
            CU_ASSERT(scores[tokens[t]] >= scores[v] - 1e-5f);
        log_probability += log_softmax(scores, tokens[t]);
    }
    CU_ASSERT_DOUBLE_EQUAL(decoded->log_probability[row], log_probability, 1e-4);
}

static void expect_cached_on(const TsLanguageModel *model, TsMesh *mesh)
{
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, mesh, model, TS_F32));
    scale_weights(tiny.arrays);
    TsDecoded *decoded = decode_with(&tiny, model, (TsDecodeOptions){.max_decode_steps = ADDED});
    for (int64_t row = 0; decoded && row < ROWS; row++)
        expect_uncached(&tiny, model, decoded, row);
    ts_decoded_free(&decoded);
    tiny_free(&tiny);
    ts_mesh_free(&mesh);
}

static void expect_cached(const TsLanguageModel *model, int along_model)
{
    expect_cached_on(model, tiny_mesh(test_world, along_model));
}

static void cached_equals_uncached(void)
{
    for (int along_model = 1; along_model <= ts_group_size(test_world); along_model *= 2)
        expect_cached(&tiny_model, along_model);
}

/* On every mesh that the ranks can be laid out as: powers of two along each axis. */
static void on_every_mesh(const TsLanguageModel *model)
{
    int ranks = ts_group_size(test_world);
    int64_t layouts = 1;
    for (int axis = TS_AXIS_STAGE; axis <= TS_AXIS_MODEL; axis++)
        layouts *= 3; /* 1, 2, 4 */
    for (int64_t layout = 0; layout < layouts; layout++) {
        TsMeshShape shape = {0};
        int64_t rest = layout;
        int product = 1;
        for (int axis = TS_AXIS_STAGE; axis <= TS_AXIS_MODEL; axis++, rest /= 3) {
            shape.size[axis] = 1 << rest % 3;
            product *= shape.size[axis];
        }
        int64_t heads = model->backbone.key_value_heads; /* which are not cut: else it is an error */
        if (product != ranks || (heads > 0 && shape.size[TS_AXIS_MODEL] > heads))
            continue;
        TsMesh *mesh = NULL;
        TEST_OK(ts_mesh_create(&mesh, test_world, shape));
        expect_cached_on(model, mesh);
    }
}

/* Every kind of position, norm, feed-forward and head that there is. */
static void every_backbone(void)
{
    TsLanguageModel llama = tiny_model, bert = tiny_model, alibi = tiny_model, sinusoidal = tiny_model,
                    relative = tiny_model, none = tiny_model, experts = tiny_model;
    llama.backbone.positions = TS_POSITIONS_ROTARY;
    llama.backbone.heads = 4;
    llama.backbone.key_value_heads = 2;
    llama.backbone.norm = TS_NORM_RMS;
    llama.backbone.activation = TS_ACTIVATION_SWIGLU;
    llama.backbone.biases = llama.backbone.tied = false;
    bert.backbone.post_norm = bert.backbone.head_transform = true;
    bert.backbone.token_types = 2;
    bert.backbone.window = 4;
    alibi.backbone.positions = TS_POSITIONS_ALIBI;
    alibi.backbone.heads = 4;
    alibi.backbone.activation = TS_ACTIVATION_GEGLU;
    sinusoidal.backbone.positions = TS_POSITIONS_SINUSOIDAL;
    relative.backbone.positions = TS_POSITIONS_RELATIVE;
    relative.backbone.activation = TS_ACTIVATION_RELU;
    none.backbone.positions = TS_POSITIONS_NONE;
    none.backbone.activation = TS_ACTIVATION_SILU;
    experts.backbone.experts = 4;
    experts.backbone.experts_top_k = experts.backbone.experts_every = 2; /* room for all: none is dropped */
    TsLanguageModel longer = llama;
    longer.backbone.rotary_scaling = (TsRotaryScaling){.factor = 8, .low = 1, .high = 4, .original = 16};
    const TsLanguageModel *const models[] = {&llama, &longer, &bert, &alibi, &sinusoidal, &relative, &none, &experts};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        on_every_mesh(models[i]);
}

/* One seed, one sample: again, and on one rank as on all; another seed, another sample. */
static void samples_follow_the_seed(void)
{
    TsMesh *mesh = tiny_mesh(test_world, 1);
    Tiny one, all;
    TEST_OK(tiny_create(&one, NULL, &tiny_model, TS_F32));
    TEST_OK(tiny_create(&all, mesh, &tiny_model, TS_F32));
    TsDecodeOptions options = {.max_decode_steps = ADDED, .temperature = 1, .seed = 4}, other = options;
    other.seed = 5;
    TsDecoded *first = decode(&all, options), *again = decode(&all, options), *alone = decode(&one, options);
    TsDecoded *second = decode(&all, other);
    if (first && again && alone && second) {
        size_t bytes = (size_t)(ROWS * first->capacity_tokens) * sizeof(int32_t);
        CU_ASSERT_EQUAL(memcmp(first->tokens, again->tokens, bytes), 0);
        CU_ASSERT_EQUAL(memcmp(first->tokens, alone->tokens, bytes), 0);
        CU_ASSERT_NOT_EQUAL(memcmp(first->tokens, second->tokens, bytes), 0);
    }
    ts_decoded_free(&first);
    ts_decoded_free(&again);
    ts_decoded_free(&alone);
    ts_decoded_free(&second);
    tiny_free(&one);
    tiny_free(&all);
    ts_mesh_free(&mesh);
}

/* A row alone takes the tokens it takes beside others of other lengths. */
static void rows_do_not_meet(void)
{
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &tiny_model, TS_F32));
    scale_weights(tiny.arrays);
    TsWeights weights = {.parameters = tiny.parameters, .arrays = tiny.arrays, .dtype = TS_F32, .threads = 1};
    TsDecodeOptions options = {.max_decode_steps = ADDED, .temperature = 1, .seed = 3};
    TsDecoded *together = decode(&tiny, options);
    for (int64_t row = 0; row < ROWS; row++) {
        TsDecoded *alone = NULL;
        TsPrompts prompt = {
            .count = 1, .tokens = prompts.tokens + row, .length_tokens = prompts.length_tokens + row, .first = row};
        TEST_OK(ts_language_model.decode(&alone, &tiny_model, weights, prompt, options));
        if (alone && together)
            CU_ASSERT_EQUAL(memcmp(alone->tokens, together->tokens + row * together->capacity_tokens,
                                   (size_t)alone->length_tokens[0] * sizeof(int32_t)),
                            0);
        ts_decoded_free(&alone);
    }
    ts_decoded_free(&together);
    tiny_free(&tiny);
}

/* What was compiled for some prompts serves others of their lengths, and where only the longest is longer what goes on
 * token by token; the tokens are the same as without. */
static void programs_are_kept(void)
{
    const TsPrompts others = {.count = ROWS,
                              .tokens = (const int32_t *const[]){row_b, row_a, row_c},
                              .length_tokens = (const int64_t[]){5, 3, 2}};
    const TsPrompts shorter = {.count = ROWS,
                               .tokens = (const int32_t *const[]){row_a, row_c, row_c},
                               .length_tokens = (const int64_t[]){3, 2, 2}};
    const TsPrompts *all[] = {&prompts, &others, &shorter, &prompts};
    static const int64_t compiled[] = {2, 2, 3, 3}, found[] = {0, 2, 3, 5};
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &tiny_model, TS_F32));
    scale_weights(tiny.arrays);
    TsDecodeOptions options = {.max_decode_steps = ADDED, .temperature = 1, .seed = 3};
    TsWeights weights = {.parameters = tiny.parameters, .arrays = tiny.arrays, .dtype = TS_F32, .threads = 1};
    weights.programs = ts_program_cache_create(4);
    for (int i = 0; i < 4; i++) {
        TsDecoded *kept = NULL, *anew = decode_prompts(&tiny, &tiny_model, *all[i], options);
        TEST_OK(ts_language_model.decode(&kept, &tiny_model, weights, *all[i], options));
        for (int64_t row = 0; kept && anew && row < ROWS; row++) {
            CU_ASSERT_EQUAL(kept->length_tokens[row], anew->length_tokens[row]);
            CU_ASSERT_EQUAL(memcmp(kept->tokens + row * kept->capacity_tokens,
                                   anew->tokens + row * anew->capacity_tokens,
                                   (size_t)anew->length_tokens[row] * sizeof(int32_t)),
                            0);
        }
        TsProgramCacheUse use = ts_program_cache_use(weights.programs);
        CU_ASSERT_EQUAL(use.compiled, compiled[i]);
        CU_ASSERT_EQUAL(use.found, found[i]);
        ts_decoded_free(&kept);
        ts_decoded_free(&anew);
    }
    ts_program_cache_free(&weights.programs);
    tiny_free(&tiny);
}

/* Rows end at their end token, and at the end of the context. */
static void rows_end(void)
{
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &tiny_model, TS_F32));
    TsDecoded *decoded = decode(&tiny, (TsDecodeOptions){.max_decode_steps = 1000, .temperature = 1, .seed = 1});
    for (int64_t row = 0; decoded && row < ROWS; row++)
        CU_ASSERT_EQUAL(decoded->length_tokens[row], TINY_CONTEXT);
    int32_t end = decoded ? decoded->tokens[5] : 0; /* the third that row 0 added */
    int32_t ends[] = {TINY_VOCAB - 1 - end, end};
    TsDecoded *ended = decode(
        &tiny, (TsDecodeOptions){.max_decode_steps = 1000, .temperature = 1, .seed = 1, .ends = ends, .end_count = 2});
    for (int64_t row = 0; ended && row < ROWS; row++) {
        const int32_t *tokens = ended->tokens + row * ended->capacity_tokens;
        int64_t last = ended->length_tokens[row] - 1;
        bool ends_there = tokens[last] == ends[0] || tokens[last] == ends[1];
        CU_ASSERT(last == TINY_CONTEXT - 1 || ends_there);
        CU_ASSERT_EQUAL(ended->end[row], ends_there ? TS_DECODE_END_TOKEN : TS_DECODE_END_LENGTH);
        for (int64_t t = ended->prompt_tokens[row]; t < last; t++)
            CU_ASSERT(tokens[t] != ends[0] && tokens[t] != ends[1]);
    }
    CU_ASSERT(ended && ended->length_tokens[0] <= 6);
    ts_decoded_free(&decoded);
    ts_decoded_free(&ended);
    tiny_free(&tiny);
}

static void bad_prompts_are_errors(void)
{
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &tiny_model, TS_F32));
    TsWeights weights = {.parameters = tiny.parameters, .arrays = tiny.arrays, .dtype = TS_F32, .threads = 1};
    TsDecodeOptions options = {.max_decode_steps = 1};
    static const int32_t tokens[TINY_CONTEXT + 1] = {0}, foreign[] = {TINY_VOCAB};
    const int32_t *const row = tokens, *const other = foreign;
    TsDecoded *decoded = NULL;
    TEST_ERROR(ts_language_model.decode(&decoded, &tiny_model, weights,
                                        (TsPrompts){.count = 1, .tokens = &row, .length_tokens = (int64_t[]){0}},
                                        options),
               "prompt 0 is empty");
    TEST_ERROR(ts_language_model.decode(
                   &decoded, &tiny_model, weights,
                   (TsPrompts){.count = 1, .first = 7, .tokens = &row, .length_tokens = (int64_t[]){TINY_CONTEXT + 1}},
                   options),
               "prompt 7 has 13 tokens, more than the context of 12");
    TEST_ERROR(ts_language_model.decode(&decoded, &tiny_model, weights,
                                        (TsPrompts){.count = 1, .tokens = &other, .length_tokens = (int64_t[]){1}},
                                        options),
               "the token 11; tokens are 0..10");
    CU_ASSERT_PTR_NULL(decoded);
    tiny_free(&tiny);
}

/* Several samples of a prompt: likeliest first, each as likely as the whole row says, not all alike. */
static void samples_are_sorted(void)
{
    enum { SAMPLES = 5 };
    TsMesh *mesh = tiny_mesh(test_world, 1);
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, mesh, &tiny_model, TS_F32));
    scale_weights(tiny.arrays);
    TsDecoded *decoded =
        decode(&tiny, (TsDecodeOptions){.max_decode_steps = ADDED, .temperature = 1, .seed = 9, .samples = SAMPLES});
    float logits[TINY_CONTEXT * TINY_VOCAB];
    bool differ = false;
    CU_ASSERT(decoded && decoded->count == ROWS * SAMPLES && decoded->each == SAMPLES && decoded->prompts == ROWS);
    for (int64_t row = 0; decoded && row < decoded->count; row++) {
        const int32_t *tokens = decoded->tokens + row * decoded->capacity_tokens;
        int64_t length = decoded->length_tokens[row], prompt = decoded->prompt_tokens[row];
        double log_probability = 0;
        score_row(logits, &tiny, &tiny_model, tokens, length);
        for (int64_t t = prompt; t < length; t++)
            log_probability += log_softmax(logits + (t - 1) * TINY_VOCAB, tokens[t]);
        CU_ASSERT_DOUBLE_EQUAL(decoded->log_probability[row], log_probability, 1e-4);
        CU_ASSERT_EQUAL(memcmp(tokens, prompts.tokens[row / SAMPLES], (size_t)prompt * sizeof *tokens), 0);
        if (row % SAMPLES) {
            CU_ASSERT(decoded->log_probability[row - 1] >= decoded->log_probability[row]);
            differ = differ || decoded->log_probability[row - 1] > decoded->log_probability[row];
        }
    }
    CU_ASSERT(differ);
    ts_decoded_free(&decoded);
    tiny_free(&tiny);
    ts_mesh_free(&mesh);
}

/* No end before min_decode_steps; limits of single prompts; none at all. */
static void limits_are_kept(void)
{
    static const int32_t ends[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const int64_t most[] = {3, 0, 6};
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &tiny_model, TS_F32));
    TsDecodeOptions options = {
        .max_decode_steps = ADDED, .min_decode_steps = 4, .temperature = 1, .seed = 2, .ends = ends, .end_count = 10};
    TsDecoded *decoded = decode(&tiny, options);
    for (int64_t row = 0; decoded && row < ROWS; row++) {
        const int32_t *added = decoded->tokens + row * decoded->capacity_tokens + decoded->prompt_tokens[row];
        int64_t count = decoded->length_tokens[row] - decoded->prompt_tokens[row];
        for (int64_t i = 0; i < count; i++) /* 10 alone is no end */
            CU_ASSERT(i < 4 ? added[i] == 10 : i == count - 1 || added[i] == 10);
        CU_ASSERT(count >= 5);
    }
    ts_decoded_free(&decoded);
    TsPrompts limited = prompts;
    limited.max_steps = most;
    decoded = decode_prompts(&tiny, &tiny_model, limited, (TsDecodeOptions){.max_decode_steps = 5});
    for (int64_t row = 0; decoded && row < ROWS; row++)
        CU_ASSERT_EQUAL(decoded->length_tokens[row] - decoded->prompt_tokens[row], most[row] < 5 ? most[row] : 5);
    ts_decoded_free(&decoded);
    tiny_free(&tiny);
}

/* A text of letters: token v is the letter 'a' + v. */
static char *letters(const void *context, const int32_t *tokens, int64_t count)
{
    char *text = ts_calloc((size_t)count + 1, 1);
    (void)context;
    for (int64_t i = 0; i < count; i++)
        text[i] = (char)('a' + tokens[i]);
    return text;
}

/* A row ends where a stop sequence is complete, and its text where that begins; it may lie across tokens. */
static void stops_cut(void)
{
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &tiny_model, TS_F32));
    TsDecodeOptions options = {.max_decode_steps = ADDED, .temperature = 1, .seed = 6, .detokenise = letters};
    TsDecoded *free_row = decode(&tiny, options);
    TsDecodeText *text =
        free_row ? ts_language_model.process_decode_out(free_row, (TsDetokeniser){.tokens = letters}) : NULL;
    if (text) {
        char stop[] = {text->added[0][2], text->added[0][3], 0};
        const char *const stops[] = {"", stop};
        options.stops = stops;
        options.stop_count = 2;
        TsDecoded *stopped = decode(&tiny, options);
        TsDecodeText *cut =
            stopped ? ts_language_model.process_decode_out(stopped, (TsDetokeniser){.tokens = letters}) : NULL;
        for (int64_t row = 0; cut && row < ROWS; row++) {
            char *found = strstr(text->added[row], stop);
            int64_t kept = found ? found - text->added[row] : (int64_t)strlen(text->added[row]);
            CU_ASSERT_EQUAL(strlen(cut->added[row]), (size_t)kept);
            CU_ASSERT_EQUAL(strncmp(cut->added[row], text->added[row], (size_t)kept), 0);
            CU_ASSERT_EQUAL(stopped->end[row], found ? TS_DECODE_END_STOP : TS_DECODE_END_LENGTH);
            CU_ASSERT_EQUAL(stopped->length_tokens[row] - stopped->prompt_tokens[row], found ? kept + 2 : ADDED);
        }
        CU_ASSERT(cut && stopped->end[0] == TS_DECODE_END_STOP && cut->ended.weight == ROWS && cut->ended.value > 0);
        ts_decode_text_free(&cut);
        ts_decoded_free(&stopped);
    }
    ts_decode_text_free(&text);
    ts_decoded_free(&free_row);
    tiny_free(&tiny);
}

/* Greedy by u + g (p - u) of scores that were computed without a cache, prompts of both kinds differing in length. */
static void guidance_leads_away(void)
{
    static const int32_t bare_a[] = {8}, bare_b[] = {2, 6}, bare_c[] = {3, 3, 1, 0};
    static const double STRENGTH = 2.5;
    TsMesh *mesh = tiny_mesh(test_world, ts_group_size(test_world) > 1 ? 2 : 1);
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, mesh, &tiny_model, TS_F32));
    scale_weights(tiny.arrays);
    TsPrompts guided = prompts;
    guided.unguided = (const int32_t *const[]){bare_a, bare_b, bare_c};
    guided.unguided_tokens = (const int64_t[]){1, 2, 4};
    TsDecoded *decoded =
        decode_prompts(&tiny, &tiny_model, guided, (TsDecodeOptions){.max_decode_steps = ADDED, .guidance = STRENGTH});
    for (int64_t row = 0; decoded && row < ROWS; row++) {
        const int32_t *tokens = decoded->tokens + row * decoded->capacity_tokens;
        int64_t length = decoded->length_tokens[row], prompt = decoded->prompt_tokens[row];
        int64_t bare = guided.unguided_tokens[row], added = length - prompt;
        int32_t other[TINY_CONTEXT];
        float with[TINY_CONTEXT * TINY_VOCAB], without[TINY_CONTEXT * TINY_VOCAB];
        memcpy(other, guided.unguided[row], (size_t)bare * sizeof *other);
        memcpy(other + bare, tokens + prompt, (size_t)added * sizeof *other);
        score_row(with, &tiny, &tiny_model, tokens, length);
        score_row(without, &tiny, &tiny_model, other, bare + added);
        CU_ASSERT_EQUAL(added, ADDED);
        for (int64_t i = 0; i < added; i++) {
            const float *p = with + (prompt + i - 1) * TINY_VOCAB, *u = without + (bare + i - 1) * TINY_VOCAB;
            double scores[TINY_VOCAB];
            for (int v = 0; v < TINY_VOCAB; v++)
                scores[v] = log_softmax(u, v) + STRENGTH * (log_softmax(p, v) - log_softmax(u, v));
            for (int v = 0; v < TINY_VOCAB; v++)
                CU_ASSERT(scores[tokens[prompt + i]] >= scores[v] - 1e-4);
        }
    }
    ts_decoded_free(&decoded);
    tiny_free(&tiny);
    ts_mesh_free(&mesh);
}

/* Kernels and tables in bf16 give what they give as f32 that is rounded before use. */
static void narrow_weights_are_the_same(void)
{
    TsMesh *mesh = tiny_mesh(test_world, 1);
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, mesh, &tiny_model, TS_F32));
    scale_weights(tiny.arrays);
    TsBatch *narrow = ts_weights_narrow(tiny.parameters, tiny.arrays);
    CU_ASSERT_EQUAL(ts_batch_find(narrow, "backbone/tokens/table")->dtype, TS_BF16);
    CU_ASSERT_EQUAL(ts_batch_find(narrow, "backbone/norm/scale")->dtype, TS_F32);
    TsWeights wide = {.parameters = tiny.parameters, .arrays = tiny.arrays, .dtype = TS_BF16, .threads = 1};
    TsWeights slim = {.parameters = tiny.parameters, .arrays = narrow, .dtype = TS_BF16, .narrow = true, .threads = 1};
    TsDecodeOptions options = {.max_decode_steps = ADDED};
    TsDecoded *a = NULL, *b = NULL;
    TEST_OK(ts_language_model.decode(&a, &tiny_model, wide, prompts, options));
    TEST_OK(ts_language_model.decode(&b, &tiny_model, slim, prompts, options));
    if (a && b)
        CU_ASSERT_EQUAL(memcmp(a->tokens, b->tokens, (size_t)(ROWS * a->capacity_tokens) * sizeof(int32_t)), 0);
    ts_decoded_free(&a);
    ts_decoded_free(&b);
    ts_batch_free(&narrow);
    tiny_free(&tiny);
    ts_mesh_free(&mesh);
}

TEST_MAIN("decode", {"cached equals uncached", cached_equals_uncached}, {"every backbone", every_backbone},
          {"samples follow the seed", samples_follow_the_seed}, {"samples are sorted", samples_are_sorted},
          {"rows do not meet", rows_do_not_meet}, {"programs are kept", programs_are_kept}, {"rows end", rows_end},
          {"limits are kept", limits_are_kept}, {"stops cut", stops_cut}, {"guidance leads away", guidance_leads_away},
          {"narrow weights are the same", narrow_weights_are_the_same},
          {"bad prompts are errors", bad_prompts_are_errors})
