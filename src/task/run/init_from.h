/* SPDX-License-Identifier: Apache-2.0
 *
 * Initial weights from elsewhere: a run that begins takes its parameters from a checkpoint of another, by rules.
 *
 *     init_from: {path: runs/base, rules: [["^head/(.*)", "old_head/$1"], ["(.*)", "$1"]], ignore: ["^new_head/"]}
 *
 * Each parameter's path is looked for in the rules; the template of the first that is found names its source. Strict:
 * a parameter without a source, a source that is not there, and a parameter of the source that nobody asks for are
 * errors, all listed with the nearest names, but for what `ignore` is found in; so is a pattern that is found nowhere.
 * With allow_unused the source may hold more.
 * Called by the trainer where the run has no checkpoint of its own.
 */
#pragma once

#include <jansson.h>

#include "base/config.h"
#include "tensor/batch.h"

typedef struct TsInitFromConfig {
    const char *path; /* of a checkpoint, or of a run: then of its newest, or of `step` */
    TsList rules;     /* of TsList of two const char *: pattern, template; none: each from its own name */
    TsList ignore;    /* of const char *, patterns */
    int64_t step;     /* TS_AUTO: the newest */
    bool load_step, load_optimizer, load_ema, cast, allow_unused;
} TsInitFromConfig;

extern const TsConfigTable ts_init_from_table;

/* What came of it. */
typedef struct TsInitFrom {
    int64_t step;   /* of the source */
    json_t *record; /* {path, step, arrays: {name: source}}: for every checkpoint of the run; owned by the caller */
} TsInitFrom;

/* Fills those of `arrays` that are asked for: "parameters/…", with load_optimizer "optimizer/…", with load_ema
 * "average/…". Collective on group and on the meshes; the same status on all ranks. After an error arrays hold
 * anything. */
TS_MUST_USE TsStatus ts_init_from(TsInitFrom *from, TsGroup *group, const TsInitFromConfig *keys,
                                  const TsBatch *arrays);
