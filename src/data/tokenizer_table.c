/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables: a token is one character of an alphabet, in the alphabet's order; then come the special tokens. Characters
 * are UTF-8; what is not valid UTF-8, and what the alphabet lacks, is the unknown token.
 */
#include "data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

typedef struct CharactersConfig {
    const char *alphabet;
} CharactersConfig;

static const TsKey keys[] = {
    TS_KEY_STRING(CharactersConfig, alphabet,
                  "its characters; left out: those of ASCII that print, blank, tab and line feed"),
    TS_KEYS_END};
const TsConfigTable ts_tokenizer_characters_table = {"characters", "A token is a character of an alphabet.",
                                                     sizeof(CharactersConfig), keys, NULL};

typedef struct Character {
    uint32_t bytes; /* as they stand in UTF-8, first byte lowest */
    int32_t token;
} Character;

typedef struct Table {
    int64_t count;
    Character *sorted;    /* (count) by bytes */
    uint32_t *characters; /* (count) by token */
    bool folds;           /* lower case counts as upper case */
} Table;

/* The bytes of the character that begins at text[0]; 0 where it is not valid UTF-8. */
static size_t character_bytes(const char *text, size_t left)
{
    unsigned char lead = (unsigned char)text[0];
    size_t bytes = lead < 0x80                   ? 1
                   : lead >= 0xc2 && lead < 0xe0 ? 2
                   : lead >= 0xe0 && lead < 0xf0 ? 3
                   : lead >= 0xf0 && lead < 0xf5 ? 4
                                                 : 0;
    if (bytes == 0 || bytes > left)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    return bytes;
}

static uint32_t pack(const char *text, size_t bytes, bool folds)
{
    uint32_t packed = 0;
    for (size_t i = 0; i < bytes; i++)
        packed |= (uint32_t)(unsigned char)text[i] << (8 * i);
    return folds && bytes == 1 && packed >= 'a' && packed <= 'z' ? packed - 'a' + 'A' : packed;
}

static int compare(const void *a, const void *b)
{
    uint32_t one = ((const Character *)a)->bytes, other = ((const Character *)b)->bytes;
    return one < other ? -1 : one > other;
}

static TsStatus create_table(TsTokenizer *tokenizer, const char *alphabet, bool folds)
{
    size_t left = strlen(alphabet);
    Table *table = ts_calloc(1, sizeof *table);
    *table = (Table){.sorted = ts_calloc(left + 1, sizeof(Character)),
                     .characters = ts_calloc(left + 1, sizeof(uint32_t)),
                     .folds = folds};
    tokenizer->own = table;
    while (left > 0) {
        size_t bytes = character_bytes(alphabet, left);
        if (bytes == 0)
            return ts_status_error(TS_CODE_INVALID, "the alphabet is not valid UTF-8 after %lld characters",
                                   (long long)table->count);
        uint32_t packed = pack(alphabet, bytes, folds);
        table->characters[table->count] = packed;
        table->sorted[table->count] = (Character){packed, (int32_t)table->count};
        table->count++;
        alphabet += bytes;
        left -= bytes;
    }
    if (table->count == 0)
        return ts_status_error(TS_CODE_INVALID, "the alphabet is empty");
    qsort(table->sorted, (size_t)table->count, sizeof *table->sorted, compare);
    for (int64_t i = 1; i < table->count; i++)
        if (table->sorted[i].bytes == table->sorted[i - 1].bytes)
            return ts_status_error(TS_CODE_INVALID, "the alphabet has \"%.4s\" twice",
                                   (const char *)&(char[5]){
                                       (char)table->sorted[i].bytes, (char)(table->sorted[i].bytes >> 8),
                                       (char)(table->sorted[i].bytes >> 16), (char)(table->sorted[i].bytes >> 24), 0});
    tokenizer->vocab = table->count;
    ts_tokenizer_add_specials(tokenizer);
    return TS_OK;
}

static TsStatus create_characters(TsTokenizer *tokenizer, const void *value)
{
    const CharactersConfig *config = value;
    if (config && config->alphabet)
        return create_table(tokenizer, config->alphabet, false);
    char ascii[128] = "\n\t";
    for (char c = ' '; c <= '~'; c++)
        ascii[2 + c - ' '] = c;
    return create_table(tokenizer, ascii, false);
}

/* The twenty, then ambiguous and rare ones, gaps and stops. */
static TsStatus create_residues(TsTokenizer *tokenizer, const void *value)
{
    (void)value;
    return create_table(tokenizer, "ACDEFGHIKLMNPQRSTVWYXBZJUO.-*", true);
}

static TsStatus create_nucleotides(TsTokenizer *tokenizer, const void *value)
{
    (void)value;
    return create_table(tokenizer, "ACGTUN", true);
}

static void release(void *own)
{
    Table *table = own;
    ts_free(table->sorted);
    ts_free(table->characters);
    ts_free(table);
}

static int64_t encode(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                      size_t text_bytes)
{
    const Table *table = tokenizer->own;
    int64_t count = 0;
    for (size_t at = 0; at < text_bytes; count++) {
        size_t bytes = character_bytes(text + at, text_bytes - at);
        Character wanted = {.bytes = bytes ? pack(text + at, bytes, table->folds) : UINT32_MAX};
        const Character *found = bsearch(&wanted, table->sorted, (size_t)table->count, sizeof wanted, compare);
        if (count < capacity_tokens)
            tokens[count] = found ? found->token : tokenizer->special[TS_SPECIAL_UNKNOWN];
        at += bytes ? bytes : 1;
    }
    return count;
}

static void decode(const TsTokenizer *tokenizer, TsText *text, int32_t token, bool first)
{
    (void)first;
    uint32_t packed = ((const Table *)tokenizer->own)->characters[token];
    do {
        ts_text_append_bytes(text, &(char){(char)packed}, 1);
        packed >>= 8;
    } while (packed);
}

const TsTokenizerKind ts_tokenizer_characters = {create_characters, release, encode, decode};
const TsTokenizerKind ts_tokenizer_residues = {create_residues, release, encode, decode};
const TsTokenizerKind ts_tokenizer_nucleotides = {create_nucleotides, release, encode, decode};
