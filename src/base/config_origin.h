/* SPDX-License-Identifier: Apache-2.0
 *
 * Origin: where each value of a configuration came from. Inside src/base only: config.c makes them while it binds, and
 * errors name them.
 */
#pragma once

#include "base/config.h"

/* One key or item that was bound: from which node, to which address, inside which other. */
typedef struct TsOrigin {
    const void *address;
    const struct TsOrigin *parent; /* NULL for the root */
    const char *name;              /* NULL for item `index` of a list */
    int64_t index, number;         /* `number` counts origins as they are made: parents come before what they hold */
    const TsYaml *node;            /* NULL where it was left out */
} TsOrigin;

struct TsConfig {
    TsPool *tree_pool; /* owned; NULL where the tree is somebody else's */
    TsPool *pool;      /* owned: the values, the origins */
    const TsConfigTable *root;
    const TsYaml *tree;
    void *value;
    TsOrigin **origins; /* (origin_count) by address, then number, once bound; the array is owned */
    int64_t origin_count, origin_capacity;
};

/* Keeps a copy, which lives as long as the config. */
const TsOrigin *ts_origin_add(TsConfig *config, TsOrigin origin);

/* Sorts them for ts_config_error. */
void ts_origin_sort(TsConfig *config);

/* "line.yaml:12: mesh.model": the place of the origin, or of what it is in if it was left out, and its path, with the
 * key `below` behind it if not NULL. Owned by the caller. */
char *ts_origin_where(const TsOrigin *origin, const char *below);

/* An error about this origin, or about the key `below` in it. */
TS_MUST_USE TsStatus ts_origin_error(const TsOrigin *origin, const char *below, const char *format, ...)
    TS_PRINTF(3, 4);
