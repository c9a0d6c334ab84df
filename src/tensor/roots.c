/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/roots.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/matmul.h"

/* LAPACK, which brings no header. */
void ssyevd_(const char *jobz, const char *uplo, const int *n, float *a, const int *stride, float *w, float *work,
             const int *work_elems, int *integers, const int *integer_elems, int *info);
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *stride, double *w, double *work,
             const int *work_elems, int *integers, const int *integer_elems, int *info);

/* Room for one matrix. */
typedef struct Room {
    void *v, *w, *work; /* (side, side), (side), LAPACK's */
    int *integers;
    int side, work_elems, integer_elems;
    TsDtype dtype;
} Room;

static Room make_room(int64_t side, TsDtype dtype)
{
    int n = (int)side;
    Room room = {.side = n, .work_elems = 1 + 6 * n + 2 * n * n, .integer_elems = 3 + 5 * n, .dtype = dtype};
    size_t size = ts_dtype_bytes(dtype);
    room.v = ts_alloc((size_t)(n * n) * size + 1);
    room.w = ts_alloc((size_t)n * size + 1);
    room.work = ts_alloc((size_t)room.work_elems * size);
    room.integers = ts_alloc((size_t)room.integer_elems * sizeof(int));
    return room;
}

static void free_room(Room *room)
{
    ts_free(room->v);
    ts_free(room->w);
    ts_free(room->work);
    ts_free(room->integers);
}

/* Eigenvectors as rows of v, whose memory LAPACK takes as columns. */
static int decompose(Room *room)
{
    int info = 0;
    if (room->dtype == TS_F64)
        dsyevd_("V", "L", &room->side, room->v, &room->side, room->w, room->work, &room->work_elems, room->integers,
                &room->integer_elems, &info);
    else
        ssyevd_("V", "L", &room->side, room->v, &room->side, room->w, room->work, &room->work_elems, room->integers,
                &room->integer_elems, &info);
    return info;
}

/* Scales row i of v by the eigenvalue's inverse root, half of it: V^T diag V is then the product with itself. */
#define SCALE_ROWS(type)                                                                                               \
    do {                                                                                                               \
        type *v = room->v, *w = room->w;                                                                               \
        double largest = fmax((double)w[n - 1], 0);                                                                    \
        for (int i = 0; i < n; i++) {                                                                                  \
            double value = fmax((double)w[i], 0) + ridge * largest;                                                    \
            double by = value > 0 ? pow(value, -0.5 / power) : 0;                                                      \
            for (int j = 0; j < n; j++)                                                                                \
                v[i * n + j] = (type)((double)v[i * n + j] * by);                                                      \
        }                                                                                                              \
    } while (0)

static void scale_rows(Room *room, int power, double ridge)
{
    int n = room->side;
    if (room->dtype == TS_F64)
        SCALE_ROWS(double);
    else
        SCALE_ROWS(float);
}

static bool is_finite(const Room *room)
{
    bool finite = true;
    for (int i = 0; i < room->side * room->side && finite; i++)
        finite = room->dtype == TS_F64 ? isfinite(((const double *)room->v)[i]) : isfinite(((const float *)room->v)[i]);
    return finite;
}

TsStatus ts_inverse_roots(void *root, const void *a, int64_t count, int64_t side, int power, double ridge,
                          TsDtype dtype)
{
    TS_CHECK((dtype == TS_F32 || dtype == TS_F64) && side < 1 << 14, "roots of %lld in %s", (long long)side,
             ts_dtype_name(dtype));
    size_t bytes = (size_t)(side * side) * ts_dtype_bytes(dtype);
    Room room = make_room(side, dtype);
    TsStatus status = TS_OK;
    ts_matmul_alone();
    for (int64_t i = 0; i < count && !status && side; i++) {
        memcpy(room.v, (const char *)a + (size_t)i * bytes, bytes);
        if (!is_finite(&room))
            status = ts_status_error(TS_CODE_INVALID, "matrix %lld holds what is not a finite number", (long long)i);
        else if (decompose(&room) != 0)
            status = ts_status_error(TS_CODE_INVALID, "the eigenvalues of matrix %lld did not converge", (long long)i);
        else {
            scale_rows(&room, power, ridge);
            ts_matmul(&(TsMatmul){.c = (char *)root + (size_t)i * bytes,
                                  .a = room.v,
                                  .b = room.v,
                                  .m = side,
                                  .n = side,
                                  .k = side,
                                  .transpose_a = true,
                                  .dtype = dtype});
        }
    }
    free_room(&room);
    return status;
}
