/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract that every op meets, as one function over a case: op_test_contract.
 *
 * On one rank: gradients against central differences in f64; f32 against f64; the same bits on one and two threads. On
 * several: outputs and gradients equal those of one rank, whichever dim of whichever operand is cut, and with all of
 * them cut at once.
 */
#pragma once

#include "test.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "op_audit.h"
#include "tensor/ops.h"
#include "tensor/program_internal.h"

enum { OP_INPUTS = 6, OP_SAMPLES = 48 };

typedef struct OpCase {
    const char *name;
    TsTensor (*build)(const TsTensor *in); /* floats, then ids if there are any; gives a float Tensor */
    int inputs;
    TsShape shape[OP_INPUTS];
    double low, high; /* what inputs lie between; both 0: -1 and 1 */
    TsShape id_shape; /* an i32 operand after the others, where id_limit > 0: in [0, id_limit) */
    int id_limit;
    int no_gradient;   /* bit i: input i gets none */
    double f32_error;  /* relative to 1 + |value|; 0: 2e-5 */
    double cut_error;  /* the same, of what is cut from what is not; 0: 1e-11. For what is f32 beside f64 */
    double bf16_error; /* the same, from f64 on inputs that bf16 holds exactly; 0: 0.02 */
} OpCase;

/* An operand that is f32 where the others are bf16: x, or x in f32. */
static inline TsTensor op_wide(TsTensor x)
{
    return ts_dtype_of(x) == TS_BF16 ? ts_cast(x, TS_F32) : x;
}

/* The gradient of sum(y^2) by of[0], for cases that are gradients themselves: second derivatives. The gradient that
 * comes from above depends on the same inputs. */
static inline TsTensor op_d_square(TsTensor y, const TsTensor *of)
{
    TsTensor d;
    ts_gradients(&d, ts_sum(ts_mul(y, y), -1, false), of, 1);
    return d;
}

/* Inputs hold numbers that bf16 can hold. */
static bool op_rounded;

/* Element `index` of array `seed`: between 0 and 1, and the same everywhere. */
static inline double op_number(int seed, int64_t index)
{
    double x = sin((double)index * 12.9898 + (double)(seed + 1) * 78.233) * 43758.5453;
    return x - floor(x);
}

/* The global row-major index of element `index` of a block. */
static inline int64_t op_global_index(TsBlockRange block, TsShape whole, int64_t index)
{
    int64_t at[TS_MAX_DIMS] = {0}, global = 0;
    for (int d = block.shape.dims - 1; d >= 0; d--) {
        at[d] = index % block.shape.size[d] + block.first[d];
        index /= block.shape.size[d];
    }
    for (int d = 0; d < whole.dims; d++)
        global = global * whole.size[d] + at[d];
    return global;
}

static inline double op_get(const TsArray *array, int64_t index)
{
    const void *data = array->data;
    return array->dtype == TS_F64    ? ((const double *)data)[index]
           : array->dtype == TS_F32  ? (double)((const float *)data)[index]
           : array->dtype == TS_BF16 ? (double)ts_bf16_to_f32(((const TsBf16 *)data)[index])
           : array->dtype == TS_I64  ? (double)((const int64_t *)data)[index]
                                     : (double)((const int32_t *)data)[index];
}

static inline void op_set(TsArray *array, int64_t index, double value)
{
    if (array->dtype == TS_F64)
        ((double *)array->data)[index] = value;
    else if (array->dtype == TS_F32)
        ((float *)array->data)[index] = (float)value;
    else if (array->dtype == TS_BF16)
        ((TsBf16 *)array->data)[index] = ts_bf16_from_f32((float)value);
    else if (array->dtype == TS_I64)
        ((int64_t *)array->data)[index] = (int64_t)value;
    else
        ((int32_t *)array->data)[index] = (int32_t)value;
}

/* A compiled case with all that is bound to it. Arrays in order: inputs, ids, weights, out, loss, gradients. */
typedef struct OpRun {
    TsProgram *program;
    TsArray *array[2 * OP_INPUTS + 4];
    int arrays;
} OpRun;

static inline TsArray *op_array(const OpRun *run, const char *name)
{
    for (int i = 0; i < run->arrays; i++)
        if (strcmp(ts_program_binding(run->program, i).name, name) == 0)
            return run->array[i];
    return NULL;
}

/* `cut[i]` is how input i is placed; NULL: replicated. */
static inline TsGraph *op_trace(const OpCase *test, TsDtype dtype, const TsPlacement *cut)
{
    static const char *const names[] = {"x0", "x1", "x2", "x3", "x4", "x5"};
    static const char *const gradient_names[] = {"d_x0", "d_x1", "d_x2", "d_x3", "d_x4", "d_x5"};
    TsGraph *graph = ts_graph_create();
    TsTensor in[OP_INPUTS + 1], of[OP_INPUTS], d[OP_INPUTS];
    int count = 0, which[OP_INPUTS];
    for (int i = 0; i < test->inputs; i++) {
        in[i] = ts_input(graph, names[i], dtype, test->shape[i], cut ? cut[i] : ts_replicated);
        if (!(test->no_gradient >> i & 1)) {
            which[count] = i;
            of[count++] = in[i];
        }
    }
    if (test->id_limit)
        in[test->inputs] = ts_input(graph, "ids", TS_I32, test->id_shape, cut ? cut[test->inputs] : ts_replicated);
    TsTensor out = test->build(in);
    TsTensor weights = ts_input(graph, "weights", ts_dtype_of(out), ts_shape_of_tensor(out), ts_replicated);
    TsTensor loss = ts_sum(ts_mul(out, weights), -1, false);
    ts_output("out", out, ts_replicated);
    ts_output("loss", loss, ts_replicated);
    if (op_audit_path() && dtype == TS_F64 && !cut)
        op_audit_gradients(graph, of, count, loss);
    ts_gradients(d, loss, of, count);
    for (int i = 0; i < count; i++)
        ts_output(gradient_names[which[i]], d[i], ts_replicated);
    return graph;
}

static inline void op_fill(const OpCase *test, TsArray *array, const char *name)
{
    double low = test->low, high = test->low == 0 && test->high == 0 ? 1 : test->high;
    low = test->low == 0 && test->high == 0 ? -1 : low;
    int seed = name[0] == 'x' ? name[1] - '0' : 17;
    for (int64_t i = 0; i < ts_shape_elems(array->block.shape); i++) {
        double number = op_number(seed, op_global_index(array->block, array->shape, i));
        double value = strcmp(name, "ids") == 0       ? floor(number * test->id_limit)
                       : strcmp(name, "weights") == 0 ? 2 * number - 1
                                                      : low + number * (high - low);
        if (array->placement.partial) /* which is a sum over all ranks */
            value /= ts_group_size(test_world);
        op_set(array, i,
               op_rounded && strcmp(name, "ids") ? (double)ts_bf16_to_f32(ts_bf16_from_f32((float)value)) : value);
    }
}

/* Compiles and binds; false where that fails, which is a failed assertion. */
static inline bool op_run_create(OpRun *run, const OpCase *test, TsDtype dtype, const TsPlacement *cut,
                                 const TsMesh *mesh, int threads)
{
    *run = (OpRun){.arrays = 0};
    TsStatus status = ts_program_compile(&run->program, op_trace(test, dtype, cut),
                                         (TsCompileOptions){.mesh = mesh, .threads = threads});
    if (status)
        fprintf(stderr, "%s: %s\n", test->name, ts_status_message(status));
    CU_ASSERT_PTR_NULL(status);
    if (status) {
        ts_status_free(&status);
        return false;
    }
    run->arrays = ts_program_bindings(run->program);
    for (int i = 0; i < run->arrays; i++) {
        TsBinding binding = ts_program_binding(run->program, i);
        run->array[i] =
            ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){.shared = false});
        if (binding.kind == TS_BIND_INPUT)
            op_fill(test, run->array[i], binding.name);
        ts_program_bind(run->program, binding.name, run->array[i]);
    }
    return true;
}

static inline void op_run_free(OpRun *run)
{
    ts_program_free(&run->program);
    for (int i = 0; i < run->arrays; i++)
        ts_array_free(&run->array[i]);
}

/* Central differences at some elements of every input, over all of which a sum of outputs is taken. */
static inline void op_check_gradients(const OpCase *test)
{
    OpRun run;
    if (!op_run_create(&run, test, TS_F64, NULL, NULL, 1))
        return;
    ts_program_run(run.program);
    for (int input = 0; input < test->inputs; input++) {
        char name[] = {'x', (char)('0' + input), 0}, gradient_name[] = {'d', '_', 'x', (char)('0' + input), 0};
        TsArray *x = op_array(&run, name), *d_x = op_array(&run, gradient_name), *loss = op_array(&run, "loss");
        int64_t elems = ts_shape_elems(test->shape[input]), step = elems / OP_SAMPLES + 1;
        for (int64_t i = 0; d_x && x && i < elems; i += step) {
            const double h = 1e-5;
            double was = op_get(x, i), gradient = op_get(d_x, i), high, low;
            op_set(x, i, was + h);
            ts_program_run(run.program);
            high = op_get(loss, 0);
            op_set(x, i, was - h);
            ts_program_run(run.program);
            low = op_get(loss, 0);
            op_set(x, i, was);
            ts_program_run(run.program);
            double expected = (high - low) / (2 * h), error = fabs(expected - gradient) / (1 + fabs(expected));
            double bound = 1e-7 + 1e-10 * fabs(high); /* what rounding makes of the difference */
            if (!(error < bound))
                fprintf(stderr, "%s: d x%d[%lld] is %.9g, differences give %.9g\n", test->name, input, (long long)i,
                        gradient, expected);
            CU_ASSERT(error < bound);
        }
    }
    op_run_free(&run);
}

/* The largest difference of outputs and gradients of two runs, relative to 1 + |value|. */
static inline double op_difference(const OpRun *a, const OpRun *b)
{
    double largest = 0;
    for (int i = 0; i < a->arrays; i++) {
        TsBinding binding = ts_program_binding(a->program, i);
        TsArray *other = op_array(b, binding.name);
        for (int64_t j = 0; binding.kind == TS_BIND_OUTPUT && j < ts_array_local_elems(a->array[i]); j++) {
            double x = op_get(a->array[i], j), y = op_get(other, j);
            double error = x == y ? 0 : fabs(x - y) / (1 + fabs(y));
            largest = error > largest || error != error ? error : largest;
        }
    }
    return largest;
}

static inline void op_check_precision(const OpCase *test, TsDtype dtype, double bound)
{
    OpRun exact, one, two;
    if (!op_run_create(&exact, test, TS_F64, NULL, NULL, 1))
        return;
    if (op_run_create(&one, test, dtype, NULL, NULL, 1) && op_run_create(&two, test, dtype, NULL, NULL, 2)) {
        ts_program_run(exact.program);
        ts_program_run(one.program);
        ts_program_run(two.program);
        double error = op_difference(&one, &exact);
        if (!(error <= bound))
            fprintf(stderr, "%s: %s differs from f64 by %g\n", test->name, ts_dtype_name(dtype), error);
        CU_ASSERT(error <= bound);
        CU_ASSERT_EQUAL(op_difference(&two, &one), 0);
        op_run_free(&one);
        op_run_free(&two);
    }
    op_run_free(&exact);
}

typedef struct OpCut {
    const OpCase *test;
    const OpRun *expected; /* what one rank gives */
    const TsMesh *mesh;
} OpCut;

static inline void op_check_cut(const OpCut *check, const TsPlacement *cut, const char *what)
{
    OpRun run;
    if (!op_run_create(&run, check->test, TS_F64, cut, check->mesh, 1))
        return;
    ts_program_run(run.program);
    double error = op_difference(&run, check->expected);
    double bound = check->test->cut_error > 0 ? check->test->cut_error : 1e-11;
    if (!(error < bound))
        fprintf(stderr, "%s: cut %s, differs from one rank by %g\n", check->test->name, what, error);
    CU_ASSERT(error < bound);
    op_run_free(&run);
}

/* Each dim of each operand cut by itself, and each operand a sum over ranks; then the first dims of all of them, the
 * last, and all of them sums. */
static inline void op_each_cut(const OpCut *check,
                               void (*visit)(const OpCut *, const TsPlacement *cut, const char *what))
{
    const OpCase *test = check->test;
    int operands = test->inputs + (test->id_limit > 0);
    TsPlacement first[OP_INPUTS + 1] = {{.partial = 0}}, last[OP_INPUTS + 1] = {{.partial = 0}};
    TsPlacement sums[OP_INPUTS + 1] = {{.partial = 0}};
    for (int i = 0; i < operands; i++) {
        TsShape shape = i < test->inputs ? test->shape[i] : test->id_shape;
        if (i < test->inputs) {
            TsPlacement sum[OP_INPUTS + 1] = {{.partial = 0}};
            char what[64];
            snprintf(what, sizeof what, "nowhere, operand %d a sum", i);
            sums[i] = sum[i] = ts_partial(ts_replicated, TS_AXIS_BIT(TS_AXIS_MODEL));
            visit(check, sum, what);
        }
        for (int d = 0; d < shape.dims; d++) {
            TsPlacement cut[OP_INPUTS + 1] = {{.partial = 0}};
            char what[64];
            snprintf(what, sizeof what, "in dim %d of operand %d", d, i);
            cut[i] = ts_shard(ts_replicated, d, TS_AXIS_MODEL);
            visit(check, cut, what);
            if (d == 0)
                first[i] = cut[i];
            last[i] = cut[i];
        }
    }
    visit(check, first, "in all first dims");
    visit(check, last, "in all last dims");
    visit(check, sums, "nowhere, all of them sums");
}

static inline void op_check_placements(const OpCase *test)
{
    TsMesh *mesh = NULL;
    OpRun expected;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_MODEL] = ts_group_size(test_world)}}));
    if (!op_run_create(&expected, test, TS_F64, NULL, NULL, 1))
        return;
    ts_program_run(expected.program);
    op_each_cut(&(OpCut){.test = test, .expected = &expected, .mesh = mesh}, op_check_cut);
    op_run_free(&expected);
    ts_mesh_free(&mesh);
}

static inline TsProgram *op_audit_compile(const OpCase *test, TsDtype dtype, const TsPlacement *cut, const TsMesh *mesh,
                                          bool fused)
{
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, op_trace(test, dtype, cut),
                               (TsCompileOptions){.mesh = mesh, .without_fusion = !fused}));
    return program;
}

static inline void op_audit_cut(const OpCut *check, const TsPlacement *cut, const char *what)
{
    (void)what;
    for (int fused = 0; fused < 2; fused++) {
        TsProgram *program = op_audit_compile(check->test, TS_F64, cut, check->mesh, fused);
        if (program)
            op_audit_ops("cut", program->graph, op_audit_is_cut);
        ts_program_free(&program);
    }
}

static inline void op_audit_graphs(const TsGraph *wide, const TsGraph *narrow)
{
    op_audit_sizes("empty", wide, op_audit_is_empty);
    op_audit_sizes("one", wide, op_audit_has_one);
    op_audit_sizes("odd", wide, op_audit_has_odd);
    op_audit_ops("bf16", narrow, op_audit_is_bf16);
}

static inline void op_audit_case(const OpCase *test)
{
    TsGraph *wide = op_trace(test, TS_F64, NULL), *narrow = op_trace(test, TS_BF16, NULL);
    TsProgram *wide_program = op_audit_compile(test, TS_F64, NULL, NULL, true);
    TsProgram *narrow_program = op_audit_compile(test, TS_BF16, NULL, NULL, true);
    op_audit_graphs(wide, narrow);
    if (wide_program && narrow_program)
        op_audit_graphs(wide_program->graph, narrow_program->graph);
    ts_graph_free(&wide);
    ts_graph_free(&narrow);
    ts_program_free(&wide_program);
    ts_program_free(&narrow_program);
    TsMesh *mesh = ts_mesh_describe((TsMeshShape){.size = {[TS_AXIS_MODEL] = 3}}, 0);
    op_each_cut(&(OpCut){.test = test, .mesh = mesh}, op_audit_cut);
    ts_mesh_free(&mesh);
}

static inline void op_test_contract(const OpCase *test)
{
    if (op_audit_path()) {
        op_audit_case(test);
        return;
    }
    if (ts_group_size(test_world) > 1) {
        op_check_placements(test);
        return;
    }
    op_check_gradients(test);
    op_check_precision(test, TS_F32, test->f32_error > 0 ? test->f32_error : 2e-5);
    op_rounded = true;
    op_check_precision(test, TS_BF16, test->bf16_error > 0 ? test->bf16_error : 0.02);
    op_rounded = false;
}

static inline void op_test_contracts(const OpCase *tests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        op_test_contract(&tests[i]);
}

/* Asserts that tracing `expression` in a Graph of its own, called graph, is an error whose message has `words`. */
#define OP_TEST_ERROR(expression, words)                                                                               \
    do {                                                                                                               \
        TsGraph *graph = ts_graph_create();                                                                            \
        (void)(expression);                                                                                            \
        TEST_ERROR(ts_graph_status(graph), words);                                                                     \
        ts_graph_free(&graph);                                                                                         \
    } while (0)

/* An f32 input of that shape in the graph of OP_TEST_ERROR. */
#define OP_INPUT(name, ...) ts_input(graph, name, TS_F32, ts_shape(__VA_ARGS__), ts_replicated)
