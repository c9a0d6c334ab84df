/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tokenizer.h"

#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/memory.h"

static const TsVariant items[] = {
    {"bytes", "a token is a byte", &ts_tokenizer_bytes_table, &ts_tokenizer_bytes},
    {"characters", "a token is a character of an alphabet", &ts_tokenizer_characters_table, &ts_tokenizer_characters},
    {"residues", "amino acids by their letters, of either case", NULL, &ts_tokenizer_residues},
    {"nucleotides", "A C G T U N, of either case", NULL, &ts_tokenizer_nucleotides},
    {"whitespace", "words between blanks, listed in a file", &ts_tokenizer_whitespace_table, &ts_tokenizer_whitespace},
    {"pretrained", "that of a pre-trained model, from its files", &ts_tokenizer_pretrained_table,
     &ts_tokenizer_pretrained}};
const TsVariants ts_tokenizers = {"tokenizer", items, sizeof items / sizeof *items};

const char *ts_special_name(TsSpecial special)
{
    static const char *const names[] = {"pad", "begin", "end", "mask", "unknown"};
    return names[special];
}

TsStatus ts_tokenizer_make(TsTokenizer **tokenizer, TsChoice choice)
{
    TsTokenizer *made = ts_calloc(1, sizeof *made);
    made->kind = choice.variant->extra;
    for (int i = 0; i < TS_SPECIALS; i++)
        made->special[i] = -1;
    TsStatus status = made->kind->create(made, choice.value);
    if (status)
        ts_tokenizer_free(&made);
    *tokenizer = made;
    return status;
}

TsStatus ts_tokenizer_create(TsTokenizer **tokenizer, const char *name)
{
    TsText known = {0};
    for (int64_t i = 0; i < ts_tokenizers.count; i++) {
        if (strcmp(ts_tokenizers.items[i].name, name) == 0) {
            ts_text_free(&known);
            return ts_tokenizer_make(tokenizer, (TsChoice){&ts_tokenizers.items[i], NULL});
        }
        ts_text_append(&known, "%s\"%s\"", i ? ", " : "", ts_tokenizers.items[i].name);
    }
    *tokenizer = NULL;
    TsStatus status = ts_status_error(TS_CODE_INVALID, "unknown tokenizer \"%s\": there is %s", name, known.data);
    ts_text_free(&known);
    return status;
}

void ts_tokenizer_free(TsTokenizer **tokenizer)
{
    if (!*tokenizer)
        return;
    if ((*tokenizer)->own)
        (*tokenizer)->kind->release((*tokenizer)->own);
    ts_free(*tokenizer);
    *tokenizer = NULL;
}

int64_t ts_tokenizer_vocab(const TsTokenizer *tokenizer)
{
    return tokenizer->vocab;
}

int64_t ts_tokenizer_token_bytes(const TsTokenizer *tokenizer)
{
    return tokenizer->token_bytes;
}

int32_t ts_tokenizer_special(const TsTokenizer *tokenizer, TsSpecial special)
{
    return tokenizer->special[special];
}

void ts_tokenizer_add_specials(TsTokenizer *tokenizer)
{
    for (int i = 0; i < TS_SPECIALS; i++)
        tokenizer->special[i] = (int32_t)tokenizer->vocab++;
}

int64_t ts_tokenizer_encode(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                            size_t text_bytes)
{
    return tokenizer->kind->encode(tokenizer, tokens, capacity_tokens, text, text_bytes);
}

int32_t *ts_tokenizer_encode_all(const TsTokenizer *tokenizer, int64_t *count_tokens, const char *text,
                                 size_t text_bytes)
{
    int64_t capacity = (int64_t)text_bytes + 1;
    int32_t *tokens = ts_alloc((size_t)capacity * sizeof *tokens);
    *count_tokens = ts_tokenizer_encode(tokenizer, tokens, capacity, text, text_bytes);
    if (*count_tokens > capacity) {
        tokens = ts_realloc(tokens, (size_t)*count_tokens * sizeof *tokens);
        (void)ts_tokenizer_encode(tokenizer, tokens, *count_tokens, text, text_bytes);
    }
    return tokens;
}

uint32_t ts_tokenizer_crc(const TsTokenizer *tokenizer)
{
    TsText text = {0};
    int64_t count = 0;
    uint32_t crc = 0;
    for (int32_t token = 0; token < tokenizer->vocab; token++) {
        size_t bytes = 0;
        char *one = ts_tokenizer_decode(tokenizer, &bytes, &token, 1);
        crc = ts_crc32c(crc, one, bytes + 1);
        ts_text_append_bytes(&text, one, bytes);
        ts_free(one);
    }
    int32_t *tokens = ts_tokenizer_encode_all(tokenizer, &count, text.data ? text.data : "", text.size_bytes);
    crc = ts_crc32c(crc, tokens, (size_t)count * sizeof *tokens);
    ts_free(tokens);
    ts_text_free(&text);
    return crc;
}

/* Appends what a special token is in text; whether it is one. */
static bool decode_special(const TsTokenizer *tokenizer, TsText *text, int32_t token)
{
    static const char *const shown[TS_SPECIALS] = {
        [TS_SPECIAL_MASK] = "<mask>", [TS_SPECIAL_UNKNOWN] = "\xef\xbf\xbd"}; /* U+FFFD in UTF-8 */
    if (token < 0 || token >= tokenizer->vocab) {
        ts_text_append(text, "%s", shown[TS_SPECIAL_UNKNOWN]);
        return true;
    }
    for (int i = 0; i < TS_SPECIALS; i++)
        if (token == tokenizer->special[i]) {
            if (shown[i])
                ts_text_append(text, "%s", shown[i]);
            return true;
        }
    return false;
}

char *ts_tokenizer_decode(const TsTokenizer *tokenizer, size_t *text_bytes, const int32_t *tokens, int64_t count_tokens)
{
    TsText text = {0};
    ts_text_append_bytes(&text, "", 0);
    for (int64_t i = 0; i < count_tokens; i++)
        if (!decode_special(tokenizer, &text, tokens[i]))
            tokenizer->kind->decode(tokenizer, &text, tokens[i], text.size_bytes == 0);
    if (text_bytes)
        *text_bytes = text.size_bytes;
    return text.data ? text.data : ts_strdup("");
}
