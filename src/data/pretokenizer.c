/* SPDX-License-Identifier: Apache-2.0 */
#include "data/pretokenizer.h"

#include <jansson.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "data/json_keys.h"
#include "data/needle.h"
#include "data/unicode.h"

/* What becomes of the parts of a text that match, and of those that do not. */
typedef enum Behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS, BEHAVIORS } Behavior;

static const char *const behavior_names[BEHAVIORS] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                                      "Contiguous"};

typedef enum Prepend { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS } Prepend;

typedef struct Step {
    TsNeedle needle;                    /* what matches, owned; or */
    bool (*matches)(int32_t character); /* each of these; or, neither there, nothing is cut */
    Behavior behavior;
    bool invert;       /* what does not match matches */
    char *replacement; /* Metaspace's, for blanks; owned; NULL: none */
    Prepend prepend;   /* the replacement, or a blank, in front of what does not begin with it */
} Step;

enum { MOST_STEPS = 16 };

struct TsPretokenizer {
    Step step[MOST_STEPS];
    int steps;
    bool of_bytes;
};

/* ---- words ---- */

void ts_words_add(TsWords *words, const char *bytes, size_t size_bytes)
{
    if (size_bytes == 0)
        return;
    if (words->count == words->capacity) {
        words->capacity = words->capacity ? 2 * words->capacity : 64;
        words->end = ts_realloc(words->end, (size_t)words->capacity * sizeof *words->end);
    }
    ts_text_append_bytes(&words->text, bytes, size_bytes);
    words->end[words->count++] = words->text.size_bytes;
}

const char *ts_words_at(const TsWords *words, int64_t index, size_t *size_bytes)
{
    TS_CHECK(index >= 0 && index < words->count, "word %lld of %lld", (long long)index, (long long)words->count);
    size_t first = index ? words->end[index - 1] : 0;
    *size_bytes = words->end[index] - first;
    return words->text.data + first;
}

void ts_words_clear(TsWords *words)
{
    ts_text_cut(&words->text, 0);
    words->count = 0;
}

void ts_words_free(TsWords *words)
{
    ts_text_free(&words->text);
    ts_free(words->end);
    *words = (TsWords){0};
}

/* ---- cutting ---- */

/* Takes the parts of a text in order, and adds pieces as the behavior says. */
typedef struct Cutter {
    TsWords *out;
    const char *text;
    Behavior behavior;
    bool invert;
    size_t first, end; /* what waits to be added */
    bool waits;        /* there is something, and */
    bool matched;      /* whether the part added last to it matched */
} Cutter;

static void flush(Cutter *cutter)
{
    if (cutter->waits)
        ts_words_add(cutter->out, cutter->text + cutter->first, cutter->end - cutter->first);
    cutter->waits = false;
}

static bool joins(const Cutter *cutter, bool match)
{
    switch (cutter->behavior) {
    case MERGED_WITH_PREVIOUS:
        return match && !cutter->matched;
    case MERGED_WITH_NEXT:
        return !match && cutter->matched;
    case CONTIGUOUS:
        return match == cutter->matched;
    default:
        return false;
    }
}

static void take_part(Cutter *cutter, size_t first, size_t end, bool match)
{
    match ^= cutter->invert;
    if (first == end)
        return;
    if (cutter->waits && joins(cutter, match)) {
        cutter->end = end;
    } else {
        flush(cutter);
        cutter->first = first;
        cutter->end = end;
        cutter->waits = !(match && cutter->behavior == REMOVED);
    }
    cutter->matched = match;
}

static void cut_by_character(const Step *step, Cutter *cutter, size_t text_bytes)
{
    size_t gap = 0; /* where what does not match begins */
    for (size_t at = 0, bytes; at < text_bytes; at += bytes) {
        int32_t character;
        bytes = ts_unicode_next(&character, cutter->text + at, text_bytes - at);
        if (!step->matches(character))
            continue;
        take_part(cutter, gap, at, false);
        take_part(cutter, at, at + bytes, true);
        gap = at + bytes;
    }
    take_part(cutter, gap, text_bytes, false);
}

static void cut_by_search(const Step *step, Cutter *cutter, size_t text_bytes)
{
    size_t gap = 0, from = 0, first, end;
    while (from < text_bytes && ts_needle_find(&step->needle, &first, &end, cutter->text, text_bytes, from)) {
        take_part(cutter, gap, first, false);
        take_part(cutter, first, end, true);
        gap = end;
        int32_t character;
        from = end > first || end >= text_bytes
                   ? end
                   : end + ts_unicode_next(&character, cutter->text + end, text_bytes - end);
        if (end >= text_bytes)
            break;
    }
    take_part(cutter, gap, text_bytes, false);
}

static void cut_piece(const Step *step, TsWords *out, const char *text, size_t text_bytes)
{
    Cutter cutter = {.out = out, .text = text, .behavior = step->behavior, .invert = step->invert};
    if (step->matches)
        cut_by_character(step, &cutter, text_bytes);
    else if (ts_needle_is_there(&step->needle))
        cut_by_search(step, &cutter, text_bytes);
    else
        take_part(&cutter, 0, text_bytes, false);
    flush(&cutter);
}

/* Puts blanks right and something in front, into `text`. */
static void change_piece(const Step *step, TsText *text, const char *bytes, size_t size_bytes, bool begins)
{
    const char *front = step->replacement ? step->replacement : " ";
    ts_text_cut(text, 0);
    for (size_t i = 0; i < size_bytes; i++)
        if (bytes[i] == ' ' && step->replacement)
            ts_text_append(text, "%s", step->replacement);
        else
            ts_text_append_bytes(text, bytes + i, 1);
    size_t front_bytes = strlen(front);
    bool there = text->size_bytes >= front_bytes && memcmp(text->data, front, front_bytes) == 0;
    if (there || step->prepend == PREPEND_NEVER || (step->prepend == PREPEND_FIRST && !begins))
        return;
    TsText whole = {0};
    ts_text_append(&whole, "%s", front);
    ts_text_append_bytes(&whole, text->data, text->size_bytes);
    ts_text_free(text);
    *text = whole;
}

void ts_pretokenizer_cut(const TsPretokenizer *pretokenizer, TsWords *words, const char *text, size_t text_bytes,
                         bool begins)
{
    TsWords now = {0}, next = {0};
    TsText changed = {0};
    ts_words_add(&now, text, text_bytes);
    for (int s = 0; s < pretokenizer->steps; s++) {
        const Step *step = &pretokenizer->step[s];
        ts_words_clear(&next);
        for (int64_t i = 0; i < now.count; i++) {
            size_t bytes;
            const char *piece = ts_words_at(&now, i, &bytes);
            if (step->replacement || step->prepend != PREPEND_NEVER) {
                change_piece(step, &changed, piece, bytes, begins && i == 0);
                piece = changed.data;
                bytes = changed.size_bytes;
            }
            cut_piece(step, &next, piece, bytes);
        }
        TsWords swap = now;
        now = next;
        next = swap;
    }
    for (int64_t i = 0; i < now.count; i++) {
        size_t bytes;
        const char *piece = ts_words_at(&now, i, &bytes);
        ts_words_add(words, piece, bytes);
    }
    ts_words_free(&now);
    ts_words_free(&next);
    ts_text_free(&changed);
}

/* ---- from JSON ---- */

/* What Unicode Technical Standard 18 counts as part of a word: alphabetic, marks, digits, connectors, joiners. */
#define LETTERS                                                                                                        \
    "\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}" \
    "\\x{1f170}-\\x{1f189}"

static bool is_punctuation(int32_t character)
{
    bool ascii = (character >= '!' && character <= '/') || (character >= ':' && character <= '@') ||
                 (character >= '[' && character <= '`') || (character >= '{' && character <= '~');
    return ascii || ts_unicode_is_punctuation(character);
}

static TsStatus add_step(TsPretokenizer *pretokenizer, Step **step)
{
    if (pretokenizer->steps == MOST_STEPS)
        return ts_status_error(TS_CODE_UNSUPPORTED, "more than %d pre_tokenizers", (int)MOST_STEPS);
    *step = &pretokenizer->step[pretokenizer->steps++];
    return TS_OK;
}

static TsStatus read_behavior(Behavior *behavior, const json_t *json, const char *type)
{
    const char *name = ts_json_word(json, "behavior");
    *behavior = ISOLATED;
    for (int i = 0; name && i < BEHAVIORS; i++)
        if (strcmp(name, behavior_names[i]) == 0) {
            *behavior = (Behavior)i;
            return TS_OK;
        }
    return name ? ts_status_error(TS_CODE_UNSUPPORTED, "pre_tokenizer %s: behavior %s is not known", type, name)
                : TS_OK;
}

static TsStatus read_split(Step *step, const json_t *json)
{
    step->invert = ts_json_flag(json, "invert", false);
    TS_TRY(read_behavior(&step->behavior, json, "Split"));
    return ts_needle_read(&step->needle, json, "pre_tokenizer Split");
}

/* Cuts as GPT-2 does. */
static TsStatus read_byte_level(TsPretokenizer *pretokenizer, Step *step, const json_t *json)
{
    static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    pretokenizer->of_bytes = true;
    step->prepend = ts_json_flag(json, "add_prefix_space", true) ? PREPEND_ALWAYS : PREPEND_NEVER;
    step->behavior = ISOLATED;
    return ts_json_flag(json, "use_regex", true) ? ts_pattern_create(&step->needle.pattern, gpt2) : TS_OK;
}

static TsStatus read_metaspace(Step *step, const json_t *json)
{
    const char *replacement = ts_json_word(json, "replacement"), *scheme = ts_json_word(json, "prepend_scheme");
    step->replacement = ts_strdup(replacement ? replacement : "\xe2\x96\x81"); /* U+2581 */
    step->behavior = MERGED_WITH_NEXT;
    if (ts_json_flag(json, "split", true))
        step->needle.literal = ts_strdup(step->replacement);
    if (!scheme)
        step->prepend = ts_json_flag(json, "add_prefix_space", true) ? PREPEND_ALWAYS : PREPEND_NEVER;
    else if (strcmp(scheme, "always") == 0 || strcmp(scheme, "first") == 0)
        step->prepend = *scheme == 'a' ? PREPEND_ALWAYS : PREPEND_FIRST;
    else if (strcmp(scheme, "never") != 0)
        return ts_status_error(TS_CODE_UNSUPPORTED, "pre_tokenizer Metaspace: prepend_scheme %s is not known", scheme);
    return TS_OK;
}

static TsStatus read_steps(TsPretokenizer *pretokenizer, const json_t *json)
{
    const char *type = ts_json_word(json, "type");
    if (!type)
        return ts_status_error(TS_CODE_INVALID, "a pre_tokenizer without a type");
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(json, "pretokenizers");
        for (size_t i = 0; i < json_array_size(list); i++)
            TS_TRY(read_steps(pretokenizer, json_array_get(list, i)));
        return TS_OK;
    }
    Step *step = NULL;
    TS_TRY(add_step(pretokenizer, &step));
    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(pretokenizer, step, json);
    if (strcmp(type, "Split") == 0)
        return read_split(step, json);
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace(step, json);
    if (strcmp(type, "Whitespace") == 0) {
        *step = (Step){.behavior = REMOVED, .invert = true};
        return ts_pattern_create(&step->needle.pattern, "[" LETTERS "]+|[^\\s" LETTERS "]+");
    }
    if (strcmp(type, "WhitespaceSplit") == 0) {
        *step = (Step){.matches = ts_unicode_is_space, .behavior = REMOVED};
    } else if (strcmp(type, "CharDelimiterSplit") == 0) {
        const char *delimiter = ts_json_word(json, "delimiter");
        *step = (Step){.needle.literal = ts_strdup(delimiter ? delimiter : " "), .behavior = REMOVED};
    } else if (strcmp(type, "Digits") == 0) {
        bool alone = ts_json_flag(json, "individual_digits", false);
        *step = (Step){.matches = ts_unicode_is_number, .behavior = alone ? ISOLATED : CONTIGUOUS};
    } else if (strcmp(type, "Punctuation") == 0) {
        step->matches = is_punctuation;
        return read_behavior(&step->behavior, json, type);
    } else if (strcmp(type, "BertPreTokenizer") == 0) {
        *step = (Step){.matches = ts_unicode_is_space, .behavior = REMOVED};
        TS_TRY(add_step(pretokenizer, &step));
        *step = (Step){.matches = is_punctuation, .behavior = ISOLATED};
    } else {
        return ts_status_error(TS_CODE_UNSUPPORTED,
                               "pre_tokenizer %s is not known; there are BertPreTokenizer, ByteLevel, "
                               "CharDelimiterSplit, Digits, Metaspace, Punctuation, Sequence, Split, Whitespace, "
                               "WhitespaceSplit",
                               type);
    }
    return TS_OK;
}

TsStatus ts_pretokenizer_create(TsPretokenizer **pretokenizer, const json_t *json)
{
    TsPretokenizer *made = ts_calloc(1, sizeof *made);
    TsStatus status = json && !json_is_null(json) ? read_steps(made, json) : TS_OK;
    if (status)
        ts_pretokenizer_free(&made);
    *pretokenizer = made;
    return status;
}

void ts_pretokenizer_free(TsPretokenizer **pretokenizer)
{
    if (!*pretokenizer)
        return;
    for (int i = 0; i < (*pretokenizer)->steps; i++) {
        ts_needle_free(&(*pretokenizer)->step[i].needle);
        ts_free((*pretokenizer)->step[i].replacement);
    }
    ts_free(*pretokenizer);
    *pretokenizer = NULL;
}

bool ts_pretokenizer_of_bytes(const TsPretokenizer *pretokenizer)
{
    return pretokenizer->of_bytes;
}
