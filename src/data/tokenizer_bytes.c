/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes: token b is the byte b; behind the 256 stand special tokens, where asked for.
 */
#include "data/tokenizer.h"

typedef struct BytesConfig {
    bool specials;
} BytesConfig;

static const TsKey keys[] = {
    TS_KEY_BOOL(BytesConfig, specials, "five more tokens: pad, begin, end, mask, unknown", .fallback = "false"),
    TS_KEYS_END};
const TsConfigTable ts_tokenizer_bytes_table = {"bytes", "A token is a byte.", sizeof(BytesConfig), keys, NULL};

static TsStatus create(TsTokenizer *tokenizer, const void *value)
{
    const BytesConfig *config = value;
    tokenizer->vocab = 256;
    tokenizer->token_bytes = 1;
    if (config && config->specials)
        ts_tokenizer_add_specials(tokenizer);
    return TS_OK;
}

static int64_t encode(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                      size_t text_bytes)
{
    (void)tokenizer;
    int64_t count = (int64_t)text_bytes;
    for (int64_t i = 0; i < count && i < capacity_tokens; i++)
        tokens[i] = (unsigned char)text[i];
    return count;
}

static void decode(const TsTokenizer *tokenizer, TsText *text, int32_t token, bool first)
{
    (void)tokenizer;
    (void)first;
    ts_text_append_bytes(text, &(char){(char)token}, 1);
}

const TsTokenizerKind ts_tokenizer_bytes = {.create = create, .encode = encode, .decode = decode};
