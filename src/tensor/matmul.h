/* SPDX-License-Identifier: Apache-2.0
 *
 * The narrow door to the matrix product: every product of the program goes through ts_matmul.
 *
 * Behind it stand OpenBLAS, always there, and oneDNN where the build found it; TESSERA_MATMUL=openblas or onednn
 * chooses. The libraries run one thread each: threads are OpenMP's, here above them, cutting the batch, the rows or the
 * columns. Row-major. Nothing is allocated but inside the libraries.
 */
#pragma once

#include "base/dtype.h"

/* c = alpha * op(a) op(b) + beta * c. op(a) is (m, k), op(b) is (k, n), c is (m, n). */
typedef struct TsMatmul {
    void *c;
    const void *a; /* (m, k), or (k, m) with transpose_a */
    const void *b; /* (k, n), or (n, k) with transpose_b */
    int64_t m, n, k;
    int64_t row_a, row_b, row_c; /* elements from one row in memory to the next; 0: no gaps */
    bool transpose_a, transpose_b;
    TsDtype dtype;     /* of a and b: f32, f64, bf16 */
    TsDtype out_dtype; /* of c: that of a and b, or f32 for bf16; sums are in f32 then. Ignored for f32 and f64 */
    double alpha;      /* 0 counts as 1 */
    double beta;       /* 0: c is not read */
    int64_t batch;     /* that many products; 0 counts as 1 */
    int64_t step_a, step_b, step_c; /* elements from one product's matrix to the next; 0: the same one (a, b only) */
    void *scratch;                  /* ts_matmul_scratch_bytes, aligned to 64; NULL where that is 0 */
    int threads;                    /* at most; 0 counts as 1. Small products use one */
    bool fixed;                     /* cut by the sizes alone: the same bits with any number of threads */
} TsMatmul;

/* Not collective; may be called from within a parallel region with threads 1. Sizes of 0 are fine. */
void ts_matmul(const TsMatmul *product);

/* What ts_matmul needs as scratch, for these sizes, dtypes and threads: what own panels multiply (kernels/panel.h). */
size_t ts_matmul_scratch_bytes(const TsMatmul *product);

/* "openblas" or "onednn". */
const char *ts_matmul_backend(void);

/* OpenBLAS runs on its caller's thread alone from then on: for those who call LAPACK, whose threads would spin beside
 * the program's own. Any thread may call it, any number of times. */
void ts_matmul_alone(void);

/* To be called first in main. OpenBLAS chooses its kernels when it is loaded, and takes processors that are newer than
 * itself for very old ones, which costs three quarters of its speed. Where that is so, and the environment does not
 * choose by OPENBLAS_CORETYPE, it is set, and the program begins anew: this call then does not return. */
void ts_matmul_settle(char **argv);

/* What OpenBLAS takes this processor for, "SkylakeX", and its version, "OpenBLAS 0.3.21"; borrowed. */
const char *ts_matmul_openblas_core(void);
const char *ts_matmul_openblas_version(void);

/* Names the backend for the calls that follow; false where this build has none of that name. For tests and benches:
 * not while a product runs. */
bool ts_matmul_use(const char *name);

/* One backend: single-threaded products of one matrix, all defaults resolved. */
typedef struct TsMatmulBackend {
    const char *name;
    bool (*multiplies_bf16)(void); /* faster than f32, on this processor; NULL: on none */
    void (*multiply)(const TsMatmul *product);
} TsMatmulBackend;

extern const TsMatmulBackend ts_matmul_openblas;
#ifdef TESSERA_HAVE_ONEDNN
extern const TsMatmulBackend ts_matmul_onednn;
#endif
