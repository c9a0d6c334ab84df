/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of which the right side is packed, widened to f32 on the way, in panels that stay in the first cache while
 * all rows are multiplied with them by tiles, and the next one is asked of memory (Goto and van de Geijn 2008): for a
 * few dozen rows, which are too few for what libraries spend on each call and too many to be bound by reading the
 * matrix, and for bf16 where no library multiplies it well.
 *
 * Called by matmul.c alone, for one thread's part of a product. Every element of the result is summed in an order that
 * depends on k alone.
 */
#pragma once

#include "tensor/kernels/isa.h"
#include "tensor/matmul.h"

enum {
    TS_PANEL_DEPTH = 128, /* of k at a time */
    TS_PANEL_COLUMNS = 512,
    TS_PANEL_ROWS = 128,
    TS_PANEL_LANES = 32, /* at most so many columns are packed at once */
    TS_PANEL_FLOATS =
        TS_PANEL_DEPTH * TS_PANEL_LANES + TS_PANEL_ROWS * TS_PANEL_DEPTH + TS_PANEL_ROWS * TS_PANEL_COLUMNS
};

typedef struct TsPanelKernels {
    /* One product of f32 or bf16, all defaults resolved; scratch (TS_PANEL_FLOATS) f32, aligned to 64. */
    void (*multiply)(const TsMatmul *product, float *scratch);
} TsPanelKernels;

TS_KERNEL_TABLES(TsPanelKernels, ts_panel_kernels)
