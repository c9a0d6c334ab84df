/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/philox.h"
#include "base/text.h"
#include "base/yaml.h"

static TsPool *pool;

static TsStatus parse(const TsYaml **tree, const char *text, size_t size_bytes)
{
    ts_pool_free(&pool);
    pool = ts_pool_create();
    return ts_yaml_parse(pool, tree, "bad.yaml", text, size_bytes);
}

/* The message of parsing this text is `message` exactly, or begins with it if it ends with "...". */
static void expect_bytes(int line, const char *text, size_t size_bytes, const char *message)
{
    const TsYaml *tree = (const TsYaml *)&pool;
    TsStatus status = parse(&tree, text, size_bytes);
    const char *got = ts_status_message(status);
    size_t length = strlen(message);
    bool open = length > 3 && strcmp(message + length - 3, "...") == 0;
    bool same = open ? strncmp(got, message, length - 3) == 0 : strcmp(got, message) == 0;
    if (!same)
        fprintf(stderr, "line %d: expected: %s\n              got: %s\n", line, message, got);
    CU_ASSERT_TRUE(same);
    CU_ASSERT((tree == NULL) == (status != TS_OK));
    CU_ASSERT_PTR_NULL(strchr(got, '\n'));
    ts_status_free(&status);
    ts_pool_free(&pool);
}

#define EXPECT(text, message)             expect_bytes(__LINE__, text, strlen(text), message)
#define EXPECT_BYTES(text, size, message) expect_bytes(__LINE__, text, size, message)

static void trees(void)
{
    const TsYaml *tree;
    static const char text[] = "# comment\n"
                               "a: 1\n"
                               "b: {c: 'two', d: [3, \"four\", null]}\n"
                               "\n"
                               "e:\n"
                               "  f: |\n"
                               "    several\n"
                               "    lines\n"
                               "g: &anchor {h: 5}\n"
                               "i: *anchor\n"
                               "\"quoted key\": ü\n";
    TEST_OK(parse(&tree, text, strlen(text)));
    if (!tree)
        return;
    bool whole;
    CU_ASSERT_EQUAL(tree->count, 6);
    CU_ASSERT_STRING_EQUAL(tree->keys[1], "b");
    CU_ASSERT_EQUAL(tree->items[1]->line, 3);
    const TsYaml *c = ts_yaml_find(tree, "b.c", &whole);
    CU_ASSERT(whole && !c->plain && strcmp(c->text, "two") == 0);
    const TsYaml *d = ts_yaml_get(ts_yaml_get(tree, "b"), "d");
    CU_ASSERT_EQUAL(d->count, 3);
    CU_ASSERT_TRUE(ts_yaml_is_null(d->items[2]));
    CU_ASSERT_FALSE(ts_yaml_is_null(d->items[1]));
    CU_ASSERT_STRING_EQUAL(ts_yaml_find(tree, "e.f", &whole)->text, "several\nlines\n");
    CU_ASSERT_EQUAL(ts_yaml_find(tree, "e.f", &whole)->line, 6);
    CU_ASSERT_STRING_EQUAL(ts_yaml_find(tree, "i.h", &whole)->text, "5");
    CU_ASSERT_EQUAL(ts_yaml_get(tree, "i")->line, 10);
    CU_ASSERT_EQUAL(ts_yaml_get(tree, "g")->line, 9);
    CU_ASSERT_STRING_EQUAL(ts_yaml_get(tree, "quoted key")->text, "ü");
    CU_ASSERT(ts_yaml_find(tree, "e.f.g", &whole) == ts_yaml_find(tree, "e.f", &whole));
    ts_yaml_find(tree, "e.f.g", &whole);
    CU_ASSERT_FALSE(whole);
    CU_ASSERT_PTR_NULL(ts_yaml_get(tree, "zebra"));
    TEST_ERROR(ts_yaml_error(c, "no %d", 3), "bad.yaml:3: no 3");
    ts_pool_free(&pool);
}

static void not_yaml(void)
{
    EXPECT("", "bad.yaml:1: the file has no keys: it is empty, or all comments");
    EXPECT("# nothing\n\n# here\n", "bad.yaml:1: the file has no keys: it is empty, or all comments");
    EXPECT(
        "a: [1, 2\n",
        "bad.yaml:2: not YAML: did not find expected ',' or ']', while parsing a flow sequence that begins in line 1");
    EXPECT(
        "a:\n  b: \"never closed\n",
        "bad.yaml:3: not YAML: found unexpected end of stream, while scanning a quoted scalar that begins in line 2");
    EXPECT("a: 1\n b: 2\n", "bad.yaml:2: not YAML: mapping values are not allowed in this context");
    EXPECT("a: {b: 1\nc: 2\n", "bad.yaml:2: not YAML: did not find expected ',' or '}', ...");
    EXPECT("a:\n\tb: 1\n", "bad.yaml:2: not YAML: found character that cannot start any token, ...");
    EXPECT("a: @b\n", "bad.yaml:1: not YAML: found character that cannot start any token, ...");
    EXPECT("a: 1\n---\nb: 2\n", "bad.yaml:2: a second document begins here; a file holds one");
    EXPECT("a: 1\nb: 2\na: 3\n", "bad.yaml:3: the key a is given twice, first in line 1");
    EXPECT("? [a]\n: 1\n", "bad.yaml:1: a key must be a word, not a list, a map or an alias");
    EXPECT("\"\": 1\n", "bad.yaml:1: a key must be a word, not empty and on one line");
    EXPECT("\"a\\nb\": 1\n", "bad.yaml:1: a key must be a word, not empty and on one line");
    EXPECT("a: !!int 3\n", "bad.yaml:1: tags such as tag:yaml.org,2002:int are not understood");
    EXPECT("%TAG ! tag:x,2000:\n---\na: 1\n", "bad.yaml:1: %TAG directives are not understood");
    EXPECT("%YAML 3.0\n---\na: 1\n", "bad.yaml:1: not YAML: found incompatible YAML document");
    EXPECT("a: *b\n", "bad.yaml:1: the alias *b has no anchor &b before it");
    EXPECT("a: &b [1, *b]\n", "bad.yaml:1: the alias *b stands inside its own anchor");
    EXPECT("\n\n\"a\\0b\": 1\n", "bad.yaml:3: a string with a NUL character in it");
}

static void binary(void)
{
    EXPECT_BYTES("a: 1\nb: \0\n", 10, "bad.yaml:2: byte 0x00 in column 4: this is not UTF-8 text");
    EXPECT_BYTES("\177ELF\2\1\1", 7, "bad.yaml:1: byte 0x7f in column 1: this is not UTF-8 text");
    EXPECT("a: \xff\xfe\n", "bad.yaml:1: byte 0xff in column 4: this is not UTF-8 text");
    EXPECT("a: \xc0\xaf\n", "bad.yaml:1: byte 0xc0 in column 4: this is not UTF-8 text");         /* overlong */
    EXPECT("a: \xe0\x80\xaf\n", "bad.yaml:1: byte 0xe0 in column 4: this is not UTF-8 text");     /* overlong */
    EXPECT("a: \xed\xa0\x80\n", "bad.yaml:1: byte 0xed in column 4: this is not UTF-8 text");     /* a surrogate */
    EXPECT("a: \xf4\x90\x80\x80\n", "bad.yaml:1: byte 0xf4 in column 4: this is not UTF-8 text"); /* too high */
    EXPECT("a: \xc3", "bad.yaml:1: byte 0xc3 in column 4: this is not UTF-8 text");               /* truncated */
    EXPECT_BYTES("\xff\xfe"
                 "a\0",
                 4, "bad.yaml:1: byte 0xff in column 1: this is not UTF-8 text"); /* UTF-16 */
}

/* `count` times `piece`. */
static void repeat(TsText *text, const char *piece, int64_t count)
{
    size_t bytes = strlen(piece);
    for (int64_t i = 0; i < count; i++)
        ts_text_append_bytes(text, piece, bytes);
}

static void nested(void)
{
    TsText text = {0};
    repeat(&text, "[", TS_YAML_DEPTH);
    repeat(&text, "]", TS_YAML_DEPTH);
    const TsYaml *tree;
    TEST_OK(parse(&tree, text.data, text.size_bytes));
    ts_text_free(&text);
    repeat(&text, "[", 1000000);
    EXPECT_BYTES(text.data, text.size_bytes, "bad.yaml:1: more than 64 levels deep");
    ts_text_free(&text);
    repeat(&text, "{a: ", 1000000);
    EXPECT_BYTES(text.data, text.size_bytes, "bad.yaml:1: more than 64 levels deep");
    ts_text_free(&text);
    repeat(&text, "- ", 1000000);
    EXPECT_BYTES(text.data, text.size_bytes, "bad.yaml:1: more than 64 levels deep");
    ts_text_free(&text);
    for (int depth = 0; depth < 100; depth++) /* of block maps */
        ts_text_append(&text, "%*sa:\n", depth, "");
    EXPECT_BYTES(text.data, text.size_bytes, "bad.yaml:65: more than 64 levels deep");
    ts_text_free(&text);
}

static void limits(void)
{
    static const struct {
        const char *piece, *message; /* 16 MiB of the piece */
    } all[] = {{"- a\n", "bad.yaml:1048576: more than 1048576 values, ..."},
               {"[a,", "bad.yaml:1: more than 64 levels deep"},
               {"a\n", "ok"},
               {"# a\n", "bad.yaml:1: the file has no keys: it is empty, or all comments"},
               {"a: b\n", "bad.yaml:1048576: more than 1048576 values, ..."},
               {"- &a x\n", "bad.yaml:257: more than 256 anchors"},
               {"? ", "bad.yaml:1: a key must be a word, not a list, a map or an alias"},
               {"'", "ok..."},
               {"%A b\n", "bad.yaml:1: not YAML: ..."},
               {"---\n", "bad.yaml:2: a second document begins here; a file holds one"},
               {": ", "bad.yaml:1: ..."},
               {"\n", "bad.yaml:1: the file has no keys: it is empty, or all comments"},
               {" ", "bad.yaml:1: the file has no keys: it is empty, or all comments"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        TsText text = {0};
        struct timespec begin, end;
        repeat(&text, all[i].piece, TS_YAML_BYTES / (int64_t)strlen(all[i].piece));
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
        EXPECT_BYTES(text.data, text.size_bytes, all[i].message);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        double seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
        if (seconds > 10)
            fprintf(stderr, "\"%s\": %.1f s\n", all[i].piece, seconds);
        CU_ASSERT(seconds < 100); /* nothing here is quadratic: that would be hours */
        ts_text_free(&text);
    }
}

/* 100 MB are refused before anything looks at them. */
static void huge(void)
{
    size_t bytes = 100000000;
    char *text = ts_alloc(bytes);
    memset(text, 'a', bytes);
    EXPECT_BYTES(text, bytes, "bad.yaml: 100000000 bytes; a configuration has at most 16 MiB");
    ts_free(text);
}

/* Nine lists of nine of the one before: 9^9 values from 300 bytes. And a map deep enough only by aliases. */
static void bombs(void)
{
    TsText text = {0};
    ts_text_append(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 10; i++)
        ts_text_append(&text, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1,
                       i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    EXPECT_BYTES(text.data, text.size_bytes,
                 "bad.yaml:7: more than 1048576 values, aliases counted as often as they are used");
    ts_text_free(&text);
    ts_text_append(&text, "a0: &a0 [x]\n");
    for (int i = 1; i < 70; i++)
        ts_text_append(&text, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    EXPECT_BYTES(text.data, text.size_bytes, "bad.yaml:63: more than 64 levels deep");
    ts_text_free(&text);
}

/* A good text cut off or with one byte changed anywhere: a tree or one line, and all memory comes back. */
static void mutations(void)
{
    static const char good[] = "mesh: {data: 2, model: &m 1}\ntasks:\n  lm:\n    data: [a, \"b\", 'c']\n    w: *m\n"
                               "rules:\n- {x: 1}\n- |\n  text\n- >-\n  folded\n";
    char text[sizeof good];
    TsMemory before = ts_memory_usage();
    TsStream stream = ts_stream(11, "mutations", 0);
    for (size_t bytes = 0; bytes < sizeof good; bytes++) {
        const TsYaml *tree;
        TsStatus status = parse(&tree, good, bytes);
        CU_ASSERT(status || tree);
        ts_status_free(&status);
    }
    for (int64_t i = 0; i < 20000; i++) {
        memcpy(text, good, sizeof good);
        for (int64_t j = 0; j <= i % 3; j++)
            text[ts_stream_below(stream, 6 * i + 2 * j, sizeof good - 1)] =
                i % 2 ? (char)ts_stream_below(stream, 6 * i + 2 * j + 1, 256)
                      : "{}[]:,&*!|>'\"%@-?# \n"[ts_stream_below(stream, 6 * i + 2 * j + 1, 21)];
        const TsYaml *tree;
        TsStatus status = parse(&tree, text, sizeof good - 1);
        CU_ASSERT(!status || (strncmp(ts_status_message(status), "bad.yaml:", 9) == 0 &&
                              !strchr(ts_status_message(status), '\n')));
        ts_status_free(&status);
    }
    ts_pool_free(&pool);
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, before.live_blocks);
}

static void merging(void)
{
    TsPool *made = ts_pool_create();
    const TsYaml *under = NULL, *over = NULL, *merged;
    bool whole;
    static const char a[] = "x: 1\no: {type: adamw, rate: 2, decay: 3}\nw: word\nl: [1, 2]\n";
    static const char b[] = "o: {rate: 5}\nl: [3]\ny: 6\nw: {rate: 1}\n", c[] = "o: {type: sgd}\n";
    TEST_OK(ts_yaml_parse(made, &under, "a.yaml", a, sizeof a - 1));
    TEST_OK(ts_yaml_parse(made, &over, "b.yaml", b, sizeof b - 1));
    if (under && over) {
        merged = ts_yaml_merge(made, under, over, true);
        CU_ASSERT_EQUAL(merged->count, 5);
        CU_ASSERT_STRING_EQUAL(ts_yaml_find(merged, "o.rate", &whole)->text, "5");
        CU_ASSERT_STRING_EQUAL(ts_yaml_find(merged, "o.rate", &whole)->source, "b.yaml");
        CU_ASSERT_STRING_EQUAL(ts_yaml_find(merged, "o.decay", &whole)->source, "a.yaml");
        CU_ASSERT_EQUAL(ts_yaml_get(merged, "l")->count, 1);
        CU_ASSERT_STRING_EQUAL(ts_yaml_find(merged, "w.type", &whole)->text, "word");
        CU_ASSERT_EQUAL(ts_yaml_get(under, "o")->count, 3); /* as it was */
        CU_ASSERT_PTR_NULL(ts_yaml_get(under, "y"));
    }
    TEST_OK(ts_yaml_parse(made, &over, "c.yaml", c, sizeof c - 1));
    if (under && over) {
        merged = ts_yaml_merge(made, under, over, true);
        CU_ASSERT_EQUAL(ts_yaml_get(merged, "o")->count, 1);
        merged = ts_yaml_merge(made, under, over, false);
        CU_ASSERT_EQUAL(ts_yaml_get(merged, "o")->count, 3);
    }
    ts_pool_free(&made);
}

static void overrides(void)
{
    TsPool *made = ts_pool_create();
    const TsYaml *tree = NULL;
    bool whole;
    TEST_OK(ts_yaml_parse_override(made, &tree, "a.b.c=[1, {d: e=f}]"));
    if (tree) {
        const TsYaml *c = ts_yaml_find(tree, "a.b.c", &whole);
        CU_ASSERT(whole && c->count == 2);
        CU_ASSERT_STRING_EQUAL(ts_yaml_get(c->items[1], "d")->text, "e=f");
        TEST_ERROR(ts_yaml_error(c, "no"), "command line: a.b.c=[1, {d: e=f}]: no");
    }
    TEST_OK(ts_yaml_parse_override(made, &tree, "a="));
    CU_ASSERT(tree && ts_yaml_is_null(ts_yaml_get(tree, "a")));
    TEST_ERROR(ts_yaml_parse_override(made, &tree, "a"), "command line: a: expected key.key=value");
    CU_ASSERT_PTR_NULL(tree);
    TEST_ERROR(ts_yaml_parse_override(made, &tree, ".a=1"), "command line: .a=1: expected key.key=value");
    TEST_ERROR(ts_yaml_parse_override(made, &tree, "a.=1"), "command line: a.=1: expected key.key=value");
    TEST_ERROR(ts_yaml_parse_override(made, &tree, "a=\"b"),
               "command line: a=\"b: not YAML: found unexpected end of stream");
    TEST_ERROR(ts_yaml_parse_override(made, &tree, "a=\xff"), "command line: a=...: byte 0xff is not allowed");
    TEST_ERROR(ts_yaml_parse_override(made, &tree, "a\nb=1"), "command line: a...: byte 0x0a is not allowed");
    TEST_ERROR(ts_yaml_parse_override(made, &tree, "a={b: 1, b: 2}"), "the key b is given twice");
    TsText text = {0};
    repeat(&text, "a.", 100000);
    ts_text_append(&text, "a=1");
    TEST_ERROR(ts_yaml_parse_override(made, &tree, text.data), "expected key.key=value, with at most 64 keys");
    ts_text_free(&text);
    ts_pool_free(&made);
}

TEST_MAIN("yaml", {"trees", trees}, {"not YAML", not_yaml}, {"binary", binary}, {"nested", nested}, {"limits", limits},
          {"huge", huge}, {"bombs", bombs}, {"mutations", mutations}, {"merging", merging}, {"overrides", overrides})
