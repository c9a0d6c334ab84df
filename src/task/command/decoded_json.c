/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/decoded_json.h"

#include <math.h>
#include <string.h>

#include "task/command/stream.h"
#include "task/kinds/kinds.h"

static json_t *json_text(const char *text)
{
    TsText clean = {0};
    ts_text_append_utf8(&clean, text, strlen(text), false);
    json_t *string = json_string(clean.data ? clean.data : "");
    ts_text_free(&clean);
    return string;
}

/* What a head gave for a row: a list, or of a head of tokens one for each. */
static json_t *json_values(const TsDecoded *decoded, int64_t row)
{
    const float *values = decoded->values + row * decoded->positions * decoded->outputs;
    json_t *all = json_array();
    for (int64_t t = 0; t < (decoded->positions > 1 ? decoded->length_tokens[row] : 1); t++) {
        json_t *list = decoded->positions > 1 ? json_array() : json_incref(all);
        for (int64_t k = 0; k < decoded->outputs; k++)
            json_array_append_new(list, ts_kind_number((double)values[t * decoded->outputs + k]));
        if (list != all)
            json_array_append(all, list);
        json_decref(list);
    }
    return all;
}

static void describe_row(json_t *object, const TsDecoded *decoded, const TsDecodeText *text, int64_t row)
{
    static const char *const ends[] = {"length", "token", "stop"};
    json_object_set_new(object, "text", json_text(text->added[row]));
    json_object_set_new(object, "log_probability", json_real(decoded->log_probability[row]));
    if (decoded->score[row] != decoded->log_probability[row])
        json_object_set_new(object, "score", json_real(decoded->score[row]));
    if (decoded->values) {
        json_object_set_new(object, "values", json_values(decoded, row));
        return;
    }
    json_object_set_new(object, "tokens", json_integer(decoded->length_tokens[row] - decoded->prompt_tokens[row]));
    json_object_set_new(object, "end", json_string(ends[decoded->end[row]]));
}

json_t *ts_decoded_json(const TsDecoded *decoded, const TsDecodeText *text, int64_t index, int64_t at,
                        const char *prompt)
{
    json_t *object = json_object();
    json_object_set_new(object, "index", json_integer(index));
    json_object_set_new(object, "prompt", json_text(prompt));
    if (decoded->each == 1) {
        describe_row(object, decoded, text, at);
    } else {
        json_t *samples = json_array();
        for (int64_t row = at * decoded->each; row < (at + 1) * decoded->each; row++) {
            if (!isfinite(decoded->score[row])) /* fewer than were asked for could be found */
                continue;
            json_t *sample = json_object();
            describe_row(sample, decoded, text, row);
            json_array_append_new(samples, sample);
        }
        json_object_set_new(object, "samples", samples);
    }
    return object;
}
