/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Beams of 4 with the tiny GPT-2 of the families, as a search in NumPy over the log-probabilities of transformers found
 * them (tests/golden/make_beams.py).
 */
#include <jansson.h>
#include <string.h>

#include "model/language_model.h"
#include "task/pretrained/family.h"
#include "test.h"

static void declare(TsParameters *parameters, const TsLanguageModel *model)
{
    TsGraph *graph = ts_graph_create();
    TsScope scope = {.graph = graph, .parameters = parameters, .dtype = TS_F32, .step = TS_NONE};
    TsTensor tokens = ts_input(graph, "tokens", TS_I32, ts_shape(1, 1), ts_replicated);
    (void)ts_language_model_logits(scope, model, tokens, NULL);
    ts_graph_free(&graph);
}

static int64_t read_tokens(int32_t *tokens, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        tokens[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return (int64_t)json_array_size(list);
}

static void compare(const TsDecoded *decoded, int64_t prompt, const json_t *hypotheses)
{
    CU_ASSERT_EQUAL((int64_t)json_array_size(hypotheses), decoded->each);
    for (int64_t i = 0; i < decoded->each; i++) {
        int64_t row = prompt * decoded->each + i;
        const json_t *wanted = json_array_get(hypotheses, (size_t)i);
        const int32_t *added = decoded->tokens + row * decoded->capacity_tokens + decoded->prompt_tokens[row];
        int32_t tokens[16];
        int64_t count = read_tokens(tokens, json_object_get(wanted, "tokens"));
        CU_ASSERT_EQUAL(decoded->length_tokens[row] - decoded->prompt_tokens[row], count);
        CU_ASSERT_EQUAL(memcmp(added, tokens, (size_t)count * sizeof *tokens), 0);
        CU_ASSERT_DOUBLE_EQUAL(decoded->score[row], json_number_value(json_object_get(wanted, "score")), 1e-4);
        CU_ASSERT_DOUBLE_EQUAL(decoded->log_probability[row],
                               json_number_value(json_object_get(wanted, "log_probability")), 1e-4);
    }
}

/* All cases of one end token together. */
static void run_end(const json_t *golden, int64_t end, TsWeights weights, const TsLanguageModel *model)
{
    enum { MOST = 8 };
    const json_t *cases = json_object_get(golden, "cases"), *of[MOST];
    int32_t tokens[MOST][16], last = (int32_t)end;
    const int32_t *row[MOST];
    int64_t length[MOST], count = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        if (json_integer_value(json_object_get(one, "end")) != end)
            continue;
        of[count] = json_object_get(one, "hypotheses");
        length[count] = read_tokens(tokens[count], json_object_get(one, "prompt"));
        row[count] = tokens[count];
        count++;
    }
    TsDecodeOptions options = {.max_decode_steps = json_integer_value(json_object_get(golden, "steps")),
                               .beams = json_integer_value(json_object_get(golden, "beams")),
                               .length_penalty = json_number_value(json_object_get(golden, "alpha")),
                               .ends = &last,
                               .end_count = 1};
    TsDecoded *decoded = NULL;
    CU_ASSERT(count > 0);
    TEST_OK(ts_language_model.decode(&decoded, model, weights,
                                     (TsPrompts){.count = count, .tokens = row, .length_tokens = length}, options));
    for (int64_t i = 0; decoded && i < count; i++)
        compare(decoded, i, of[i]);
    ts_decoded_free(&decoded);
}

static void beams_of_four(void)
{
    TsMesh *mesh = NULL;
    const TsFamily *family;
    TsLanguageModel model = {.ignored = -100};
    TsSafetensors *weights = NULL;
    int left;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size[TS_AXIS_DATA] = ts_group_size(test_world)}));
    TEST_OK(ts_family_read(&family, &model.backbone, "tests/golden/families/gpt2"));
    TEST_OK(ts_safetensors_open(&weights, "tests/golden/families/gpt2"));
    TsParameters *parameters = ts_parameters_create(mesh);
    declare(parameters, &model);
    TsBatch *arrays = ts_parameters_initialize(parameters, 1);
    TEST_OK(ts_family_load(family, weights, arrays, &left));
    json_t *golden = json_load_file("tests/golden/beams.json", 0, NULL);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(golden, "cases")), 9);
    static const int64_t ends[] = {7, 9, 18};
    for (int i = 0; i < 3; i++)
        run_end(golden, ends[i], (TsWeights){.parameters = parameters, .arrays = arrays, .dtype = TS_F32, .threads = 1},
                &model);
    json_decref(golden);
    ts_batch_free(&arrays);
    ts_parameters_free(&parameters);
    ts_safetensors_close(&weights);
    ts_mesh_free(&mesh);
}

TEST_MAIN("beams", {"beams of four", beams_of_four})
