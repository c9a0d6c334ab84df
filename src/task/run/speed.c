/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/speed.h"

#include <math.h>

#include "base/memory.h"
#include "comm/accounting.h"
#include "comm/collectives.h"
#include "task/run/progress.h"
#include "tensor/matmul.h"

enum { SIZE = 512 };
static const double TIMED_S = 0.1;

/* Operations a second of this rank, while the others work too. */
static double rate_of_rank(TsGroup *group, TsDtype dtype, int threads)
{
    size_t bytes = (size_t)SIZE * SIZE * ts_dtype_bytes(dtype);
    void *matrix[3];
    for (int m = 0; m < 3; m++)
        matrix[m] = ts_calloc(bytes, 1);
    TsMatmul product = {.c = matrix[0],
                        .a = matrix[1],
                        .b = matrix[2],
                        .m = SIZE,
                        .n = SIZE,
                        .k = SIZE,
                        .dtype = dtype,
                        .threads = threads};
    ts_matmul(&product);
    ts_barrier(group, "speed");
    double begin_s = ts_progress_now(), before_s = begin_s, least_s = INFINITY; /* of one: others may disturb */
    while (before_s - begin_s < TIMED_S) {
        ts_matmul(&product);
        double now_s = ts_progress_now();
        least_s = fmin(least_s, now_s - before_s);
        before_s = now_s;
    }
    for (int m = 0; m < 3; m++)
        ts_free(matrix[m]);
    return 2.0 * SIZE * SIZE * SIZE / least_s;
}

TsSpeed ts_speed_start(TsGroup *group, TsDtype dtype, int threads)
{
    double mine = rate_of_rank(group, dtype == TS_F64 ? TS_F64 : TS_F32, threads), all = 0;
    ts_all_reduce(group, (TsTransfer){.out = &all, .in = &mine, .count_elems = 1, .dtype = TS_F64, .label = "speed"});
    return (TsSpeed){.peak_flops = all, .since_s = ts_progress_now(), .waited_s = ts_account_waited_s()};
}

void ts_speed_add(TsSpeed *speed, int64_t tokens, double flops)
{
    speed->steps++;
    speed->tokens += tokens;
    speed->flops += flops;
}

/* own_s (ranks): what each rank was at work itself. */
static void gather_own(double *own_s, TsGroup *group, double mine_s)
{
    int ranks = ts_group_size(group);
    int64_t *first = ts_calloc((size_t)ranks + 1, sizeof *first);
    for (int r = 0; r <= ranks; r++)
        first[r] = r;
    ts_all_gather(group,
                  (TsTransfer){.out = own_s, .in = &mine_s, .first_elem = first, .dtype = TS_F64, .label = "speed"});
    ts_free(first);
}

TsSpeedReport ts_speed_take(TsSpeed *speed, double *own_s, TsGroup *group)
{
    int ranks = ts_group_size(group);
    double now_s = ts_progress_now(), elapsed_s = fmax(now_s - speed->since_s, 1e-9), waited = ts_account_waited_s();
    double sum = 0, most = 0;
    gather_own(own_s, group, fmax(elapsed_s - (waited - speed->waited_s), 0));
    for (int r = 0; r < ranks; r++) {
        sum += own_s[r];
        most = fmax(most, own_s[r]);
    }
    double mean = sum / ranks;
    TsSpeedReport report = {.steps_per_s = (double)speed->steps / elapsed_s,
                            .tokens_per_s = (double)speed->tokens / elapsed_s,
                            .flops_fraction = speed->flops / elapsed_s / speed->peak_flops,
                            .communication_fraction = fmax(0, 1 - mean / elapsed_s),
                            .imbalance = mean > 0 ? most / mean - 1 : 0};
    *speed = (TsSpeed){.peak_flops = speed->peak_flops, .since_s = now_s, .waited_s = waited};
    return report;
}
