/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/dist_linalg.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/native.h"
#include "tensor/matmul.h"

/* ---- ScaLAPACK and BLACS, which bring no header ---- */

int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
void Cblacs_gridexit(int context);

#define BOTH(name, ...)                                                                                                \
    void ps##name##_(__VA_ARGS__);                                                                                     \
    void pd##name##_(__VA_ARGS__)

typedef const int *Int;
BOTH(gemm, const char *, const char *, Int m, Int n, Int k, const void *alpha, const void *a, Int ia, Int ja,
     Int desc_a, const void *b, Int ib, Int jb, Int desc_b, const void *beta, void *c, Int ic, Int jc, Int desc_c);
BOTH(potrf, const char *uplo, Int n, void *a, Int ia, Int ja, Int desc_a, int *info);
BOTH(potrs, const char *uplo, Int n, Int columns, const void *a, Int ia, Int ja, Int desc_a, void *b, Int ib, Int jb,
     Int desc_b, int *info);
BOTH(gels, const char *trans, Int m, Int n, Int columns, void *a, Int ia, Int ja, Int desc_a, void *b, Int ib, Int jb,
     Int desc_b, void *work, Int work_elems, int *info);
BOTH(syevd, const char *jobz, const char *uplo, Int n, void *a, Int ia, Int ja, Int desc_a, void *w, void *z, Int iz,
     Int jz, Int desc_z, void *work, Int work_elems, int *integers, Int integer_elems, int *info);
BOTH(gesvd, const char *jobu, const char *jobvt, Int m, Int n, void *a, Int ia, Int ja, Int desc_a, void *s, void *u,
     Int iu, Int ju, Int desc_u, void *vt, Int ivt, Int jvt, Int desc_vt, void *work, Int work_elems, int *info);

/* The single or the double one, by the matrix's dtype. */
#define CALL(matrix, name, ...) ((matrix)->dtype == TS_F64 ? pd##name##_ : ps##name##_)(__VA_ARGS__)

/* ---- a call ---- */

/* A BLACS context for the time of one call: the ranks of a grid, with messages of their own. */
typedef struct Context {
    TsGroup *group; /* a duplicate */
    int handle, context;
    bool inside; /* this rank is in the grid */
} Context;

static Context open_context(TsGrid grid)
{
    ts_matmul_alone();
    Context made = {.group = ts_group_duplicate(grid.group, "linear algebra"), .inside = grid.row >= 0};
    made.handle = Csys2blacs_handle(ts_group_native(made.group));
    made.context = made.handle;
    Cblacs_gridinit(&made.context, "Row", grid.rows, grid.columns);
    return made;
}

static void close_context(Context *context)
{
    if (context->inside)
        Cblacs_gridexit(context->context);
    Cfree_blacs_system_handle(context->handle);
    ts_group_free(&context->group);
}

static int as_int(int64_t value)
{
    TS_CHECK(value >= 0 && value <= INT32_MAX, "%lld does not fit what ScaLAPACK counts with", (long long)value);
    return (int)value;
}

typedef struct Descriptor {
    int entry[9];
} Descriptor;

static Descriptor describe(const TsDistMatrix *m, const Context *context)
{
    return (Descriptor){{1, context->context, as_int(m->rows), as_int(m->columns), as_int(m->block), as_int(m->block),
                         0, 0, as_int(ts_dist_matrix_stride(m))}};
}

static const int one = 1;

/* alpha and beta, in the matrix's dtype. */
typedef struct Scalar {
    union {
        float single;
        double twice;
    };
} Scalar;

static Scalar scalar(const TsDistMatrix *m, double value)
{
    Scalar made = {.twice = value};
    if (m->dtype != TS_F64)
        made.single = (float)value;
    return made;
}

static double value_of(const TsDistMatrix *m, const void *numbers, int64_t index)
{
    return m->dtype == TS_F64 ? ((const double *)numbers)[index] : (double)((const float *)numbers)[index];
}

static void set_value(const TsDistMatrix *m, int64_t index, double value)
{
    if (m->dtype == TS_F64)
        ((double *)m->data)[index] = value;
    else
        ((float *)m->data)[index] = (float)value;
}

/* The info of the grid's ranks, on all of the group: the largest, or the least if one is negative. */
static int agree_info(const Context *context, int info)
{
    int32_t mine[2] = {context->inside ? info : 0, context->inside ? -info : 0}, all[2] = {0};
    ts_all_reduce(
        context->group,
        (TsTransfer){
            .out = all, .in = mine, .count_elems = 2, .dtype = TS_I32, .reduction = TS_MAX, .label = "linear algebra"});
    TS_CHECK(all[1] <= 0, "argument %d of a ScaLAPACK call", all[1]);
    return all[0];
}

/* From the first rank, which is in every grid, to all. */
static void share_values(const Context *context, const TsDistMatrix *m, double *values, const void *found,
                         int64_t count)
{
    for (int64_t i = 0; i < count && context->inside; i++)
        values[i] = value_of(m, found, i);
    ts_broadcast(
        context->group,
        (TsTransfer){.out = values, .in = values, .count_elems = count, .dtype = TS_F64, .label = "linear algebra"}, 0);
}

/* ---- what holds without ScaLAPACK ---- */

int64_t ts_dist_block(TsGrid grid, int64_t size)
{
    int64_t longest = grid.rows > grid.columns ? grid.rows : grid.columns, block = 64;
    while (block > 1 && block * longest * 2 > size)
        block /= 2;
    return block;
}

/* The first element, row after row, that is not finite, of the local part: its number, or INT64_MAX. */
static int64_t first_not_finite(const TsDistMatrix *a)
{
    int64_t stride = ts_dist_matrix_stride(a), first = INT64_MAX;
    for (int64_t j = 0; j < a->local_columns; j++)
        for (int64_t i = 0; i < a->local_rows; i++)
            if (!isfinite(value_of(a, a->data, j * stride + i))) {
                int64_t at = ts_cyclic_global(i, a->block, a->grid.row, a->grid.rows) * a->columns +
                             ts_cyclic_global(j, a->block, a->grid.column, a->grid.columns);
                first = at < first ? at : first;
            }
    return first;
}

TsStatus ts_dist_check_finite(const TsDistMatrix *a, const char *what)
{
    int64_t mine = first_not_finite(a), first = 0;
    ts_all_reduce(a->grid.group, (TsTransfer){.out = &first,
                                              .in = &mine,
                                              .count_elems = 1,
                                              .dtype = TS_I64,
                                              .reduction = TS_MIN,
                                              .label = "linear algebra"});
    if (first == INT64_MAX)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "%s: row %lld, column %lld is not a finite number", what,
                           (long long)(first / a->columns), (long long)(first % a->columns));
}

/* The index in the local part of element (i, i), or -1. */
static int64_t diagonal_at(const TsDistMatrix *a, int64_t i)
{
    bool here = i / a->block % a->grid.rows == a->grid.row && i / a->block % a->grid.columns == a->grid.column;
    int64_t row = i / a->block / a->grid.rows * a->block + i % a->block;
    int64_t column = i / a->block / a->grid.columns * a->block + i % a->block;
    return here ? column * ts_dist_matrix_stride(a) + row : -1;
}

void ts_dist_add_diagonal(TsDistMatrix *a, double value)
{
    for (int64_t i = 0; i < a->rows; i++) {
        int64_t at = diagonal_at(a, i);
        if (at >= 0)
            set_value(a, at, value_of(a, a->data, at) + value);
    }
}

/* ---- products and solves ---- */

void ts_dist_multiply(TsDistProduct product)
{
    TsDistMatrix *c = product.c;
    const TsDistMatrix *a = product.a, *b = product.b;
    Context context = open_context(c->grid);
    int64_t inner = product.transpose_a ? a->rows : a->columns;
    TS_CHECK(inner == (product.transpose_b ? b->columns : b->rows) &&
                 c->rows == (product.transpose_a ? a->columns : a->rows) &&
                 c->columns == (product.transpose_b ? b->rows : b->columns),
             "a product of matrices that do not fit");
    if (context.inside && c->rows && c->columns) {
        Descriptor of_a = describe(a, &context), of_b = describe(b, &context), of_c = describe(c, &context);
        Scalar alpha = scalar(c, product.alpha), beta = scalar(c, product.beta);
        int m = as_int(c->rows), n = as_int(c->columns), k = as_int(inner);
        CALL(c, gemm, product.transpose_a ? "T" : "N", product.transpose_b ? "T" : "N", &m, &n, &k, &alpha, a->data,
             &one, &one, of_a.entry, b->data, &one, &one, of_b.entry, &beta, c->data, &one, &one, of_c.entry);
    }
    close_context(&context);
}

TsStatus ts_dist_cholesky_solve(TsDistMatrix *a, TsDistMatrix *b)
{
    Context context = open_context(a->grid);
    int info = 0, n = as_int(a->rows), columns = as_int(b->columns);
    Descriptor of_a = describe(a, &context), of_b = describe(b, &context);
    TS_CHECK(a->rows == a->columns && b->rows == a->rows, "a Cholesky solve of matrices that do not fit");
    if (context.inside && n)
        CALL(a, potrf, "L", &n, a->data, &one, &one, of_a.entry, &info);
    int row = agree_info(&context, info);
    if (!row && context.inside && n && columns)
        CALL(a, potrs, "L", &n, &columns, a->data, &one, &one, of_a.entry, b->data, &one, &one, of_b.entry, &info);
    close_context(&context);
    return row ? ts_status_error(TS_CODE_INVALID,
                                 "the matrix of %lld rows is not positive definite at row %d: add ridge",
                                 (long long)a->rows, row - 1)
               : TS_OK;
}

void ts_dist_cholesky_again(const TsDistMatrix *a, TsDistMatrix *b)
{
    Context context = open_context(a->grid);
    int info = 0, n = as_int(a->rows), columns = as_int(b->columns);
    Descriptor of_a = describe(a, &context), of_b = describe(b, &context);
    TS_CHECK(a->rows == a->columns && b->rows == a->rows, "a Cholesky solve of matrices that do not fit");
    if (context.inside && n && columns)
        CALL(a, potrs, "L", &n, &columns, a->data, &one, &one, of_a.entry, b->data, &one, &one, of_b.entry, &info);
    agree_info(&context, info);
    close_context(&context);
}

void ts_dist_diagonal(double *values, const TsDistMatrix *a)
{
    double *mine = ts_calloc((size_t)a->rows + 1, sizeof *mine);
    for (int64_t i = 0; i < a->rows; i++) {
        int64_t at = diagonal_at(a, i);
        mine[i] = at < 0 ? 0 : value_of(a, a->data, at);
    }
    ts_all_reduce(
        a->grid.group,
        (TsTransfer){.out = values, .in = mine, .count_elems = a->rows, .dtype = TS_F64, .label = "linear algebra"});
    ts_free(mine);
}

/* The least and the largest size of a diagonal element of the first n, over all ranks. */
static void diagonal_range(const TsDistMatrix *a, int64_t n, double *least, double *largest)
{
    double mine[2] = {-INFINITY, 0}, all[2] = {0};
    for (int64_t i = 0; i < n; i++) {
        int64_t at = diagonal_at(a, i);
        if (at < 0)
            continue;
        double size = fabs(value_of(a, a->data, at));
        mine[0] = fmax(mine[0], -size);
        mine[1] = fmax(mine[1], size);
    }
    ts_all_reduce(
        a->grid.group,
        (TsTransfer){
            .out = all, .in = mine, .count_elems = 2, .dtype = TS_F64, .reduction = TS_MAX, .label = "linear algebra"});
    *least = -all[0];
    *largest = all[1];
}

TsStatus ts_dist_least_squares(TsDistMatrix *a, TsDistMatrix *b)
{
    Context context = open_context(a->grid);
    int info = 0, m = as_int(a->rows), n = as_int(a->columns), columns = as_int(b->columns), ask = -1;
    Descriptor of_a = describe(a, &context), of_b = describe(b, &context);
    TS_CHECK(m >= n && b->rows == a->rows, "least squares of matrices that do not fit");
    if (context.inside && n && columns) {
        Scalar room;
        CALL(a, gels, "N", &m, &n, &columns, a->data, &one, &one, of_a.entry, b->data, &one, &one, of_b.entry, &room,
             &ask, &info);
        int work_elems = as_int((int64_t)value_of(a, &room, 0) + 1);
        void *work = ts_alloc((size_t)work_elems * ts_dtype_bytes(a->dtype));
        CALL(a, gels, "N", &m, &n, &columns, a->data, &one, &one, of_a.entry, b->data, &one, &one, of_b.entry, work,
             &work_elems, &info);
        ts_free(work);
    }
    agree_info(&context, info);
    close_context(&context);
    double least, largest, precision = a->dtype == TS_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    diagonal_range(a, n, &least, &largest);
    if (n && columns && !(least > precision * (double)m * largest))
        return ts_status_error(TS_CODE_INVALID,
                               "columns of the %d x %d matrix depend on one another (the least pivot is %.2g of the "
                               "largest): leave some out, or add ridge",
                               m, n, largest > 0 ? least / largest : 0);
    return TS_OK;
}

/* ---- spectra ---- */

TsStatus ts_dist_eigen(double *values, TsDistMatrix *v, TsDistMatrix *a)
{
    Context context = open_context(a->grid);
    int info = 0, n = as_int(a->rows), ask = -1;
    Descriptor of_a = describe(a, &context), of_v = describe(v, &context);
    void *found = ts_alloc((size_t)(n + 1) * ts_dtype_bytes(a->dtype));
    if (context.inside && n) {
        Scalar room;
        int integer_room = 0;
        CALL(a, syevd, "V", "L", &n, a->data, &one, &one, of_a.entry, found, v->data, &one, &one, of_v.entry, &room,
             &ask, &integer_room, &ask, &info);
        /* What pXsyevd asks for leaves too little for the pXormtr that it calls, where ranks hold little. */
        int64_t locals = a->local_rows + a->local_columns + 4 * a->block;
        int work_elems = as_int((int64_t)value_of(a, &room, 0) + 2 * n + locals * a->block + a->block * a->block);
        int integer_elems = integer_room + 1;
        void *work = ts_alloc((size_t)work_elems * ts_dtype_bytes(a->dtype));
        int *integers = ts_alloc((size_t)integer_elems * sizeof(int));
        CALL(a, syevd, "V", "L", &n, a->data, &one, &one, of_a.entry, found, v->data, &one, &one, of_v.entry, work,
             &work_elems, integers, &integer_elems, &info);
        ts_free(work);
        ts_free(integers);
    }
    info = agree_info(&context, info);
    share_values(&context, a, values, found, n);
    ts_free(found);
    close_context(&context);
    return info ? ts_status_error(TS_CODE_INVALID, "the eigenvalues of the matrix of %d rows did not converge (%d)", n,
                                  info)
                : TS_OK;
}

TsStatus ts_dist_singular(double *values, TsDistMatrix *u, TsDistMatrix *vt, TsDistMatrix *a)
{
    Context context = open_context(a->grid);
    int info = 0, m = as_int(a->rows), n = as_int(a->columns), ask = -1, count = m < n ? m : n;
    Descriptor of_a = describe(a, &context), of_u = describe(u ? u : a, &context),
               of_vt = describe(vt ? vt : a, &context);
    const char *job = u ? "V" : "N";
    void *found = ts_alloc((size_t)(count + 1) * ts_dtype_bytes(a->dtype));
    if (context.inside && count) {
        Scalar room;
        void *to_u = u ? u->data : NULL, *to_vt = vt ? vt->data : NULL;
        CALL(a, gesvd, job, job, &m, &n, a->data, &one, &one, of_a.entry, found, to_u, &one, &one, of_u.entry, to_vt,
             &one, &one, of_vt.entry, &room, &ask, &info);
        int work_elems = as_int((int64_t)value_of(a, &room, 0) + 1);
        void *work = ts_alloc((size_t)work_elems * ts_dtype_bytes(a->dtype));
        CALL(a, gesvd, job, job, &m, &n, a->data, &one, &one, of_a.entry, found, to_u, &one, &one, of_u.entry, to_vt,
             &one, &one, of_vt.entry, work, &work_elems, &info);
        ts_free(work);
    }
    info = agree_info(&context, info);
    share_values(&context, a, values, found, count);
    ts_free(found);
    close_context(&context);
    return info > count ? ts_status_error(TS_CODE_INVALID, "ranks found different singular values: the grid is not of "
                                                           "like machines")
           : info ? ts_status_error(TS_CODE_INVALID, "the singular values of the %d x %d matrix did not converge (%d)",
                                    m, n, info)
                  : TS_OK;
}

/* Multiplies column j by factor[j]. */
static void scale_columns(TsDistMatrix *a, const double *factor)
{
    int64_t stride = ts_dist_matrix_stride(a);
    for (int64_t j = 0; j < a->local_columns; j++) {
        double by = factor[ts_cyclic_global(j, a->block, a->grid.column, a->grid.columns)];
        for (int64_t i = 0; i < a->local_rows; i++)
            set_value(a, j * stride + i, value_of(a, a->data, j * stride + i) * by);
    }
}

/* V diag(l^(-1/p)) V^T as W W^T, with W = V diag(l^(-1/2p)). */
TsStatus ts_dist_inverse_root(TsDistMatrix *root, TsDistMatrix *a, int power, double ridge)
{
    int64_t n = a->rows;
    double *values = ts_calloc((size_t)n + 1, sizeof *values);
    TsDistMatrix *v = ts_dist_matrix_create(a->grid, a->dtype, n, n, a->block);
    TsStatus status = ts_dist_eigen(values, v, a);
    double added = n ? ridge * fmax(values[n - 1], 0) : 0;
    double precision = a->dtype == TS_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    if (!status && n && !(fmax(values[0], 0) + added > precision * fmax(values[n - 1], 0)))
        status = ts_status_error(TS_CODE_INVALID, "the matrix of %lld rows has no inverse: add ridge", (long long)n);
    if (!status) {
        for (int64_t i = 0; i < n; i++)
            values[i] = pow(fmax(values[i], 0) + added, -0.5 / power);
        scale_columns(v, values);
        ts_dist_multiply((TsDistProduct){.c = root, .a = v, .b = v, .transpose_b = true, .alpha = 1});
    }
    ts_dist_matrix_free(&v);
    ts_free(values);
    return status;
}
