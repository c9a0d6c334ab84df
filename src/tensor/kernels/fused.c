/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/fused.h"

#include <omp.h>
#include <string.h>

#include "base/check.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/normalize.h"

enum { TILE = 1024, GRAIN = 4096, LINE = 64, NOWHERE = -2, IN_MEMORY = -1 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool in_use(const TsFusedRun *run, int input)
{
    return run->in[input].dtype == TS_F32 || run->in[input].dtype == TS_F64 || run->in[input].dtype == TS_BF16;
}

/* ---- preparation ---- */

/* Merges neighbouring dims through which all operands go without a gap, and leaves out those of size 1. */
static void merge_dims(TsFusedRun *run)
{
    const TsShape shape = run->block.shape, whole = run->block.whole;
    int inputs = run->program->inputs, dims = 0;
    int64_t step[TS_FUSED_INPUTS][TS_MAX_DIMS] = {{0}};
    for (int i = 0; i < inputs; i++)
        if (in_use(run, i))
            ts_broadcast_steps(step[i], shape, whole, run->in[i].shape, run->in[i].whole);
    for (int d = 0; d < shape.dims; d++) {
        bool together = dims > 0;
        if (shape.size[d] == 1)
            continue;
        for (int i = 0; i < inputs && together; i++)
            together = run->step[i][dims - 1] == step[i][d] * shape.size[d];
        dims += !together;
        run->size[dims - 1] = together ? run->size[dims - 1] * shape.size[d] : shape.size[d];
        for (int i = 0; i < inputs; i++)
            run->step[i][dims - 1] = step[i][d];
    }
    if (!dims) {
        run->size[dims++] = 1;
        for (int i = 0; i < inputs; i++)
            run->step[i][0] = 1;
    }
    run->dims = dims;
}

/* The value whose tile a value is: that which a repetition repeats. */
static int source_of(const TsFused *program, int value)
{
    while (value >= program->inputs && program->step[value - program->inputs].kind == TS_FUSED_REPEAT)
        value = program->step[value - program->inputs].in[0];
    return value;
}

/* Steps that read a value, or -1; `steps` for those that are given out at the end of a tile. */
static void find_last_readers(const TsFusedRun *run, int *last)
{
    const TsFused *program = run->program;
    for (int v = 0; v < TS_FUSED_VALUES; v++)
        last[v] = -1;
    for (int s = 0; s < program->steps; s++)
        for (int i = 0; i < 3; i++)
            if (program->step[s].in[i] >= 0)
                last[source_of(program, program->step[s].in[i])] = s;
    for (int k = 0; k < program->outputs; k++)
        if (program->output[k] >= 0)
            last[source_of(program, program->output[k])] = program->steps;
}

/* Whether a step may write its tile to the memory of output k: that is not needed afterwards as an input. */
static bool may_write(const TsFusedRun *run, int s, int k)
{
    const TsFused *program = run->program;
    for (int later = s + 1; later < program->steps; later++)
        for (int i = 0; i < 3; i++) {
            int value = program->step[later].in[i] < 0 ? -1 : source_of(program, program->step[later].in[i]);
            if (value >= 0 && value < program->inputs && run->in[value].data == run->out[k])
                return false;
        }
    for (int other = 0; other < program->outputs; other++) { /* an input that is given out as it is */
        int value = program->output[other] < 0 ? -1 : source_of(program, program->output[other]);
        if (value >= 0 && value < program->inputs && run->in[value].data == run->out[k])
            return false;
    }
    return true;
}

/* Gives each value a register from its maker to its last reader. */
static void place_values(TsFusedRun *run)
{
    const TsFused *program = run->program;
    int last[TS_FUSED_VALUES];
    bool taken[TS_FUSED_VALUES] = {false};
    find_last_readers(run, last);
    run->registers = 0;
    for (int v = 0; v < TS_FUSED_VALUES; v++) {
        run->place[v] = NOWHERE;
        run->direct[v] = -1;
    }
    for (int i = 0; i < program->inputs; i++) {
        run->place[i] = IN_MEMORY;
        if (last[i] < 0 || run->in[i].dtype != TS_BF16)
            continue;
        run->place[i] = (int8_t)run->registers;
        taken[run->registers++] = true;
    }
    for (int s = 0; s < program->steps; s++) {
        int value = program->inputs + s, r = 0;
        for (int v = 0; v < value; v++)
            if (last[v] == s && run->place[v] >= 0)
                taken[run->place[v]] = false;
        bool needed = last[value] >= 0 || program->step[s].kind == TS_FUSED_D_NORMALIZE; /* for its sums */
        if (!needed || program->step[s].kind == TS_FUSED_REPEAT)
            continue;
        for (int k = 0; k < program->outputs && run->direct[value] < 0; k++)
            if (program->output[k] == value && program->out_dtype[k] == (int8_t)run->dtype && may_write(run, s, k))
                run->direct[value] = (int8_t)k;
        if (run->direct[value] >= 0) {
            run->place[value] = IN_MEMORY;
            continue;
        }
        while (taken[r])
            r++;
        taken[r] = true;
        run->place[value] = (int8_t)r;
        run->registers = r + 1 > run->registers ? r + 1 : run->registers;
    }
}

void ts_fused_prepare(TsFusedRun *run)
{
    const TsFused *program = run->program;
    bool whole_rows = false;
    run->dtype = TS_F32;
    for (int s = 0; s < program->steps; s++) {
        if (program->step[s].dtype == TS_F64)
            run->dtype = TS_F64;
        whole_rows |= program->step[s].kind == TS_FUSED_NORMALIZE || program->step[s].kind == TS_FUSED_D_NORMALIZE;
    }
    run->elems = ts_shape_elems(run->block.shape);
    run->columns = program->row_dims ? 1 : 0;
    for (int d = run->block.shape.dims - program->row_dims; d < run->block.shape.dims; d++)
        run->columns *= run->block.shape.size[d];
    run->tile = whole_rows ? run->columns : TILE;
    run->kernels = ts_elementwise_kernels(run->dtype);
    run->bf16 = ts_elementwise_kernels(TS_BF16);
    run->norms = ts_normalize_kernels(run->dtype);
    merge_dims(run);
    place_values(run);
}

static size_t in_lines(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

static size_t register_bytes(const TsFusedRun *run)
{
    return in_lines((size_t)run->tile * ts_dtype_bytes(run->dtype));
}

size_t ts_fused_tile_bytes(const TsFusedRun *run)
{
    return (size_t)run->registers * register_bytes(run);
}

size_t ts_fused_sums_bytes(const TsFusedRun *run)
{
    return in_lines((size_t)(run->program->sums * run->columns) * ts_dtype_bytes(run->dtype));
}

/* ---- one tile ---- */

/* A value in the tile: its elements, or with step 0 the one that all of them are. */
typedef struct Lane {
    const void *data;
    int64_t step;
} Lane;

typedef struct Tile {
    const TsFusedRun *run;
    int64_t first, count, column; /* column: where in the row */
    unsigned char *registers;
    unsigned char *sums;
    Lane lane[TS_FUSED_VALUES];
} Tile;

static void *register_of(const Tile *tile, int value)
{
    return tile->registers + (size_t)tile->run->place[value] * register_bytes(tile->run);
}

static const unsigned char *element(const void *base, int64_t index, TsDtype dtype)
{
    return (const unsigned char *)base + index * (int64_t)ts_dtype_bytes(dtype);
}

static void read_inputs(Tile *tile, const int64_t *at)
{
    const TsFusedRun *run = tile->run;
    for (int i = 0; i < run->program->inputs; i++) {
        if (!in_use(run, i))
            continue;
        const void *data = element(run->in[i].data, at[i], run->in[i].dtype);
        int64_t step = run->step[i][run->dims - 1];
        if (run->place[i] >= 0) {
            void *wide = register_of(tile, i);
            run->bf16->widen(wide, data, step ? tile->count : 1);
            data = wide;
        }
        tile->lane[i] = (Lane){data, step};
    }
}

static void normalize_step(const Tile *tile, const TsFusedStep *step, void *out)
{
    const TsNormalizeKernels *kernels = tile->run->norms;
    TsNormalizeRows row = {.rows = 1, .columns = tile->count, .epsilon = step->parameter, .rms = step->kernel};
    const void *in[3];
    for (int i = 0; i < 3; i++)
        in[i] = step->in[i] < 0 ? NULL : tile->lane[step->in[i]].data;
    if (step->kind == TS_FUSED_NORMALIZE) {
        kernels->forward_row(out, in[0], in[1], in[2], row);
        return;
    }
    size_t sum_bytes = (size_t)tile->run->columns * ts_dtype_bytes(tile->run->dtype);
    kernels->backward_row(out, step->sums < 0 ? NULL : tile->sums + (size_t)step->sums * sum_bytes, in[0], in[2], in[1],
                          row);
}

static void add_to_sum(const Tile *tile, const TsFusedStep *step)
{
    const TsFusedRun *run = tile->run;
    Lane lane = tile->lane[step->in[0]];
    void *sum = (void *)element(tile->sums, step->sums * run->columns + tile->column, run->dtype);
    run->kernels->binary_run(TS_BINARY_ADD, sum, sum, lane.data, tile->count, 1, lane.step);
}

static void run_step(Tile *tile, int s)
{
    const TsFusedRun *run = tile->run;
    const TsFusedStep *step = &run->program->step[s];
    const TsElementwiseKernels *kernels = run->kernels;
    int value = run->program->inputs + s;
    Lane a = tile->lane[step->in[0]], b = step->kind == TS_FUSED_BINARY ? tile->lane[step->in[1]] : (Lane){NULL, 0};
    if (step->kind == TS_FUSED_REPEAT) {
        tile->lane[value] = a;
        return;
    }
    if (step->kind == TS_FUSED_COLUMN_SUM) {
        add_to_sum(tile, step);
        return;
    }
    if (run->place[value] == NOWHERE)
        return;
    void *out = run->direct[value] >= 0 ? (void *)element(run->out[run->direct[value]], tile->first, run->dtype)
                                        : register_of(tile, value);
    Lane given = {out, a.step | b.step};
    int64_t count = given.step || run->direct[value] >= 0 ? tile->count : 1;
    given.step |= run->direct[value] >= 0;
    switch ((TsFusedKind)step->kind) {
    case TS_FUSED_UNARY:
        if (a.step || count == 1)
            kernels->unary_run((TsUnary)step->kernel, out, a.data, count, step->parameter);
        else /* one value, wanted as many */
            kernels->spread_run((TsUnary)step->kernel, out, a.data, count, step->parameter);
        break;
    case TS_FUSED_BINARY:
        kernels->binary_run((TsBinary)step->kernel, out, a.data, b.data, count, a.step, b.step);
        break;
    case TS_FUSED_CAST:
        kernels->copy_run(out, a.data, count, a.step);
        break;
    case TS_FUSED_DROP:
        ts_random_kernels(run->dtype)
            ->drop_run(out, a.data, run->block,
                       (TsStream){.key = {(uint32_t)step->stream, (uint32_t)(step->stream >> 32)},
                                  .step = (uint64_t) * (const int64_t *)run->in[step->in[1]].data},
                       step->parameter, tile->first, count);
        break;
    default:
        normalize_step(tile, step, out);
    }
    if (step->dtype == TS_BF16)
        run->bf16->round_run(out, count);
    tile->lane[value] = given;
}

/* What does not lie where it is given out goes there. */
static void write_outputs(const Tile *tile)
{
    const TsFusedRun *run = tile->run;
    for (int k = 0; k < run->program->outputs; k++) {
        int value = run->program->output[k];
        if (value < 0 || run->direct[value] == k)
            continue;
        TsDtype dtype = (TsDtype)run->program->out_dtype[k];
        void *out = (void *)element(run->out[k], tile->first, dtype);
        Lane lane = tile->lane[value];
        if (dtype == TS_BF16)
            run->bf16->narrow_run(out, lane.data, tile->count, lane.step);
        else
            run->kernels->copy_run(out, lane.data, tile->count, lane.step);
    }
}

/* Where in the merged dims a tile begins, and in each operand. */
typedef struct Position {
    int64_t of[TS_MAX_DIMS], at[TS_FUSED_INPUTS];
} Position;

static void find_operands(const TsFusedRun *run, Position *position)
{
    for (int i = 0; i < run->program->inputs; i++) {
        position->at[i] = 0;
        for (int d = 0; d < run->dims; d++)
            position->at[i] += position->of[d] * run->step[i][d];
    }
}

/* `count` elements on, which do not leave the innermost dim. */
static void advance(const TsFusedRun *run, Position *position, int64_t count)
{
    int d = run->dims - 1;
    position->of[d] += count;
    if (position->of[d] < run->size[d]) {
        for (int i = 0; i < run->program->inputs; i++)
            position->at[i] += count * run->step[i][d];
        return;
    }
    for (; d > 0 && position->of[d] == run->size[d]; d--) {
        position->of[d] = 0;
        position->of[d - 1]++;
    }
    find_operands(run, position);
}

void ts_fused_range(const TsFusedRun *run, int64_t first, int64_t last, void *registers, void *sums)
{
    int inner = run->dims - 1;
    Tile tile; /* lanes are set before they are read */
    Position position;
    int64_t index = first, left = run->columns ? run->columns - first % run->columns : run->elems; /* of the row */
    for (int d = inner; d >= 0; d--) {
        position.of[d] = index % run->size[d];
        index /= run->size[d];
    }
    find_operands(run, &position);
    tile.run = run;
    tile.registers = registers;
    tile.sums = sums;
    for (int64_t at = first; at < last; at += tile.count) {
        tile.first = at;
        tile.column = run->columns - left;
        tile.count = smaller(smaller(last - at, left), smaller(run->size[inner] - position.of[inner], run->tile));
        read_inputs(&tile, position.at);
        for (int s = 0; s < run->program->steps; s++)
            run_step(&tile, s);
        write_outputs(&tile);
        advance(run, &position, tile.count);
        left -= tile.count;
        left = left ? left : run->columns;
    }
}

/* ---- everything ---- */

void ts_fused_finish(const TsFusedRun *run, const void *sums, int64_t segments)
{
    const TsElementwiseKernels *kernels = run->kernels;
    size_t segment_bytes = ts_fused_sums_bytes(run);
    for (int k = 0; k < run->program->outputs; k++) {
        int s = -1 - run->program->output[k];
        if (s < 0)
            continue;
        TsDtype dtype = (TsDtype)run->program->out_dtype[k];
        for (int64_t first = 0; first < run->columns; first += TILE) {
            union {
                double f64[TILE];
                float f32[TILE];
            } sum;
            void *room = &sum;
            int64_t count = smaller(TILE, run->columns - first);
            memset(room, 0, sizeof sum);
            for (int64_t segment = 0; segment < segments; segment++)
                kernels->binary_run(TS_BINARY_ADD, room, room,
                                    element((const unsigned char *)sums + (size_t)segment * segment_bytes,
                                            s * run->columns + first, run->dtype),
                                    count, 1, 1);
            void *out = (void *)element(run->out[k], first, dtype);
            if (dtype == TS_BF16)
                run->bf16->narrow_run(out, room, count, 1);
            else
                kernels->copy_run(out, room, count, 1);
        }
    }
}

/* Work is cut into so many pieces, by the shape alone. */
static int64_t pieces_of(const TsFusedRun *run)
{
    if (run->program->sums)
        return ts_normalize_segments(run->columns ? run->elems / run->columns : 0);
    if (!run->columns)
        return (run->elems + GRAIN - 1) / GRAIN;
    int64_t rows = GRAIN / run->columns + 1;
    return (run->elems / run->columns + rows - 1) / rows;
}

static int64_t piece_first(const TsFusedRun *run, int64_t pieces, int64_t piece)
{
    if (!run->columns)
        return smaller(piece * GRAIN, run->elems);
    return run->elems / run->columns * piece / pieces * run->columns;
}

size_t ts_fused_scratch_bytes(const TsFusedRun *run, int threads)
{
    return (size_t)(threads > 1 ? threads : 1) * ts_fused_tile_bytes(run) +
           (run->program->sums ? (size_t)pieces_of(run) * ts_fused_sums_bytes(run) : 0);
}

void ts_kernel_fused(const TsFusedRun *run, void *scratch, int threads)
{
    int64_t pieces = run->elems ? pieces_of(run) : 0, worth = run->elems * run->program->steps / 16384;
    unsigned char *sums = (unsigned char *)scratch + (size_t)(threads > 1 ? threads : 1) * ts_fused_tile_bytes(run);
    size_t sums_bytes = run->program->sums ? ts_fused_sums_bytes(run) : 0;
    threads = worth < threads ? (worth < 1 ? 1 : (int)worth) : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t piece = 0; piece < pieces; piece++) {
        unsigned char *registers = (unsigned char *)scratch + (size_t)omp_get_thread_num() * ts_fused_tile_bytes(run);
        unsigned char *mine = sums + (size_t)piece * sums_bytes;
        if (sums_bytes)
            memset(mine, 0, sums_bytes);
        ts_fused_range(run, piece_first(run, pieces, piece), piece_first(run, pieces, piece + 1), registers, mine);
    }
    ts_fused_finish(run, sums, pieces);
}
