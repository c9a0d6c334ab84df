/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer of a pre-trained model, from its own files: encoding and decoding over what pretrained.c read.
 */
#include <string.h>

#include "base/memory.h"
#include "data/pretrained.h"
#include "data/tokenizer.h"
#include "data/unicode.h"

typedef struct PretrainedConfig {
    const char *path;
} PretrainedConfig;

static const TsKey keys[] = {
    TS_KEY_STRING(PretrainedConfig, path,
                  "a directory with tokenizer.json, or vocab.json and merges.txt, or vocab.txt; or a tokenizer.json",
                  .required = true),
    TS_KEYS_END};
const TsConfigTable ts_tokenizer_pretrained_table = {"pretrained", "The tokenizer of a pre-trained model.",
                                                     sizeof(PretrainedConfig), keys, NULL};

static TsStatus create(TsTokenizer *tokenizer, const void *value)
{
    const PretrainedConfig *config = value;
    if (!config)
        return ts_status_error(TS_CODE_INVALID, "the tokenizer pretrained needs a path");
    TsPretrained *pretrained;
    TS_TRY(ts_pretrained_read(&pretrained, config->path));
    tokenizer->own = pretrained;
    tokenizer->vocab = ts_vocabulary_size(pretrained->vocabulary);
    memcpy(tokenizer->special, pretrained->special, sizeof tokenizer->special);
    return TS_OK;
}

static void release(void *own)
{
    TsPretrained *pretrained = own;
    ts_pretrained_free(&pretrained);
}

/* ---- encoding ---- */

/* Where tokens go, and what is used again from text to text. */
typedef struct Encoding {
    const TsPretrained *pretrained;
    int32_t *tokens; /* (capacity) */
    int64_t capacity, count;
    TsWords words;
} Encoding;

static void take_token(void *context, int32_t token)
{
    Encoding *encoding = context;
    if (encoding->count < encoding->capacity)
        encoding->tokens[encoding->count] = token;
    encoding->count++;
}

static void encode_word(Encoding *encoding, const char *word, size_t word_bytes)
{
    const TsPretrained *pretrained = encoding->pretrained;
    if (pretrained->bpe) {
        ts_bpe_encode(pretrained->bpe, word, word_bytes, take_token, encoding);
    } else if (pretrained->unigram) {
        ts_unigram_encode(pretrained->unigram, word, word_bytes, take_token, encoding);
    } else if (pretrained->wordpiece) {
        ts_wordpiece_encode(pretrained->wordpiece, word, word_bytes, take_token, encoding);
    } else {
        int32_t token = ts_vocabulary_find(pretrained->vocabulary, word, word_bytes);
        if (token >= 0 || pretrained->unknown >= 0)
            take_token(encoding, token >= 0 ? token : pretrained->unknown);
    }
}

/* Letters, numbers, marks and the low line. */
static bool is_word(int32_t character)
{
    return character == '_' || !(character < 0 || ts_unicode_is_space(character) || ts_unicode_is_symbol(character) ||
                                 ts_unicode_is_punctuation(character) || ts_unicode_is_other(character));
}

/* Whether a word goes on over text[at]. */
static bool within_word(const char *text, size_t text_bytes, size_t at)
{
    int32_t before, after;
    if (at == 0 || at >= text_bytes)
        return false;
    size_t first = at - 1;
    while (first > 0 && at - first < 4 && ((unsigned char)text[first] & 0xc0) == 0x80)
        first--;
    (void)ts_unicode_next(&before, text + first, at - first);
    (void)ts_unicode_next(&after, text + at, text_bytes - at);
    return is_word(before) && is_word(after);
}

/* The first added token of this kind in text[from, text_bytes), the longest of those that begin there; NULL: none. */
static const TsAddedToken *find_added(const TsPretrained *pretrained, size_t *first, const char *text,
                                      size_t text_bytes, size_t from, bool normalized)
{
    for (size_t at = from; at < text_bytes; at++)
        for (int i = 0; i < pretrained->adds; i++) {
            const TsAddedToken *added = &pretrained->added[i];
            size_t bytes = added->content_bytes;
            if (added->normalized != normalized || bytes > text_bytes - at || text[at] != *added->content ||
                memcmp(text + at, added->content, bytes) != 0)
                continue;
            if (added->single_word && (within_word(text, text_bytes, at) || within_word(text, text_bytes, at + bytes)))
                continue;
            *first = at;
            return added;
        }
    return NULL;
}

static size_t skip_space(const char *text, size_t text_bytes, size_t at)
{
    while (at < text_bytes) {
        int32_t character;
        size_t bytes = ts_unicode_next(&character, text + at, text_bytes - at);
        if (!ts_unicode_is_space(character))
            break;
        at += bytes;
    }
    return at;
}

/* Where the white space in front of text[end] begins, not before `from`. */
static size_t skip_space_back(const char *text, size_t from, size_t end)
{
    while (end > from) {
        size_t first = end - 1;
        int32_t character;
        while (first > from && ((unsigned char)text[first] & 0xc0) == 0x80)
            first--;
        (void)ts_unicode_next(&character, text + first, end - first);
        if (!ts_unicode_is_space(character))
            break;
        end = first;
    }
    return end;
}

typedef void Encode(Encoding *encoding, const char *text, size_t text_bytes, bool begins);

/* Encodes what lies between added tokens of this kind by `between`. */
static void encode_between(Encoding *encoding, const char *text, size_t text_bytes, bool begins, bool normalized,
                           Encode *between)
{
    size_t at = 0, first;
    const TsAddedToken *added;
    while ((added = find_added(encoding->pretrained, &first, text, text_bytes, at, normalized))) {
        size_t end = first + added->content_bytes;
        if (added->strips_left)
            first = skip_space_back(text, at, first);
        if (added->strips_right)
            end = skip_space(text, text_bytes, end);
        if (first > at)
            between(encoding, text + at, first - at, begins && at == 0);
        take_token(encoding, added->token);
        at = end;
    }
    if (at < text_bytes)
        between(encoding, text + at, text_bytes - at, begins && at == 0);
}

static void encode_normalized(Encoding *encoding, const char *text, size_t text_bytes, bool begins)
{
    ts_words_clear(&encoding->words);
    ts_pretokenizer_cut(encoding->pretrained->pretokenizer, &encoding->words, text, text_bytes, begins);
    for (int64_t i = 0; i < encoding->words.count; i++) {
        size_t bytes;
        const char *word = ts_words_at(&encoding->words, i, &bytes);
        encode_word(encoding, word, bytes);
    }
}

static void encode_raw(Encoding *encoding, const char *text, size_t text_bytes, bool begins)
{
    TsText normal = {0};
    ts_normalizer_apply(encoding->pretrained->normalizer, &normal, text, text_bytes);
    encode_between(encoding, normal.data ? normal.data : "", normal.size_bytes, begins, true, encode_normalized);
    ts_text_free(&normal);
}

static int64_t encode(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                      size_t text_bytes)
{
    Encoding encoding = {.pretrained = tokenizer->own, .tokens = tokens, .capacity = capacity_tokens};
    encode_between(&encoding, text, text_bytes, true, false, encode_raw);
    ts_words_free(&encoding.words);
    return encoding.count;
}

/* ---- decoding ---- */

/* The byte of <0xXX>, or -1. */
static int byte_token(const char *bytes, size_t size_bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    if (size_bytes != 6 || memcmp(bytes, "<0x", 3) != 0 || bytes[5] != '>')
        return -1;
    const char *high = memchr(digits, bytes[3], 16), *low = memchr(digits, bytes[4], 16);
    return high && low ? (int)((high - digits) * 16 + (low - digits)) : -1;
}

static void decode_metaspace(TsText *text, const char *bytes, size_t size_bytes, bool first)
{
    static const char blank[] = "\xe2\x96\x81";
    int byte = byte_token(bytes, size_bytes);
    if (byte >= 0) {
        ts_text_append_bytes(text, &(char){(char)byte}, 1);
        return;
    }
    for (size_t at = 0; at < size_bytes;) {
        if (size_bytes - at >= 3 && memcmp(bytes + at, blank, 3) == 0) {
            if (!(first && at == 0))
                ts_text_append_bytes(text, " ", 1);
            at += 3;
        } else {
            ts_text_append_bytes(text, bytes + at++, 1);
        }
    }
}

static void decode(const TsTokenizer *tokenizer, TsText *text, int32_t token, bool first)
{
    const TsPretrained *pretrained = tokenizer->own;
    size_t bytes;
    const char *content = ts_vocabulary_bytes(pretrained->vocabulary, token, &bytes);
    if (!content)
        return;
    for (int i = 0; i < pretrained->adds; i++)
        if (pretrained->added[i].token == token && pretrained->added[i].special)
            return;
    size_t affix = 0;
    switch (pretrained->decode) {
    case TS_DECODE_PLAIN:
        ts_text_append_bytes(text, content, bytes);
        break;
    case TS_DECODE_METASPACE:
        decode_metaspace(text, content, bytes, first);
        break;
    case TS_DECODE_WORDPIECE:
        affix = pretrained->prefix ? strlen(pretrained->prefix) : 0;
        if (affix && bytes > affix && memcmp(content, pretrained->prefix, affix) == 0)
            ts_text_append_bytes(text, content + affix, bytes - affix);
        else {
            ts_text_append(text, "%s", first ? "" : " ");
            ts_text_append_bytes(text, content, bytes);
        }
        break;
    case TS_DECODE_SUFFIX:
        affix = strlen(pretrained->suffix);
        if (bytes >= affix && memcmp(content + bytes - affix, pretrained->suffix, affix) == 0) {
            ts_text_append_bytes(text, content, bytes - affix);
            ts_text_append_bytes(text, " ", 1);
        } else {
            ts_text_append_bytes(text, content, bytes);
        }
        break;
    }
}

const TsTokenizerKind ts_tokenizer_pretrained = {create, release, encode, decode};
