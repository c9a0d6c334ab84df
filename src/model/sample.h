/* SPDX-License-Identifier: Apache-2.0
 *
 * Sample: draws a token from the log-probabilities of one row.
 *
 * Temperature first; of what is left the top_k likeliest; of those the fewest whose mass at that temperature reaches
 * top_p, as the sequence of warpers of Hugging Face's transformers has it. (Praxis takes the mass at temperature 1.)
 * Equally likely tokens stand in the order of their numbers. On the host; not collective.
 */
#pragma once

#include <stdint.h>

typedef struct TsSampling {
    double temperature; /* 0: the likeliest */
    int64_t top_k;      /* 0: all */
    double top_p;       /* 0, or 1: all */
} TsSampling;

/* A token with its weight. */
typedef struct TsWeighed {
    float weight;
    int32_t token;
} TsWeighed;

/* A token: the one at which the distribution's sum reaches `uniform`, in (0, 1). log_probability (vocab) may be off by
 * a constant, and hold -infinity for what must not be taken. `room` is for vocab elements. */
int32_t ts_sample(const float *log_probability, int64_t vocab, TsSampling sampling, double uniform, TsWeighed *room);

/* The first of the likeliest tokens. */
int32_t ts_likeliest(const float *log_probability, int64_t vocab);

/* The `count` likeliest tokens (fewer where there are fewer), best first; returns how many. best (count). */
int64_t ts_likeliest_many(TsWeighed *best, int64_t count, const float *log_probability, int64_t vocab);
