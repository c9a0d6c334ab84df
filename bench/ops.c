/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast kernels are, each beside the limit that the machine sets it, measured in turn with it: the triad bandwidth
 * of the same threads for those that only move memory, the backend called bare for matrix products, and the rate of
 * matrix products for attention. Values are checked after they are timed. One process, without a launcher.
 *
 *     ops [NAME…]     norm gelu residual cross-entropy adamw matmul attention attention-memory compile; or all of them
 *
 * limit: 300 s
 */
#include <math.h>
#include <stdio.h>

#include "base/machine.h"
#include "ops/ops.h"
#include "tensor/kernels/isa.h"
#include "tensor/matmul.h"

int threads;

void *made_up_array(int64_t count, uint32_t array, TsDtype dtype)
{
    void *values = ts_alloc((size_t)count * ts_dtype_bytes(dtype));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float value = made_up(i, array);
        if (dtype == TS_BF16)
            ((TsBf16 *)values)[i] = ts_bf16_from_f32(value);
        else
            ((float *)values)[i] = value;
    }
    return values;
}

void expect_near(const char *what, int64_t index, double got, double wanted, double tolerance)
{
    TS_CHECK(fabs(got - wanted) <= tolerance * (1 + fabs(wanted)), "%s: element %lld is %.9g, expected %.9g", what,
             (long long)index, got, wanted);
}

static const struct Part {
    const char *name;
    void (*run)(void);
} parts[] = {
    {"norm", bench_norm},           {"gelu", bench_gelu},
    {"residual", bench_residual},   {"cross-entropy", bench_cross_entropy},
    {"adamw", bench_adamw},         {"matmul", bench_matmul},
    {"attention", bench_attention}, {"attention-memory", bench_attention_memory},
    {"compile", bench_compile},
};
enum { PARTS = sizeof parts / sizeof *parts };

static bool is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc == 1;
}

static bool is_part(const char *name)
{
    for (int p = 0; p < PARTS; p++)
        if (strcmp(parts[p].name, name) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    ts_matmul_settle(argv);
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv("OPENBLAS_L2_SIZE");
    for (int i = 1; i < argc; i++)
        TS_CHECK(is_part(argv[i]), "ops has no part \"%s\"", argv[i]);
    TsMachine machine = ts_machine();
    threads = ts_machine_threads(&machine, machine.allowed_cores, 1, NULL);
    printf("%s: %d threads, kernels %s, matrix products by %s\n", machine.cpu, threads, ts_isa_name(ts_isa()),
           ts_matmul_backend());
    for (int p = 0; p < PARTS; p++)
        if (is_wanted(parts[p].name, argc, argv))
            parts[p].run();
    ts_memory_expect_none();
    return 0;
}
