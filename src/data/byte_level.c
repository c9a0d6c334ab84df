/* SPDX-License-Identifier: Apache-2.0 */
#include "data/byte_level.h"

#include "data/unicode.h"

enum { FIRST_SHIFTED = 0x100 };

static bool stands_for_itself(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

int ts_byte_level_character(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    int shifted = FIRST_SHIFTED;
    for (int before = 0; before < byte; before++)
        shifted += !stands_for_itself(before);
    return shifted;
}

/* The byte of a character, or -1. */
static int byte_of(int32_t character)
{
    if (character >= 0 && character < FIRST_SHIFTED)
        return stands_for_itself(character) ? character : -1;
    for (int byte = 0; byte < 256; byte++)
        if (ts_byte_level_character((unsigned char)byte) == character)
            return byte;
    return -1;
}

bool ts_byte_level_append(TsText *out, const char *name, size_t name_bytes)
{
    for (size_t at = 0; at < name_bytes;) {
        int32_t character;
        at += ts_unicode_next(&character, name + at, name_bytes - at);
        int byte = byte_of(character);
        if (byte < 0)
            return false;
        ts_text_append_bytes(out, &(char){(char)byte}, 1);
    }
    return true;
}
