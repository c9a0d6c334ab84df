/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Values and gradients of ops against PyTorch's and NumPy's, from tests/golden/ops.txt (make_ops.py beside it writes
 * it), in f64, f32 and, loosely, bf16. On two ranks: in f64, with the last dim of the first operand cut.
 */
#include "op_test.h"
#include "tensor/optimizer_ops.h"

enum { RECORDS = 512 };

typedef struct Record {
    char name[64];
    TsShape shape;
    double *value;
} Record;

static Record record[RECORDS];
static int records;

static void read_records(void)
{
    FILE *file = fopen("tests/golden/ops.txt", "r");
    CU_ASSERT_PTR_NOT_NULL(file);
    while (file && records < RECORDS) {
        Record *next = &record[records];
        if (fscanf(file, "%63s %d", next->name, &next->shape.dims) != 2 || next->shape.dims > TS_MAX_DIMS)
            break;
        for (int d = 0; d < next->shape.dims; d++)
            CU_ASSERT_EQUAL(fscanf(file, "%ld", &next->shape.size[d]), 1);
        next->value = ts_calloc((size_t)ts_shape_elems(next->shape), sizeof *next->value);
        for (int64_t i = 0; i < ts_shape_elems(next->shape); i++)
            CU_ASSERT_EQUAL(fscanf(file, "%lf", &next->value[i]), 1);
        records++;
    }
    if (file)
        fclose(file);
    CU_ASSERT(records > 80);
}

static void free_records(void)
{
    for (int i = 0; i < records; i++)
        ts_free(record[i].value);
    records = 0;
}

/* The record NAME.PART, or NULL. */
static const Record *find(const char *name, const char *part)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", name, part);
    for (int i = 0; i < records; i++)
        if (strcmp(record[i].name, full) == 0)
            return &record[i];
    return NULL;
}

/* What this rank holds of it. */
static void set(TsArray *array, const double *value)
{
    for (int64_t i = 0; i < ts_array_local_elems(array); i++)
        op_set(array, i, value[op_global_index(array->block, array->shape, i)]);
}

typedef struct Golden {
    const char *name;
    TsTensor (*build)(const TsTensor *in); /* x0, x1, ..., ids */
} Golden;

static TsProgram *trace(const Golden *golden, TsDtype dtype, const TsMesh *mesh)
{
    static const char *const names[] = {"x0", "x1", "x2", "x3"}, *const d_names[] = {"d0", "d1", "d2", "d3"};
    TsGraph *graph = ts_graph_create();
    TsTensor in[5], d[4];
    TsProgram *program = NULL;
    const Record *ids = find(golden->name, "ids"), *next;
    int count = 0;
    for (; count < 4 && (next = find(golden->name, names[count])); count++) {
        bool cut = mesh && count == 0 && next->shape.dims;
        TsPlacement last = ts_shard(ts_replicated, cut ? next->shape.dims - 1 : 0, TS_AXIS_MODEL);
        in[count] = ts_input(graph, names[count], dtype, next->shape, cut ? last : ts_replicated);
    }
    CU_ASSERT(count > 0);
    if (ids)
        in[count] = ts_input(graph, "ids", TS_I32, ids->shape, ts_replicated);
    TsTensor out = golden->build(in);
    ts_output("out", out, ts_replicated);
    if (find(golden->name, "weights")) {
        TsTensor weights = ts_input(graph, "weights", ts_dtype_of(out), ts_shape_of_tensor(out), ts_replicated);
        ts_gradients(d, ts_sum(ts_mul(out, weights), -1, false), in, count);
        for (int i = 0; i < count; i++)
            ts_output(d_names[i], d[i], ts_replicated);
    }
    if (op_audit_path())
        op_audit_ops("golden", graph, NULL);
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh, .threads = 1}));
    if (op_audit_path() && program)
        op_audit_ops("golden", program->graph, NULL);
    return program;
}

static void compare(const Golden *golden, const TsArray *array, const char *part, double bound)
{
    const Record *expected = find(golden->name, part);
    CU_ASSERT_PTR_NOT_NULL(expected);
    if (!expected)
        return;
    CU_ASSERT(ts_shape_equal(expected->shape, array->shape));
    if (array->dtype == TS_F32 && bound < 1e-6)
        bound = 1e-6; /* noise is f32 beside f64 too */
    for (int64_t i = 0; i < ts_array_local_elems(array); i++) {
        double error = fabs(op_get(array, i) - expected->value[i]) / (1 + fabs(expected->value[i]));
        if (!(error < bound))
            fprintf(stderr, "%s.%s[%d] is %.9g, expected %.9g\n", golden->name, part, (int)i, op_get(array, i),
                    expected->value[i]);
        CU_ASSERT(error < bound);
    }
}

static void check(const Golden *golden, TsDtype dtype, double bound, const TsMesh *mesh)
{
    TsProgram *program = trace(golden, dtype, mesh);
    TsArray *array[16];
    int count = program ? ts_program_bindings(program) : 0;
    for (int i = 0; i < count; i++) {
        TsBinding binding = ts_program_binding(program, i);
        const Record *values = find(golden->name, binding.name);
        array[i] =
            ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){.shared = 0});
        CU_ASSERT_PTR_NOT_NULL(values);
        if (binding.kind == TS_BIND_INPUT && values)
            set(array[i], values->value);
        ts_program_bind(program, binding.name, array[i]);
    }
    if (program)
        ts_program_run(program);
    for (int i = 0; i < count; i++)
        if (ts_program_binding(program, i).kind == TS_BIND_OUTPUT)
            compare(golden, array[i], ts_program_binding(program, i).name, bound);
    ts_program_free(&program);
    for (int i = 0; i < count; i++)
        ts_array_free(&array[i]);
}

#define BUILD(NAME, EXPRESSION)                                                                                        \
    static TsTensor build_##NAME(const TsTensor *in)                                                                   \
    {                                                                                                                  \
        return EXPRESSION;                                                                                             \
    }
BUILD(gelu, ts_gelu(in[0]))
BUILD(gelu_tanh, ts_gelu_tanh(in[0]))
BUILD(silu, ts_silu(in[0]))
BUILD(sigmoid, ts_sigmoid(in[0]))
BUILD(tanh, ts_tanh(in[0]))
BUILD(div, ts_div(in[0], in[1]))
BUILD(layer_norm, ts_normalize(in[0], op_wide(in[1]), op_wide(in[2]), (TsNormalize){.epsilon = 1e-5}))
BUILD(rms_norm, ts_normalize(in[0], op_wide(in[1]), TS_NONE, (TsNormalize){.epsilon = 1e-6, .rms = true}))
BUILD(dot, ts_dot(in[0], in[1], (TsDot){.contract = 1}))
BUILD(attend, ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.causal = false}).out)
BUILD(attend_causal, ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.causal = true}).out)
BUILD(attend_window, ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.scale = 0.5, .causal = true, .window = 3}).out)
BUILD(cross_entropy, ts_cross_entropy(in[0], in[1], (TsCrossEntropy){.ignore = -100}))
BUILD(cross_entropy_all,
      ts_cross_entropy(in[0], in[1], (TsCrossEntropy){.ignore = -100, .smoothing = 0.1, .z_loss = 0.01}))
BUILD(take, ts_take(in[0], in[1]))
BUILD(softmax, ts_softmax(in[0]))
BUILD(log_softmax, ts_log_softmax(in[0]))
BUILD(logsumexp, ts_logsumexp(in[0]))
BUILD(where, ts_where(ts_greater(in[0], in[1]), in[0], ts_mul(in[1], in[1])))
BUILD(gather, ts_gather(in[0], in[1], 1))
BUILD(scatter_add, ts_scatter_add(in[0], in[1], in[2], 1))
BUILD(running_sum, ts_running_sum(in[0], 1, false))
BUILD(top_k, ts_top_k(in[0], 3).values)
BUILD(sort, ts_sort(in[0], true).values)
BUILD(swiglu, ts_swiglu(in[0], in[1]))
BUILD(geglu, ts_geglu(in[0], in[1]))
BUILD(rotary, ts_rotary(in[0], ts_constant(in[0].graph, TS_I64, ts_scalar, 3), (TsRotary){.base = 10000}))
BUILD(rotary_neighbours,
      ts_rotary(in[0], ts_constant(in[0].graph, TS_I64, ts_scalar, 3), (TsRotary){.interleaved = true}))
BUILD(batch_dot, ts_batch_dot(in[0], in[1], true, false))
BUILD(attend_bias, ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.bias = op_wide(in[3])}).out)
BUILD(conv1d_same, ts_conv1d(in[0], in[1], TS_CONV1D_SAME))
BUILD(conv1d_causal, ts_conv1d(in[0], in[1], TS_CONV1D_CAUSAL))
BUILD(conv1d_valid, ts_conv1d(in[0], in[1], TS_CONV1D_VALID))
BUILD(add, ts_add(in[0], in[1]))
BUILD(sub, ts_sub(in[0], in[1]))
BUILD(mul, ts_mul(in[0], in[1]))
BUILD(maximum, ts_maximum(in[0], in[1]))
BUILD(minimum, ts_minimum(in[0], in[1]))
BUILD(scale, ts_scale(in[0], -2.5))
BUILD(shift, ts_shift(in[0], 0.75))
BUILD(exp, ts_exp(in[0]))
BUILD(ln, ts_ln(in[0]))
BUILD(sqrt, ts_sqrt(in[0]))
BUILD(relu, ts_relu(in[0]))
BUILD(less, ts_cast(ts_less(in[0], in[1]), ts_dtype_of(in[0])))
BUILD(equal, ts_cast(ts_equal(in[0], in[1]), ts_dtype_of(in[0])))
BUILD(cast, ts_cast(in[0], TS_BF16))
BUILD(cast_down, ts_cast(in[0], TS_I32))
BUILD(reshape, ts_reshape(in[0], ts_shape(3, 8)))
BUILD(transpose, ts_transpose(in[0], (int[]){2, 0, 1}))
BUILD(expand, ts_expand(in[0], ts_shape(2, 3, 4)))
BUILD(slice, ts_slice(in[0], 1, 1, 3))
BUILD(concatenate, ts_concatenate(in, 3, 1))
BUILD(update, ts_update(in[0], in[1], ts_constant(in[0].graph, TS_I64, ts_scalar, 2), 1))
BUILD(sum, ts_sum(in[0], 1 | 4, false))
BUILD(mean, ts_mean(in[0], 2, false))
BUILD(max, ts_max(in[0], 2, true))
BUILD(sum_squares, ts_sum_squares(in[0]))
BUILD(sum_squares_parts, ts_sum_squares_parts(in[0], 1, 3))
BUILD(argmax, ts_argmax(in[0]))
BUILD(top_k_indices, ts_top_k(in[0], 3).indices)
BUILD(sort_indices, ts_sort(in[0], true).indices)
BUILD(norm, ts_normalize(in[0], TS_NONE, TS_NONE, (TsNormalize){.epsilon = 1e-5}))
BUILD(clip_factor, ts_clip_factor(ts_cast(in[0], TS_F32), ts_constant(in[0].graph, TS_F32, ts_scalar, 9),
                                  (TsClipFactor){.clip = 0.5}))
BUILD(attend_segments, ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.causal = true, .segments = in[3]}).out)
BUILD(attend_logsumexp, ts_attend(in[0], in[1], in[1], TS_NONE, (TsAttend){.causal = false}).logsumexp)
BUILD(assign, ts_assign_slots(in[1], 3, 2).slots)
BUILD(dispatch, ts_dispatch(in[0], in[2], in[1], 3, 2))
BUILD(collect, ts_collect(in[0], in[2], in[1]))
BUILD(expert_dot, ts_expert_dot(in[0], in[1]))
BUILD(uniform, ts_uniform(ts_constant(in[0].graph, TS_I64, ts_scalar, 7), ts_shape(5, 8), 0x123456789abcdef0u))
BUILD(normal, ts_normal(ts_constant(in[0].graph, TS_I64, ts_scalar, 7), ts_shape(5, 8), 0x123456789abcdef0u))
BUILD(gumbel, ts_gumbel(ts_constant(in[0].graph, TS_I64, ts_scalar, 7), ts_shape(5, 8), 0x123456789abcdef0u))
BUILD(drop, ts_drop(in[0], ts_constant(in[0].graph, TS_I64, ts_scalar, 7), 0.25, 0x123456789abcdef0u))

/* ---- what ends a step: rate 2^-4, factor 2^-1, step 3; all that it gives, one behind another ---- */

static TsOptimizerScalars third_step(const TsTensor *in)
{
    TsGraph *graph = in[0].graph;
    return (TsOptimizerScalars){.rate = ts_constant(graph, TS_F32, ts_scalar, 0.0625),
                                .factor = ts_constant(graph, TS_F32, ts_scalar, 0.5),
                                .step = ts_constant(graph, TS_I64, ts_scalar, 3)};
}

static TsTensor joined(TsOptimizerOut out)
{
    TsTensor parts[] = {out.first, out.second, out.third};
    return ts_concatenate(parts, out.third.graph ? 3 : 2, 0);
}

static TsTensor twice(const TsTensor *in)
{
    return ts_constant(in[0].graph, ts_dtype_of(in[0]), ts_scalar, 2);
}

#define RULE(...)                                                                                                      \
    third_step(in), (TsOptimizerRuleOptions)                                                                           \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define ADAM .beta1 = 0.75, .beta2 = 0.875, .epsilon = 0.0625, .decay = 0.125
BUILD(sgd, ts_sgd(in[0], in[1], RULE(.decay = 0.125)))
BUILD(momentum, joined(ts_momentum(in[0], in[1], in[2], RULE(.beta1 = 0.75, .decay = 0.125))))
BUILD(nesterov, joined(ts_momentum(in[0], in[1], in[2], RULE(.beta1 = 0.75, .decay = 0.125, .nesterov = true))))
BUILD(adam, joined(ts_adam(in[0], in[1], in[2], in[3], RULE(ADAM))))
BUILD(lion, joined(ts_lion(in[0], in[1], in[2], RULE(.beta1 = 0.75, .beta2 = 0.875, .decay = 0.125))))
BUILD(adam_update, joined(ts_adam_update(in[0], in[1], in[2], in[3], RULE(ADAM))))
BUILD(velocity, joined(ts_velocity(in[0], in[1], RULE(.beta1 = 0.75))))
BUILD(velocity_nesterov, joined(ts_velocity(in[0], in[1], RULE(.beta1 = 0.75, .nesterov = true))))
BUILD(descend, ts_descend(in[0], in[1], twice(in), RULE(.decay = 0.125)))
BUILD(average, ts_average(in[0], in[1], RULE(.beta1 = 0.875)))

/* In f32 and f64 alone. */
static const Golden optimizers[] = {
    {"sgd", build_sgd},           {"momentum", build_momentum},
    {"nesterov", build_nesterov}, {"adam", build_adam},
    {"lion", build_lion},         {"adam_update", build_adam_update},
    {"velocity", build_velocity}, {"velocity_nesterov", build_velocity_nesterov},
    {"descend", build_descend},   {"average", build_average},
};

static const Golden goldens[] = {
    {"gelu", build_gelu},
    {"gelu_tanh", build_gelu_tanh},
    {"silu", build_silu},
    {"sigmoid", build_sigmoid},
    {"tanh", build_tanh},
    {"div", build_div},
    {"layer_norm", build_layer_norm},
    {"rms_norm", build_rms_norm},
    {"dot", build_dot},
    {"attend", build_attend},
    {"attend_causal", build_attend_causal},
    {"attend_window", build_attend_window},
    {"cross_entropy", build_cross_entropy},
    {"cross_entropy_all", build_cross_entropy_all},
    {"take", build_take},
    {"softmax", build_softmax},
    {"log_softmax", build_log_softmax},
    {"logsumexp", build_logsumexp},
    {"where", build_where},
    {"gather", build_gather},
    {"scatter_add", build_scatter_add},
    {"running_sum", build_running_sum},
    {"top_k", build_top_k},
    {"sort", build_sort},
    {"swiglu", build_swiglu},
    {"geglu", build_geglu},
    {"rotary", build_rotary},
    {"rotary_neighbours", build_rotary_neighbours},
    {"batch_dot", build_batch_dot},
    {"attend_bias", build_attend_bias},
    {"conv1d_same", build_conv1d_same},
    {"conv1d_causal", build_conv1d_causal},
    {"conv1d_valid", build_conv1d_valid},
    {"add", build_add},
    {"sub", build_sub},
    {"mul", build_mul},
    {"maximum", build_maximum},
    {"minimum", build_minimum},
    {"scale", build_scale},
    {"shift", build_shift},
    {"exp", build_exp},
    {"ln", build_ln},
    {"sqrt", build_sqrt},
    {"relu", build_relu},
    {"less", build_less},
    {"equal", build_equal},
    {"cast", build_cast},
    {"cast_down", build_cast_down},
    {"reshape", build_reshape},
    {"transpose", build_transpose},
    {"expand", build_expand},
    {"slice", build_slice},
    {"concatenate", build_concatenate},
    {"update", build_update},
    {"sum", build_sum},
    {"mean", build_mean},
    {"max", build_max},
    {"sum_squares", build_sum_squares},
    {"sum_squares_parts", build_sum_squares_parts},
    {"argmax", build_argmax},
    {"top_k_indices", build_top_k_indices},
    {"sort_indices", build_sort_indices},
    {"norm", build_norm},
    {"clip_factor_clipped", build_clip_factor},
    {"clip_factor_unclipped", build_clip_factor},
    {"clip_factor_skipped", build_clip_factor},
    {"attend_segments", build_attend_segments},
    {"attend_logsumexp", build_attend_logsumexp},
    {"assign", build_assign},
    {"dispatch", build_dispatch},
    {"collect", build_collect},
    {"expert_dot", build_expert_dot},
    {"uniform", build_uniform},
    {"normal", build_normal},
    {"gumbel", build_gumbel},
    {"drop", build_drop},
};

static void equal_pytorch(TsDtype dtype, double bound)
{
    TsMesh *mesh = NULL;
    int ranks = ts_group_size(test_world);
    if (ranks > 1 && dtype != TS_F64)
        return;
    if (ranks > 1)
        TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_MODEL] = ranks}}));
    read_records();
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++)
        check(&goldens[i], dtype, bound, mesh);
    for (size_t i = 0; i < sizeof optimizers / sizeof optimizers[0] && dtype != TS_BF16; i++)
        check(&optimizers[i], dtype, bound, mesh);
    free_records();
    ts_mesh_free(&mesh);
}

static void in_f64(void)
{
    for (const TsOp *const *op = ts_op_table; op_audit_path() && *op; op++)
        op_audit_say("op", (*op)->name);
    equal_pytorch(TS_F64, 1e-12);
}

static void in_f32(void)
{
    equal_pytorch(TS_F32, 2e-5);
}

static void in_bf16(void)
{
    equal_pytorch(TS_BF16, 6e-2);
}

/* Two steps of AdamW on parameters that are updated in place, and one with a factor of 0, which changes nothing. */
static void adamw_steps(TsDtype dtype, double bound)
{
    static const char *const names[] = {"x", "mean", "variance", "gradient", "rate", "factor", "step"};
    TsShape shape = find("adamw", "x")->shape;
    TsGraph *graph = ts_graph_create();
    TsProgram *program = NULL;
    TsTensor t[7];
    TsArray *array[7];
    for (int i = 0; i < 7; i++) {
        TsDtype type = i < 4 ? dtype : i < 6 ? TS_F32 : TS_I64;
        TsShape of = i < 4 ? shape : ts_scalar;
        t[i] = i < 3 ? ts_parameter(graph, names[i], type, of, ts_replicated)
                     : ts_input(graph, names[i], type, of, ts_replicated);
        array[i] = ts_array_create(NULL, type, of, ts_replicated, (TsArrayOptions){.shared = false});
    }
    TsAdamwOut out = ts_adamw((TsAdamwIn){t[0], t[3], t[1], t[2], t[4], t[5], t[6]},
                              (TsAdamw){.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .decay = 0.1});
    ts_assign(t[0], out.parameter);
    ts_assign(t[1], out.mean);
    ts_assign(t[2], out.variance);
    if (op_audit_path())
        op_audit_ops("golden", graph, NULL);
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    for (int i = 0; i < 7; i++)
        ts_program_bind(program, names[i], array[i]);
    set(array[0], find("adamw", "x")->value);
    *(float *)array[4]->data = 0.01f;
    for (int64_t step = 1; step <= 3; step++) {
        *(float *)array[5]->data = step < 3 ? 1 : 0;
        *(int64_t *)array[6]->data = step;
        set(array[3], find("adamw", step == 1 ? "gradient1" : "gradient2")->value);
        ts_program_run(program);
        compare(&(Golden){"adamw", NULL}, array[0], step == 1 ? "x1" : "x2", bound);
    }
    ts_program_free(&program);
    for (int i = 0; i < 7; i++)
        ts_array_free(&array[i]);
}

static void adamw(void)
{
    read_records();
    adamw_steps(TS_F64, 1e-9); /* its rate is f32 */
    adamw_steps(TS_F32, 1e-6);
    free_records();
}

TEST_MAIN("ops against PyTorch", {"in f64", in_f64}, {"in f32", in_f32}, {"in bf16", in_bf16}, {"adamw", adamw})
