/* SPDX-License-Identifier: Apache-2.0
 *
 * Philox: random numbers as a function of where they are used, not of how often somebody has drawn before.
 *
 * A Stream is (seed, name, step); element `index` of it, the *global* index in the array that is filled, is the same on
 * any number of ranks and threads, and however the array is cut. Philox4x32-10 of Salmon, Moraes, Dror, Shaw, "Parallel
 * random numbers: as easy as 1, 2, 3" (2011). Uniform, normal and integer elements of one stream are not independent of
 * each other: give each use its own name. All functions are safe from any thread, and none is collective; what is
 * filled has the same bits on every machine with IEEE arithmetic, whatever its vector width (f64 normals: up to libm).
 */
#pragma once

#include <stdint.h>

/* The bare generator: ten rounds on a counter and a key. */
void ts_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

typedef struct TsStream {
    uint32_t key[2]; /* of seed and name */
    uint64_t step;   /* below 2^48 */
} TsStream;

/* The stream with this name, such as "init/backbone/layer_03/up/kernel"; `step` >= 0, and 0 for what has no step. */
TsStream ts_stream(uint64_t seed, const char *name, int64_t step);

/* One element. Uniform ones lie strictly between 0 and 1; normal ones have mean 0 and variance 1. */
float ts_stream_uniform_f32(TsStream stream, int64_t index);
double ts_stream_uniform_f64(TsStream stream, int64_t index);
float ts_stream_normal_f32(TsStream stream, int64_t index);
double ts_stream_normal_f64(TsStream stream, int64_t index);

/* A whole number in [0, bound), each equally likely; bound > 0. */
int64_t ts_stream_below(TsStream stream, int64_t index, int64_t bound);

/* out[i] = element first + i, for i < count: the same values as one by one. */
void ts_stream_fill_bits(TsStream stream, uint32_t *out, int64_t first, int64_t count);
void ts_stream_fill_uniform_f32(TsStream stream, float *out, int64_t first, int64_t count);
void ts_stream_fill_normal_f32(TsStream stream, float *out, int64_t first, int64_t count);
