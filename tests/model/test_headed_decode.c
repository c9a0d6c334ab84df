/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Models with a head, decoded: each prompt as alone, whatever it stands beside and however batches are cut, on meshes
 * of data and of model; probabilities; masks that are filled, and they alone; metrics that merge; text; bad input.
 */
#include "model/headed_decode.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "test.h"

enum { VOCAB = 9, MASK = 8, CONTEXT = 12, CLASSES = 3, PROMPTS = 5 };

typedef struct Heads {
    TsChoice pool, tokens;
} Heads;

static const TsKey keys[] = {
    TS_KEY_CHOICE(Heads, pool, &ts_adapters, "-", .fallback = "{type: mlp_pool, pooling: mean, hidden: [6]}"),
    TS_KEY_CHOICE(Heads, tokens, &ts_adapters, "-", .fallback = "linear"), TS_KEYS_END};
static const TsConfigTable table = {"heads", "Adapters.", sizeof(Heads), keys, NULL};

static const int32_t row_a[] = {1, 2, 3}, row_b[] = {4}, row_c[] = {5, MASK, 7, 1, 0, MASK, 3}, row_d[] = {MASK, 2},
                     row_e[] = {3, 3, 3, 3};
static const int32_t *const rows[PROMPTS] = {row_a, row_b, row_c, row_d, row_e};
static const int64_t lengths[PROMPTS] = {3, 1, 7, 2, 4};

/* A model with its weights. */
typedef struct Fixture {
    TsHeadedModel model;
    TsParameters *parameters;
    TsBatch *arrays;
    TsProgramCache *programs;
} Fixture;

static void open_fixture(Fixture *fixture, const TsMesh *mesh, const Heads *heads, TsObjective objective,
                         bool of_tokens)
{
    *fixture = (Fixture){.model = {.backbone = {.layers = 2,
                                                .heads = 2,
                                                .width = 8,
                                                .hidden = TS_AUTO,
                                                .context = CONTEXT,
                                                .vocab = VOCAB,
                                                .biases = true,
                                                .tied = true},
                                   .name = "t",
                                   .adapter = of_tokens ? heads->tokens : heads->pool,
                                   .objective = objective,
                                   .outputs = CLASSES,
                                   .mask = MASK},
                         .parameters = ts_parameters_create(mesh),
                         .programs = ts_program_cache_create(4)};
    TsGraph *graph = ts_graph_create();
    TsScope scope = {.graph = graph, .parameters = fixture->parameters, .dtype = TS_F32, .step = TS_NONE};
    TsColumns columns = {.graph = graph,
                         .count = 2,
                         .name = {"tokens", "seen"},
                         .tensor = {ts_input(graph, "tokens", TS_I32, ts_shape(1, 1), ts_replicated),
                                    ts_input(graph, "seen", TS_BOOL, ts_shape(1, 1), ts_replicated)}};
    (void)ts_headed_model.compute_predictions(scope, &fixture->model, &columns);
    TEST_OK(ts_graph_status(graph));
    ts_graph_free(&graph);
    fixture->arrays = ts_parameters_initialize(fixture->parameters, 5);
    for (int i = 0; i < ts_batch_count(fixture->arrays); i++) { /* so that outputs spread */
        TsArray *array = ts_batch_array(fixture->arrays, i);
        for (int64_t e = 0; e < ts_array_local_elems(array); e++)
            ((float *)array->data)[e] *= 4;
    }
}

static void close_fixture(Fixture *fixture)
{
    ts_program_cache_free(&fixture->programs);
    ts_batch_free(&fixture->arrays);
    ts_parameters_free(&fixture->parameters);
}

static TsDecoded *decode(const Fixture *fixture, int64_t first, int64_t count, bool keeps)
{
    TsDecoded *decoded = NULL;
    TsWeights weights = {.parameters = fixture->parameters,
                         .arrays = fixture->arrays,
                         .dtype = TS_F32,
                         .threads = 1,
                         .programs = keeps ? fixture->programs : NULL};
    TEST_OK(ts_headed_model.decode(
        &decoded, &fixture->model, weights,
        (TsPrompts){.count = count, .tokens = rows + first, .length_tokens = lengths + first, .first = first},
        (TsDecodeOptions){0}));
    return decoded;
}

/* Row `at` of `all` is row 0 of `one`. */
static void expect_same(const TsDecoded *all, int64_t at, const TsDecoded *one)
{
    int64_t K = all->outputs, positions = all->positions > 1 ? all->length_tokens[at] : 1;
    CU_ASSERT_EQUAL(one->outputs, K);
    CU_ASSERT_EQUAL(one->length_tokens[0], all->length_tokens[at]);
    CU_ASSERT_EQUAL(
        memcmp(one->tokens, all->tokens + at * all->capacity_tokens, (size_t)one->length_tokens[0] * sizeof(int32_t)),
        0);
    for (int64_t i = 0; i < positions * K; i++) {
        double alone = (double)one->values[i], among = (double)all->values[at * all->positions * K + i];
        CU_ASSERT_DOUBLE_EQUAL(alone, among, 1e-5 * (1 + fabs(alone)));
    }
    CU_ASSERT_DOUBLE_EQUAL(one->log_probability[0], all->log_probability[at], 1e-5);
}

/* What a row's values must be. */
static void expect_sound(const TsDecoded *all, int64_t at, TsObjective objective)
{
    int64_t K = all->outputs, positions = all->positions > 1 ? all->length_tokens[at] : 1;
    const float *values = all->values + at * all->positions * K;
    double chosen = 0;
    for (int64_t t = 0; t < positions; t++, values += K) {
        double sum = 0, best = 0;
        for (int64_t k = 0; k < K; k++) {
            sum += (double)values[k];
            best = fmax(best, (double)values[k]);
        }
        if (objective == TS_OBJECTIVE_CLASSES)
            CU_ASSERT_DOUBLE_EQUAL(sum, 1, 1e-5);
        chosen += objective == TS_OBJECTIVE_CLASSES ? log(best) : 0;
        bool masked = rows[at][t] == MASK;
        if (objective == TS_OBJECTIVE_TOKENS && !masked)
            CU_ASSERT_EQUAL(all->tokens[at * all->capacity_tokens + t], rows[at][t]);
        if (objective == TS_OBJECTIVE_TOKENS && masked)
            chosen += (double)values[0];
    }
    if (objective == TS_OBJECTIVE_CLASSES || objective == TS_OBJECTIVE_TOKENS)
        CU_ASSERT_DOUBLE_EQUAL(all->log_probability[at], chosen, 1e-5);
}

static void expect_on(const TsMesh *mesh, const Heads *heads)
{
    static const struct {
        TsObjective objective;
        bool of_tokens;
    } cases[] = {{TS_OBJECTIVE_CLASSES, false},
                 {TS_OBJECTIVE_CLASSES, true},
                 {TS_OBJECTIVE_LABELS, false},
                 {TS_OBJECTIVE_VALUES, false},
                 {TS_OBJECTIVE_TOKENS, true}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        Fixture fixture;
        open_fixture(&fixture, mesh, heads, cases[c].objective, cases[c].of_tokens);
        TsDecoded *all = decode(&fixture, 0, PROMPTS, true);
        TsWeightedScalar merged = {0}, length = {0};
        double largest = 0;
        for (int64_t i = 0; all && i < PROMPTS; i++) {
            TsDecoded *one = decode(&fixture, i, 1, i % 2);
            if (one) {
                expect_same(all, i, one);
                merged = ts_weighted_scalar_merge(merged, one->mean_log_probability);
                length = ts_weighted_scalar_merge(length, one->mean_length);
            }
            expect_sound(all, i, cases[c].objective);
            ts_decoded_free(&one);
            largest =
                fmax(largest, fabs((double)all->values[i * all->positions * all->outputs] - (double)all->values[0]));
        }
        if (all) {
            CU_ASSERT(largest > 1e-3); /* rows do differ */
            CU_ASSERT_EQUAL(all->count, PROMPTS);
            CU_ASSERT_EQUAL(merged.weight, all->mean_log_probability.weight);
            CU_ASSERT_DOUBLE_EQUAL(merged.value, all->mean_log_probability.value, 1e-5);
            CU_ASSERT_DOUBLE_EQUAL(length.value, all->mean_length.value, 1e-12);
        }
        ts_decoded_free(&all);
        close_fixture(&fixture);
    }
}

static void as_alone(void)
{
    TsConfig *config = NULL;
    TEST_OK(ts_config_load(&config, &table, (TsConfigSources){0}));
    int ranks = ts_group_size(test_world);
    for (int model = 1; config && model <= 2 && model <= ranks; model++) {
        TsMesh *mesh = NULL;
        TEST_OK(ts_mesh_create(&mesh, test_world,
                               (TsMeshShape){.size = {[TS_AXIS_DATA] = ranks / model, [TS_AXIS_MODEL] = model}}));
        expect_on(mesh, ts_config_value(config));
        ts_mesh_free(&mesh);
    }
    ts_config_free(&config);
}

static char *letters(const void *context, const int32_t *tokens, int64_t count)
{
    char *text = ts_calloc((size_t)count + 1, 1);
    (void)context;
    for (int64_t i = 0; i < count; i++)
        text[i] = (char)('a' + tokens[i]);
    return text;
}

/* One letter for each position: its likeliest class. */
static char *classes(const void *context, const float *values, int64_t positions)
{
    char *text = ts_calloc((size_t)positions + 1, 1);
    (void)context;
    for (int64_t t = 0; t < positions; t++, values += CLASSES)
        text[t] = (char)('A' + (values[1] > values[0] ? values[2] > values[1] ? 2 : 1 : values[2] > values[0] ? 2 : 0));
    return text;
}

static void becomes_text(void)
{
    TsConfig *config = NULL;
    Fixture fixture;
    TEST_OK(ts_config_load(&config, &table, (TsConfigSources){0}));
    open_fixture(&fixture, NULL, ts_config_value(config), TS_OBJECTIVE_CLASSES, true);
    TsDecoded *decoded = decode(&fixture, 0, PROMPTS, true);
    TsDecodeText *text =
        ts_headed_model.process_decode_out(decoded, (TsDetokeniser){.tokens = letters, .values = classes});
    int64_t bytes = 0;
    for (int64_t i = 0; i < PROMPTS; i++) {
        char *prompt = letters(NULL, rows[i], lengths[i]);
        CU_ASSERT_STRING_EQUAL(text->prompt[i], prompt);
        CU_ASSERT_EQUAL(strlen(text->added[i]), (size_t)lengths[i]);
        CU_ASSERT_EQUAL(strspn(text->added[i], "ABC"), (size_t)lengths[i]);
        bytes += lengths[i];
        ts_free(prompt);
    }
    CU_ASSERT_DOUBLE_EQUAL(text->added_bytes.value * text->added_bytes.weight, (double)bytes, 1e-9);
    ts_decode_text_free(&text);
    ts_decoded_free(&decoded);
    close_fixture(&fixture);
    open_fixture(&fixture, NULL, ts_config_value(config), TS_OBJECTIVE_TOKENS, true);
    decoded = decode(&fixture, 2, 1, false);
    text = ts_headed_model.process_decode_out(decoded, (TsDetokeniser){.tokens = letters});
    CU_ASSERT_EQUAL(strlen(text->added[0]), (size_t)lengths[2]);
    CU_ASSERT(text->added[0][0] == 'f' && text->added[0][2] == 'h' && text->added[0][6] == 'd');
    ts_decode_text_free(&text);
    ts_decoded_free(&decoded);
    close_fixture(&fixture);
    ts_config_free(&config);
}

static void refuses(void)
{
    static const int32_t beyond[CONTEXT + 1] = {0}, unknown[] = {1, VOCAB};
    TsConfig *config = NULL;
    Fixture fixture;
    TsDecoded *decoded;
    TEST_OK(ts_config_load(&config, &table, (TsConfigSources){0}));
    open_fixture(&fixture, NULL, ts_config_value(config), TS_OBJECTIVE_CLASSES, false);
    TsWeights weights = {.parameters = fixture.parameters, .arrays = fixture.arrays, .dtype = TS_F32, .threads = 1};
    const int32_t *tokens[] = {beyond, unknown};
    int64_t length[] = {CONTEXT + 1, 2, 0};
    TsPrompts prompts = {.count = 1, .tokens = tokens, .length_tokens = length, .first = 7};
    TsDecodeOptions none = {0};
    TEST_ERROR(ts_headed_model.decode(&decoded, &fixture.model, weights, prompts, none),
               "prompt 7 has 13 tokens, more than the context of 12");
    prompts.tokens++, prompts.length_tokens++;
    TEST_ERROR(ts_headed_model.decode(&decoded, &fixture.model, weights, prompts, none),
               "prompt 7 has the token 9; tokens are 0..8");
    prompts.length_tokens++;
    TEST_ERROR(ts_headed_model.decode(&decoded, &fixture.model, weights, prompts, none), "prompt 7 is empty");
    CU_ASSERT_PTR_NULL(decoded);
    fixture.model.objective = TS_OBJECTIVE_LOGITS;
    TEST_ERROR(ts_headed_model.decode(&decoded, &fixture.model, weights, prompts, none),
               "a model without a head says nothing of a prompt");
    close_fixture(&fixture);
    ts_config_free(&config);
}

TEST_MAIN("headed models decode", {"as alone", as_alone}, {"text", becomes_text}, {"refuses", refuses})
