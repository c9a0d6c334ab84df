/* SPDX-License-Identifier: Apache-2.0
 *
 * Whitespace: a token is a word between blanks; the words are the lines of a file, in their order, then come the
 * special tokens. A word that is not in the file is the unknown token.
 */
#include "data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

typedef struct WordsConfig {
    const char *words;
} WordsConfig;

static const TsKey keys[] = {TS_KEY_STRING(WordsConfig, words, "a file with a word on each line", .required = true),
                             TS_KEYS_END};
const TsConfigTable ts_tokenizer_whitespace_table = {"whitespace", "A token is a word between blanks.",
                                                     sizeof(WordsConfig), keys, NULL};

enum { MAX_FILE_BYTES = 1 << 28 };

typedef struct Word {
    const char *text;
    size_t bytes;
    int32_t token;
} Word;

typedef struct Words {
    char *file; /* owned; the words point into it */
    int64_t count;
    Word *sorted;   /* (count) by text */
    Word *by_token; /* (count) */
} Words;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static int compare(const void *a, const void *b)
{
    const Word *one = a, *other = b;
    size_t least = one->bytes < other->bytes ? one->bytes : other->bytes;
    int order = memcmp(one->text, other->text, least);
    return order ? order : one->bytes < other->bytes ? -1 : one->bytes > other->bytes;
}

/* Finds the next word from *at on; false at the end. */
static bool next_word(Word *word, const char *text, size_t text_bytes, size_t *at)
{
    while (*at < text_bytes && is_blank(text[*at]))
        ++*at;
    word->text = text + *at;
    while (*at < text_bytes && !is_blank(text[*at]))
        ++*at;
    word->bytes = (size_t)(text + *at - word->text);
    return word->bytes > 0;
}

static TsStatus create(TsTokenizer *tokenizer, const void *value)
{
    const WordsConfig *config = value;
    if (!config)
        return ts_status_error(TS_CODE_INVALID, "the tokenizer whitespace needs a file of words");
    Words *words = ts_calloc(1, sizeof *words);
    size_t bytes = 0, at = 0;
    tokenizer->own = words;
    TS_TRY(ts_file_read(&words->file, &bytes, config->words, MAX_FILE_BYTES));
    Word word;
    while (next_word(&word, words->file, bytes, &at))
        words->count++;
    if (words->count == 0)
        return ts_status_error(TS_CODE_INVALID, "%s: is empty: expected a word on each line", config->words);
    words->sorted = ts_calloc((size_t)words->count, sizeof(Word));
    words->by_token = ts_calloc((size_t)words->count, sizeof(Word));
    at = 0;
    for (int32_t i = 0; next_word(&word, words->file, bytes, &at); i++) {
        word.token = i;
        words->sorted[i] = words->by_token[i] = word;
    }
    qsort(words->sorted, (size_t)words->count, sizeof(Word), compare);
    for (int64_t i = 1; i < words->count; i++)
        if (compare(&words->sorted[i - 1], &words->sorted[i]) == 0)
            return ts_status_error(TS_CODE_INVALID, "%s: has the word \"%.*s\" twice", config->words,
                                   (int)words->sorted[i].bytes, words->sorted[i].text);
    tokenizer->vocab = words->count;
    ts_tokenizer_add_specials(tokenizer);
    return TS_OK;
}

static void release(void *own)
{
    Words *words = own;
    ts_free(words->file);
    ts_free(words->sorted);
    ts_free(words->by_token);
    ts_free(words);
}

static int64_t encode(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                      size_t text_bytes)
{
    const Words *words = tokenizer->own;
    int64_t count = 0;
    size_t at = 0;
    for (Word word; next_word(&word, text, text_bytes, &at); count++) {
        const Word *found = bsearch(&word, words->sorted, (size_t)words->count, sizeof word, compare);
        if (count < capacity_tokens)
            tokens[count] = found ? found->token : tokenizer->special[TS_SPECIAL_UNKNOWN];
    }
    return count;
}

static void decode(const TsTokenizer *tokenizer, TsText *text, int32_t token, bool first)
{
    const Word *word = &((const Words *)tokenizer->own)->by_token[token];
    ts_text_append(text, "%s", first ? "" : " ");
    ts_text_append_bytes(text, word->text, word->bytes);
}

const TsTokenizerKind ts_tokenizer_whitespace = {create, release, encode, decode};
