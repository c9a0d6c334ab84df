/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of training, as the program takes them: a batch is read, forward, backward, clip, update. Run by
 * bench/train.sh, which lays out ranks, and runs peers in turn with it:
 *
 *     train steps STEPS CONFIG… [key=value…]     so many steps behind one that is not counted: prints, by rank 0,
 *                                                `seconds S parameters N peak_mib M`: the median step, the slowest
 *                                                rank's, and the most memory that a rank had
 *     train delay STEPS CONFIG… [key=value…]     the same, and `delayed R`: what a step takes where each read of a file
 * of data takes 1 ms longer, over a step where it does not train rate f32|bf16 THREADS                `gflops G`: what
 * products of matrices reach here, the best of some
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/philox.h"
#include "comm/collectives.h"
#include "comm/runtime.h"
#include "measure.h"
#include "task/mixture/courses.h"
#include "tensor/matmul.h"

enum { MOST_STEPS = 64, DELAY_NS = 1000000 };

/* ---- reads that take longer ---- */

static atomic_bool reads_are_slow;

/* In place of the C library's, for all of the program. */
ssize_t pread(int file, void *data, size_t size_bytes, off_t first)
{
    if (reads_are_slow)
        nanosleep(&(struct timespec){.tv_nsec = DELAY_NS}, NULL);
    return syscall(SYS_pread64, file, data, size_bytes, first);
}

/* ---- steps ---- */

static double most_of(TsGroup *world, double value)
{
    double most = 0;
    ts_all_reduce(
        world,
        (TsTransfer){
            .out = &most, .in = &value, .count_elems = 1, .dtype = TS_F64, .reduction = TS_MAX, .label = "bench"});
    return most;
}

static double peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

/* Seconds of step `number`, the slowest rank's. Collective; the same status on all ranks. */
static TsStatus time_step(double *seconds, TsGroup *world, TsCourses *courses, int64_t number)
{
    TsCourseReport report;
    ts_barrier(world, "bench");
    double begin_s = bench_now_s();
    TS_TRY(ts_courses_step(courses, &report, number));
    *seconds = most_of(world, bench_now_s() - begin_s);
    return TS_OK;
}

static TsStatus time_steps(double *median_s, TsGroup *world, TsCourses *courses, int steps)
{
    double seconds[MOST_STEPS], first;
    TS_TRY(time_step(&first, world, courses, 1));
    for (int i = 0; i < steps; i++)
        TS_TRY(time_step(&seconds[i], world, courses, i + 2));
    *median_s = bench_median(seconds, steps);
    return TS_OK;
}

/* Reads are slow for two steps, and not for two: a batch is read while the step before it runs, so each second one
 * counts. */
static TsStatus time_delay(double *median_s, double *delayed, TsGroup *world, TsCourses *courses, int steps)
{
    double seconds[2][MOST_STEPS], ignored;
    int count[2] = {0, 0};
    TS_TRY(time_step(&ignored, world, courses, 1));
    for (int i = 0; i < steps / 4 * 4; i++) {
        int slow = i / 2 % 2;
        reads_are_slow = slow;
        TS_TRY(time_step(i % 2 ? &seconds[slow][count[slow]++] : &ignored, world, courses, i + 2));
    }
    *median_s = bench_median(seconds[0], count[0]);
    *delayed = bench_median(seconds[1], count[1]) / *median_s;
    return TS_OK;
}

static TsStatus train(TsGroup *world, bool delays, int steps, const char *const *words, int count)
{
    TsConfig *config = NULL;
    TsJob *job = NULL;
    TsCourses *courses = NULL;
    double median_s = 0, delayed = 0;
    TS_TRY(ts_job_load(&config, world, words, count));
    TsStatus status = ts_job_open(&job, world, config, (TsJobOptions){0});
    if (!status)
        status = ts_courses_create(&courses, job);
    if (!status)
        status = delays ? time_delay(&median_s, &delayed, world, courses, steps)
                        : time_steps(&median_s, world, courses, steps);
    if (!status) {
        double peak = most_of(world, peak_mib());
        if (ts_group_rank(world) == 0) {
            printf("seconds %.6g parameters %lld peak_mib %.0f", median_s,
                   (long long)ts_parameters_elems(job->parameters), peak);
            if (delays)
                printf(" delayed %.4f", delayed);
            printf("\n");
        }
    }
    ts_courses_free(&courses);
    ts_job_close(&job);
    ts_config_free(&config);
    return status;
}

/* ---- what products reach ---- */

static void *random_matrix(int64_t elems, TsDtype dtype)
{
    void *matrix = ts_alloc((size_t)elems * ts_dtype_bytes(dtype));
    for (int64_t i = 0; i < elems; i++) {
        float value = (float)ts_stream_uniform_f64(ts_stream(1, "bench", 0), i) - 0.5f;
        if (dtype == TS_BF16)
            ((uint16_t *)matrix)[i] = ts_bf16_from_f32(value);
        else
            ((float *)matrix)[i] = value;
    }
    return matrix;
}

/* Flops a second of products of (m, k) by (k, n). */
static double product_rate(int64_t m, int64_t n, int64_t k, TsDtype dtype, int threads)
{
    enum { ROUNDS = 21 };
    double seconds[ROUNDS];
    TsMatmul product = {.c = ts_calloc((size_t)(m * n), 4),
                        .a = random_matrix(m * k, dtype),
                        .b = random_matrix(k * n, dtype),
                        .m = m,
                        .n = n,
                        .k = k,
                        .dtype = dtype,
                        .out_dtype = dtype,
                        .threads = threads};
    product.scratch = ts_calloc(1, ts_matmul_scratch_bytes(&product) + 64);
    for (int round = 0; round < ROUNDS; round++) {
        double begin_s = bench_now_s();
        ts_matmul(&product);
        seconds[round] = bench_now_s() - begin_s;
    }
    ts_free(product.scratch);
    ts_free((void *)product.b);
    ts_free((void *)product.a);
    ts_free(product.c);
    return 2.0 * (double)m * (double)n * (double)k / bench_median(seconds, ROUNDS);
}

/* The best of a few that a step of GPT-2 has, and a large square. */
static void print_rate(TsDtype dtype, int threads)
{
    static const int64_t sizes[][3] = {{1024, 3072, 768}, {1024, 768, 3072}, {2048, 2048, 2048}};
    double best = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        double rate = product_rate(sizes[i][0], sizes[i][1], sizes[i][2], dtype, threads);
        best = rate > best ? rate : best;
    }
    printf("gflops %.4g\n", best * 1e-9);
}

static int usage(void)
{
    fprintf(stderr, "usage: train steps|delay STEPS CONFIG… [key=value…]\n       train rate f32|bf16 THREADS\n");
    return 2;
}

int main(int argc, char **argv)
{
    ts_matmul_settle(argv);
    if (argc < 4)
        return usage();
    if (strcmp(argv[1], "rate") == 0) {
        print_rate(strcmp(argv[2], "bf16") == 0 ? TS_BF16 : TS_F32, atoi(argv[3]));
        return 0;
    }
    int steps = atoi(argv[2]);
    bool delays = strcmp(argv[1], "delay") == 0;
    if (steps < (delays ? 4 : 1) || steps > MOST_STEPS || (!delays && strcmp(argv[1], "steps") != 0))
        return usage();
    TsGroup *world = ts_runtime_start((TsRuntimeOptions){0});
    TsStatus status = train(world, delays, steps, (const char *const *)argv + 3, argc - 3);
    int exit_code = ts_status_exit_code(status);
    if (status && ts_group_rank(world) == 0)
        ts_log(TS_LOG_ERROR, "%s", ts_status_message(status));
    ts_status_free(&status);
    return ts_runtime_end(exit_code);
}
