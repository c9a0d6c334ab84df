/* SPDX-License-Identifier: Apache-2.0 */
#include "data/normalizer.h"

#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "data/json_keys.h"
#include "data/needle.h"
#include "data/unicode.h"

typedef struct Step Step;

struct Step {
    void (*apply)(const Step *step, TsText *out, const char *text, size_t text_bytes);
    TsUnicodeForm form;
    TsNeedle needle;                                               /* what Replace looks for, owned */
    char *content;                                                 /* what Replace and Prepend put in, owned */
    bool left, right;                                              /* of Strip */
    bool clean_text, chinese_characters, strip_accents, lowercase; /* of BertNormalizer */
};

enum { MOST_STEPS = 16 };

struct TsNormalizer {
    Step step[MOST_STEPS];
    int steps;
};

/* ---- the steps ---- */

static void apply_form(const Step *step, TsText *out, const char *text, size_t text_bytes)
{
    ts_unicode_append_normal(out, text, text_bytes, step->form);
}

/* Appends what `change` makes of each character. */
static void for_each(TsText *out, const char *text, size_t text_bytes,
                     void (*change)(TsText *out, int32_t character, const char *bytes, size_t size_bytes))
{
    for (size_t at = 0, bytes; at < text_bytes; at += bytes) {
        int32_t character;
        bytes = ts_unicode_next(&character, text + at, text_bytes - at);
        if (character == TS_UNICODE_BROKEN)
            ts_text_append_bytes(out, text + at, bytes);
        else
            change(out, character, text + at, bytes);
    }
}

static void lower(TsText *out, int32_t character, const char *bytes, size_t size_bytes)
{
    (void)bytes;
    (void)size_bytes;
    ts_unicode_append_lower(out, character);
}

static void drop_mark(TsText *out, int32_t character, const char *bytes, size_t size_bytes)
{
    if (!ts_unicode_is_mark(character))
        ts_text_append_bytes(out, bytes, size_bytes);
}

static void drop_accent(TsText *out, int32_t character, const char *bytes, size_t size_bytes)
{
    if (!ts_unicode_is_accent(character))
        ts_text_append_bytes(out, bytes, size_bytes);
}

/* Without control characters, all white space blanks. */
static void clean(TsText *out, int32_t character, const char *bytes, size_t size_bytes)
{
    enum { REPLACEMENT = 0xfffd };
    if (ts_unicode_is_space(character))
        ts_text_append_bytes(out, " ", 1);
    else if (character != 0 && character != REPLACEMENT && !ts_unicode_is_other(character))
        ts_text_append_bytes(out, bytes, size_bytes);
}

static void isolate_chinese(TsText *out, int32_t character, const char *bytes, size_t size_bytes)
{
    bool alone = ts_unicode_is_chinese(character);
    ts_text_append(out, "%s", alone ? " " : "");
    ts_text_append_bytes(out, bytes, size_bytes);
    ts_text_append(out, "%s", alone ? " " : "");
}

static void apply_lowercase(const Step *step, TsText *out, const char *text, size_t text_bytes)
{
    (void)step;
    for_each(out, text, text_bytes, lower);
}

static void apply_strip_accents(const Step *step, TsText *out, const char *text, size_t text_bytes)
{
    (void)step;
    for_each(out, text, text_bytes, drop_mark);
}

/* As BERT's BasicTokenizer. */
static void apply_bert(const Step *step, TsText *out, const char *text, size_t text_bytes)
{
    TsText now = {0}, next = {0};
    ts_text_append_bytes(&now, text, text_bytes);
    void (*const change[])(TsText *, int32_t, const char *, size_t) = {
        step->clean_text ? clean : NULL, step->chinese_characters ? isolate_chinese : NULL,
        step->strip_accents ? drop_accent : NULL, step->lowercase ? lower : NULL};
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        if (!change[i])
            continue;
        if (change[i] == drop_accent) { /* of what is taken apart */
            ts_text_cut(&next, 0);
            ts_unicode_append_normal(&next, now.data, now.size_bytes, TS_UNICODE_NFD);
            ts_text_cut(&now, 0);
            ts_text_append_bytes(&now, next.data ? next.data : "", next.size_bytes);
        }
        ts_text_cut(&next, 0);
        for_each(&next, now.data, now.size_bytes, change[i]);
        TsText swap = now;
        now = next;
        next = swap;
    }
    ts_text_append_bytes(out, now.data ? now.data : "", now.size_bytes);
    ts_text_free(&now);
    ts_text_free(&next);
}

static void apply_strip(const Step *step, TsText *out, const char *text, size_t text_bytes)
{
    size_t first = 0, end = 0; /* of what is not space */
    bool begun = !step->left;
    for (size_t at = 0, bytes; at < text_bytes; at += bytes) {
        int32_t character;
        bytes = ts_unicode_next(&character, text + at, text_bytes - at);
        bool space = ts_unicode_is_space(character);
        if (!begun && !space) {
            begun = true;
            first = at;
        }
        if (!space)
            end = at + bytes;
    }
    if (!step->right)
        end = text_bytes;
    if (begun && end > first)
        ts_text_append_bytes(out, text + first, end - first);
}

static void apply_prepend(const Step *step, TsText *out, const char *text, size_t text_bytes)
{
    if (text_bytes)
        ts_text_append(out, "%s", step->content);
    ts_text_append_bytes(out, text, text_bytes);
}

static void apply_replace(const Step *step, TsText *out, const char *text, size_t text_bytes)
{
    size_t at = 0, first, end;
    while (at < text_bytes && ts_needle_find(&step->needle, &first, &end, text, text_bytes, at)) {
        ts_text_append_bytes(out, text + at, first - at);
        ts_text_append(out, "%s", step->content);
        if (end == first) { /* found nothing, here: go on behind the next byte */
            if (first < text_bytes)
                ts_text_append_bytes(out, text + first, 1);
            end++;
        }
        at = end;
    }
    if (at < text_bytes)
        ts_text_append_bytes(out, text + at, text_bytes - at);
}

/* ---- from JSON ---- */

static TsStatus read_replace(Step *step, const json_t *json)
{
    const char *content = ts_json_word(json, "content");
    if (!content)
        return ts_status_error(TS_CODE_INVALID, "normalizer Replace lacks its content");
    step->apply = apply_replace;
    step->content = ts_strdup(content);
    return ts_needle_read(&step->needle, json, "normalizer Replace");
}

static TsStatus read_step(Step *step, const json_t *json)
{
    static const struct {
        const char *type;
        TsUnicodeForm form;
    } forms[] = {
        {"NFC", TS_UNICODE_NFC}, {"NFD", TS_UNICODE_NFD}, {"NFKC", TS_UNICODE_NFKC}, {"NFKD", TS_UNICODE_NFKD}};
    const char *type = ts_json_word(json, "type");
    if (!type)
        return ts_status_error(TS_CODE_INVALID, "a normalizer without a type");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(type, forms[i].type) == 0) {
            *step = (Step){.apply = apply_form, .form = forms[i].form};
            return TS_OK;
        }
    if (strcmp(type, "Replace") == 0)
        return read_replace(step, json);
    if (strcmp(type, "Lowercase") == 0) {
        step->apply = apply_lowercase;
    } else if (strcmp(type, "StripAccents") == 0) {
        step->apply = apply_strip_accents;
    } else if (strcmp(type, "Strip") == 0) {
        *step = (Step){.apply = apply_strip,
                       .left = ts_json_flag(json, "strip_left", true),
                       .right = ts_json_flag(json, "strip_right", true)};
    } else if (strcmp(type, "Prepend") == 0) {
        const char *content = ts_json_word(json, "prepend");
        *step = (Step){.apply = apply_prepend, .content = ts_strdup(content ? content : "")};
    } else if (strcmp(type, "BertNormalizer") == 0) {
        bool lowercase = ts_json_flag(json, "lowercase", true);
        *step = (Step){.apply = apply_bert,
                       .clean_text = ts_json_flag(json, "clean_text", true),
                       .chinese_characters = ts_json_flag(json, "handle_chinese_chars", true),
                       .strip_accents = ts_json_flag(json, "strip_accents", lowercase),
                       .lowercase = lowercase};
    } else {
        return ts_status_error(TS_CODE_UNSUPPORTED,
                               "normalizer %s is not known; there are BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, "
                               "Prepend, Replace, Sequence, Strip, StripAccents",
                               type);
    }
    return TS_OK;
}

static TsStatus read_steps(TsNormalizer *normalizer, const json_t *json)
{
    const json_t *list = json_object_get(json, "normalizers");
    const char *type = ts_json_word(json, "type");
    if (type && strcmp(type, "Sequence") == 0) {
        for (size_t i = 0; i < json_array_size(list); i++)
            TS_TRY(read_steps(normalizer, json_array_get(list, i)));
        return TS_OK;
    }
    if (normalizer->steps == MOST_STEPS)
        return ts_status_error(TS_CODE_UNSUPPORTED, "more than %d normalizers", (int)MOST_STEPS);
    return read_step(&normalizer->step[normalizer->steps++], json);
}

TsStatus ts_normalizer_create(TsNormalizer **normalizer, const json_t *json)
{
    TsNormalizer *made = ts_calloc(1, sizeof *made);
    TsStatus status = json && !json_is_null(json) ? read_steps(made, json) : TS_OK;
    if (status)
        ts_normalizer_free(&made);
    *normalizer = made;
    return status;
}

void ts_normalizer_free(TsNormalizer **normalizer)
{
    if (!*normalizer)
        return;
    for (int i = 0; i < (*normalizer)->steps; i++) {
        ts_needle_free(&(*normalizer)->step[i].needle);
        ts_free((*normalizer)->step[i].content);
    }
    ts_free(*normalizer);
    *normalizer = NULL;
}

void ts_normalizer_apply(const TsNormalizer *normalizer, TsText *out, const char *text, size_t text_bytes)
{
    TsText now = {0}, next = {0};
    ts_text_append_bytes(&now, text, text_bytes);
    for (int i = 0; i < normalizer->steps; i++) {
        ts_text_cut(&next, 0);
        normalizer->step[i].apply(&normalizer->step[i], &next, now.data ? now.data : "", now.size_bytes);
        TsText swap = now;
        now = next;
        next = swap;
    }
    ts_text_append_bytes(out, now.data ? now.data : "", now.size_bytes);
    ts_text_free(&now);
    ts_text_free(&next);
}
