/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tokenizer.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

struct TsTokenizer {
    int64_t vocab;
};

TsStatus ts_tokenizer_create(TsTokenizer **tokenizer, const char *name)
{
    if (strcmp(name, "bytes") != 0)
        return ts_status_error(TS_CODE_INVALID, "unknown tokenizer \"%s\": there is \"bytes\"", name);
    *tokenizer = ts_alloc(sizeof **tokenizer);
    **tokenizer = (TsTokenizer){.vocab = 256};
    return TS_OK;
}

void ts_tokenizer_free(TsTokenizer **tokenizer)
{
    ts_free(*tokenizer);
    *tokenizer = NULL;
}

int64_t ts_tokenizer_vocab(const TsTokenizer *tokenizer)
{
    return tokenizer->vocab;
}

int64_t ts_tokenizer_token_bytes(const TsTokenizer *tokenizer)
{
    (void)tokenizer;
    return 1;
}

int64_t ts_tokenizer_encode(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                            size_t text_bytes)
{
    TS_ASSERT(tokenizer->vocab == 256);
    int64_t count = (int64_t)text_bytes;
    for (int64_t i = 0; i < count && i < capacity_tokens; i++)
        tokens[i] = (unsigned char)text[i];
    return count;
}

char *ts_tokenizer_decode(const TsTokenizer *tokenizer, size_t *text_bytes, const int32_t *tokens, int64_t count_tokens)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD in UTF-8 */
    enum { MOST_BYTES = 3 };                          /* of one token's text */
    char *text = ts_alloc((size_t)count_tokens * MOST_BYTES + 1);
    size_t length = 0;
    for (int64_t i = 0; i < count_tokens; i++) {
        if (tokens[i] >= 0 && tokens[i] < tokenizer->vocab) {
            text[length++] = (char)tokens[i];
        } else {
            memcpy(text + length, replacement, MOST_BYTES);
            length += MOST_BYTES;
        }
    }
    text[length] = '\0';
    if (text_bytes)
        *text_bytes = length;
    return text;
}
