/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/dist_matrix.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

TsGrid ts_grid_make(TsGroup *group, int rows, int columns)
{
    int size = ts_group_size(group), rank = ts_group_rank(group);
    if (!rows) {
        rows = (int)sqrt((double)size);
        while (size % rows)
            rows--;
        columns = size / rows;
    }
    TS_CHECK(rows >= 1 && columns >= 1 && rows * columns <= size, "a grid of %d x %d on %d ranks", rows, columns, size);
    bool inside = rank < rows * columns;
    return (TsGrid){group, rows, columns, inside ? rank / columns : -1, inside ? rank % columns : -1};
}

int64_t ts_cyclic_count(int64_t size, int64_t block, int coord, int count)
{
    int64_t blocks = size / block, whole = blocks / count * block, left = blocks % count;
    if (coord < 0)
        return 0;
    return whole + (coord < left ? block : coord == left ? size % block : 0);
}

int64_t ts_cyclic_global(int64_t local, int64_t block, int coord, int count)
{
    return (local / block * count + coord) * block + local % block;
}

TsDistMatrix *ts_dist_matrix_create(TsGrid grid, TsDtype dtype, int64_t rows, int64_t columns, int64_t block)
{
    TS_CHECK(dtype == TS_F32 || dtype == TS_F64, "a distributed matrix of %s", ts_dtype_name(dtype));
    TsDistMatrix *made = ts_calloc(1, sizeof *made);
    *made = (TsDistMatrix){.grid = grid,
                           .dtype = dtype,
                           .rows = rows,
                           .columns = columns,
                           .block = block,
                           .local_rows = ts_cyclic_count(rows, block, grid.row, grid.rows),
                           .local_columns = ts_cyclic_count(columns, block, grid.column, grid.columns)};
    made->data = ts_calloc((size_t)(made->local_rows * made->local_columns) + 1, ts_dtype_bytes(dtype));
    return made;
}

void ts_dist_matrix_free(TsDistMatrix **matrix)
{
    if (!*matrix)
        return;
    ts_free((*matrix)->data);
    ts_free(*matrix);
    *matrix = NULL;
}

int64_t ts_dist_matrix_stride(const TsDistMatrix *matrix)
{
    return matrix->local_rows > 0 ? matrix->local_rows : 1;
}

/* ---- from one layout to the other ---- */

/* A rectangle of the matrix as an Array's rank holds it, row-major. */
typedef struct Slab {
    int64_t first_row, first_column, rows, columns;
    bool counts; /* false: another rank has the same, and sends it */
} Slab;

/* Elements that one rank's slab and another's place in the grid have in common go over as rows, and in each row as runs
 * of adjacent columns within a block: the sender packs them in that order, the receiver unpacks them in the same. */
typedef struct Common {
    const TsDistMatrix *matrix;
    Slab slab;
    int row, column; /* of the grid */
} Common;

/* The first number from `from` on that lies at `coord`. */
static int64_t next_at(int64_t from, int64_t block, int coord, int count)
{
    int64_t turn = from / block % count, ahead = (coord - turn + count) % count;
    return ahead ? (from / block + ahead) * block : from;
}

static int64_t local_of(int64_t global, int64_t block, int count)
{
    return global / block / count * block + global % block;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t count_common(const Common *common)
{
    const TsDistMatrix *m = common->matrix;
    const Slab *slab = &common->slab;
    int64_t rows = ts_cyclic_count(slab->first_row + slab->rows, m->block, common->row, m->grid.rows) -
                   ts_cyclic_count(slab->first_row, m->block, common->row, m->grid.rows);
    int64_t columns = ts_cyclic_count(slab->first_column + slab->columns, m->block, common->column, m->grid.columns) -
                      ts_cyclic_count(slab->first_column, m->block, common->column, m->grid.columns);
    return rows * columns;
}

/* `count` elements, between `packed` and memory of that stride, packing or unpacking; `add`: unpacking adds. */
typedef struct Way {
    bool packs, adds;
    TsDtype dtype;
} Way;

#define MOVE(type)                                                                                                     \
    do {                                                                                                               \
        type *restrict flat = packed, *restrict spread = memory;                                                       \
        for (int64_t k = 0; k < count; k++)                                                                            \
            if (way.packs)                                                                                             \
                flat[k] = spread[k * stride];                                                                          \
            else                                                                                                       \
                spread[k * stride] = way.adds ? spread[k * stride] + flat[k] : flat[k];                                \
    } while (0)

static void move(Way way, void *packed, void *memory, int64_t count, int64_t stride)
{
    if (way.dtype == TS_F64)
        MOVE(double);
    else
        MOVE(float);
}

/* Goes through what is common, between `packed` and the slab's memory (of the rank whose slab it is) or, slab_memory
 * being NULL, the matrix's. */
static void walk(const Common *common, Way way, char *packed, char *slab_memory)
{
    const TsDistMatrix *m = common->matrix;
    const Slab *slab = &common->slab;
    size_t size = ts_dtype_bytes(m->dtype);
    int64_t end_row = slab->first_row + slab->rows, end_column = slab->first_column + slab->columns;
    int64_t stride = ts_dist_matrix_stride(m);
    for (int64_t i = next_at(slab->first_row, m->block, common->row, m->grid.rows); i < end_row;
         i = next_at(i + 1, m->block, common->row, m->grid.rows))
        for (int64_t j = next_at(slab->first_column, m->block, common->column, m->grid.columns); j < end_column;) {
            int64_t end = least((j / m->block + 1) * m->block, end_column);
            if (slab_memory)
                move(way, packed,
                     slab_memory + size * (size_t)((i - slab->first_row) * slab->columns + j - slab->first_column),
                     end - j, 1);
            else
                move(way, packed,
                     (char *)m->data + size * (size_t)(local_of(i, m->block, m->grid.rows) +
                                                       local_of(j, m->block, m->grid.columns) * stride),
                     end - j, stride);
            packed += size * (size_t)(end - j);
            j = next_at(end, m->block, common->column, m->grid.columns);
        }
}

/* What rank `rank` of the group holds of the array. A slab counts when it is part of a sum, or that of the first of the
 * ranks that hold the same. */
static Slab slab_of(const TsArray *array, int rank, bool replicas)
{
    TsMeshShape shape = array->mesh ? ts_mesh_shape(array->mesh) : (TsMeshShape){0};
    TsAxisSet cut = ts_placement_axes(array->placement) | array->placement.partial;
    int coord[TS_AXES] = {0};
    bool counts = true;
    for (int axis = TS_AXES - 1; axis >= 1; axis--) {
        int size = shape.size[axis] > 1 ? shape.size[axis] : 1;
        coord[axis] = rank % size;
        rank /= size;
        counts &= replicas || coord[axis] == 0 || (cut & TS_AXIS_BIT(axis));
    }
    TsBlockRange block = ts_placement_block(array->placement, array->shape, shape, coord);
    bool column = array->shape.dims == 1;
    return (Slab){.first_row = block.first[0],
                  .first_column = column ? 0 : block.first[1],
                  .rows = block.shape.size[0],
                  .columns = column ? 1 : block.shape.size[1],
                  .counts = counts};
}

/* All ranks' slabs, and where what goes to and comes from each begins. */
typedef struct Plan {
    int size;
    int64_t *slab_first, *grid_first; /* (size + 1) of what slabs and grid places exchange with each rank */
    Slab *slabs;                      /* (size) */
} Plan;

static Common common_of(const TsDistMatrix *matrix, Slab slab, int rank)
{
    bool inside = rank < matrix->grid.rows * matrix->grid.columns;
    return (Common){matrix, slab, inside ? rank / matrix->grid.columns : -1, inside ? rank % matrix->grid.columns : -1};
}

static Plan make_plan(const TsDistMatrix *matrix, const TsArray *array, bool replicas)
{
    int size = ts_group_size(matrix->grid.group), me = ts_group_rank(matrix->grid.group);
    TS_CHECK(!array->mesh || ts_mesh_ranks(array->mesh) == size, "an array of %d ranks, a grid in a group of %d",
             ts_mesh_ranks(array->mesh), size);
    TS_CHECK(array->dtype == matrix->dtype && array->shape.size[0] == matrix->rows &&
                 (array->shape.dims == 1 ? 1 : array->shape.size[1]) == matrix->columns,
             "an array that is not like its matrix of (%lld, %lld)", (long long)matrix->rows,
             (long long)matrix->columns);
    Plan plan = {.size = size,
                 .slab_first = ts_calloc((size_t)size + 1, sizeof(int64_t)),
                 .grid_first = ts_calloc((size_t)size + 1, sizeof(int64_t)),
                 .slabs = ts_calloc((size_t)size, sizeof(Slab))};
    for (int r = 0; r < size; r++)
        plan.slabs[r] = slab_of(array, r, replicas);
    for (int r = 0; r < size; r++) {
        Common mine = common_of(matrix, plan.slabs[me], r), theirs = common_of(matrix, plan.slabs[r], me);
        plan.slab_first[r + 1] = plan.slab_first[r] + (plan.slabs[me].counts ? count_common(&mine) : 0);
        plan.grid_first[r + 1] = plan.grid_first[r] + (plan.slabs[r].counts ? count_common(&theirs) : 0);
    }
    return plan;
}

static void free_plan(Plan *plan)
{
    ts_free(plan->slab_first);
    ts_free(plan->grid_first);
    ts_free(plan->slabs);
}

/* Packs or unpacks everything that this rank's slab (slab_memory) or its place in the grid (NULL) exchanges. */
static void walk_all(const Plan *plan, const TsDistMatrix *matrix, Way way, char *packed, char *slab_memory)
{
    int me = ts_group_rank(matrix->grid.group);
    const int64_t *first = slab_memory ? plan->slab_first : plan->grid_first;
    for (int r = 0; r < plan->size; r++) {
        Common common = slab_memory ? common_of(matrix, plan->slabs[me], r) : common_of(matrix, plan->slabs[r], me);
        if (first[r + 1] > first[r])
            walk(&common, way, packed + (size_t)first[r] * ts_dtype_bytes(matrix->dtype), slab_memory);
    }
}

/* ---- panels ---- */

/* Calls `visit` for each element of the panel that lies here, with its index in the local part and in the panel. */
#define FOR_EACH_IN_PANEL(m, panel, visit)                                                                             \
    for (int64_t j = next_at((panel).first_column, (m)->block, (m)->grid.column, (m)->grid.columns);                   \
         (m)->grid.row >= 0 && j < (panel).first_column + (panel).columns;                                             \
         j = next_at(j + 1, (m)->block, (m)->grid.column, (m)->grid.columns))                                          \
        for (int64_t i = next_at((panel).first_row, (m)->block, (m)->grid.row, (m)->grid.rows);                        \
             i < (panel).first_row + (panel).rows; i = next_at(i + 1, (m)->block, (m)->grid.row, (m)->grid.rows)) {    \
            int64_t local = local_of(i, (m)->block, (m)->grid.rows) +                                                  \
                            local_of(j, (m)->block, (m)->grid.columns) * ts_dist_matrix_stride(m);                     \
            int64_t at = (i - (panel).first_row) * (panel).columns + j - (panel).first_column;                         \
            visit;                                                                                                     \
        }

void ts_dist_matrix_put(TsDistMatrix *matrix, const void *values, TsPanel panel)
{
    if (matrix->dtype == TS_F64)
        FOR_EACH_IN_PANEL(matrix, panel, ((double *)matrix->data)[local] = ((const double *)values)[at])
    else
        FOR_EACH_IN_PANEL(matrix, panel, ((float *)matrix->data)[local] = ((const float *)values)[at])
}

void ts_dist_matrix_get(double *values, const TsDistMatrix *matrix, TsPanel panel)
{
    memset(values, 0, (size_t)(panel.rows * panel.columns) * sizeof *values);
    if (matrix->dtype == TS_F64)
        FOR_EACH_IN_PANEL(matrix, panel, values[at] = ((const double *)matrix->data)[local])
    else
        FOR_EACH_IN_PANEL(matrix, panel, values[at] = (double)((const float *)matrix->data)[local])
    ts_all_reduce(matrix->grid.group, (TsTransfer){.out = values,
                                                   .in = values,
                                                   .count_elems = panel.rows * panel.columns,
                                                   .dtype = TS_F64,
                                                   .label = "linear algebra/panel"});
}

/* ---- arrays ---- */

void ts_dist_matrix_from_array(TsDistMatrix *matrix, const TsArray *array)
{
    Plan plan = make_plan(matrix, array, false);
    size_t size = ts_dtype_bytes(matrix->dtype), room = (size_t)matrix->local_rows * (size_t)matrix->local_columns;
    char *out = ts_alloc(size * (size_t)plan.slab_first[plan.size] + 1);
    char *in = ts_alloc(size * (size_t)plan.grid_first[plan.size] + 1);
    walk_all(&plan, matrix, (Way){.packs = true, .dtype = matrix->dtype}, out, array->data);
    ts_all_to_all(matrix->grid.group, (TsExchange){.out = in,
                                                   .in = out,
                                                   .send_first = plan.slab_first,
                                                   .receive_first = plan.grid_first,
                                                   .dtype = matrix->dtype,
                                                   .label = "block-cyclic"});
    memset(matrix->data, 0, room * size);
    walk_all(&plan, matrix, (Way){.adds = array->placement.partial != 0, .dtype = matrix->dtype}, in, NULL);
    ts_free(out);
    ts_free(in);
    free_plan(&plan);
}

void ts_dist_matrix_to_array(TsArray *array, const TsDistMatrix *matrix)
{
    TS_CHECK(!array->placement.partial, "a matrix does not become parts of a sum");
    Plan plan = make_plan(matrix, array, true);
    size_t size = ts_dtype_bytes(matrix->dtype);
    char *out = ts_alloc(size * (size_t)plan.grid_first[plan.size] + 1);
    char *in = ts_alloc(size * (size_t)plan.slab_first[plan.size] + 1);
    walk_all(&plan, matrix, (Way){.packs = true, .dtype = matrix->dtype}, out, NULL);
    ts_all_to_all(matrix->grid.group, (TsExchange){.out = in,
                                                   .in = out,
                                                   .send_first = plan.grid_first,
                                                   .receive_first = plan.slab_first,
                                                   .dtype = matrix->dtype,
                                                   .label = "block-cyclic"});
    walk_all(&plan, matrix, (Way){.dtype = matrix->dtype}, in, array->data);
    ts_free(out);
    ts_free(in);
    free_plan(&plan);
}
