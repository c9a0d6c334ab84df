/* SPDX-License-Identifier: Apache-2.0
 *
 * TextStream: text on a terminal while it grows: whole characters only, and nothing of a stop sequence.
 *
 * What cannot be UTF-8 becomes U+FFFD. What may be the beginning of a character or of a stop sequence waits until it is
 * known. Not collective: one rank prints.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/text.h"

/* Appends the characters of text[0, text_bytes); what is none as U+FFFD. Returns the bytes that were used: all, but a
 * character at the end that is not whole is left where there may come `more`. */
size_t ts_text_append_utf8(TsText *out, const char *text, size_t text_bytes, bool more);

typedef struct TsTextStream {
    FILE *file;
    const char *const *stops; /* (stop_count), borrowed */
    int stop_count;
    size_t printed_bytes; /* of the text */
} TsTextStream;

/* Prints what is new in `text`, which is all text so far; everything where there is no more to come. */
void ts_text_stream_show(TsTextStream *stream, const char *text, bool more);
