/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Pre-trained models in and out: what is imported and exported again is what it was, to the bit, and so is its
 * description; and nothing is left behind by what fails.
 */
#include "task/pretrained/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "task/pretrained/family.h"
#include "test.h"

/* A directory that all ranks agree on. */
static char *shared_directory(void)
{
    char name[64] = "/tmp/test_exchange.XXXXXX";
    if (ts_group_rank(test_world) == 0)
        CU_ASSERT_PTR_NOT_NULL(mkdtemp(name));
    ts_broadcast(
        test_world,
        (TsTransfer){.out = name, .in = name, .count_elems = sizeof name, .dtype = TS_BOOL, .label = "directory"}, 0);
    return ts_strdup(name);
}

/* All elements of a tensor, as f32. */
static float *values_of(const TsSafetensors *weights, int index, int64_t *elems)
{
    TsSafetensorsView view = ts_safetensors_whole(weights, index);
    *elems = ts_shape_elems(view.shape);
    float *values = ts_alloc((size_t)*elems * sizeof *values + 1);
    TEST_OK(ts_safetensors_read(weights, values, view, (TsBlockRange){.shape = view.shape}, TS_F32));
    return values;
}

/* Every tensor that was exported is in the original, with the same bits; RoBERTa's first rows of positions aside. */
static void compare_weights(const char *name, const char *before_dir, const char *after_dir)
{
    TsSafetensors *before, *after;
    TEST_OK(ts_safetensors_open(&before, before_dir));
    TEST_OK(ts_safetensors_open(&after, after_dir));
    for (int i = 0; before && after && i < ts_safetensors_count(after); i++) {
        TsSafetensorsEntry entry = ts_safetensors_entry(after, i);
        int there = ts_safetensors_find(before, entry.name);
        bool found = there >= 0 && ts_shape_equal(ts_safetensors_entry(before, there).shape, entry.shape);
        if (!found)
            fprintf(stderr, "%s: %s %s is new\n", name, entry.name, ts_shape_text(entry.shape).text);
        CU_ASSERT_TRUE(found);
        if (!found)
            continue;
        int64_t elems, other;
        float *one = values_of(before, there, &elems), *two = values_of(after, i, &other);
        int64_t skip =
            strcmp(entry.name, "roberta.embeddings.position_embeddings.weight") == 0 ? 2 * entry.shape.size[1] : 0;
        CU_ASSERT_EQUAL(memcmp(one + skip, two + skip, (size_t)(elems - skip) * sizeof *one), 0);
        ts_free(one);
        ts_free(two);
    }
    /* what is not taken along: what no parameter of ours is */
    CU_ASSERT_TRUE(!before || !after || ts_safetensors_count(after) >= ts_safetensors_count(before) - 6);
    ts_safetensors_close(&before);
    ts_safetensors_close(&after);
}

static void round_trip(const char *name)
{
    char *root = shared_directory(), *dir = ts_format("tests/golden/families/%s", name);
    char *run = ts_format("%s/run", root), *out = ts_format("%s/out", root), *again = ts_format("%s/again", root);
    TEST_OK(ts_import(test_world, dir, run));
    TEST_OK(ts_export(test_world, run, out));
    compare_weights(name, dir, out);
    const TsFamily *family;
    TsTransformer before, after;
    TEST_OK(ts_family_read(&family, &before, dir));
    TEST_OK(ts_family_read(&family, &after, out));
    CU_ASSERT_EQUAL(strncmp(name, ts_family_name(family), strlen(ts_family_name(family))), 0);
    CU_ASSERT_EQUAL(before.layers, after.layers);
    CU_ASSERT_EQUAL(before.context, after.context);
    CU_ASSERT_EQUAL(before.norm_epsilon, after.norm_epsilon);
    CU_ASSERT_EQUAL(before.rotary_base, after.rotary_base);
    CU_ASSERT_EQUAL(before.rotary_scaling.factor, after.rotary_scaling.factor);
    CU_ASSERT_EQUAL(before.rotary_scaling.high, after.rotary_scaling.high);
    CU_ASSERT_EQUAL(before.rotary_scaling.original, after.rotary_scaling.original);
    CU_ASSERT_EQUAL(before.mask_token, after.mask_token);
    TEST_OK(ts_import(test_world, out, again)); /* what this program wrote, it reads */
    TEST_ERROR(ts_import(test_world, dir, run), "checkpoints is there already");
    TEST_ERROR(ts_export(test_world, run, out), "model.safetensors is there already");
    ts_barrier(test_world, "test");
    if (ts_group_rank(test_world) == 0)
        TEST_OK(ts_file_remove(root));
    ts_free(root);
    ts_free(dir);
    ts_free(run);
    ts_free(out);
    ts_free(again);
}

static void every_family(void)
{
    static const char *const names[] = {"gpt2", "llama", "llama-linear", "llama3", "bert", "roberta", "esm"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        round_trip(names[i]);
}

static void nothing_is_left_behind(void)
{
    char *root = shared_directory(), *run = ts_format("%s/run", root);
    TEST_ERROR(ts_import(test_world, "/nonexistent", run), "/nonexistent/config.json");
    CU_ASSERT_FALSE(ts_file_exists(run));
    TEST_ERROR(ts_import(test_world, "tests/golden/tokenizers/gpt2", run), "config.json");
    CU_ASSERT_FALSE(ts_file_exists(run));
    TEST_ERROR(ts_export(test_world, run, root), "has no checkpoint");
    ts_barrier(test_world, "test");
    if (ts_group_rank(test_world) == 0)
        TEST_OK(ts_file_remove(root));
    ts_free(root);
    ts_free(run);
}

/* dir/name = the first `bytes` of a golden file, all where there are fewer. On rank 0. */
static void copy_part(const char *dir, const char *name, size_t bytes)
{
    char *from = ts_format("tests/golden/families/gpt2/%s", name), *to = ts_format("%s/%s", dir, name), *text;
    size_t size;
    TEST_OK(ts_file_read(&text, &size, from, 1 << 24));
    TEST_OK(ts_file_write(to, text, bytes < size ? bytes : size));
    ts_free(text);
    ts_free(from);
    ts_free(to);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char *path = ts_format("%s/%s", dir, name);
    TEST_OK(ts_file_write(path, text, strlen(text)));
    ts_free(path);
}

/* An import fails with these words and this code, and leaves nothing. */
static void refuses(const char *dir, const char *run, const char *words, TsCode code)
{
    ts_barrier(test_world, "test");
    TsStatus status = ts_import(test_world, dir, run);
    CU_ASSERT_EQUAL(ts_status_code(status), code);
    TEST_ERROR(status, words);
    CU_ASSERT_FALSE(ts_file_exists(run));
    ts_barrier(test_world, "test");
}

/* A model of which a file is cut, missing, of another shape, or says what is not so. */
static void models_that_are_broken(void)
{
    static const size_t all = (size_t)-1;
    char *root = shared_directory(), *run = ts_format("%s/run", root), *in = ts_format("%s/in", root);
    bool writes = ts_group_rank(test_world) == 0;
    if (writes) {
        TEST_OK(ts_file_make_directory(in));
        copy_part(in, "config.json", all);
    }
    refuses(in, run, "neither model.safetensors.index.json nor model.safetensors is in it", TS_CODE_NOT_FOUND);
    if (writes)
        copy_part(in, "model.safetensors", 100);
    refuses(in, run, "truncated, or not a safetensors file", TS_CODE_CORRUPT);
    if (writes)
        copy_part(in, "model.safetensors", 60000);
    refuses(in, run, "and the file has", TS_CODE_CORRUPT);
    if (writes) {
        copy_part(in, "model.safetensors", all);
        write_text(
            in, "config.json",
            "{\"model_type\":\"gpt2\",\"vocab_size\":30,\"n_layer\":3,\"n_head\":3,\"n_embd\":24,\"n_positions\":16}");
    }
    refuses(in, run, "transformer.wte.weight is (29, 24) there and (30, 24) by config.json", TS_CODE_INVALID);
    refuses(in, run, "backbone/layer_02/attention_norm/scale has no place in weights of gpt2", TS_CODE_INVALID);
    if (writes)
        write_text(in, "config.json", "{\"model_type\":\"mamba\"}");
    refuses(in, run, "model_type mamba is not known; there are gpt2, llama, bert, roberta, esm", TS_CODE_UNSUPPORTED);
    if (writes) {
        copy_part(in, "config.json", all);
        write_text(in, "model.safetensors.index.json",
                   "{\"weight_map\":{\"transformer.wte.weight\":\"model-2.safetensors\"}}");
    }
    refuses(in, run, "names model-2.safetensors for transformer.wte.weight", TS_CODE_NOT_FOUND);

    /* What was there stays. */
    if (writes) {
        TEST_OK(ts_file_make_directory(run));
        write_text(run, "notes.txt", "mine");
    }
    ts_barrier(test_world, "test");
    TEST_ERROR(ts_import(test_world, in, run), "names model-2.safetensors");
    char *notes = ts_format("%s/notes.txt", run), *checkpoints = ts_format("%s/checkpoints", run);
    CU_ASSERT_TRUE(ts_file_exists(notes));
    CU_ASSERT_FALSE(ts_file_exists(checkpoints));
    ts_barrier(test_world, "test");
    if (writes)
        TEST_OK(ts_file_remove(root));
    ts_free(notes);
    ts_free(checkpoints);
    ts_free(root);
    ts_free(run);
    ts_free(in);
}

TEST_MAIN("exchange", {"every family", every_family}, {"nothing is left behind", nothing_is_left_behind},
          {"models that are broken", models_that_are_broken})
