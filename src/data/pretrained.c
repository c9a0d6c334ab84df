/* SPDX-License-Identifier: Apache-2.0 */
#include "data/pretrained.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/byte_level.h"
#include "data/json_keys.h"
#include "data/unicode.h"

static const size_t most_file_bytes = (size_t)256 << 20;

/* ---- files ---- */

static TsStatus read_json(json_t **json, const char *path)
{
    char *text;
    size_t bytes;
    json_error_t error;
    *json = NULL;
    TS_TRY(ts_file_read(&text, &bytes, path, most_file_bytes));
    *json = json_loadb(text, bytes, JSON_ALLOW_NUL, &error);
    ts_free(text);
    if (!*json)
        return ts_status_error(TS_CODE_CORRUPT, "%s:%d: not JSON: %s", path, error.line, error.text);
    if (!json_is_object(*json)) {
        json_decref(*json);
        *json = NULL;
        return ts_status_error(TS_CODE_CORRUPT, "%s: not a JSON object", path);
    }
    return TS_OK;
}

/* ---- the vocabulary ---- */

static TsStatus add_token(TsPretrained *pretrained, const char *name, size_t name_bytes, json_int_t token)
{
    TsText bytes = {0};
    if (!ts_pretokenizer_of_bytes(pretrained->pretokenizer) || !ts_byte_level_append(&bytes, name, name_bytes)) {
        ts_text_cut(&bytes, 0);
        ts_text_append_bytes(&bytes, name, name_bytes);
    }
    bool added = token >= 0 && token < INT32_MAX &&
                 ts_vocabulary_add(pretrained->vocabulary, bytes.data, bytes.size_bytes, (int32_t)token);
    ts_text_free(&bytes);
    if (added)
        return TS_OK;
    TsText shown = {0};
    ts_text_append_shown(&shown, name);
    TsStatus status = ts_status_error(
        TS_CODE_CORRUPT, "token %s has the number %lld, which is out of range, or one of the two is there twice",
        shown.data, (long long)token);
    ts_text_free(&shown);
    return status;
}

static TsStatus read_vocabulary(TsPretrained *pretrained, const json_t *vocab)
{
    const char *name;
    size_t name_bytes;
    json_t *token;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return ts_status_error(TS_CODE_CORRUPT, "has no vocabulary {token: number}");
    json_object_keylen_foreach((json_t *)(uintptr_t)vocab, name, name_bytes, token)
    {
        if (!json_is_integer(token))
            return ts_status_error(TS_CODE_CORRUPT, "the number of token \"%s\" is not a whole number", name);
        TS_TRY(add_token(pretrained, name, name_bytes, json_integer_value(token)));
    }
    return TS_OK;
}

static TsStatus add_merge(TsPretrained *pretrained, const char *left, size_t left_bytes, const char *right,
                          size_t right_bytes)
{
    if (!ts_pretokenizer_of_bytes(pretrained->pretokenizer))
        return ts_bpe_add_merge(pretrained->bpe, left, left_bytes, right, right_bytes);
    TsText a = {0}, b = {0};
    TsStatus status;
    if (!ts_byte_level_append(&a, left, left_bytes) || !ts_byte_level_append(&b, right, right_bytes))
        status = ts_status_error(TS_CODE_CORRUPT, "a merge of \"%.*s\" and \"%.*s\", which do not stand for bytes",
                                 (int)left_bytes, left, (int)right_bytes, right);
    else
        status = ts_bpe_add_merge(pretrained->bpe, a.data, a.size_bytes, b.data, b.size_bytes);
    ts_text_free(&a);
    ts_text_free(&b);
    return status;
}

/* "left right" */
static TsStatus add_merge_line(TsPretrained *pretrained, const char *line, size_t line_bytes)
{
    const char *blank = memchr(line, ' ', line_bytes);
    size_t left = blank ? (size_t)(blank - line) : 0;
    if (left == 0 || left + 1 >= line_bytes || memchr(blank + 1, ' ', line_bytes - left - 1))
        return ts_status_error(TS_CODE_CORRUPT, "expected two tokens with a blank between them");
    return add_merge(pretrained, line, left, blank + 1, line_bytes - left - 1);
}

static TsStatus read_merges_json(TsPretrained *pretrained, const json_t *merges)
{
    if (!json_is_array(merges))
        return ts_status_error(TS_CODE_CORRUPT, "its model has no list of merges");
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *merge = json_array_get(merges, i), *left = json_array_get(merge, 0),
                     *right = json_array_get(merge, 1);
        TsStatus status;
        if (json_is_string(merge))
            status = add_merge_line(pretrained, json_string_value(merge), json_string_length(merge));
        else if (json_is_string(left) && json_is_string(right))
            status = add_merge(pretrained, json_string_value(left), json_string_length(left), json_string_value(right),
                               json_string_length(right));
        else
            status = ts_status_error(TS_CODE_CORRUPT, "expected two tokens");
        if (status)
            return ts_status_annotate(status, "merge %zu", i + 1);
    }
    return TS_OK;
}

static TsStatus read_merges_text(TsPretrained *pretrained, const char *path)
{
    char *text;
    size_t bytes;
    TS_TRY(ts_file_read(&text, &bytes, path, most_file_bytes));
    TsStatus status = TS_OK;
    int64_t number = 0;
    for (const char *line = text, *next; !status && line < text + bytes; line = next) {
        const char *end = memchr(line, '\n', (size_t)(text + bytes - line));
        next = end ? end + 1 : text + bytes;
        size_t line_bytes = (size_t)((end ? end : text + bytes) - line);
        line_bytes -= line_bytes && line[line_bytes - 1] == '\r';
        bool comment = ++number == 1 && line_bytes >= 8 && memcmp(line, "#version", 8) == 0;
        if (line_bytes && !comment)
            status =
                ts_status_annotate(add_merge_line(pretrained, line, line_bytes), "%s:%lld", path, (long long)number);
    }
    ts_free(text);
    return status;
}

/* ---- tokens that are found first ---- */

static void add_found(TsPretrained *pretrained, TsAddedToken added, const char *content, size_t content_bytes)
{
    for (int i = 0; i < pretrained->adds; i++)
        if (pretrained->added[i].token == added.token)
            return;
    pretrained->added = ts_realloc(pretrained->added, ((size_t)pretrained->adds + 1) * sizeof *pretrained->added);
    TsText kept = {0};
    if (added.normalized)
        ts_normalizer_apply(pretrained->normalizer, &kept, content, content_bytes);
    else
        ts_text_append_bytes(&kept, content, content_bytes);
    added.content = kept.data;
    added.content_bytes = kept.size_bytes;
    pretrained->added[pretrained->adds++] = added;
}

static TsStatus read_added(TsPretrained *pretrained, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *json = json_array_get(list, i), *id = json_object_get(json, "id");
        const char *content = ts_json_word(json, "content");
        size_t bytes = json_string_length(json_object_get(json, "content"));
        if (!content || bytes == 0 || !json_is_integer(id))
            return ts_status_error(TS_CODE_CORRUPT, "added token %zu lacks its id or its content", i);
        int32_t there = ts_vocabulary_find(pretrained->vocabulary, content, bytes);
        json_int_t token = json_integer_value(id);
        if (there != token && (token < 0 || token > INT32_MAX ||
                               !ts_vocabulary_add(pretrained->vocabulary, content, bytes, (int32_t)token)))
            return ts_status_error(TS_CODE_CORRUPT, "added token \"%s\" has the number %lld, which is another's",
                                   content, (long long)token);
        bool special = ts_json_flag(json, "special", false);
        add_found(pretrained,
                  (TsAddedToken){.token = (int32_t)token,
                                 .normalized = ts_json_flag(json, "normalized", !special),
                                 .single_word = ts_json_flag(json, "single_word", false),
                                 .strips_left = ts_json_flag(json, "lstrip", false),
                                 .strips_right = ts_json_flag(json, "rstrip", false),
                                 .special = special},
                  content, bytes);
    }
    return TS_OK;
}

/* ---- specials ---- */

/* The content of a token that tokenizer_config.json names: a word, or an object with it. */
static const char *configured(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);
    return json_is_object(value) ? ts_json_word(value, "content") : json_string_value(value);
}

static void find_special(TsPretrained *pretrained, TsSpecial special, const char *name)
{
    if (pretrained->special[special] < 0 && name)
        pretrained->special[special] = ts_vocabulary_find(pretrained->vocabulary, name, strlen(name));
}

/* From the config, or by the names that are used. They are found in the text too. */
static void find_specials(TsPretrained *pretrained, const json_t *config)
{
    static const struct {
        TsSpecial special;
        const char *key[2];  /* in tokenizer_config.json */
        const char *name[6]; /* where it says nothing */
    } known[] = {
        {TS_SPECIAL_PAD, {"pad_token"}, {"<pad>", "[PAD]", "<|pad|>"}},
        {TS_SPECIAL_BEGIN, {"cls_token", "bos_token"}, {"[CLS]", "<s>", "<cls>", "<|begin_of_text|>", "<bos>"}},
        {TS_SPECIAL_END, {"sep_token", "eos_token"}, {"[SEP]", "</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>"}},
        {TS_SPECIAL_MASK, {"mask_token"}, {"[MASK]", "<mask>"}},
        {TS_SPECIAL_UNKNOWN, {"unk_token"}, {"[UNK]", "<unk>"}}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        for (size_t k = 0; k < 2 && known[i].key[k]; k++)
            find_special(pretrained, known[i].special, configured(config, known[i].key[k]));
        for (size_t n = 0; n < 6 && known[i].name[n]; n++)
            find_special(pretrained, known[i].special, known[i].name[n]);
    }
    for (int i = 0; i < TS_SPECIALS; i++) {
        size_t bytes;
        const char *content = ts_vocabulary_bytes(pretrained->vocabulary, pretrained->special[i], &bytes);
        if (content)
            add_found(pretrained,
                      (TsAddedToken){.token = pretrained->special[i],
                                     .special = true,
                                     .strips_left = i == TS_SPECIAL_MASK && strcmp(content, "<mask>") == 0},
                      content, bytes);
    }
    if (pretrained->unknown < 0)
        pretrained->unknown = pretrained->special[TS_SPECIAL_UNKNOWN];
}

/* ---- tokenizer.json ---- */

static void make_wordpiece(TsPretrained *pretrained, const char *prefix, json_int_t most_characters)
{
    pretrained->prefix = ts_strdup(prefix);
    pretrained->wordpiece = ts_alloc(sizeof *pretrained->wordpiece);
    *pretrained->wordpiece = (TsWordPiece){.vocabulary = pretrained->vocabulary,
                                           .prefix = pretrained->prefix,
                                           .most_characters = most_characters,
                                           .unknown = pretrained->unknown};
    pretrained->decode = TS_DECODE_WORDPIECE;
}

static TsStatus read_bpe(TsPretrained *pretrained, const json_t *model)
{
    const char *prefix = ts_json_word(model, "continuing_subword_prefix"),
               *suffix = ts_json_word(model, "end_of_word_suffix");
    bool of_bytes = ts_pretokenizer_of_bytes(pretrained->pretokenizer);
    pretrained->prefix = prefix && *prefix ? ts_strdup(prefix) : NULL;
    pretrained->suffix = suffix && *suffix ? ts_strdup(suffix) : NULL;
    pretrained->decode = of_bytes ? TS_DECODE_PLAIN : pretrained->suffix ? TS_DECODE_SUFFIX : TS_DECODE_METASPACE;
    pretrained->bpe = ts_bpe_create(pretrained->vocabulary,
                                    (TsBpeOptions){.of_bytes = of_bytes,
                                                   .byte_fallback = ts_json_flag(model, "byte_fallback", false),
                                                   .fuse_unknown = ts_json_flag(model, "fuse_unk", false),
                                                   .ignore_merges = ts_json_flag(model, "ignore_merges", false),
                                                   .unknown = pretrained->unknown,
                                                   .prefix = pretrained->prefix,
                                                   .suffix = pretrained->suffix});
    return read_merges_json(pretrained, json_object_get(model, "merges"));
}

/* A list of pieces with their log-probabilities, by number. */
static TsStatus read_unigram(TsPretrained *pretrained, const json_t *model)
{
    const json_t *vocab = json_object_get(model, "vocab"), *unknown = json_object_get(model, "unk_id");
    size_t count = json_array_size(vocab);
    if (count == 0)
        return ts_status_error(TS_CODE_CORRUPT, "its model Unigram has no vocabulary [[piece, score], ...]");
    double *scores = ts_calloc(count, sizeof *scores);
    TsStatus status = TS_OK;
    for (size_t i = 0; i < count && !status; i++) {
        const json_t *pair = json_array_get(vocab, i), *piece = json_array_get(pair, 0),
                     *score = json_array_get(pair, 1);
        scores[i] = json_number_value(score);
        if (!json_is_string(piece) || !json_is_number(score))
            status = ts_status_error(TS_CODE_CORRUPT, "piece %zu: expected [piece, score]", i);
        else
            status = add_token(pretrained, json_string_value(piece), json_string_length(piece), (json_int_t)i);
    }
    if (!status && json_is_integer(unknown) &&
        (json_integer_value(unknown) < 0 || json_integer_value(unknown) >= (json_int_t)count))
        status = ts_status_error(TS_CODE_CORRUPT, "its unk_id %lld is none of its %zu pieces",
                                 (long long)json_integer_value(unknown), count);
    if (status) {
        ts_free(scores);
        return status;
    }
    if (json_is_integer(unknown))
        pretrained->unknown = (int32_t)json_integer_value(unknown);
    pretrained->decode = TS_DECODE_METASPACE;
    pretrained->unigram = ts_unigram_create(pretrained->vocabulary, scores, pretrained->unknown,
                                            ts_json_flag(model, "byte_fallback", false));
    return TS_OK;
}

static TsStatus read_model(TsPretrained *pretrained, const json_t *model)
{
    const char *type = ts_json_word(model, "type"), *unknown = ts_json_word(model, "unk_token");
    if (!type) /* early files do not say it */
        type = json_object_get(model, "merges") ? "BPE" : "WordPiece";
    if (strcmp(type, "Unigram") == 0)
        return read_unigram(pretrained, model);
    if (strcmp(type, "BPE") != 0 && strcmp(type, "WordPiece") != 0 && strcmp(type, "WordLevel") != 0)
        return ts_status_error(TS_CODE_UNSUPPORTED, "its model is %s; there are BPE, Unigram, WordLevel and WordPiece",
                               type);
    TS_TRY(read_vocabulary(pretrained, json_object_get(model, "vocab")));
    if (unknown)
        pretrained->unknown = ts_vocabulary_find(pretrained->vocabulary, unknown, strlen(unknown));
    if (unknown && pretrained->unknown < 0)
        return ts_status_error(TS_CODE_CORRUPT, "its unk_token \"%s\" is not in the vocabulary", unknown);
    if (strcmp(type, "BPE") == 0)
        return read_bpe(pretrained, model);
    pretrained->decode = TS_DECODE_WORDPIECE;
    if (strcmp(type, "WordLevel") == 0)
        return TS_OK;
    if (pretrained->unknown < 0)
        return ts_status_error(TS_CODE_CORRUPT, "its model WordPiece has no unk_token");
    const char *prefix = ts_json_word(model, "continuing_subword_prefix");
    const json_t *most = json_object_get(model, "max_input_chars_per_word");
    make_wordpiece(pretrained, prefix ? prefix : "##", json_is_integer(most) ? json_integer_value(most) : 100);
    return TS_OK;
}

static TsStatus read_tokenizer(TsPretrained *pretrained, const json_t *json, const json_t *config)
{
    TS_TRY(ts_normalizer_create(&pretrained->normalizer, json_object_get(json, "normalizer")));
    TS_TRY(ts_pretokenizer_create(&pretrained->pretokenizer, json_object_get(json, "pre_tokenizer")));
    TS_TRY(read_model(pretrained, json_object_get(json, "model")));
    TS_TRY(read_added(pretrained, json_object_get(json, "added_tokens")));
    find_specials(pretrained, config);
    return TS_OK;
}

/* ---- older files ---- */

static TsStatus read_pair(TsPretrained *pretrained, const json_t *vocab, const json_t *config, const char *merges_path)
{
    json_t *cut = json_pack("{s:s, s:b}", "type", "ByteLevel", "add_prefix_space",
                            ts_json_flag(config, "add_prefix_space", false));
    TsStatus status = ts_normalizer_create(&pretrained->normalizer, NULL);
    if (!status)
        status = ts_pretokenizer_create(&pretrained->pretokenizer, cut);
    json_decref(cut);
    TS_TRY(status);
    TS_TRY(read_vocabulary(pretrained, vocab));
    pretrained->bpe = ts_bpe_create(pretrained->vocabulary, (TsBpeOptions){.of_bytes = true, .unknown = -1});
    TS_TRY(read_merges_text(pretrained, merges_path));
    find_specials(pretrained, config);
    return TS_OK;
}

/* A token a line. */
static TsStatus read_lines(TsPretrained *pretrained, const char *path)
{
    char *text;
    size_t bytes;
    TS_TRY(ts_file_read(&text, &bytes, path, most_file_bytes));
    TsStatus status = TS_OK;
    int32_t token = 0;
    for (const char *line = text, *next; !status && line < text + bytes; line = next, token++) {
        const char *end = memchr(line, '\n', (size_t)(text + bytes - line));
        next = end ? end + 1 : text + bytes;
        size_t line_bytes = (size_t)((end ? end : text + bytes) - line);
        line_bytes -= line_bytes && line[line_bytes - 1] == '\r';
        if (!ts_vocabulary_add(pretrained->vocabulary, line, line_bytes, token))
            status = ts_status_error(TS_CODE_CORRUPT, "%s:%d: the token \"%.*s\" is there twice", path, (int)token + 1,
                                     (int)(line_bytes < 60 ? line_bytes : 60), line);
    }
    ts_free(text);
    return status;
}

/* Every token of a vocabulary of residues is found in the text, wherever it stands. */
static void find_all(TsPretrained *pretrained)
{
    for (int64_t token = 0; token < ts_vocabulary_size(pretrained->vocabulary); token++) {
        size_t bytes;
        const char *content = ts_vocabulary_bytes(pretrained->vocabulary, (int32_t)token, &bytes);
        if (content && bytes)
            add_found(pretrained, (TsAddedToken){.token = (int32_t)token}, content, bytes);
    }
}

static TsStatus read_words(TsPretrained *pretrained, const json_t *config, const char *vocab_path)
{
    TS_TRY(read_lines(pretrained, vocab_path));
    bool residues = ts_vocabulary_find(pretrained->vocabulary, "[CLS]", 5) < 0 &&
                    ts_vocabulary_find(pretrained->vocabulary, "<cls>", 5) >= 0;
    bool lowercase = ts_json_flag(config, "do_lower_case", true);
    json_t *normalize = residues
                            ? NULL
                            : json_pack("{s:s, s:b, s:b}", "type", "BertNormalizer", "lowercase", lowercase,
                                        "handle_chinese_chars", ts_json_flag(config, "tokenize_chinese_chars", true));
    json_t *cut = json_pack("{s:s}", "type", residues ? "WhitespaceSplit" : "BertPreTokenizer");
    TsStatus status = ts_normalizer_create(&pretrained->normalizer, normalize);
    if (!status)
        status = ts_pretokenizer_create(&pretrained->pretokenizer, cut);
    json_decref(normalize);
    json_decref(cut);
    TS_TRY(status);
    find_specials(pretrained, config);
    if (residues) {
        find_all(pretrained);
        return TS_OK;
    }
    if (pretrained->unknown < 0)
        return ts_status_error(TS_CODE_CORRUPT, "%s: lacks the token [UNK]", vocab_path);
    make_wordpiece(pretrained, "##", 100);
    return TS_OK;
}

/* ---- one or the other ---- */

static int by_length(const void *left, const void *right)
{
    const TsAddedToken *a = left, *b = right;
    return a->content_bytes != b->content_bytes ? (a->content_bytes < b->content_bytes ? 1 : -1) : a->token - b->token;
}

static TsStatus read_directory(TsPretrained *pretrained, const char *path)
{
    struct stat info;
    bool is_directory = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    char *folder = is_directory ? ts_strdup(path) : ts_file_directory(path);
    char *whole = is_directory ? ts_format("%s/tokenizer.json", folder) : ts_strdup(path);
    char *vocab = ts_format("%s/vocab.json", folder), *merges = ts_format("%s/merges.txt", folder);
    char *words = ts_format("%s/vocab.txt", folder), *config_path = ts_format("%s/tokenizer_config.json", folder);
    json_t *config = NULL, *json = NULL;
    TsStatus status = ts_file_exists(config_path) ? read_json(&config, config_path) : TS_OK;
    if (status) {
        ;
    } else if (!is_directory || ts_file_exists(whole)) {
        status = read_json(&json, whole);
        if (!status)
            status = ts_status_annotate(read_tokenizer(pretrained, json, config), "%s", whole);
    } else if (ts_file_exists(vocab) && ts_file_exists(merges)) {
        status = read_json(&json, vocab);
        if (!status)
            status = read_pair(pretrained, json, config, merges);
    } else if (ts_file_exists(words)) {
        status = read_words(pretrained, config, words);
    } else {
        status = ts_status_error(TS_CODE_NOT_FOUND,
                                 "%s: has no tokenizer: neither tokenizer.json, nor vocab.json with merges.txt, nor "
                                 "vocab.txt",
                                 path);
    }
    json_decref(config);
    json_decref(json);
    ts_free(folder);
    ts_free(whole);
    ts_free(vocab);
    ts_free(merges);
    ts_free(words);
    ts_free(config_path);
    return status;
}

TsStatus ts_pretrained_read(TsPretrained **handle, const char *path)
{
    TsPretrained *pretrained = ts_calloc(1, sizeof *pretrained);
    pretrained->vocabulary = ts_vocabulary_create();
    pretrained->unknown = -1;
    for (int i = 0; i < TS_SPECIALS; i++)
        pretrained->special[i] = -1;
    TsStatus status = read_directory(pretrained, path);
    if (pretrained->adds)
        qsort(pretrained->added, (size_t)pretrained->adds, sizeof *pretrained->added, by_length);
    if (status)
        ts_pretrained_free(&pretrained);
    *handle = pretrained;
    return status;
}

void ts_pretrained_free(TsPretrained **handle)
{
    TsPretrained *pretrained = *handle;
    if (!pretrained)
        return;
    for (int i = 0; i < pretrained->adds; i++)
        ts_free(pretrained->added[i].content);
    ts_free(pretrained->added);
    ts_free(pretrained->wordpiece);
    ts_bpe_free(&pretrained->bpe);
    ts_unigram_free(&pretrained->unigram);
    ts_pretokenizer_free(&pretrained->pretokenizer);
    ts_normalizer_free(&pretrained->normalizer);
    ts_vocabulary_free(&pretrained->vocabulary);
    ts_free(pretrained->prefix);
    ts_free(pretrained->suffix);
    ts_free(pretrained);
    *handle = NULL;
}
