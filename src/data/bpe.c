/* SPDX-License-Identifier: Apache-2.0 */
#include "data/bpe.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/unicode.h"

typedef struct Merge {
    int32_t left, right; /* left -1: an empty place */
    int32_t rank;        /* its place in the list */
    int32_t token;       /* what they become */
} Merge;

struct TsBpe {
    const TsVocabulary *vocabulary;
    TsBpeOptions options;
    Merge *merge; /* (places), a power of two, at most half full */
    uint64_t places;
    int32_t merges;
    int32_t byte_token[256]; /* of <0x00> to <0xFF>, or of the bytes themselves; -1: none */
    bool falls_back;         /* all of <0x00> to <0xFF> are there and wanted */
};

/* ---- merges ---- */

static Merge *place_of(const TsBpe *bpe, int32_t left, int32_t right)
{
    uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    for (uint64_t at = hash >> 32 & (bpe->places - 1);; at = (at + 1) & (bpe->places - 1)) {
        Merge *merge = &bpe->merge[at];
        if (merge->left < 0 || (merge->left == left && merge->right == right))
            return merge;
    }
}

static void make_places(TsBpe *bpe, uint64_t places)
{
    Merge *old = bpe->merge;
    uint64_t count = bpe->places;
    bpe->merge = ts_alloc(places * sizeof *bpe->merge);
    bpe->places = places;
    for (uint64_t i = 0; i < places; i++)
        bpe->merge[i].left = -1;
    for (uint64_t i = 0; i < count; i++)
        if (old[i].left >= 0)
            *place_of(bpe, old[i].left, old[i].right) = old[i];
    ts_free(old);
}

TsBpe *ts_bpe_create(const TsVocabulary *vocabulary, TsBpeOptions options)
{
    enum { FIRST_PLACES = 1024 };
    TsBpe *bpe = ts_calloc(1, sizeof *bpe);
    bpe->vocabulary = vocabulary;
    bpe->options = options;
    bpe->falls_back = options.byte_fallback;
    for (int byte = 0; byte < 256; byte++) {
        char name[8] = {(char)byte};
        int bytes = options.of_bytes ? 1 : snprintf(name, sizeof name, "<0x%02X>", byte);
        bpe->byte_token[byte] = ts_vocabulary_find(vocabulary, name, (size_t)bytes);
        bpe->falls_back &= bpe->byte_token[byte] >= 0;
    }
    make_places(bpe, FIRST_PLACES);
    return bpe;
}

void ts_bpe_free(TsBpe **bpe)
{
    if (!*bpe)
        return;
    ts_free((*bpe)->merge);
    ts_free(*bpe);
    *bpe = NULL;
}

int64_t ts_bpe_merges(const TsBpe *bpe)
{
    return bpe->merges;
}

static TsStatus unknown_token(const char *bytes, size_t size_bytes)
{
    TsText shown = {0};
    char *copy = ts_alloc(size_bytes + 1);
    memcpy(copy, bytes, size_bytes);
    copy[size_bytes] = '\0';
    ts_text_append_shown(&shown, copy);
    TsStatus status = ts_status_error(TS_CODE_INVALID, "a merge with %s, which is not in the vocabulary", shown.data);
    ts_text_free(&shown);
    ts_free(copy);
    return status;
}

TsStatus ts_bpe_add_merge(TsBpe *bpe, const char *left, size_t left_bytes, const char *right, size_t right_bytes)
{
    int32_t left_token = ts_vocabulary_find(bpe->vocabulary, left, left_bytes);
    int32_t right_token = ts_vocabulary_find(bpe->vocabulary, right, right_bytes);
    if (left_token < 0 || right_token < 0)
        return left_token < 0 ? unknown_token(left, left_bytes) : unknown_token(right, right_bytes);
    size_t skip = bpe->options.prefix ? strlen(bpe->options.prefix) : 0;
    if (skip > right_bytes || (skip && memcmp(right, bpe->options.prefix, skip) != 0))
        skip = 0;
    TsText both = {0};
    ts_text_append_bytes(&both, left, left_bytes);
    ts_text_append_bytes(&both, right + skip, right_bytes - skip);
    int32_t token = ts_vocabulary_find(bpe->vocabulary, both.data, both.size_bytes);
    TsStatus status = token < 0 ? unknown_token(both.data, both.size_bytes) : TS_OK;
    ts_text_free(&both);
    if (status)
        return status;
    Merge *merge = place_of(bpe, left_token, right_token);
    int32_t rank = bpe->merges++; /* also where it is there: ranks are places in the list */
    if (merge->left < 0)
        *merge = (Merge){left_token, right_token, rank, token};
    if (2 * (uint64_t)bpe->merges > bpe->places)
        make_places(bpe, 4 * bpe->places);
    return TS_OK;
}

/* ---- a word ---- */

typedef struct Symbol {
    int32_t token;
    int32_t before, after; /* neighbours; -1: none */
    bool gone;             /* it was merged into the one before it */
} Symbol;

typedef struct Candidate {
    int32_t rank, at, left, right; /* the pair (left, right) begins at symbol `at` */
    int32_t token;
} Candidate;

typedef struct Word {
    Symbol *symbol;
    int32_t symbols;
    Candidate *heap; /* the smallest (rank, at) on top */
    int32_t candidates;
} Word;

static void add_symbol(Word *word, int32_t token)
{
    int32_t at = word->symbols++;
    word->symbol[at] = (Symbol){.token = token, .before = at - 1, .after = -1};
    if (at > 0)
        word->symbol[at - 1].after = at;
}

static bool comes_first(Candidate a, Candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(Word *word, Candidate candidate)
{
    int32_t at = word->candidates++;
    for (; at > 0 && comes_first(candidate, word->heap[(at - 1) / 2]); at = (at - 1) / 2)
        word->heap[at] = word->heap[(at - 1) / 2];
    word->heap[at] = candidate;
}

static Candidate pop(Word *word)
{
    Candidate top = word->heap[0], last = word->heap[--word->candidates];
    int32_t at = 0;
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child >= word->candidates)
            break;
        if (child + 1 < word->candidates && comes_first(word->heap[child + 1], word->heap[child]))
            child++;
        if (!comes_first(word->heap[child], last))
            break;
        word->heap[at] = word->heap[child];
        at = child;
    }
    word->heap[at] = last;
    return top;
}

/* Notes the pair that begins at symbol `at`, if it can be merged. */
static void consider(const TsBpe *bpe, Word *word, int32_t at)
{
    if (at < 0 || word->symbol[at].after < 0)
        return;
    int32_t left = word->symbol[at].token, right = word->symbol[word->symbol[at].after].token;
    const Merge *merge = place_of(bpe, left, right);
    if (merge->left >= 0)
        push(word, (Candidate){merge->rank, at, left, right, merge->token});
}

static void merge_all(const TsBpe *bpe, Word *word)
{
    for (int32_t at = 0; at < word->symbols; at++)
        consider(bpe, word, at);
    while (word->candidates > 0) {
        Candidate best = pop(word);
        Symbol *symbol = &word->symbol[best.at];
        if (symbol->gone || symbol->token != best.left || symbol->after < 0 ||
            word->symbol[symbol->after].token != best.right)
            continue; /* one of the two was merged with another */
        Symbol *taken = &word->symbol[symbol->after];
        taken->gone = true;
        symbol->token = best.token;
        symbol->after = taken->after;
        if (symbol->after >= 0)
            word->symbol[symbol->after].before = best.at;
        consider(bpe, word, symbol->before);
        consider(bpe, word, best.at);
    }
}

/* The token of a character at its place in the word, or -1. */
static int32_t find_character(const TsBpe *bpe, const char *bytes, size_t size_bytes, bool first, bool last)
{
    const char *prefix = !first && bpe->options.prefix ? bpe->options.prefix : "";
    const char *suffix = last && bpe->options.suffix ? bpe->options.suffix : "";
    if (!*prefix && !*suffix)
        return ts_vocabulary_find(bpe->vocabulary, bytes, size_bytes);
    TsText name = {0};
    ts_text_append(&name, "%s", prefix);
    ts_text_append_bytes(&name, bytes, size_bytes);
    ts_text_append(&name, "%s", suffix);
    int32_t token = ts_vocabulary_find(bpe->vocabulary, name.data, name.size_bytes);
    ts_text_free(&name);
    return token;
}

static void split_characters(const TsBpe *bpe, Word *word, const char *text, size_t text_bytes)
{
    bool after_unknown = false;
    for (size_t at = 0, bytes; at < text_bytes; at += bytes) {
        int32_t character;
        bytes = ts_unicode_next(&character, text + at, text_bytes - at);
        int32_t token = find_character(bpe, text + at, bytes, at == 0, at + bytes == text_bytes);
        bool unknown = token < 0 && !bpe->falls_back;
        if (token >= 0) {
            add_symbol(word, token);
        } else if (bpe->falls_back) {
            for (size_t i = 0; i < bytes; i++)
                add_symbol(word, bpe->byte_token[(unsigned char)text[at + i]]);
        } else if (bpe->options.unknown >= 0 && !(after_unknown && bpe->options.fuse_unknown)) {
            add_symbol(word, bpe->options.unknown);
        }
        after_unknown = unknown;
    }
}

static void split_bytes(const TsBpe *bpe, Word *word, const char *text, size_t text_bytes)
{
    for (size_t i = 0; i < text_bytes; i++) {
        int32_t token = bpe->byte_token[(unsigned char)text[i]];
        if (token >= 0 || bpe->options.unknown >= 0)
            add_symbol(word, token >= 0 ? token : bpe->options.unknown);
    }
}

void ts_bpe_encode(const TsBpe *bpe, const char *text, size_t text_bytes, TsTokenSink *sink, void *context)
{
    enum { SHORT_BYTES = 128 };
    TS_CHECK(text_bytes < (size_t)INT32_MAX / 4, "a word of %zu bytes", text_bytes);
    if (bpe->options.ignore_merges) {
        int32_t whole = ts_vocabulary_find(bpe->vocabulary, text, text_bytes);
        if (whole >= 0) {
            sink(context, whole);
            return;
        }
    }
    /* A symbol has a byte at least. Each merge uses up a candidate, takes away a symbol and adds two candidates. */
    Symbol symbols[SHORT_BYTES];
    Candidate candidates[3 * SHORT_BYTES];
    bool is_short = text_bytes <= SHORT_BYTES;
    Word word = {.symbol = is_short ? symbols : ts_alloc(text_bytes * sizeof(Symbol)),
                 .heap = is_short ? candidates : ts_alloc(3 * text_bytes * sizeof(Candidate))};
    if (bpe->options.of_bytes)
        split_bytes(bpe, &word, text, text_bytes);
    else
        split_characters(bpe, &word, text, text_bytes);
    merge_all(bpe, &word);
    for (int32_t at = word.symbols ? 0 : -1; at >= 0; at = word.symbol[at].after)
        sink(context, word.symbol[at].token);
    if (!is_short) {
        ts_free(word.symbol);
        ts_free(word.heap);
    }
}
