/* SPDX-License-Identifier: Apache-2.0
 *
 * Config: YAML into structs, by one table of keys for each struct. The same table parses, checks, prints help, writes
 * the resolved configuration back, and writes the reference page, so nothing about a key is said twice.
 *
 *     typedef struct MeshConfig { int64_t data, model; } MeshConfig;
 *
 *     static const TsKey mesh_keys[] = {
 *         TS_KEY_INT(MeshConfig, data, "ranks along the batch", .fallback = "auto", .takes_auto = true,
 *                    .range = TS_AT_LEAST(1)),
 *         TS_KEY_INT(MeshConfig, model, "ranks along heads and widths", .fallback = "1", .range = TS_AT_LEAST(1)),
 *         TS_KEYS_END};
 *     const TsConfigTable mesh_table = {"mesh", "How ranks are laid out.", sizeof(MeshConfig), mesh_keys};
 *
 * A key that is neither given nor has a fallback is zero, NULL or empty; if it is `required` that is an error. A key
 * whose value is null counts as not given. Unknown keys, wrong types, values out of range and keys given twice are
 * errors on one line, "line.yaml:12: mesh.modle: no such key; did you mean model?".
 *
 * This floor knows no ranks: rank 0 reads the files and broadcasts their bytes; all ranks call ts_config_load with the
 * same bytes and get the same values or the same error. Called by src/cli; floors above declare tables.
 */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/text.h"
#include "base/unit.h"
#include "base/yaml.h"

typedef enum TsKeyKind {                 /* the type of the field                  written in YAML as */
                         TS_KIND_BOOL,   /* bool                                   true, false, yes, no, on, off */
                         TS_KIND_INT,    /* int64_t                                2000; with .unit also "2000 steps" */
                         TS_KIND_REAL,   /* double                                 3e-4 */
                         TS_KIND_STRING, /* const char *                           words */
                         TS_KIND_ENUM,   /* an enum: the place of the word in .words */
                         TS_KIND_BYTES,  /* int64_t                                2 GiB */
                         TS_KIND_SECONDS,  /* double                                 12 h */
                         TS_KIND_INTERVAL, /* TsInterval                             500 steps, 12 h, 2 epochs, never */
                         TS_KIND_STRUCT, /* the struct of .table                   a map; left out: all its fallbacks */
                         TS_KIND_OPTIONAL, /* a pointer to the struct of .table      a map; left out: NULL */
                         TS_KIND_CHOICE, /* TsChoice, one of .variants             {type: NAME, keys of NAME...} or just
                                            NAME */
                         TS_KIND_LIST,   /* TsList of .element                     [a, b] */
                         TS_KIND_MAP, /* TsMap of .element                      {name: a, other: b}; null drops a name
                                       */
                         TS_KIND_ANY, /* const TsYaml *                         anything: checked by whoever uses it;
                                         NULL if left out */
} TsKeyKind;

/* The value of an INT, REAL, BYTES or SECONDS key that says `auto`; .takes_auto allows it, .range must not include it.
 */
#define TS_AUTO (-1)

/* Which numbers are allowed: INT, REAL, BYTES, SECONDS; the count of an INTERVAL that is not never; the number of items
 * of a LIST or MAP; the bytes of a STRING. All zero: no limit. */
typedef struct TsRange {
    bool is_set, above_lowest, below_highest; /* the ends belong to the range unless said otherwise */
    double lowest, highest;
} TsRange;

#define TS_AT_LEAST(low)                                                                                               \
    {                                                                                                                  \
        .is_set = true, .lowest = (low), .highest = INFINITY                                                           \
    }
#define TS_ABOVE(low)                                                                                                  \
    {                                                                                                                  \
        .is_set = true, .above_lowest = true, .lowest = (low), .highest = INFINITY                                     \
    }
#define TS_BETWEEN(low, high)                                                                                          \
    {                                                                                                                  \
        .is_set = true, .lowest = (low), .highest = (high)                                                             \
    }
#define TS_FROM_TO(low, high)                                                                                          \
    {                                                                                                                  \
        .is_set = true, .below_highest = true, .lowest = (low), .highest = (high)                                      \
    } /* [) */
#define TS_ABOVE_UP_TO(low, high)                                                                                      \
    {                                                                                                                  \
        .is_set = true, .above_lowest = true, .lowest = (low), .highest = (high)                                       \
    } /* (] */

typedef struct TsConfigTable TsConfigTable;
typedef struct TsVariants TsVariants;

typedef struct TsKey {
    const char *name; /* NULL ends the list */
    TsKeyKind kind;
    size_t offset;    /* of the field in its struct */
    const char *help; /* one line, without a final full stop */
    const char
        *fallback;   /* the default, as YAML: "100", "12 h", "[384]"; of a CHOICE a name; NULL: zero, NULL or empty */
    bool required;   /* must be given; no fallback then */
    bool takes_auto; /* the word auto gives TS_AUTO */
    bool takes_inf;  /* of a REAL: inf and what is too large for a double give infinity; else they are refused */
    bool flat;       /* of a CHOICE: its `type` and the keys of the variant stand among the other keys of the struct */
    TsRange range;
    const char *unit;            /* of an INT or REAL: what it counts, "steps"; may follow the number */
    const char *const *words;    /* of an ENUM: ends with NULL */
    const TsConfigTable *table;  /* of a STRUCT or OPTIONAL */
    const TsVariants *variants;  /* of a CHOICE */
    const struct TsKey *element; /* of a LIST or MAP: kind and limits of an item; its name and offset mean nothing */
} TsKey;

/* A struct and its keys. */
struct TsConfigTable {
    const char *name; /* in the reference page; unique in the tree */
    const char *help; /* one or more sentences */
    size_t size_bytes;
    const TsKey *keys; /* up to the one without a name; NULL: no keys */
    TsStatus (*check)(
        const void *value); /* NULL, or what holds between the keys; the message is put behind file and line */
};

/* One of the things that a CHOICE can be. */
typedef struct TsVariant {
    const char *name;
    const char *help;
    const TsConfigTable *table; /* its keys; NULL: it has none, and TsChoice.value is NULL */
    const void *extra;          /* whatever the floor that registers it needs to find, such as a vtable */
} TsVariant;

/* A registry that a floor above fills, and plug-ins extend before the configuration is read. */
struct TsVariants {
    const char *what; /* "optimizer": the word in errors and in the reference page */
    const TsVariant *items;
    int64_t count;
};

typedef struct TsChoice {
    const TsVariant *variant; /* NULL: left out */
    const void *value;        /* the variant's struct, or NULL */
} TsChoice;

/* Items are int64_t, double, const char *, a struct, a TsList ... by the kind of the element; an OPTIONAL's is a
 * pointer. */
typedef struct TsList {
    int64_t count;
    const void *items; /* (count) */
} TsList;

typedef struct TsMap {
    int64_t count;
    const char *const *names; /* (count) in the order of the text */
    const void *items;        /* (count) */
} TsMap;

/* The offset of a field, compiled only if the field has this type. */
#define TS_FIELD(Struct, field, Type) (offsetof(Struct, field) + _Generic(((Struct *)0)->field, Type : 0))

/* Keys that bear the name of their field; further members of TsKey follow as designated initialisers. */
#define TS_KEY_BOOL(S, f, text, ...)                                                                                   \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_BOOL, .offset = TS_FIELD(S, f, bool), .help = (text), __VA_ARGS__                  \
    }
#define TS_KEY_INT(S, f, text, ...)                                                                                    \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_INT, .offset = TS_FIELD(S, f, int64_t), .help = (text), __VA_ARGS__                \
    }
#define TS_KEY_REAL(S, f, text, ...)                                                                                   \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_REAL, .offset = TS_FIELD(S, f, double), .help = (text), __VA_ARGS__                \
    }
#define TS_KEY_STRING(S, f, text, ...)                                                                                 \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_STRING, .offset = TS_FIELD(S, f, const char *), .help = (text), __VA_ARGS__        \
    }
#define TS_KEY_BYTES(S, f, text, ...)                                                                                  \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_BYTES, .offset = TS_FIELD(S, f, int64_t), .help = (text), __VA_ARGS__              \
    }
#define TS_KEY_SECONDS(S, f, text, ...)                                                                                \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_SECONDS, .offset = TS_FIELD(S, f, double), .help = (text), __VA_ARGS__             \
    }
#define TS_KEY_INTERVAL(S, f, text, ...)                                                                               \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_INTERVAL, .offset = TS_FIELD(S, f, TsInterval), .help = (text), __VA_ARGS__        \
    }
#define TS_KEY_ANY(S, f, text, ...)                                                                                    \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_ANY, .offset = TS_FIELD(S, f, const TsYaml *), .help = (text), __VA_ARGS__         \
    }
/* `list` is an array of words that ends with NULL; the field an enum (or int) whose values count from 0 in its order.
 */
#define TS_KEY_ENUM(S, f, list, text, ...)                                                                             \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_ENUM,                                                                              \
        .offset = offsetof(S, f) + 0 * sizeof(char[sizeof(((S *)0)->f) == sizeof(int) ? 1 : -1]), .words = (list),     \
        .help = (text), __VA_ARGS__                                                                                    \
    }
/* `keys_of` is a TsConfigTable *; TS_KEY_OPTIONAL's field is a const pointer to the struct. */
#define TS_KEY_STRUCT(S, f, keys_of, text, ...)                                                                        \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_STRUCT, .offset = offsetof(S, f), .table = (keys_of), .help = (text), __VA_ARGS__  \
    }
#define TS_KEY_OPTIONAL(S, f, keys_of, text, ...)                                                                      \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_OPTIONAL, .offset = offsetof(S, f) + 0 * sizeof(*((S *)0)->f), .table = (keys_of), \
        .help = (text), __VA_ARGS__                                                                                    \
    }
/* `registry` is a TsVariants *. */
#define TS_KEY_CHOICE(S, f, registry, text, ...)                                                                       \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_CHOICE, .offset = TS_FIELD(S, f, TsChoice), .variants = (registry),                \
        .help = (text), __VA_ARGS__                                                                                    \
    }
/* `item` is a TsKey *, such as &(const TsKey){.kind = TS_KIND_INT, .range = TS_AT_LEAST(1)}, or one of the next two. */
#define TS_KEY_LIST(S, f, item, text, ...)                                                                             \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_LIST, .offset = TS_FIELD(S, f, TsList), .element = (item), .help = (text),         \
        __VA_ARGS__                                                                                                    \
    }
#define TS_KEY_MAP(S, f, item, text, ...)                                                                              \
    {                                                                                                                  \
        .name = #f, .kind = TS_KIND_MAP, .offset = TS_FIELD(S, f, TsMap), .element = (item), .help = (text),           \
        __VA_ARGS__                                                                                                    \
    }
#define TS_KEYS_END                                                                                                    \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }
#define TS_ELEMENT(element_kind)   (&(const TsKey){.kind = (element_kind)})
#define TS_ELEMENT_STRUCT(keys_of) (&(const TsKey){.kind = TS_KIND_STRUCT, .table = (keys_of)})

/* A configuration that was read: its values, and where each came from. */
typedef struct TsConfig TsConfig;

typedef struct TsConfigText {
    const char *name; /* the path of the file, for errors */
    const char *bytes;
    size_t size_bytes;
} TsConfigText;

typedef struct TsConfigSources {
    const TsConfigText *texts; /* later ones win over earlier ones, key by key */
    int64_t text_count;
    const char *const *overrides; /* "a.b.c=value"; win over all texts */
    int64_t override_count;
} TsConfigSources;

/* Whether a word of the command line is an override (a.b=c) and not the name of a file. */
bool ts_config_is_override(const char *word);

/* Reads, merges, binds and checks. `root` and the variants that it names must outlive the config; the sources are
 * borrowed for the call. *config is owned by the caller, and NULL after an error. Not collective, but the same on all
 * ranks that have the same sources and tables. */
TS_MUST_USE TsStatus ts_config_load(TsConfig **config, const TsConfigTable *root, TsConfigSources sources);

/* The two halves of ts_config_load, for who rewrites the tree in between. The tree lives in `pool`; the config keeps
 * copies of nothing, so the pool must outlive it. */
TS_MUST_USE TsStatus ts_config_merge(TsPool *pool, const TsYaml **tree, TsConfigSources sources);
TS_MUST_USE TsStatus ts_config_bind(TsConfig **config, const TsConfigTable *root, const TsYaml *tree);

/* The table it was bound by. */
const TsConfigTable *ts_config_table(const TsConfig *config);

/* Appends what the key takes, in words: "a whole number, at least 1, or auto". */
void ts_key_describe(TsText *out, const TsKey *key);

/* Bytes of one item of a list or map with this element. */
size_t ts_key_item_bytes(const TsKey *element);

/* Frees the config with all its values, and sets *config to NULL; NULL is fine. */
void ts_config_free(TsConfig **config);

/* The struct of the root table; borrowed from the config, as is everything that it points to. */
const void *ts_config_value(const TsConfig *config);

/* An error that was found later, about the value of the field or struct at this address inside the config:
 * "line.yaml:12: mesh.model: 3 does not divide 8 ranks". For a field that was left out, the line is that of the struct
 * around it. An address that is not inside the config gives the message alone. A struct and its first field share an
 * address: the field is meant. */
TS_MUST_USE TsStatus ts_config_error(const TsConfig *config, const void *field, const char *format, ...)
    TS_PRINTF(3, 4);

/* The same by path, "tasks.lm.data"; the nearest enclosing key that was given provides the line. */
TS_MUST_USE TsStatus ts_config_error_at(const TsConfig *config, const char *path, const char *format, ...)
    TS_PRINTF(3, 4);

/* Whether the key at this path was given (and is not null), not taken from a fallback. */
bool ts_config_is_given(const TsConfig *config, const char *path);

/* Appends the whole resolved configuration as YAML, with every fallback filled in; reading it gives the same values. */
void ts_config_write(const TsConfig *config, TsText *out);

/* Appends what `path` is: type, range, default, help, and for a struct or choice its keys. A name in a map is any word
 * (tasks.lm.weight). A path that is none is taken as the last part of one (`rate`); if there is no such key either, the
 * error names the nearest. A NULL path: all keys, one a line. */
TS_MUST_USE TsStatus ts_config_help(TsText *out, const TsConfigTable *root, const char *path);

/* Appends the reference page: every table once, in Markdown. */
void ts_config_markdown(TsText *out, const TsConfigTable *root);

/* Aborts if a table contradicts itself: a fallback that does not read or is out of range, a name twice, a kind without
 * what it needs. For the tests of the floors that declare tables. */
void ts_config_check_tables(const TsConfigTable *root);
