/* SPDX-License-Identifier: Apache-2.0
 *
 * Yaml: a text as a tree of nodes that remember where they stand, without any idea of what the keys mean (config.h).
 *
 * One document a text, no tags, no directives. Aliases are copied in. Everything that a hostile text can do is bounded:
 * TS_YAML_BYTES, TS_YAML_DEPTH, TS_YAML_NODES. Nodes are never changed once made: merging makes new ones. Called by
 * config.c, and by whoever rewrites a configuration before it is bound (a search space, for instance).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/status.h"
#include "base/text.h"

enum {
    TS_YAML_BYTES = 16 << 20, /* the longest text */
    TS_YAML_DEPTH = 64,       /* maps and lists inside one another */
    TS_YAML_NODES = 1 << 20,  /* scalars, lists and maps in all, aliases counted as often as they are used */
    TS_YAML_ANCHORS = 256,
    TS_YAML_NAME_BYTES = 256, /* the longest key */
};

typedef enum TsYamlKind { TS_YAML_SCALAR, TS_YAML_LIST, TS_YAML_MAP } TsYamlKind;

/* All pointers are borrowed from the pool that the tree was made in. */
typedef struct TsYaml {
    TsYamlKind kind;
    bool plain;         /* a scalar without quotes, which may mean a number, a truth value or nothing */
    const char *source; /* the file's name; "command line: a.b=c" for an override */
    int line;           /* from 1, that of the key for the value of a key; 0 for an override */

    const char *text; /* of a scalar, without NULs in it */

    int64_t count;              /* of a list or map: its items, in the order of the text */
    struct TsYaml **items;      /* (count) */
    const char **keys;          /* (count) of a map, all different */
    const int64_t *sorted_keys; /* (count) of a map: item numbers, keys ascending */
} TsYaml;

/* Reads one YAML document, `size_bytes` of UTF-8. `name` is what errors call the text: the path of its file. The text
 * is borrowed for the call only. Errors: "NAME:LINE: what", on one line. Not collective. */
TS_MUST_USE TsStatus ts_yaml_parse(TsPool *pool, const TsYaml **tree, const char *name, const char *text,
                                   size_t size_bytes);

/* Reads an override, "a.b.c=value": maps around the value, which is itself YAML on one line. */
TS_MUST_USE TsStatus ts_yaml_parse_override(TsPool *pool, const TsYaml **tree, const char *override);

/* `over` on top of `under`: keys of both maps, merged where both have maps; otherwise `over` alone. With `by_type`, a
 * map whose key `type` says something else than the one under it replaces it whole, so that no options of the former
 * type are left over; and a map on top of a word means {type: word}. Shares nodes with both. */
const TsYaml *ts_yaml_merge(TsPool *pool, const TsYaml *under, const TsYaml *over, bool by_type);

/* A map with these items, in this order; shares keys and items, copies the arrays. The keys should all differ. */
TsYaml *ts_yaml_map(TsPool *pool, const char *source, int line, int64_t count, const char *const *keys,
                    TsYaml *const *items);

/* The first item of a map whose key an earlier item, *first, has too; -1 where all differ, as in all that was parsed.
 */
int64_t ts_yaml_repeated_key(const TsYaml *map, int64_t *first);

/* The item of a map with this key; NULL where there is none, or where `map` is no map. */
const TsYaml *ts_yaml_get(const TsYaml *map, const char *key);

/* The node at "a.b.c", or where the path ends early the last node on it. Whole tells which. */
const TsYaml *ts_yaml_find(const TsYaml *tree, const char *path, bool *whole);

/* Whether the node says nothing: a plain scalar that is empty, ~ or null. A key with such a value counts as not given.
 */
bool ts_yaml_is_null(const TsYaml *node);

/* Appends where the node stands: "line.yaml:12", or "command line: a.b=c". */
void ts_yaml_append_place(TsText *out, const TsYaml *node);

/* An error of the text at this node: "line.yaml:12: " or "command line: a.b=c: ", then the message. */
TS_MUST_USE TsStatus ts_yaml_error(const TsYaml *node, const char *format, ...) TS_PRINTF(2, 3);
