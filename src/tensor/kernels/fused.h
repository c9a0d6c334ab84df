/* SPDX-License-Identifier: Apache-2.0
 *
 * Fused elementwise work: a small program of steps, each a kernel of elementwise.h, random.h or normalize.h, run over
 * tiles that stay in the cache, so that what lies between two steps is never in memory.
 *
 * Each step does to a tile what its op does to a whole block: with the same numbers, rounded where the op would have
 * rounded them, so that a fused program has the bits of the ops that it stands for. Sums over rows are the exception:
 * they are taken segment by segment, by the shape alone.
 */
#pragma once

#include "tensor/kernels/random.h"

enum {
    TS_FUSED_INPUTS = 12,
    TS_FUSED_STEPS = 20,
    TS_FUSED_OUTPUTS = 4,
    TS_FUSED_SUMS = 4,
    TS_FUSED_VALUES = TS_FUSED_INPUTS + TS_FUSED_STEPS
};

typedef enum TsFusedKind {
    TS_FUSED_NONE,
    TS_FUSED_UNARY,       /* in[0]; kernel is a TsUnary */
    TS_FUSED_BINARY,      /* in[0], in[1]; kernel is a TsBinary */
    TS_FUSED_CAST,        /* in[0]; to dtype */
    TS_FUSED_REPEAT,      /* in[0], broadcast: no work */
    TS_FUSED_DROP,        /* in[0]; in[1] is the step */
    TS_FUSED_NORMALIZE,   /* in[0]; in[1] scale, in[2] bias or -1; kernel is 1 for RMS norm */
    TS_FUSED_D_NORMALIZE, /* in[0] x, in[1] d_out, in[2] scale or -1; sums, where there are any: of scale, of bias */
    TS_FUSED_COLUMN_SUM,  /* in[0]; gives a sum alone; kernel is how many dims a row has */
} TsFusedKind;

/* Values are numbered: inputs first, then what the steps give. */
typedef struct TsFusedStep {
    double parameter; /* of a TsUnary; the rate of a drop; the epsilon of a norm */
    uint64_t stream;  /* of a drop */
    int8_t kind;      /* TsFusedKind */
    int8_t kernel;
    int8_t dtype; /* TsDtype of what it gives: f64, or f32 or bf16 */
    int8_t in[3]; /* values; -1: none */
    int8_t sums;  /* the first of the sums that it adds to, each of one row; -1: none */
    int8_t padding;
} TsFusedStep;

/* A whole program: plain data, the attributes of a node. */
typedef struct TsFused {
    int8_t inputs, steps, outputs, sums;
    int8_t output[TS_FUSED_OUTPUTS]; /* a value, or -1 - s for sum s */
    int8_t out_dtype[TS_FUSED_OUTPUTS];
    int8_t row_dims; /* so many of the last dims make a row, which some step needs whole; 0: none does */
    int8_t padding[3];
    TsFusedStep step[TS_FUSED_STEPS];
} TsFused;

/* An operand in memory: how it goes through the output. */
typedef struct TsFusedOperand {
    const void *data;
    TsDtype dtype;
    TsShape shape, whole; /* of this block, and of the tensor */
} TsFusedOperand;

/* A program with its operands, made ready by ts_fused_prepare. */
typedef struct TsFusedRun {
    const TsFused *program;
    TsFusedOperand in[TS_FUSED_INPUTS];
    void *out[TS_FUSED_OUTPUTS];
    TsRandomBlock block; /* of what the steps give */

    /* the rest is set by ts_fused_prepare */
    const struct TsElementwiseKernels *kernels, *bf16; /* of `dtype`; for what is stored as bf16 */
    const struct TsNormalizeKernels *norms;
    TsDtype dtype;                /* computed in: f32 or f64 */
    int64_t elems, columns, tile; /* columns: of a row; 0: rows do not matter */
    int dims;
    int64_t size[TS_MAX_DIMS],
        step[TS_FUSED_INPUTS][TS_MAX_DIMS]; /* the output's dims, those that go together merged */
    int8_t place[TS_FUSED_VALUES];          /* a register; -1: memory; -2: nowhere */
    int8_t direct[TS_FUSED_VALUES];         /* the output that a step writes to; -1: none */
    int registers;
} TsFusedRun;

/* Fills the rest. Data may be NULL where only sizes are asked for. */
void ts_fused_prepare(TsFusedRun *run);

/* What one thread needs to run tiles, and one segment for its sums; in whole cache lines. */
size_t ts_fused_tile_bytes(const TsFusedRun *run);
size_t ts_fused_sums_bytes(const TsFusedRun *run);

/* Runs elements [first, last) of the output, whole rows where rows matter, on one thread. `sums` is that of a segment,
 * zeroed before its first range; NULL where there are none. */
void ts_fused_range(const TsFusedRun *run, int64_t first, int64_t last, void *registers, void *sums);

/* Adds up the sums of all segments and writes those that are given out. */
void ts_fused_finish(const TsFusedRun *run, const void *sums, int64_t segments);

/* Runs everything. scratch: ts_fused_scratch_bytes. The same bits for any number of threads. An output may be an
 * input's memory where those are alike. */
void ts_kernel_fused(const TsFusedRun *run, void *scratch, int threads);
size_t ts_fused_scratch_bytes(const TsFusedRun *run, int threads);
