/* SPDX-License-Identifier: Apache-2.0
 *
 * Keep: which checkpoints of a run stay, and because of what. Rules are a TsKeepPolicy; any of them keeps one. The
 * newest that is committed always stays, and so does one that another names: as what it was averaged or initialized
 * from.
 *
 * The rules in force are written into each manifest, so that whoever lists a run can say why a checkpoint is there.
 * Not collective: rank 0's work.
 */
#pragma once

#include <jansson.h>

#include "ckpt/checkpoint.h"
#include "ckpt/manifest.h"

typedef enum TsKeptBecause {
    TS_KEPT_NEWEST = 1,
    TS_KEPT_LATEST = 2,
    TS_KEPT_STEPS = 4,
    TS_KEPT_TIME = 8,
    TS_KEPT_GIVEN = 16,
    TS_KEPT_BEST = 32,
    TS_KEPT_NAMED = 64
} TsKeptBecause;

/* What the rules look at. */
typedef struct TsKeepItem {
    int64_t step;
    double time_s;   /* of saving, since 1970 */
    bool has_metric; /* the policy's, evaluated at this very step */
    double metric;
    bool named;
    unsigned because; /* of TsKeptBecause; 0: it may go */
} TsKeepItem;

/* Sets `because` of each item; items are committed checkpoints, oldest first. */
void ts_keep_decide(TsKeepItem *items, int64_t count, const TsKeepPolicy *policy);

/* What a manifest says of itself to the rules; `because` and `named` are not set. */
TsKeepItem ts_keep_item(const TsManifest *manifest, const TsKeepPolicy *policy);

/* Whether the checkpoint of `manifest` names the directory `path`. */
bool ts_keep_names(const TsManifest *manifest, const char *path);

/* "latest, best lm/loss"; owned by the caller. */
char *ts_keep_words(unsigned because, const TsKeepPolicy *policy);

/* The policy as it is written into manifests; owned by the caller. */
json_t *ts_keep_json(const TsKeepPolicy *policy);

/* Reads it back; what is missing or wrong counts as not asked for. `steps` (owned by the caller: ts_free) is what the
 * policy points at; its `by` is borrowed from the JSON. */
TsKeepPolicy ts_keep_parse(const json_t *json, int64_t **steps);

/* Removes from ROOT the checkpoints that no rule keeps, among those up to `step` that are committed and not known to
 * be damaged; the one of `step` is the newest. What cannot be removed is a warning. */
void ts_keep_prune(const char *root, int64_t step, const TsKeepPolicy *policy);
