/* SPDX-License-Identifier: Apache-2.0
 *
 * FineTune: which part of a pre-trained trunk learns: all of it, nothing, or small layers that are put into it.
 *
 *     fine_tune: {mode: lora, r: 16, alpha: 32, targets: "attention/(query|value)$"}
 *
 * The trunk is what lies under "backbone/". Where the mode is not full, its own parameters are frozen, and what is put
 * in begins as nothing: at step 0 the model is the trunk, to the bit. A table of parameters has one (parameter.h),
 * which layers ask while they are traced.
 *
 *   lora      x W + s (x A) B: linear layers that `targets` is found in the path of have parameters lora_a (in..., r),
 *             random, and lora_b (r, out...), zero, beside their kernel; s is alpha / r: Hu et al. 2022. With
 *             rank_stabilized alpha / sqrt(r): Kalajdzievski 2023
 *   adapters  x + up(relu(down(norm(x)))) behind every block, `width` wide, its parameters under "tasks/NAME/residual":
 *             one a task. Houlsby et al. 2019; Bapna and Firat 2019
 */
#pragma once

#include <stdbool.h>

#include "base/config.h"

typedef enum TsFineTuneMode {
    TS_FINE_TUNE_FULL,
    TS_FINE_TUNE_FROZEN,
    TS_FINE_TUNE_LORA,
    TS_FINE_TUNE_ADAPTERS
} TsFineTuneMode;

/* Parameters that learn from a step on. */
typedef struct TsUnfreeze {
    const char *parameters; /* a pattern of paths */
    int64_t step;           /* the first in which they move */
} TsUnfreeze;

typedef struct TsFineTuneConfig {
    TsFineTuneMode mode;
    int64_t r;
    double alpha;
    const char *targets; /* a pattern of paths of layers */
    bool rank_stabilized;
    double dropout;  /* of what goes into A */
    int64_t width;   /* of adapters */
    TsList unfreeze; /* of TsUnfreeze; the first that is found counts */
} TsFineTuneConfig;

/* The keys of `fine_tune:`. */
extern const TsConfigTable ts_fine_tune_table;

typedef struct TsFineTune TsFineTune;

/* `config` and `task` are borrowed for its life; task NULL: of no task, so without adapters. Not collective. Owned by
 * the caller. */
TS_MUST_USE TsStatus ts_fine_tune_create(TsFineTune **fine_tune, const TsFineTuneConfig *config, const char *task);

/* Sets *fine_tune to NULL; NULL is fine. */
void ts_fine_tune_free(TsFineTune **fine_tune);

/* Its config; of NULL, NULL. */
const TsFineTuneConfig *ts_fine_tune_config(const TsFineTune *fine_tune);

/* Whether a parameter learns, and so is in checkpoints; NULL: all do. */
bool ts_fine_tune_learns(const TsFineTuneConfig *config, const char *path);

/* Whether a parameter was put into the trunk. */
bool ts_fine_tune_adds(const char *path);

/* What is put beside the kernel of the linear layer of this path; NULL: nothing. Notes that there was one. */
const TsFineTuneConfig *ts_fine_tune_lora(TsFineTune *fine_tune, const char *path);

/* The width of residual adapters, and in *task whose; 0: there are none. */
int64_t ts_fine_tune_adapters(const TsFineTune *fine_tune, const char **task);

/* alpha / r, or alpha / sqrt(r). */
double ts_fine_tune_scale(const TsFineTuneConfig *config);

/* Whether `targets` was found in the path of any layer. */
bool ts_fine_tune_found(const TsFineTune *fine_tune);
