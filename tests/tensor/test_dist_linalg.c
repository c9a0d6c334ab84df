/* ranks: 1 2 3 4 6 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Block-cyclic layouts there and back for every kind of placement; each decomposition by what it must fulfil, on tall,
 * wide, rank-deficient and tiny matrices, f32 and f64, and on grids that the ranks do not fill.
 */
#include "tensor/dist_linalg.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "test.h"

static TsGrid grids[4];
static int grid_count;

/* Square as can be, one row, one column, and only the first rank. */
static void make_grids(void)
{
    int size = ts_group_size(test_world);
    grids[0] = ts_grid_make(test_world, 0, 0);
    grids[1] = ts_grid_make(test_world, 1, size);
    grids[2] = ts_grid_make(test_world, size, 1);
    grids[3] = ts_grid_make(test_world, 1, 1);
    grid_count = 4;
}

/* Element (i, j) of the matrix of this name: normal, the same on every rank. */
static double element(uint64_t name, int64_t i, int64_t j)
{
    float value;
    ts_stream_fill_normal_f32(ts_stream(name, "element", 0), &value, i * 1000 + j, 1);
    return (double)value;
}

static void set(TsDistMatrix *m, int64_t at, double value)
{
    if (m->dtype == TS_F64)
        ((double *)m->data)[at] = value;
    else
        ((float *)m->data)[at] = (float)value;
}

static double get(const TsDistMatrix *m, int64_t at)
{
    return m->dtype == TS_F64 ? ((double *)m->data)[at] : (double)((float *)m->data)[at];
}

typedef double (*Fill)(int64_t i, int64_t j);

static void fill(TsDistMatrix *m, Fill value)
{
    for (int64_t j = 0; j < m->local_columns; j++)
        for (int64_t i = 0; i < m->local_rows; i++)
            set(m, j * ts_dist_matrix_stride(m) + i,
                value(ts_cyclic_global(i, m->block, m->grid.row, m->grid.rows),
                      ts_cyclic_global(j, m->block, m->grid.column, m->grid.columns)));
}

static TsDistMatrix *make(TsGrid grid, TsDtype dtype, int64_t rows, int64_t columns, Fill value)
{
    TsDistMatrix *m = ts_dist_matrix_create(grid, dtype, rows, columns, 3);
    if (value)
        fill(m, value);
    return m;
}

/* The largest difference of an element from what `value` says, over all ranks. */
static double off(const TsDistMatrix *m, Fill value)
{
    double mine = 0, all;
    for (int64_t j = 0; j < m->local_columns; j++)
        for (int64_t i = 0; i < m->local_rows; i++)
            mine = fmax(mine, fabs(get(m, j * ts_dist_matrix_stride(m) + i) -
                                   value(ts_cyclic_global(i, m->block, m->grid.row, m->grid.rows),
                                         ts_cyclic_global(j, m->block, m->grid.column, m->grid.columns))));
    ts_all_reduce(
        test_world,
        (TsTransfer){
            .out = &all, .in = &mine, .count_elems = 1, .dtype = TS_F64, .reduction = TS_MAX, .label = "test"});
    return all;
}

static double bound(TsDtype dtype)
{
    return dtype == TS_F64 ? 1e-10 : 2e-4;
}

static const TsDtype dtypes[] = {TS_F32, TS_F64};

/* ---- layouts ---- */

static double numbered(int64_t i, int64_t j)
{
    return (double)(i * 100 + j);
}

static void count_locals(void)
{
    for (int count = 1; count <= 4; count++)
        for (int64_t block = 1; block <= 5; block++)
            for (int64_t size = 0; size <= 23; size++) {
                int64_t sum = 0;
                for (int coord = 0; coord < count; coord++) {
                    int64_t locals = ts_cyclic_count(size, block, coord, count);
                    sum += locals;
                    for (int64_t k = 0; k < locals; k++) {
                        int64_t global = ts_cyclic_global(k, block, coord, count);
                        CU_ASSERT(global < size && global / block % count == coord);
                    }
                }
                CU_ASSERT_EQUAL(sum, size);
            }
}

/* An array of (11, 7), or (11) for one column, at this placement becomes a matrix and comes back. */
static void there_and_back(const TsMesh *mesh, TsPlacement placement, bool vector, TsGrid grid, TsDtype dtype)
{
    TsShape shape = vector ? ts_shape(11) : ts_shape(11, 7);
    int parts = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        parts *= placement.partial & TS_AXIS_BIT(axis) ? ts_mesh_size(mesh, (TsAxis)axis) : 1;
    TsArray *array = ts_array_create(mesh, dtype, shape, placement, (TsArrayOptions){0});
    int64_t columns = vector ? 1 : array->block.shape.size[1];
    for (int64_t k = 0; k < ts_array_local_elems(array); k++) {
        double value = numbered(array->block.first[0] + k / columns, vector ? 0 : array->block.first[1] + k % columns);
        if (dtype == TS_F64)
            ((double *)array->data)[k] = value / parts;
        else
            ((float *)array->data)[k] = (float)(value / parts);
    }
    TsDistMatrix *matrix = ts_dist_matrix_create(grid, dtype, 11, vector ? 1 : 7, 2);
    ts_dist_matrix_from_array(matrix, array);
    CU_ASSERT(off(matrix, numbered) < (parts > 1 ? 1e-3 : 1e-30));
    if (!placement.partial) {
        size_t bytes = ts_array_local_bytes(array);
        void *before = ts_alloc(bytes + 1);
        memcpy(before, array->data, bytes);
        memset(array->data, 0xff, bytes);
        ts_dist_matrix_to_array(array, matrix);
        CU_ASSERT_EQUAL(memcmp(array->data, before, bytes), 0);
        ts_free(before);
    }
    ts_dist_matrix_free(&matrix);
    ts_array_free(&array);
}

static void arrays_become_matrices(void)
{
    int size = ts_group_size(test_world), model = size % 2 == 0 ? 2 : 1;
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world,
                           (TsMeshShape){.size = {[TS_AXIS_DATA] = size / model, [TS_AXIS_MODEL] = model}}));
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA), both = ts_shard(rows, 1, TS_AXIS_MODEL);
    TsPlacement placements[] = {ts_replicated,
                                rows,
                                both,
                                ts_shard(rows, 0, TS_AXIS_MODEL),
                                ts_shard(ts_replicated, 1, TS_AXIS_DATA),
                                ts_partial(ts_replicated, TS_AXIS_BIT(TS_AXIS_DATA)),
                                ts_partial(ts_shard(ts_replicated, 0, TS_AXIS_MODEL), TS_AXIS_BIT(TS_AXIS_DATA))};
    TsAxisSet all = 0;
    for (int axis = 1; axis < TS_AXES; axis++)
        all |= TS_AXIS_BIT(axis);
    TsGroup *group = ts_mesh_group(mesh, all);
    for (int p = 0; p < 7; p++)
        for (int vector = 0; vector < 2; vector++) {
            if (vector && (p == 2 || p == 4))
                continue;
            there_and_back(mesh, placements[p], vector, ts_grid_make(group, 0, 0), dtypes[p % 2]);
            there_and_back(mesh, placements[p], vector, ts_grid_make(group, 1, 1), TS_F64);
        }
    ts_mesh_free(&mesh);
}

/* ---- products and solves ---- */

static double a_element(int64_t i, int64_t j)
{
    return element(1, i, j);
}

static double b_element(int64_t i, int64_t j)
{
    return element(2, i, j);
}

/* (a^T b)(i, j) for a (17, 8), b (17, 5). */
static double product_element(int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; k < 17; k++)
        sum += a_element(k, i) * b_element(k, j);
    return sum;
}

static void products(void)
{
    for (int g = 0; g < grid_count; g++)
        for (int d = 0; d < 2; d++) {
            TsDistMatrix *a = make(grids[g], dtypes[d], 17, 8, a_element);
            TsDistMatrix *b = make(grids[g], dtypes[d], 17, 5, b_element), *c = make(grids[g], dtypes[d], 8, 5, NULL);
            ts_dist_multiply((TsDistProduct){.c = c, .a = a, .b = b, .transpose_a = true, .alpha = 1});
            CU_ASSERT(off(c, product_element) < bound(dtypes[d]));
            ts_dist_matrix_free(&a);
            ts_dist_matrix_free(&b);
            ts_dist_matrix_free(&c);
        }
}

/* A symmetric positive definite matrix of 13 rows, whose solution for b is x(i, j) = numbered / 100. */
static double spd_element(int64_t i, int64_t j)
{
    double sum = i == j ? 1 : 0;
    for (int64_t k = 0; k < 20; k++)
        sum += element(3, k, i) * element(3, k, j);
    return sum;
}

static double x_element(int64_t i, int64_t j)
{
    return numbered(i, j) / 100;
}

static double spd_times_x(int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; k < 13; k++)
        sum += spd_element(i, k) * x_element(k, j);
    return sum;
}

static double indefinite_element(int64_t i, int64_t j)
{
    return i == j ? (i == 7 ? -1 : 2) : 0;
}

static void cholesky_solves(void)
{
    for (int g = 0; g < grid_count; g++)
        for (int d = 0; d < 2; d++) {
            TsDistMatrix *a = make(grids[g], dtypes[d], 13, 13, spd_element);
            TsDistMatrix *b = make(grids[g], dtypes[d], 13, 2, spd_times_x);
            TEST_OK(ts_dist_cholesky_solve(a, b));
            CU_ASSERT(off(b, x_element) < 10 * bound(dtypes[d]));
            fill(a, indefinite_element);
            TEST_ERROR(ts_dist_cholesky_solve(a, b), "not positive definite at row 7: add ridge");
            ts_dist_matrix_free(&a);
            ts_dist_matrix_free(&b);
        }
}

static double a_times_x(int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; k < 6; k++)
        sum += a_element(i, k) * x_element(k, j);
    return sum;
}

/* The first rows of b hold x; those behind are what is left of b. */
static double solution_off(const TsDistMatrix *b, int64_t rows)
{
    double mine = 0, all;
    for (int64_t j = 0; j < b->local_columns; j++)
        for (int64_t i = 0; i < b->local_rows; i++) {
            int64_t row = ts_cyclic_global(i, b->block, b->grid.row, b->grid.rows);
            double expected = x_element(row, ts_cyclic_global(j, b->block, b->grid.column, b->grid.columns));
            if (row < rows)
                mine = fmax(mine, fabs(get(b, j * ts_dist_matrix_stride(b) + i) - expected));
        }
    ts_all_reduce(
        test_world,
        (TsTransfer){
            .out = &all, .in = &mine, .count_elems = 1, .dtype = TS_F64, .reduction = TS_MAX, .label = "test"});
    return all;
}

static double dependent_element(int64_t i, int64_t j)
{
    return j == 4 ? a_element(i, 1) - 2 * a_element(i, 2) : a_element(i, j);
}

static void qr_solves(void)
{
    for (int g = 0; g < grid_count; g++)
        for (int d = 0; d < 2; d++) {
            TsDistMatrix *a = make(grids[g], dtypes[d], 25, 6, a_element);
            TsDistMatrix *b = make(grids[g], dtypes[d], 25, 2, a_times_x);
            TEST_OK(ts_dist_least_squares(a, b));
            CU_ASSERT(solution_off(b, 6) < bound(dtypes[d]));
            fill(a, dependent_element);
            fill(b, a_times_x);
            TEST_ERROR(ts_dist_least_squares(a, b), "depend on one another");
            ts_dist_matrix_free(&a);
            ts_dist_matrix_free(&b);
        }
}

/* ---- spectra ---- */

static double identity(int64_t i, int64_t j)
{
    return i == j;
}

/* a = v diag(values) v^T, by ts_dist_multiply; |a - value| and |v^T v - 1|. */
static void eigen(void)
{
    static const int64_t sizes[] = {1, 2, 13};
    for (int g = 0; g < grid_count; g++)
        for (int d = 0; d < 2; d++)
            for (int s = 0; s < 3; s++) {
                int64_t n = sizes[s];
                double values[13];
                TsDistMatrix *a = make(grids[g], dtypes[d], n, n, spd_element),
                             *v = make(grids[g], dtypes[d], n, n, NULL);
                TsDistMatrix *w = make(grids[g], dtypes[d], n, n, NULL), *c = make(grids[g], dtypes[d], n, n, NULL);
                TEST_OK(ts_dist_eigen(values, v, a));
                for (int64_t i = 1; i < n; i++)
                    CU_ASSERT(values[i] >= values[i - 1]);
                for (int64_t j = 0; j < w->local_columns; j++)
                    for (int64_t i = 0; i < w->local_rows; i++) {
                        int64_t at = j * ts_dist_matrix_stride(w) + i;
                        set(w, at, get(v, at) * values[ts_cyclic_global(j, 3, w->grid.column, w->grid.columns)]);
                    }
                ts_dist_multiply((TsDistProduct){.c = c, .a = w, .b = v, .transpose_b = true, .alpha = 1});
                CU_ASSERT(off(c, spd_element) < 20 * bound(dtypes[d]));
                ts_dist_multiply((TsDistProduct){.c = c, .a = v, .b = v, .transpose_a = true, .alpha = 1});
                CU_ASSERT(off(c, identity) < bound(dtypes[d]));
                ts_dist_matrix_free(&a);
                ts_dist_matrix_free(&v);
                ts_dist_matrix_free(&w);
                ts_dist_matrix_free(&c);
            }
}

static void singular(void)
{
    static const int64_t sizes[][2] = {{14, 5}, {5, 14}, {1, 1}, {9, 9}};
    for (int g = 0; g < grid_count; g++)
        for (int d = 0; d < 2; d++)
            for (int s = 0; s < 4; s++) {
                int64_t m = sizes[s][0], n = sizes[s][1], k = m < n ? m : n;
                double values[9], alone[9];
                Fill value = s == 3 ? dependent_element : a_element; /* the last has a singular value of 0 */
                TsDistMatrix *a = make(grids[g], dtypes[d], m, n, value), *c = make(grids[g], dtypes[d], m, n, NULL);
                TsDistMatrix *u = make(grids[g], dtypes[d], m, k, NULL), *vt = make(grids[g], dtypes[d], k, n, NULL);
                TEST_OK(ts_dist_singular(values, u, vt, a));
                fill(a, value);
                TEST_OK(ts_dist_singular(alone, NULL, NULL, a));
                for (int64_t i = 0; i < k; i++)
                    CU_ASSERT_DOUBLE_EQUAL(values[i], alone[i], 10 * bound(dtypes[d]));
                CU_ASSERT(s != 3 || fabs(values[8]) < 10 * bound(dtypes[d]));
                for (int64_t j = 0; j < u->local_columns; j++)
                    for (int64_t i = 0; i < u->local_rows; i++) {
                        int64_t at = j * ts_dist_matrix_stride(u) + i;
                        set(u, at, get(u, at) * values[ts_cyclic_global(j, 3, u->grid.column, u->grid.columns)]);
                    }
                ts_dist_multiply((TsDistProduct){.c = c, .a = u, .b = vt, .alpha = 1});
                CU_ASSERT(off(c, value) < bound(dtypes[d]));
                ts_dist_matrix_free(&a);
                ts_dist_matrix_free(&c);
                ts_dist_matrix_free(&u);
                ts_dist_matrix_free(&vt);
            }
}

/* root^4 a = 1. */
static void inverse_roots(void)
{
    for (int g = 0; g < grid_count; g++)
        for (int d = 0; d < 2; d++) {
            TsDistMatrix *a = make(grids[g], dtypes[d], 13, 13, spd_element),
                         *c = make(grids[g], dtypes[d], 13, 13, NULL);
            TsDistMatrix *root = make(grids[g], dtypes[d], 13, 13, NULL), *e = make(grids[g], dtypes[d], 13, 13, NULL);
            TEST_OK(ts_dist_inverse_root(root, a, 4, 0));
            ts_dist_multiply((TsDistProduct){.c = c, .a = root, .b = root, .alpha = 1});
            ts_dist_multiply((TsDistProduct){.c = e, .a = c, .b = c, .alpha = 1});
            fill(a, spd_element);
            ts_dist_multiply((TsDistProduct){.c = c, .a = e, .b = a, .alpha = 1});
            CU_ASSERT(off(c, identity) < 10 * bound(dtypes[d]));
            memset(a->data, 0, (size_t)(a->local_rows * a->local_columns) * ts_dtype_bytes(a->dtype));
            TEST_ERROR(ts_dist_inverse_root(root, a, 4, 0.1), "has no inverse");
            ts_dist_matrix_free(&a);
            ts_dist_matrix_free(&c);
            ts_dist_matrix_free(&root);
            ts_dist_matrix_free(&e);
        }
}

static double with_a_nan(int64_t i, int64_t j)
{
    return i == 4 && j == 2 ? NAN : i > 5 ? INFINITY : 1;
}

static void what_is_not_finite_is_named(void)
{
    for (int g = 0; g < grid_count; g++) {
        TsDistMatrix *a = make(grids[g], TS_F32, 9, 5, with_a_nan);
        TEST_ERROR(ts_dist_check_finite(a, "features"), "features: row 4, column 2 is not a finite number");
        fill(a, numbered);
        TEST_OK(ts_dist_check_finite(a, "features"));
        ts_dist_matrix_free(&a);
    }
}

static void run(void (*test)(void))
{
    make_grids();
    test();
}

static void test_products(void)
{
    run(products);
}

static void test_cholesky(void)
{
    run(cholesky_solves);
}

static void test_qr(void)
{
    run(qr_solves);
}

static void test_eigen(void)
{
    run(eigen);
}

static void test_singular(void)
{
    run(singular);
}

static void test_roots(void)
{
    run(inverse_roots);
}

static void test_finite(void)
{
    run(what_is_not_finite_is_named);
}

TEST_MAIN("dist_linalg", {"local counts", count_locals}, {"arrays become matrices", arrays_become_matrices},
          {"products", test_products}, {"Cholesky solves", test_cholesky}, {"QR solves", test_qr},
          {"eigenvectors", test_eigen}, {"singular values", test_singular}, {"inverse roots", test_roots},
          {"what is not finite is named", test_finite})
