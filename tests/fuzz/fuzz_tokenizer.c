/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of pre-trained tokenizers against any bytes: an error, or a tokenizer whose tokens are within its vocabulary.
 * The first byte says which file the rest is: tokenizer.json, vocab.txt, or merges.txt beside a vocab.json.
 *
 * sources: src/data/tokenizer*.c src/data/pretrained*.c src/data/normalizer*.c src/data/pretokenizer*.c src/data/bpe.c
 * sources: src/data/wordpiece.c src/data/vocabulary.c src/data/unicode.c src/data/byte_level.c src/data/json_keys.c
 * sources: src/data/needle.c src/data/unigram.c
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char vocab_json[] = "{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"\\u0120\":5,\"\\u0120a\":6,\"aa\":7}";
static const char text[] = "abc aaab \xc3\xa9 \xf0\x9f\x98\x80 <mask>  Hello, w\xff 12 \xe2\x96\x81 end\n";

static char dir[] = "/tmp/fuzz_tokenizer.XXXXXX";

static void put(const char *name, const void *bytes, size_t size)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
        abort();
}

static void drop(const char *name)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "merges.txt"};
    static bool begun;
    if (!begun && !mkdtemp(dir))
        abort();
    begun = true;
    if (size < 1)
        return 0;
    const char *name = names[data[0] % 3];
    put(name, data + 1, size - 1);
    if (data[0] % 3 == 2)
        put("vocab.json", vocab_json, sizeof vocab_json - 1);
    TsVariant variant = {.name = "pretrained", .extra = &ts_tokenizer_pretrained};
    TsTokenizer *tokenizer = NULL;
    TsStatus status = ts_tokenizer_make(&tokenizer, (TsChoice){&variant, &(struct { const char *path; }){dir}});
    if (!status) {
        int64_t count;
        int32_t *tokens = ts_tokenizer_encode_all(tokenizer, &count, text, sizeof text - 1);
        for (int64_t i = 0; i < count; i++)
            if (tokens[i] < 0 || tokens[i] >= ts_tokenizer_vocab(tokenizer))
                __builtin_trap();
        char *back = ts_tokenizer_decode(tokenizer, NULL, tokens, count);
        ts_free(back);
        ts_free(tokens);
    }
    ts_tokenizer_free(&tokenizer);
    ts_status_free(&status);
    drop(name);
    drop("vocab.json");
    return 0;
}
