/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/matmul.h"

#include <cblas.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/machine.h"

static void use_one_thread(void)
{
    openblas_set_num_threads(1);
}

void ts_matmul_alone(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, use_one_thread);
}

/* cblas counts in int. */
static int blas_size(int64_t size)
{
    TS_CHECK(size >= 0 && size <= INT_MAX, "a matrix dim of %lld is beyond what BLAS can count", (long long)size);
    return (int)size;
}

static void multiply(const TsMatmul *p)
{
    ts_matmul_alone();
    CBLAS_TRANSPOSE transpose_a = p->transpose_a ? CblasTrans : CblasNoTrans;
    CBLAS_TRANSPOSE transpose_b = p->transpose_b ? CblasTrans : CblasNoTrans;
    int m = blas_size(p->m), n = blas_size(p->n), k = blas_size(p->k);
    int row_a = blas_size(p->row_a), row_b = blas_size(p->row_b), row_c = blas_size(p->row_c);
    if (p->dtype == TS_F64)
        cblas_dgemm(CblasRowMajor, transpose_a, transpose_b, m, n, k, p->alpha, p->a, row_a, p->b, row_b, p->beta, p->c,
                    row_c);
    else
        cblas_sgemm(CblasRowMajor, transpose_a, transpose_b, m, n, k, (float)p->alpha, p->a, row_a, p->b, row_b,
                    (float)p->beta, p->c, row_c);
}

void ts_matmul_settle(char **argv)
{
    static const char *const old[] = {"Prescott", "Core2", "Penryn", "Dunnington", "Atom", "Nehalem", "Sandybridge"};
    TsMachine machine = ts_machine();
    const char *core = machine.avx512_bf16           ? "Cooperlake"
                       : machine.avx512              ? "SkylakeX"
                       : machine.avx2 && machine.fma ? "Haswell"
                                                     : NULL;
    bool is_old = false;
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        is_old |= strcmp(openblas_get_corename(), old[i]) == 0;
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (!is_old || !core || getenv("OPENBLAS_CORETYPE") || length < 0 || setenv("OPENBLAS_CORETYPE", core, 0) != 0)
        return;
    program[length] = 0;
    execv(program, argv); /* where that cannot be, it goes on as it is */
}

const char *ts_matmul_openblas_core(void)
{
    return openblas_get_corename();
}

/* The first two words of what it says of how it was built. */
const char *ts_matmul_openblas_version(void)
{
    static char version[40];
    char name[20] = "", number[20] = "";
    sscanf(openblas_get_config(), "%19s %19s", name, number);
    snprintf(version, sizeof version, "%s %s", name, number);
    return version;
}

const TsMatmulBackend ts_matmul_openblas = {.name = "openblas", .multiply = multiply};
