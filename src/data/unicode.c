/* SPDX-License-Identifier: Apache-2.0 */
#include "data/unicode.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "base/check.h"

size_t ts_unicode_next(int32_t *character, const char *text, size_t text_bytes)
{
    utf8proc_int32_t found;
    utf8proc_ssize_t bytes =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)(text_bytes < 4 ? text_bytes : 4), &found);
    *character = bytes > 0 ? found : TS_UNICODE_BROKEN;
    return bytes > 0 ? (size_t)bytes : 1;
}

void ts_unicode_append(TsText *text, int32_t character)
{
    utf8proc_uint8_t bytes[4];
    ts_text_append_bytes(text, bytes, (size_t)utf8proc_encode_char(character, bytes));
}

static utf8proc_category_t category(int32_t character)
{
    return character < 0 ? UTF8PROC_CATEGORY_LU : utf8proc_category(character); /* broken: like a letter */
}

bool ts_unicode_is_space(int32_t character)
{
    return (character >= 0x09 && character <= 0x0d) || character == 0x85 ||
           (character >= 0x20 && category(character) >= UTF8PROC_CATEGORY_ZS &&
            category(character) <= UTF8PROC_CATEGORY_ZP);
}

bool ts_unicode_is_punctuation(int32_t character)
{
    return category(character) >= UTF8PROC_CATEGORY_PC && category(character) <= UTF8PROC_CATEGORY_PO;
}

bool ts_unicode_is_symbol(int32_t character)
{
    return category(character) >= UTF8PROC_CATEGORY_SM && category(character) <= UTF8PROC_CATEGORY_SO;
}

bool ts_unicode_is_other(int32_t character)
{
    return category(character) >= UTF8PROC_CATEGORY_CC || category(character) == UTF8PROC_CATEGORY_CN;
}

bool ts_unicode_is_number(int32_t character)
{
    return category(character) >= UTF8PROC_CATEGORY_ND && category(character) <= UTF8PROC_CATEGORY_NO;
}

bool ts_unicode_is_mark(int32_t character)
{
    return category(character) >= UTF8PROC_CATEGORY_MN && category(character) <= UTF8PROC_CATEGORY_ME;
}

bool ts_unicode_is_accent(int32_t character)
{
    return category(character) == UTF8PROC_CATEGORY_MN;
}

bool ts_unicode_is_chinese(int32_t character)
{
    static const struct {
        int32_t first, last;
    } blocks[] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
                  {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (character >= blocks[i].first && character <= blocks[i].last)
            return true;
    return false;
}

void ts_unicode_append_lower(TsText *text, int32_t character)
{
    enum { CAPITAL_I_WITH_DOT = 0x130, DOT_ABOVE = 0x307 }; /* the one that becomes two characters in any language */
    if (character == CAPITAL_I_WITH_DOT) {
        ts_unicode_append(text, 'i');
        ts_unicode_append(text, DOT_ABOVE);
    } else {
        ts_unicode_append(text, utf8proc_tolower(character));
    }
}

/* Appends the normal form of what is valid. */
static void append_valid(TsText *out, const char *text, size_t text_bytes, TsUnicodeForm form)
{
    static const utf8proc_option_t options[] = {
        [TS_UNICODE_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [TS_UNICODE_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [TS_UNICODE_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [TS_UNICODE_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    utf8proc_uint8_t *normal;
    utf8proc_ssize_t bytes =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)text_bytes, &normal, options[form]);
    TS_CHECK(bytes >= 0, "utf8proc: %s", utf8proc_errmsg(bytes));
    ts_text_append_bytes(out, normal, (size_t)bytes);
    free(normal); /* the library's own memory */
}

void ts_unicode_append_normal(TsText *out, const char *text, size_t text_bytes, TsUnicodeForm form)
{
    size_t valid = 0; /* where what is valid begins */
    for (size_t at = 0; at < text_bytes;) {
        int32_t character;
        size_t bytes = ts_unicode_next(&character, text + at, text_bytes - at);
        if (character == TS_UNICODE_BROKEN) {
            if (at > valid)
                append_valid(out, text + valid, at - valid, form);
            ts_text_append_bytes(out, text + at, 1);
            valid = at + 1;
        }
        at += bytes;
    }
    if (text_bytes > valid)
        append_valid(out, text + valid, text_bytes - valid, form);
}
