/* SPDX-License-Identifier: Apache-2.0
 *
 * DistMatrix: a matrix that lies block-cyclically on a grid of ranks, as distributed dense linear algebra wants it.
 *
 * Blocks of (block, block) elements are dealt out in turn: element (i, j) lies on the rank at (i / block % rows,
 * j / block % columns) of the grid, whose ranks are those of a group, row after row. Ranks that the grid does not need
 * hold nothing. The local part is column-major. An Array of any Placement becomes one, and back, by one all-to-all; no
 * rank ever holds the whole.
 *
 *     grid 2 x 2, block 1:   0 1 0 1 0        rank 0 holds rows 0, 2, 4 and columns 0, 2, 4
 *                            2 3 2 3 2
 *                            0 1 0 1 0
 */
#pragma once

#include "tensor/array.h"

typedef struct TsGrid {
    TsGroup *group;    /* borrowed */
    int rows, columns; /* rows * columns ranks of the group, from its first on */
    int row, column;   /* this rank's place; -1, -1: it is not in the grid */
} TsGrid;

/* The grid of these sizes, whose product is at most the group's size. 0 rows and columns: all ranks, as near to a
 * square as they can be. Not collective. */
TsGrid ts_grid_make(TsGroup *group, int rows, int columns);

typedef struct TsDistMatrix {
    TsGrid grid;
    TsDtype dtype; /* f32 or f64 */
    int64_t rows, columns, block;
    int64_t local_rows, local_columns; /* of this rank; elements from one column to the next: ts_dist_matrix_stride */
    void *data;                        /* owned, column-major */
} TsDistMatrix;

/* A zeroed matrix, owned by the caller. Not collective. */
TsDistMatrix *ts_dist_matrix_create(TsGrid grid, TsDtype dtype, int64_t rows, int64_t columns, int64_t block);

/* Sets *matrix to NULL; NULL is fine. */
void ts_dist_matrix_free(TsDistMatrix **matrix);

/* max(local_rows, 1). */
int64_t ts_dist_matrix_stride(const TsDistMatrix *matrix);

/* Where rows (or columns) that lie at `coord` of `count` end among the first `size`: how many there are. */
int64_t ts_cyclic_count(int64_t size, int64_t block, int coord, int count);

/* The global number of the local-th row (or column) at `coord` of `count`. */
int64_t ts_cyclic_global(int64_t local, int64_t block, int coord, int count);

/* Fills the matrix from an array of its shape and dtype, (rows, columns) or (rows) for one column; parts of a sum are
 * added up, in the order of ranks. The array's mesh is over the ranks of the grid's group, in the order of
 * ts_mesh_group's group of all axes; NULL: one rank. Collective on the grid's group. */
void ts_dist_matrix_from_array(TsDistMatrix *matrix, const TsArray *array);

/* Fills the array, which is no partial sum, from the matrix. Collective on the grid's group. */
void ts_dist_matrix_to_array(TsArray *array, const TsDistMatrix *matrix);

/* Rows [first_row, first_row + rows) and columns [first_column, first_column + columns) of a matrix. */
typedef struct TsPanel {
    int64_t first_row, first_column, rows, columns;
} TsPanel;

/* Sets what this rank holds of the panel from values (rows, columns), row-major, of the matrix's dtype, of which every
 * rank has those at least that are its own. Not collective. */
void ts_dist_matrix_put(TsDistMatrix *matrix, const void *values, TsPanel panel);

/* values (rows, columns), row-major, f64, on every rank: the panel. Collective on the grid's group. */
void ts_dist_matrix_get(double *values, const TsDistMatrix *matrix, TsPanel panel);
