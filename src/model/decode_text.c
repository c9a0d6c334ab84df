/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/memory.h"
#include "model/decode.h"

char *ts_decode_added_text(const int32_t *tokens, int64_t first, int64_t count, TsDetokenise *detokenise,
                           const void *context)
{
    char *whole = detokenise(context, tokens, count), *before = detokenise(context, tokens, first);
    size_t bytes = strlen(before);
    /* The text of the first tokens can be no beginning of that of all: where a character is cut between them. */
    char *added = strncmp(whole, before, bytes) == 0 ? ts_strdup(whole + bytes)
                                                     : detokenise(context, tokens + first, count - first);
    ts_free(whole);
    ts_free(before);
    return added;
}

TsDecodeText *ts_decode_text(const TsDecoded *decoded, TsDetokeniser detokeniser)
{
    TsDetokenise *detokenise = detokeniser.tokens;
    const void *context = detokeniser.context;
    TsDecodeText *text = ts_decode_text_create(decoded);
    for (int64_t i = 0; i < decoded->count; i++) {
        const int32_t *row = decoded->tokens + i * decoded->capacity_tokens;
        int64_t prompt = decoded->prompt_tokens[i], length = decoded->length_tokens[i];
        bool ended = decoded->end[i] != TS_DECODE_END_LENGTH;
        length -= decoded->end[i] == TS_DECODE_END_TOKEN && length > prompt; /* which is not text */
        text->prompt[i] = detokenise(context, row, prompt);
        bool stopped = decoded->text_bytes[i] >= 0; /* in the text of what was added */
        text->added[i] = stopped || decoded->apart ? detokenise(context, row + prompt, length - prompt)
                                                   : ts_decode_added_text(row, prompt, length, detokenise, context);
        if (stopped)
            text->added[i][decoded->text_bytes[i]] = 0;
        TsWeightedScalar bytes = {(double)strlen(text->added[i]), 1}, end = {ended ? 1 : 0, 1};
        text->added_bytes = ts_weighted_scalar_merge(text->added_bytes, bytes);
        text->ended = ts_weighted_scalar_merge(text->ended, end);
    }
    return text;
}
