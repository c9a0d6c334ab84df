/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte level: GPT-2's way to write bytes as characters that can be seen. Bytes that print in Latin-1 stand for
 * themselves; the others, in order, are the characters from U+0100 on. Radford et al. 2019.
 */
#pragma once

#include <stdbool.h>

#include "base/text.h"

/* Appends the bytes that the characters of name[0, name_bytes) stand for; false where one stands for none. */
bool ts_byte_level_append(TsText *out, const char *name, size_t name_bytes);

/* The character of a byte. */
int ts_byte_level_character(unsigned char byte);
