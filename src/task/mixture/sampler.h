/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampler: from the weights of the parts of a mixture to their rates, at each step.
 *
 * A part is a task or another mixture. Rates are not negative and add up to 1; a part of weight 0 has none. They are a
 * function of the step alone, the same on every rank and in every resumed run. Called by Mixture, once a level.
 */
#pragma once

#include "base/config.h"

typedef struct TsSamplerPart {
    const char *name;
    double weight;
    int64_t examples; /* of its training data; of a mixture, of all its tasks together */
} TsSamplerPart;

/* Rates ~ weight^alpha (Pax, TensorFlow). */
typedef struct TsProportional {
    double alpha;
} TsProportional;

/* Rates ~ min(weight * examples * scale, maximum)^(1 / temperature) (SeqIO's rate_num_examples). */
typedef struct TsExamplesSampler {
    double scale, maximum, temperature;
} TsExamplesSampler;

/* Rates ~ weight^alpha, alpha falling from 1 to 0.2 over the epochs: 1 - 0.8 (e - 1) / (E - 1), e counted from 1
 * (Stickland and Murray 2019). One epoch has 1; what is past the end has 0.2. */
typedef struct TsAnnealing {
    int64_t epochs;      /* E */
    int64_t epoch_steps; /* steps of the run that count as an epoch */
} TsAnnealing;

/* Rates from a table: those of the last row at or before the step, or between two rows on the line from one to the
 * other. */
typedef struct TsSamplerRow {
    int64_t step;
    TsMap rates; /* of double, by the name of the part; one that is left out has none */
} TsSamplerRow;

typedef struct TsSamplerSchedule {
    TsList table; /* of TsSamplerRow, steps rising */
    bool linear;
} TsSamplerSchedule;

/* uniform, proportional, examples, annealing, schedule, round_robin. */
extern const TsVariants ts_samplers;

/* Whether parts take turns, one after the other, where others are drawn. Their rates are those of uniform. */
bool ts_sampler_takes_turns(TsChoice sampler);

/* An error that names the part: a weight that is negative or not finite, all of them zero, a row of a schedule that
 * names no part or gives nothing to any. `where` begins the message: the place in
 * the config, or "". */
TS_MUST_USE TsStatus ts_sampler_check(TsChoice sampler, const char *where, const TsSamplerPart *parts, int count);

/* rate (count) at `step`, from 1, of parts that passed the check; those of weight 0 among them may be others than then.
 * All zero where no part is left. */
void ts_sampler_rates(double *rate, const TsSamplerPart *parts, int count, TsChoice sampler, int64_t step);
