/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a trained tokenizer, as the tokenizers of Hugging Face write theirs.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/bpe_trainer.h"

static json_t *name_of(const TsBpeTrained *trained, int32_t token)
{
    size_t bytes;
    const char *name = ts_vocabulary_bytes(trained->vocabulary, token, &bytes);
    return json_stringn(name, bytes);
}

static json_t *vocabulary_of(const TsBpeTrained *trained)
{
    json_t *vocab = json_object();
    for (int64_t token = 0; token < ts_vocabulary_size(trained->vocabulary); token++) {
        size_t bytes;
        const char *name = ts_vocabulary_bytes(trained->vocabulary, (int32_t)token, &bytes);
        json_object_set_new(vocab, name, json_integer(token));
    }
    return vocab;
}

static json_t *merges_of(const TsBpeTrained *trained)
{
    json_t *merges = json_array();
    for (int64_t i = 0; i < trained->merges; i++)
        json_array_append_new(merges, json_pack("[o, o]", name_of(trained, trained->merge[i][0]),
                                                name_of(trained, trained->merge[i][1])));
    return merges;
}

static json_t *added_of(const TsBpeTrained *trained)
{
    json_t *added = json_array();
    for (int64_t i = 0; i < trained->specials; i++)
        json_array_append_new(added, json_pack("{s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i, "content",
                                               name_of(trained, (int32_t)i), "single_word", false, "lstrip", false,
                                               "rstrip", false, "normalized", false, "special", true));
    return added;
}

static json_t *whole(const TsBpeTrained *trained)
{
    json_t *level = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", false, "trim_offsets",
                              true, "use_regex", true);
    json_t *model =
        json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                  "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", false, "byte_fallback", false,
                  "ignore_merges", false, "vocab", vocabulary_of(trained), "merges", merges_of(trained));
    return json_pack("{s:s, s:n, s:n, s:o, s:n, s:O, s:n, s:o, s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", added_of(trained), "normalizer", "pre_tokenizer", level, "post_processor",
                     "decoder", level, "model", model);
}

/* Takes ownership of the JSON. */
static TsStatus write_json(const char *dir, const char *name, json_t *json)
{
    char *path = ts_format("%s/%s", dir, name), *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    TsStatus status = text ? ts_file_write(path, text, strlen(text))
                           : ts_status_error(TS_CODE_INVALID, "%s: a special token is not UTF-8", path);
    free(text); /* jansson's own memory */
    json_decref(json);
    ts_free(path);
    return status;
}

static TsStatus write_merges(const TsBpeTrained *trained, const char *dir)
{
    TsText text = {0};
    char *path = ts_format("%s/merges.txt", dir);
    ts_text_append(&text, "#version: 0.2\n");
    for (int64_t i = 0; i < trained->merges; i++) {
        size_t left_bytes, right_bytes;
        const char *left = ts_vocabulary_bytes(trained->vocabulary, trained->merge[i][0], &left_bytes);
        const char *right = ts_vocabulary_bytes(trained->vocabulary, trained->merge[i][1], &right_bytes);
        ts_text_append(&text, "%s %s\n", left, right);
    }
    TsStatus status = ts_file_write(path, text.data, text.size_bytes);
    ts_text_free(&text);
    ts_free(path);
    return status;
}

TsStatus ts_bpe_trained_write(const TsBpeTrained *trained, const char *dir)
{
    TS_TRY(write_json(dir, "vocab.json", vocabulary_of(trained)));
    TS_TRY(write_merges(trained, dir));
    json_t *json = whole(trained);
    /* `level` stands in it twice */
    return write_json(dir, "tokenizer.json", json);
}
