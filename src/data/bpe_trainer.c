/* SPDX-License-Identifier: Apache-2.0 */
#include "data/bpe_trainer.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/byte_level.h"
#include "data/unicode.h"

/* A word as tokens; merges make it shorter. */
typedef struct Word {
    int32_t *token; /* (count), in the trainer's `tokens` */
    int64_t count, times;
} Word;

/* Numbers of words, in ascending order, each once. */
typedef struct Places {
    int64_t *word; /* (count), owned */
    int64_t count, capacity;
} Places;

/* Two neighbours: how often they stood there, and where new ones came up in the merge that is under way. */
typedef struct Pair {
    uint64_t key; /* left << 32 | right */
    int64_t count;
    Places fresh;
} Pair;

/* What may be merged next, with the words in which it may stand. The count can be out of date: then it is more. */
typedef struct Candidate {
    int64_t pair, count;
    uint64_t key;
    Places places;
} Candidate;

typedef struct Trainer {
    TsBpeTrained *trained;
    int32_t *tokens; /* of all words */
    Word *word;      /* (words) */
    int64_t words;
    Pair *pair; /* (pairs) */
    int64_t pairs, pair_capacity;
    int64_t *bucket; /* (buckets) of pairs by key, a power of two, at most half full; -1: empty */
    uint64_t buckets;
    Candidate *heap; /* (heaped) the best first */
    int64_t heaped, heap_capacity;
    int64_t *touched; /* (touches) pairs with fresh places */
    int64_t touches, touch_capacity, merge_capacity;
} Trainer;

enum { FIRST_BUCKETS = 1 << 12 };

/* Room for one more of `size_bytes`. */
static void *grow(void *items, int64_t count, int64_t *capacity, size_t size_bytes)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? 2 * *capacity : 16;
    return ts_realloc(items, (size_t)*capacity * size_bytes);
}

/* ---- pairs ---- */

static uint64_t key_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static int64_t *place_of(const Trainer *trainer, uint64_t key)
{
    uint64_t hash = (key ^ key >> 29) * 0x9e3779b97f4a7c15u;
    for (uint64_t at = hash >> 20 & (trainer->buckets - 1);; at = (at + 1) & (trainer->buckets - 1))
        if (trainer->bucket[at] < 0 || trainer->pair[trainer->bucket[at]].key == key)
            return &trainer->bucket[at];
}

static void make_buckets(Trainer *trainer, uint64_t buckets)
{
    ts_free(trainer->bucket);
    trainer->bucket = ts_alloc(buckets * sizeof *trainer->bucket);
    trainer->buckets = buckets;
    memset(trainer->bucket, -1, buckets * sizeof *trainer->bucket);
    for (int64_t i = 0; i < trainer->pairs; i++)
        *place_of(trainer, trainer->pair[i].key) = i;
}

static int64_t find_pair(Trainer *trainer, int32_t left, int32_t right)
{
    uint64_t key = key_of(left, right);
    int64_t *place = place_of(trainer, key), found = *place;
    if (found >= 0)
        return found;
    trainer->pair = grow(trainer->pair, trainer->pairs, &trainer->pair_capacity, sizeof *trainer->pair);
    trainer->pair[trainer->pairs] = (Pair){.key = key};
    found = *place = trainer->pairs++;
    if (2 * (uint64_t)trainer->pairs > trainer->buckets)
        make_buckets(trainer, 2 * trainer->buckets);
    return found;
}

/* The pair stands `change` times more in a word; where that is more than 0, the word is noted. */
static void count_pair(Trainer *trainer, int32_t left, int32_t right, int64_t change, int64_t word)
{
    int64_t index = find_pair(trainer, left, right);
    Pair *pair = &trainer->pair[index];
    Places *fresh = &pair->fresh;
    pair->count += change;
    if (change <= 0 || (fresh->count && fresh->word[fresh->count - 1] == word))
        return;
    if (fresh->count == 0) {
        trainer->touched = grow(trainer->touched, trainer->touches, &trainer->touch_capacity, sizeof *trainer->touched);
        trainer->touched[trainer->touches++] = index;
    }
    fresh->word = grow(fresh->word, fresh->count, &fresh->capacity, sizeof *fresh->word);
    fresh->word[fresh->count++] = word;
}

/* ---- candidates ---- */

static bool is_better(const Candidate *one, const Candidate *other)
{
    return one->count != other->count ? one->count > other->count : one->key < other->key;
}

static void push(Trainer *trainer, Candidate candidate)
{
    trainer->heap = grow(trainer->heap, trainer->heaped, &trainer->heap_capacity, sizeof *trainer->heap);
    int64_t at = trainer->heaped++;
    for (; at > 0 && is_better(&candidate, &trainer->heap[(at - 1) / 2]); at = (at - 1) / 2)
        trainer->heap[at] = trainer->heap[(at - 1) / 2];
    trainer->heap[at] = candidate;
}

static Candidate pop(Trainer *trainer)
{
    Candidate best = trainer->heap[0], last = trainer->heap[--trainer->heaped];
    int64_t at = 0;
    for (int64_t next = 1; next < trainer->heaped; next = 2 * at + 1) {
        if (next + 1 < trainer->heaped && is_better(&trainer->heap[next + 1], &trainer->heap[next]))
            next++;
        if (!is_better(&trainer->heap[next], &last))
            break;
        trainer->heap[at] = trainer->heap[next];
        at = next;
    }
    trainer->heap[at] = last;
    return best;
}

/* Pairs that came up become candidates. */
static void push_touched(Trainer *trainer)
{
    for (int64_t i = 0; i < trainer->touches; i++) {
        Pair *pair = &trainer->pair[trainer->touched[i]];
        if (pair->count > 0)
            push(trainer,
                 (Candidate){
                     .pair = trainer->touched[i], .count = pair->count, .key = pair->key, .places = pair->fresh});
        else
            ts_free(pair->fresh.word);
        pair->fresh = (Places){0};
    }
    trainer->touches = 0;
}

/* ---- merging ---- */

/* Every `left`, `right` of the word becomes `made`, from the left on; counts of their neighbours change. */
static void merge_in(Trainer *trainer, int64_t number, int32_t left, int32_t right, int32_t made)
{
    Word *word = &trainer->word[number];
    int32_t *token = word->token;
    int64_t kept = 0;
    for (int64_t i = 0; i < word->count; kept++) {
        if (token[i] != left || i + 1 >= word->count || token[i + 1] != right) {
            token[kept] = token[i++];
            continue;
        }
        if (kept > 0) {
            count_pair(trainer, token[kept - 1], left, -word->times, number);
            count_pair(trainer, token[kept - 1], made, word->times, number);
        }
        if (i + 2 < word->count) {
            count_pair(trainer, right, token[i + 2], -word->times, number);
            count_pair(trainer, made, token[i + 2], word->times, number);
        }
        token[kept] = made;
        i += 2;
    }
    word->count = kept;
}

/* The token that two make: a new one, or one of that name that is there. */
static int32_t make_token(TsVocabulary *vocabulary, int32_t left, int32_t right)
{
    TsText name = {0};
    const int32_t parts[] = {left, right};
    for (int i = 0; i < 2; i++) {
        size_t bytes;
        const char *part = ts_vocabulary_bytes(vocabulary, parts[i], &bytes);
        ts_text_append_bytes(&name, part, bytes);
    }
    int32_t made = ts_vocabulary_find(vocabulary, name.data, name.size_bytes);
    if (made < 0) {
        made = (int32_t)ts_vocabulary_size(vocabulary);
        (void)ts_vocabulary_add(vocabulary, name.data, name.size_bytes, made);
    }
    ts_text_free(&name);
    return made;
}

/* Whether the pair of this candidate was merged before: with places that came up later it can come again. */
static bool was_merged(const TsBpeTrained *trained, int32_t left, int32_t right)
{
    for (int64_t i = 0; i < trained->merges; i++)
        if (trained->merge[i][0] == left && trained->merge[i][1] == right)
            return true;
    return false;
}

static void learn(Trainer *trainer, TsBpeTraining options)
{
    TsBpeTrained *trained = trainer->trained;
    while (ts_vocabulary_size(trained->vocabulary) < options.vocab && trainer->heaped) {
        Candidate best = pop(trainer);
        int64_t now = trainer->pair[best.pair].count;
        int32_t left = (int32_t)(best.key >> 32), right = (int32_t)(best.key & UINT32_MAX);
        if (best.count != now) {
            best.count = now;
            push(trainer, best);
            continue;
        }
        if (best.count < 1 || best.count < options.min_count) {
            ts_free(best.places.word);
            break;
        }
        int64_t before = ts_vocabulary_size(trained->vocabulary);
        int32_t made = make_token(trained->vocabulary, left, right);
        if (made >= before || !was_merged(trained, left, right)) {
            trained->merge = grow(trained->merge, trained->merges, &trainer->merge_capacity, sizeof *trained->merge);
            memcpy(trained->merge[trained->merges++], (int32_t[]){left, right}, sizeof *trained->merge);
        }
        for (int64_t i = 0; i < best.places.count; i++)
            merge_in(trainer, best.places.word[i], left, right, made);
        ts_free(best.places.word);
        push_touched(trainer);
    }
}

/* ---- the beginning ---- */

static int by_number(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

/* Special tokens, then bytes; of[byte] is the token of each. */
static TsStatus begin(TsVocabulary *vocabulary, int32_t *of, TsBpeTraining options)
{
    if (options.vocab < options.specials + 256)
        return ts_status_error(TS_CODE_INVALID,
                               "a vocabulary of %lld tokens has no room for 256 bytes and %lld special tokens",
                               (long long)options.vocab, (long long)options.specials);
    for (int64_t i = 0; i < options.specials; i++)
        if (!*options.special[i] ||
            !ts_vocabulary_add(vocabulary, options.special[i], strlen(options.special[i]), (int32_t)i))
            return ts_status_error(TS_CODE_INVALID, "special token \"%s\": is empty, or there twice",
                                   options.special[i]);
    int character[256];
    for (int byte = 0; byte < 256; byte++)
        character[byte] = ts_byte_level_character((unsigned char)byte);
    qsort(character, 256, sizeof *character, by_number);
    for (int i = 0; i < 256; i++) {
        TsText name = {0};
        ts_unicode_append(&name, character[i]);
        int32_t token = (int32_t)(options.specials + i);
        bool added = ts_vocabulary_add(vocabulary, name.data, name.size_bytes, token);
        TsStatus status =
            added ? TS_OK
                  : ts_status_error(TS_CODE_INVALID, "special token \"%s\": is how a byte is written", name.data);
        for (int byte = 0; byte < 256; byte++)
            if (ts_byte_level_character((unsigned char)byte) == character[i])
                of[byte] = token;
        ts_text_free(&name);
        TS_TRY(status);
    }
    return TS_OK;
}

static void cut_words(Trainer *trainer, const TsWordCounts *words, const int32_t *of)
{
    int64_t all = 0, times;
    size_t bytes;
    trainer->words = ts_word_counts_size(words);
    trainer->word = ts_calloc((size_t)trainer->words + 1, sizeof *trainer->word);
    for (int64_t i = 0; i < trainer->words; i++) {
        (void)ts_word_counts_at(words, i, &bytes, &times);
        all += (int64_t)bytes;
    }
    int32_t *token = trainer->tokens = ts_alloc((size_t)all * sizeof *trainer->tokens + 1);
    for (int64_t i = 0; i < trainer->words; i++) {
        const char *text = ts_word_counts_at(words, i, &bytes, &times);
        trainer->word[i] = (Word){.token = token, .count = (int64_t)bytes, .times = times};
        for (size_t k = 0; k < bytes; k++)
            *token++ = of[(unsigned char)text[k]];
        for (size_t k = 1; k < bytes; k++)
            count_pair(trainer, token[(int64_t)k - 1 - (int64_t)bytes], token[(int64_t)k - (int64_t)bytes], times, i);
    }
    push_touched(trainer);
}

TsStatus ts_bpe_train(TsBpeTrained **trained, const TsWordCounts *words, TsBpeTraining options)
{
    TsBpeTrained *made = ts_calloc(1, sizeof *made);
    *made = (TsBpeTrained){.vocabulary = ts_vocabulary_create(), .specials = options.specials};
    Trainer trainer = {.trained = made};
    int32_t of[256] = {0};
    make_buckets(&trainer, FIRST_BUCKETS);
    TsStatus status = begin(made->vocabulary, of, options);
    if (!status) {
        cut_words(&trainer, words, of);
        learn(&trainer, options);
    }
    while (trainer.heaped)
        ts_free(trainer.heap[--trainer.heaped].places.word);
    ts_free(trainer.heap);
    ts_free(trainer.pair);
    ts_free(trainer.bucket);
    ts_free(trainer.touched);
    ts_free(trainer.word);
    ts_free(trainer.tokens);
    if (status)
        ts_bpe_trained_free(&made);
    *trained = made;
    return status;
}

void ts_bpe_trained_free(TsBpeTrained **trained)
{
    if (!*trained)
        return;
    ts_vocabulary_free(&(*trained)->vocabulary);
    ts_free((*trained)->merge);
    ts_free(*trained);
    *trained = NULL;
}
