/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Training a byte-pair encoding: the merges that the reference learns (tests/golden/make_bpe.py), whatever the number
 * of ranks; files that are read again; and what cannot be.
 */
#include "data/bpe_trainer.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "data/corpus.h"
#include "data/tokenizer.h"
#include "test.h"

static const char *const corpus[] = {"tests/golden/bpe/corpus.txt", "tests/data/alice.txt"};
static const char *const special[] = {"<|endoftext|>", "<pad>"};

static void train(TsBpeTrained **trained)
{
    TsWordCounts *counts;
    TEST_OK(ts_corpus_count(&counts, test_world, corpus, 2));
    TEST_OK(ts_bpe_train(trained, counts,
                         (TsBpeTraining){.vocab = 1200, .min_count = 2, .special = special, .specials = 2}));
    ts_word_counts_free(&counts);
}

/* A directory of this rank's own. */
static char *make_directory(void)
{
    char name[] = "/tmp/test_bpe.XXXXXX";
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(name));
    return ts_strdup(name);
}

static char *read(const char *dir, const char *name, size_t *bytes)
{
    char *path = ts_format("%s/%s", dir, name), *text;
    TEST_OK(ts_file_read(&text, bytes, path, 1 << 24));
    ts_free(path);
    return text;
}

static void as_the_reference(void)
{
    TsBpeTrained *trained = NULL;
    train(&trained);
    CU_ASSERT_EQUAL(ts_vocabulary_size(trained->vocabulary), 1200);
    CU_ASSERT_EQUAL(trained->merges, 1200 - 256 - 2);
    char *dir = make_directory();
    TEST_OK(ts_bpe_trained_write(trained, dir));
    size_t one_bytes, other_bytes;
    char *one = read(dir, "merges.txt", &one_bytes), *other = read("tests/golden/bpe", "merges.txt", &other_bytes);
    CU_ASSERT_TRUE(one_bytes == other_bytes && memcmp(one, other, one_bytes) == 0);
    ts_free(one);
    ts_free(other);
    TEST_OK(ts_file_remove(dir));
    ts_free(dir);
    ts_bpe_trained_free(&trained);
}

/* Both kinds of files are read, and cut alike; every text comes back. */
static void what_is_written_is_read(void)
{
    static const char text[] =
        "Alice was beginning to get very tired \xe2\x80\x94 \xf0\x9f\x98\x80 na\xc3\xafve\n\n\xff";
    TsVariant variant = {.name = "pretrained", .extra = &ts_tokenizer_pretrained};
    TsBpeTrained *trained = NULL;
    train(&trained);
    char *dir = make_directory(), *whole = ts_format("%s/tokenizer.json", dir);
    TEST_OK(ts_bpe_trained_write(trained, dir));
    int64_t counts[2] = {0};
    int32_t *tokens[2];
    for (int k = 0; k < 2; k++) {
        TsTokenizer *tokenizer = NULL;
        TEST_OK(ts_tokenizer_make(&tokenizer, (TsChoice){&variant, &(struct { const char *path; }){k ? dir : whole}}));
        CU_ASSERT_EQUAL(ts_tokenizer_vocab(tokenizer), 1200);
        CU_ASSERT_EQUAL(ts_tokenizer_special(tokenizer, TS_SPECIAL_END), 0);
        tokens[k] = ts_tokenizer_encode_all(tokenizer, &counts[k], text, sizeof text - 1);
        char *back = ts_tokenizer_decode(tokenizer, NULL, tokens[k], counts[k]);
        CU_ASSERT_STRING_EQUAL(back, text);
        ts_free(back);
        ts_tokenizer_free(&tokenizer);
        if (k == 0)
            TEST_OK(ts_file_remove(whole)); /* then vocab.json and merges.txt are read */
    }
    CU_ASSERT_TRUE(counts[0] == counts[1] && memcmp(tokens[0], tokens[1], (size_t)counts[0] * sizeof **tokens) == 0);
    CU_ASSERT_TRUE(counts[0] < (int64_t)sizeof text / 2);
    ts_free(tokens[0]);
    ts_free(tokens[1]);
    TEST_OK(ts_file_remove(dir));
    ts_free(dir);
    ts_free(whole);
    ts_bpe_trained_free(&trained);
}

/* Every word of every line once, on every number of ranks. */
static void counts_of_words(void)
{
    TsWordCounts *plain;
    TEST_OK(ts_corpus_count(&plain, test_world, &corpus[1], 1));
    int64_t bytes = 0, times;
    size_t word_bytes, size_bytes;
    for (int64_t i = 0; i < ts_word_counts_size(plain); i++) {
        const char *word = ts_word_counts_at(plain, i, &word_bytes, &times);
        bytes += (int64_t)word_bytes * times;
        CU_ASSERT_TRUE(i == 0 || strcmp(word, ts_word_counts_at(plain, i - 1, &size_bytes, &times)) > 0);
    }
    char *text = read("tests/data", "alice.txt", &size_bytes);
    CU_ASSERT_EQUAL(bytes, (int64_t)size_bytes);
    ts_free(text);
    ts_word_counts_free(&plain);
}

static void what_cannot_be(void)
{
    TsBpeTrained *trained;
    TsWordCounts *counts, *none = ts_word_counts_create();
    const char *const missing[] = {"tests/data/alice.txt", "/nonexistent/corpus"};
    const char *const folder[] = {"tests/data"};
    TEST_ERROR(ts_corpus_count(&counts, test_world, missing, 2), "/nonexistent/corpus: No such file");
    CU_ASSERT_PTR_NULL(counts);
    TEST_ERROR(ts_corpus_count(&counts, test_world, folder, 1), "tests/data: not a file");
    const char *const twice[] = {"<a>", "<a>"}, *const byte[] = {"!"};
    TsBpeTraining training = {.vocab = 300, .min_count = 1, .special = twice, .specials = 2};
    TEST_ERROR(ts_bpe_train(&trained, none, training), "\"<a>\": is empty, or there twice");
    training = (TsBpeTraining){.vocab = 300, .min_count = 1, .special = byte, .specials = 1};
    TEST_ERROR(ts_bpe_train(&trained, none, training), "\"!\": is how a byte is written");
    training.vocab = 256;
    TEST_ERROR(ts_bpe_train(&trained, none, training), "256 tokens has no room for 256 bytes and 1 special");
    training = (TsBpeTraining){.vocab = 300, .min_count = 1};
    TEST_OK(ts_bpe_train(&trained, none, training)); /* of nothing: bytes alone */
    CU_ASSERT_EQUAL(ts_vocabulary_size(trained->vocabulary), 256);
    ts_bpe_trained_free(&trained);
    ts_word_counts_free(&none);
}

TEST_MAIN("bpe_trainer", {"as the reference", as_the_reference}, {"what is written is read", what_is_written_is_read},
          {"counts of words", counts_of_words}, {"what cannot be", what_cannot_be})
