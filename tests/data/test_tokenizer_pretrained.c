/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizers of pre-trained models: the same tokens as the reference gave on texts in several scripts (tests/golden/
 * make_tokenizers.py), the same bytes again after decoding, and files that contradict themselves.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/tokenizer.h"
#include "test.h"

static TsStatus make(TsTokenizer **tokenizer, const char *path)
{
    TsVariant variant = {.name = "pretrained", .extra = &ts_tokenizer_pretrained};
    return ts_tokenizer_make(tokenizer, (TsChoice){&variant, &(struct { const char *path; }){path}});
}

static json_t *read_golden(const char *name)
{
    char *path = ts_format("tests/golden/tokenizers/%s/golden.json", name);
    json_error_t error;
    json_t *golden = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!golden)
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
    CU_ASSERT_TRUE(json_array_size(golden) >= 8);
    ts_free(path);
    return golden;
}

static bool same(const int32_t *tokens, int64_t count, const json_t *ids)
{
    if (count != (int64_t)json_array_size(ids))
        return false;
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] != json_integer_value(json_array_get(ids, (size_t)i)))
            return false;
    return true;
}

static void compare_row(const char *name, const TsTokenizer *tokenizer, const json_t *row)
{
    enum { CAPACITY = 4096 };
    static int32_t tokens[CAPACITY];
    const json_t *text = json_object_get(row, "text"), *decoded = json_object_get(row, "decoded");
    int64_t count = ts_tokenizer_encode(tokenizer, tokens, CAPACITY, json_string_value(text), json_string_length(text));
    bool encodes = same(tokens, count, json_object_get(row, "ids"));
    CU_ASSERT_TRUE(encodes);
    if (!encodes) {
        fprintf(stderr, "%s: \"%s\" gives", name, json_string_value(text));
        for (int64_t i = 0; i < count && i < 40; i++)
            fprintf(stderr, " %d", tokens[i]);
        char *ids = json_dumps(json_object_get(row, "ids"), JSON_COMPACT);
        fprintf(stderr, "\n    expected %.300s\n", ids);
        free(ids);
    }
    if (decoded && !strstr(json_string_value(text), "<mask>")) { /* which we show, and the reference leaves out */
        size_t bytes;
        char *back = ts_tokenizer_decode(tokenizer, &bytes, tokens, count);
        bool decodes = bytes == json_string_length(decoded) && memcmp(back, json_string_value(decoded), bytes) == 0;
        CU_ASSERT_TRUE(decodes);
        if (!decodes)
            fprintf(stderr, "%s: decoded \"%s\", expected \"%s\"\n", name, back, json_string_value(decoded));
        ts_free(back);
    }
}

static void as_the_reference(void)
{
    static const char *const names[] = {"gpt2",       "roberta", "llama3",       "llama", "bert-uncased",
                                        "bert-cased", "mixed",   "clip",         "words", "bert-lines",
                                        "esm",        "unigram", "unigram-bytes"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = ts_format("tests/golden/tokenizers/%s", names[i]);
        TsTokenizer *tokenizer;
        TEST_OK(make(&tokenizer, path));
        json_t *golden = read_golden(names[i]);
        for (size_t r = 0; tokenizer && r < json_array_size(golden); r++)
            compare_row(names[i], tokenizer, json_array_get(golden, r));
        json_decref(golden);
        ts_tokenizer_free(&tokenizer);
        ts_free(path);
    }
}

/* U+FDFA becomes eighteen characters, none of them known: more tokens than bytes. */
static void more_tokens_than_bytes(void)
{
    static const char text[] = "\xef\xb7\xba\xef\xb7\xba";
    TsTokenizer *tokenizer;
    TEST_OK(make(&tokenizer, "tests/golden/tokenizers/mixed"));
    int64_t count;
    int32_t first[2], *tokens = ts_tokenizer_encode_all(tokenizer, &count, text, strlen(text));
    CU_ASSERT_TRUE(count > (int64_t)sizeof text);
    CU_ASSERT_EQUAL(ts_tokenizer_encode(tokenizer, first, 2, text, strlen(text)), count);
    CU_ASSERT_TRUE(first[0] == tokens[0] && first[1] == tokens[1]);
    ts_free(tokens);
    ts_tokenizer_free(&tokenizer);
}

/* Bytes that are not UTF-8 come back as they were. */
static void any_bytes_come_back(void)
{
    TsTokenizer *tokenizer;
    TEST_OK(make(&tokenizer, "tests/golden/tokenizers/gpt2"));
    char text[600];
    uint64_t state = 7;
    for (int round = 0; tokenizer && round < 50; round++) {
        int32_t tokens[sizeof text];
        for (size_t i = 0; i < sizeof text; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            text[i] = (char)(round % 2 ? state >> 56 : (state >> 56) % 40 + 190);
        }
        int64_t count = ts_tokenizer_encode(tokenizer, tokens, (int64_t)sizeof text, text, sizeof text);
        CU_ASSERT_TRUE(count > 0 && count <= (int64_t)sizeof text);
        size_t bytes;
        char *back = ts_tokenizer_decode(tokenizer, &bytes, tokens, count);
        CU_ASSERT_TRUE(bytes == sizeof text && memcmp(back, text, bytes) == 0);
        ts_free(back);
    }
    CU_ASSERT_EQUAL(ts_tokenizer_special(tokenizer, TS_SPECIAL_END), 0); /* <|endoftext|> */
    ts_tokenizer_free(&tokenizer);
}

static void expect_error(const char *json, const char *words)
{
    char path[] = "/tmp/test_tokenizer.XXXXXX";
    int fd = mkstemp(path);
    CU_ASSERT_TRUE(fd >= 0);
    TsTokenizer *tokenizer;
    TEST_OK(ts_file_write(path, json, strlen(json)));
    TEST_ERROR(make(&tokenizer, path), words);
    CU_ASSERT_PTR_NULL(tokenizer);
    TEST_OK(ts_file_remove(path));
}

#define BPE(vocab, merges) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}}"

static void files_that_contradict_themselves(void)
{
    TsTokenizer *tokenizer;
    TEST_ERROR(make(&tokenizer, "/nonexistent"), "/nonexistent: cannot open");
    TEST_ERROR(make(&tokenizer, "tests/golden"), "tests/golden: has no tokenizer: neither tokenizer.json");
    expect_error("{\"model\":", "not JSON");
    expect_error("[]", "not a JSON object");
    expect_error("{}", "has no vocabulary");
    expect_error("{\"model\":{\"type\":\"Markov\"}}",
                 "its model is Markov; there are BPE, Unigram, WordLevel and WordPiece");
    expect_error("{\"model\":{\"type\":\"Unigram\"}}", "its model Unigram has no vocabulary");
    expect_error("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "piece 0: expected [piece, score]");
    expect_error("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1],[\"a\",-2]]}}",
                 "token \"a\" has the number 1");
    expect_error("{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",-1]]}}",
                 "its unk_id 1 is none of its 1 pieces");
    expect_error(BPE("{\"a\":0,\"b\":0}", "[]"), "token \"b\" has the number 0");
    expect_error(BPE("{\"a\":-1}", "[]"), "out of range");
    expect_error(BPE("{\"a\":9007199254740993}", "[]"), "out of range");
    expect_error(BPE("{\"a\":\"0\"}", "[]"), "the number of token \"a\" is not a whole number");
    expect_error(BPE("{\"a\":0,\"b\":1}", "7"), "no list of merges");
    expect_error(BPE("{\"a\":0,\"b\":1}", "[\"a b\"]"), "merge 1: a merge with \"ab\", which is not in the vocabulary");
    expect_error(BPE("{\"a\":0,\"b\":1}", "[\"a c\"]"), "merge 1: a merge with \"c\"");
    expect_error(BPE("{\"a\":0,\"b\":1}", "[\"ab\"]"), "merge 1: expected two tokens with a blank");
    expect_error(BPE("{\"a\":0,\"b\":1}", "[[\"a\"]]"), "merge 1: expected two tokens");
    expect_error("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0},\"unk_token\":\"[UNK]\"}}",
                 "its unk_token \"[UNK]\" is not in the vocabulary");
    expect_error("{\"normalizer\":{\"type\":\"Precompiled\"}}", "normalizer Precompiled is not known; there are");
    expect_error("{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}", "pre_tokenizer UnicodeScripts is not known");
    expect_error("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}}",
                 "is not a regular expression");
    expect_error("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":0,"
                 "\"content\":\"b\"}]}",
                 "added token \"b\" has the number 0, which is another's");
}

/* A merge whose second token is nothing but the prefix makes its first one again: it ends all the same. */
static void merges_in_a_circle(void)
{
    char path[] = "/tmp/test_tokenizer.XXXXXX";
    static const char json[] = "{\"model\":{\"type\":\"BPE\",\"continuing_subword_prefix\":\"#\",\"vocab\":{\"a\":0,"
                               "\"#\":1,\"#a\":2,\"aa\":3},\"merges\":[\"a #\",\"a #a\"]}}";
    TsTokenizer *tokenizer = NULL;
    TEST_ERROR(make(&tokenizer, "tests/golden/bpe"), "neither tokenizer.json, nor vocab.json with merges.txt");
    CU_ASSERT_TRUE(mkstemp(path) >= 0);
    TEST_OK(ts_file_write(path, json, sizeof json - 1));
    TsStatus status = make(&tokenizer, path);
    if (status) {
        TEST_ERROR(status, "merge 3: a merge with \"aaa\", which is not in the vocabulary");
    } else {
        int64_t count;
        ts_free(ts_tokenizer_encode_all(tokenizer, &count, "aaaa##aa#", 9));
        CU_ASSERT_TRUE(count > 0 && count <= 9);
    }
    ts_tokenizer_free(&tokenizer);
    TEST_OK(ts_file_remove(path));
}

TEST_MAIN("tokenizer_pretrained", {"as the reference", as_the_reference},
          {"more tokens than bytes", more_tokens_than_bytes}, {"any bytes come back", any_bytes_come_back},
          {"files that contradict themselves", files_that_contradict_themselves},
          {"merges in a circle", merges_in_a_circle})
