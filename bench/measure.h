/* SPDX-License-Identifier: Apache-2.0
 *
 * How a bench times things against each other in one process: in turn, many times, and by their medians, so that what
 * the machine does meanwhile falls on all alike.
 */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BENCH_ROUNDS = 11, BENCH_ACTIONS = 4 };

typedef struct BenchAction {
    void (*run)(void *context);
    void *context;
} BenchAction;

static inline double bench_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int bench_by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_median(const double *samples, int count)
{
    double sorted[64];
    memcpy(sorted, samples, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, bench_by_size);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* median_s[i]: of action i, over BENCH_ROUNDS rounds in each of which every action runs `calls` times, after a round
 * that is not counted. At most BENCH_ACTIONS. */
static inline void bench_alternate(double *median_s, const BenchAction *action, int actions, int calls)
{
    double samples[BENCH_ACTIONS][BENCH_ROUNDS];
    for (int round = -1; round < BENCH_ROUNDS; round++)
        for (int i = 0; i < actions; i++) {
            double start = bench_now_s();
            for (int call = 0; call < calls; call++)
                action[i].run(action[i].context);
            if (round >= 0)
                samples[i][round] = (bench_now_s() - start) / calls;
        }
    for (int i = 0; i < actions; i++)
        median_s[i] = bench_median(samples[i], BENCH_ROUNDS);
}
