/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/check.h"
#include "base/memory.h"

typedef struct Anchor {
    const char *name;
    const TsYaml *node; /* NULL while the node is still being read */
} Anchor;

typedef struct Reader {
    TsPool *pool;
    const char *source;
    bool is_override;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; owned */
    int64_t nodes;
    int anchor_count;
    Anchor anchors[TS_YAML_ANCHORS];
} Reader;

static TsStatus error_at_line(const Reader *reader, size_t line, const char *format, ...) TS_PRINTF(3, 4);

static TsStatus error_at_line(const Reader *reader, size_t line, const char *format, ...)
{
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (reader->is_override)
        return ts_status_error(TS_CODE_INVALID, "%s: %s", reader->source, message);
    return ts_status_error(TS_CODE_INVALID, "%s:%zu: %s", reader->source, line, message);
}

/* The line of the current event, from 1. */
static size_t event_line(const Reader *reader)
{
    return reader->event.start_mark.line + 1;
}

static TsStatus parser_error(const Reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        TS_CHECK(false, "out of memory in libyaml");
    const char *problem = parser->problem ? parser->problem : "unreadable";
    size_t line = parser->problem_mark.line + 1;
    if (parser->context && !reader->is_override)
        return error_at_line(reader, line, "not YAML: %s, %s that begins in line %zu", problem, parser->context,
                             parser->context_mark.line + 1);
    return error_at_line(reader, line, "not YAML: %s", problem);
}

/* Replaces the current event by the next one. */
static TsStatus next_event(Reader *reader)
{
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event))
        return parser_error(reader);
    return TS_OK;
}

static TsStatus count_nodes(Reader *reader, int64_t more)
{
    reader->nodes += more;
    if (reader->nodes <= TS_YAML_NODES)
        return TS_OK;
    return error_at_line(reader, event_line(reader), "more than %d values, aliases counted as often as they are used",
                         TS_YAML_NODES);
}

/* Children of a node that is still being read. */
typedef struct Children {
    int64_t count, capacity;
    TsYaml **items;
    const char **keys;
} Children;

static void add_child(TsPool *pool, Children *children, const char *key, TsYaml *item)
{
    if (children->count == children->capacity) {
        int64_t capacity = children->capacity ? 2 * children->capacity : 4;
        TsYaml **items = ts_pool_calloc(pool, (size_t)capacity, sizeof *items);
        const char **keys = ts_pool_calloc(pool, (size_t)capacity, sizeof *keys);
        for (int64_t i = 0; i < children->count; i++) {
            items[i] = children->items[i];
            keys[i] = children->keys[i];
        }
        *children = (Children){children->count, capacity, items, keys};
    }
    children->items[children->count] = item;
    children->keys[children->count++] = key;
}

static TsStatus read_node(Reader *reader, TsYaml **node, int depth);

/* An anchor's name and its place, from which `node` can be had later; *slot is NULL without an anchor. */
static TsStatus open_anchor(Reader *reader, Anchor **slot, const yaml_char_t *name)
{
    *slot = NULL;
    if (!name)
        return TS_OK;
    if (reader->anchor_count == TS_YAML_ANCHORS)
        return error_at_line(reader, event_line(reader), "more than %d anchors", TS_YAML_ANCHORS);
    *slot = &reader->anchors[reader->anchor_count++];
    (*slot)->name = ts_pool_copy(reader->pool, (const char *)name, strlen((const char *)name));
    return TS_OK;
}

static int64_t tree_nodes(const TsYaml *node)
{
    int64_t nodes = 1;
    for (int64_t i = 0; i < node->count; i++)
        nodes += tree_nodes(node->items[i]);
    return nodes;
}

static int tree_depth(const TsYaml *node)
{
    int deepest = 0;
    for (int64_t i = 0; i < node->count; i++) {
        int depth = tree_depth(node->items[i]);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static TsStatus read_alias(Reader *reader, TsYaml **node, int depth)
{
    const char *name = (const char *)reader->event.data.alias.anchor;
    const Anchor *found = NULL; /* the latest with this name, as YAML has it */
    for (int i = reader->anchor_count - 1; i >= 0 && !found; i--)
        if (strcmp(reader->anchors[i].name, name) == 0)
            found = &reader->anchors[i];
    if (!found)
        return error_at_line(reader, event_line(reader), "the alias *%.80s has no anchor &%.80s before it", name, name);
    if (!found->node)
        return error_at_line(reader, event_line(reader), "the alias *%.80s stands inside its own anchor", name);
    TS_TRY(count_nodes(reader, tree_nodes(found->node)));
    if (depth + tree_depth(found->node) - 1 > TS_YAML_DEPTH)
        return error_at_line(reader, event_line(reader), "more than %d levels deep", TS_YAML_DEPTH);
    *node = ts_pool_calloc(reader->pool, 1, sizeof **node);
    **node = *found->node; /* children are shared: nodes never change */
    (*node)->line = (int)event_line(reader);
    return TS_OK;
}

static TsStatus read_scalar(Reader *reader, TsYaml *node)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    size_t bytes = reader->event.data.scalar.length;
    if (strlen(text) != bytes)
        return error_at_line(reader, event_line(reader), "a string with a NUL character in it");
    node->kind = TS_YAML_SCALAR;
    node->plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = ts_pool_copy(reader->pool, text, bytes);
    return TS_OK;
}

static TsStatus read_key(Reader *reader, const char **key)
{
    if (reader->event.type != YAML_SCALAR_EVENT)
        return error_at_line(reader, event_line(reader), "a key must be a word, not a list, a map or an alias");
    size_t bytes = reader->event.data.scalar.length;
    if (reader->event.data.scalar.anchor || reader->event.data.scalar.tag)
        return error_at_line(reader, event_line(reader), "a key must be a word, without anchor or tag");
    if (bytes > TS_YAML_NAME_BYTES)
        return error_at_line(reader, event_line(reader), "a key of %zu bytes; at most %d are allowed", bytes,
                             TS_YAML_NAME_BYTES);
    TsYaml word = {0};
    TS_TRY(read_scalar(reader, &word));
    if (!word.text[0] || word.text[strcspn(word.text, "\n\r\t\b\033")])
        return error_at_line(reader, event_line(reader), "a key must be a word, not empty and on one line");
    *key = word.text;
    return TS_OK;
}

static TsStatus read_map(Reader *reader, TsYaml **node, int depth)
{
    size_t map_line = event_line(reader);
    Children children = {0};
    for (;;) {
        TS_TRY(next_event(reader));
        if (reader->event.type == YAML_MAPPING_END_EVENT)
            break;
        const char *key = NULL;
        size_t line = event_line(reader);
        TS_TRY(read_key(reader, &key));
        TS_TRY(next_event(reader));
        TsYaml *item = NULL;
        TS_TRY(read_node(reader, &item, depth + 1));
        item->line = reader->is_override ? 0 : (int)line;
        add_child(reader->pool, &children, key, item);
    }
    TsYaml *map = ts_yaml_map(reader->pool, reader->source, reader->is_override ? 0 : (int)map_line, children.count,
                              children.keys, children.items);
    int64_t first, repeated = ts_yaml_repeated_key(map, &first);
    if (repeated >= 0)
        return error_at_line(reader, (size_t)map->items[repeated]->line, "the key %s is given twice, first in line %d",
                             map->keys[repeated], map->items[first]->line);
    *node = map;
    return TS_OK;
}

static TsStatus read_list(Reader *reader, TsYaml *node, int depth)
{
    Children children = {0};
    for (;;) {
        TS_TRY(next_event(reader));
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        TsYaml *item = NULL;
        TS_TRY(read_node(reader, &item, depth + 1));
        add_child(reader->pool, &children, NULL, item);
    }
    node->kind = TS_YAML_LIST;
    node->count = children.count;
    node->items = children.items;
    return TS_OK;
}

/* Reads the node that the current event begins; afterwards the current event is its last one. */
static TsStatus read_node(Reader *reader, TsYaml **node, int depth)
{
    if (reader->event.type == YAML_ALIAS_EVENT)
        return read_alias(reader, node, depth);
    yaml_event_type_t type = reader->event.type;
    bool scalar = type == YAML_SCALAR_EVENT, list = type == YAML_SEQUENCE_START_EVENT;
    TS_CHECK(scalar || list || type == YAML_MAPPING_START_EVENT, "libyaml event %d", (int)type);
    if (!scalar && depth > TS_YAML_DEPTH)
        return error_at_line(reader, event_line(reader), "more than %d levels deep", TS_YAML_DEPTH);
    TS_TRY(count_nodes(reader, 1));
    const yaml_char_t *tag = scalar ? reader->event.data.scalar.tag
                             : list ? reader->event.data.sequence_start.tag
                                    : reader->event.data.mapping_start.tag;
    if (tag)
        return error_at_line(reader, event_line(reader), "tags such as %.80s are not understood", (const char *)tag);
    Anchor *anchor;
    TS_TRY(open_anchor(reader, &anchor,
                       scalar ? reader->event.data.scalar.anchor
                       : list ? reader->event.data.sequence_start.anchor
                              : reader->event.data.mapping_start.anchor));
    TsYaml *made = ts_pool_calloc(reader->pool, 1, sizeof *made);
    made->source = reader->source;
    made->line = reader->is_override ? 0 : (int)event_line(reader);
    TS_TRY(scalar ? read_scalar(reader, made) : list ? read_list(reader, made, depth) : read_map(reader, &made, depth));
    if (anchor)
        anchor->node = made;
    *node = made;
    return TS_OK;
}

static TsStatus read_document(Reader *reader, TsYaml **tree)
{
    TS_TRY(next_event(reader)); /* stream start */
    TS_TRY(next_event(reader));
    if (reader->event.type == YAML_STREAM_END_EVENT)
        return error_at_line(reader, 1, "the file has no keys: it is empty, or all comments");
    TS_TRY(next_event(reader)); /* after document start */
    TS_TRY(read_node(reader, tree, 1));
    TS_TRY(next_event(reader)); /* document end */
    TS_TRY(next_event(reader));
    if (reader->event.type != YAML_STREAM_END_EVENT)
        return error_at_line(reader, event_line(reader), "a second document begins here; a file holds one");
    return TS_OK;
}

/* Bytes of the UTF-8 character at `at`, of at most `left` bytes; 0 if there is none that YAML allows. */
static size_t character_bytes(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80)
        return at[0] >= 0x20 ? at[0] != 0x7f : at[0] == '\n' || at[0] == '\r' || at[0] == '\t';
    size_t bytes = at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3 : at[0] >= 0xc2 ? 2 : 0;
    if (!bytes || at[0] >= 0xf5 || bytes > left)
        return 0;
    uint32_t code = at[0] & (0xffu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    return code >= lowest[bytes] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? bytes : 0;
}

/* What libyaml would take long over, or report badly. */
static TsStatus check_bytes(const Reader *reader, const char *text, size_t size_bytes)
{
    if (size_bytes > TS_YAML_BYTES)
        return ts_status_error(TS_CODE_INVALID, "%s: %zu bytes; a configuration has at most %d MiB", reader->source,
                               size_bytes, TS_YAML_BYTES >> 20);
    size_t line = 1, line_begin = 0;
    for (size_t i = 0, bytes; i < size_bytes; i += bytes) {
        if (i == line_begin && size_bytes - i >= 4 && memcmp(text + i, "%TAG", 4) == 0)
            return error_at_line(reader, line, "%%TAG directives are not understood");
        bytes = character_bytes((const unsigned char *)text + i, size_bytes - i);
        if (!bytes)
            return error_at_line(reader, line, "byte 0x%02x in column %zu: this is not UTF-8 text",
                                 (unsigned)(unsigned char)text[i], i - line_begin + 1);
        if (text[i] == '\n') {
            line++;
            line_begin = i + 1;
        }
    }
    return TS_OK;
}

static TsStatus parse(TsPool *pool, const TsYaml **tree, bool is_override, const char *source, const char *text,
                      size_t size_bytes)
{
    Reader *reader = ts_calloc(1, sizeof *reader);
    reader->pool = pool;
    reader->is_override = is_override;
    reader->source = ts_pool_copy(pool, source, strlen(source));
    TsYaml *made = NULL;
    TsStatus status = check_bytes(reader, text, size_bytes);
    if (!status) {
        TS_CHECK(yaml_parser_initialize(&reader->parser), "out of memory in libyaml");
        yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, size_bytes);
        status = read_document(reader, &made);
        yaml_event_delete(&reader->event);
        yaml_parser_delete(&reader->parser);
    }
    ts_free(reader);
    *tree = status ? NULL : made;
    return status;
}

TsStatus ts_yaml_parse(TsPool *pool, const TsYaml **tree, const char *name, const char *text, size_t size_bytes)
{
    return parse(pool, tree, false, name, text, size_bytes);
}

TsStatus ts_yaml_parse_override(TsPool *pool, const TsYaml **tree, const char *override)
{
    *tree = NULL;
    const char *equals = strchr(override, '=');
    for (size_t i = 0, bytes, left = strlen(override); i < left; i += bytes)
        if (!(bytes = character_bytes((const unsigned char *) override + i, left - i)) || override[i] == '\n')
            return ts_status_error(TS_CODE_INVALID, "command line: %.*s...: byte 0x%02x is not allowed in an override",
                                   i > 200 ? 200 : (int)i, override, (unsigned)(unsigned char) override[i]);
    if (!equals || equals == override)
        return ts_status_error(TS_CODE_INVALID, "command line: %s: expected key.key=value", override);
    char *source = ts_format("command line: %.200s%s", override, strlen(override) > 200 ? "..." : "");
    const TsYaml *node = NULL;
    TsStatus status = equals[1] ? parse(pool, &node, true, source, equals + 1, strlen(equals + 1)) : TS_OK;
    if (!status && !node) { /* "a.b=": nothing, which brings the default back */
        TsYaml *nothing = ts_pool_calloc(pool, 1, sizeof *nothing);
        *nothing = (TsYaml){.plain = true, .source = ts_pool_copy(pool, source, strlen(source)), .text = ""};
        node = nothing;
    }
    int levels = 1;
    for (const char *end = equals; !status;) { /* from the last key to the first */
        const char *begin = end;
        while (begin > override && begin[-1] != '.')
            begin--;
        if (begin == end || end - begin > TS_YAML_NAME_BYTES || ++levels > TS_YAML_DEPTH) {
            status =
                ts_status_error(TS_CODE_INVALID, "%s: expected key.key=value, with at most %d keys of 1 to %d bytes",
                                source, TS_YAML_DEPTH, TS_YAML_NAME_BYTES);
            break;
        }
        const char *key = ts_pool_copy(pool, begin, (size_t)(end - begin));
        TsYaml *const item = (TsYaml *)node;
        node = ts_yaml_map(pool, item->source, 0, 1, &key, &item);
        if (begin == override)
            break;
        end = begin - 1;
    }
    ts_free(source);
    *tree = status ? NULL : node;
    return status;
}
