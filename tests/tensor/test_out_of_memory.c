/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out, at every single allocation of a small training run: tracing, differentiating, compiling,
 * binding and running. It ends with an error that says how much was asked for and where, and nothing is lost: whether
 * one allocation fails, or that and all behind it.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/ops.h"
#include "tensor/program.h"
#include "test.h"

enum {
    MOST_ALLOCATIONS = 20000,
    MOST_BINDINGS = 32,
    STEPS = 2,
    LAYERS = 3,
    B = 16,
    T = 16,
    H = 2,
    D = 4,
    C = H * D,
    V = 11
};

enum { EMBEDDING, SCALE, QKV, OUT, WEIGHTS };

static TsTensor weight(TsGraph *graph, const char *name, TsShape shape)
{
    return ts_parameter(graph, name, TS_F32, shape, ts_replicated);
}

/* x + out(attention(norm(x))). x (B, T, C) -> (B, T, C) */
static TsTensor attention(TsGraph *graph, int layer, TsTensor x, const TsTensor *w)
{
    char path[32];
    snprintf(path, sizeof path, "layer_%02d/attention", layer);
    ts_graph_set_path(graph, path);
    TsTensor h =
        ts_dot(ts_normalize(x, w[SCALE], TS_NONE, (TsNormalize){.epsilon = 1e-5, .rms = true}), w[QKV], (TsDot){0});
    TsTensor part[3]; /* (B, T, H, D) */
    for (int i = 0; i < 3; i++)
        part[i] = ts_reshape(ts_slice(h, -1, i * C, C), ts_shape(B, T, H, D));
    TsTensor seen =
        ts_attend(ts_rotary(part[0], TS_NONE, (TsRotary){0}), part[1], part[2], TS_NONE, (TsAttend){.causal = true})
            .out;
    return ts_add(x, ts_dot(ts_reshape(seen, ts_shape(B, T, C)), w[OUT], (TsDot){0}));
}

/* A step of a language model whose layers share their weights, with AdamW. */
static TsGraph *trace_step(void)
{
    static const char *const names[] = {"embedding", "scale", "qkv", "out"};
    TsGraph *graph = ts_graph_create();
    TsTensor tokens = ts_input(graph, "tokens", TS_I32, ts_shape(B, T), ts_replicated);
    TsTensor step = ts_input(graph, "step", TS_I64, ts_scalar, ts_replicated);
    TsTensor w[WEIGHTS] = {weight(graph, names[0], ts_shape(V, C)), weight(graph, names[1], ts_shape(C)),
                           weight(graph, names[2], ts_shape(C, 3 * C)), weight(graph, names[3], ts_shape(C, C))};
    TsTensor d[WEIGHTS], rate = ts_constant(graph, TS_F32, ts_scalar, 0.01);
    ts_graph_set_path(graph, "embedding");
    TsTensor x = ts_drop(ts_take(w[EMBEDDING], tokens), step, 0.1, 7);
    for (int layer = 0; layer < LAYERS; layer++)
        x = attention(graph, layer, x, w);
    ts_graph_set_path(graph, "loss");
    TsTensor logits = ts_dot(ts_gelu(x), w[EMBEDDING], (TsDot){.transpose_b = true});
    TsTensor loss = ts_mean(ts_cross_entropy(logits, tokens, (TsCrossEntropy){.ignore = -100}), -1, false);
    ts_gradients(d, loss, w, WEIGHTS);
    ts_graph_set_path(graph, "learner");
    for (int i = 0; i < WEIGHTS; i++) {
        char mean[32], variance[32];
        snprintf(mean, sizeof mean, "mean/%s", names[i]);
        snprintf(variance, sizeof variance, "variance/%s", names[i]);
        TsShape shape = ts_shape_of_tensor(w[i]);
        TsAdamwIn in = {.parameter = w[i],
                        .gradient = d[i],
                        .mean = ts_state(graph, mean, TS_F32, shape, ts_replicated),
                        .variance = ts_state(graph, variance, TS_F32, shape, ts_replicated),
                        .rate = rate,
                        .factor = ts_constant(graph, TS_F32, ts_scalar, 1),
                        .step = step};
        TsAdamwOut out = ts_adamw(in, (TsAdamw){.beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8});
        ts_assign(in.parameter, out.parameter);
        ts_assign(in.mean, out.mean);
        ts_assign(in.variance, out.variance);
    }
    ts_output("loss", loss, ts_replicated);
    return graph;
}

static void fill(TsArray *array)
{
    for (int64_t i = 0; i < ts_array_local_elems(array); i++)
        if (array->dtype == TS_F32)
            ((float *)array->data)[i] = 0.3f * (float)((i * 7) % 5 - 2);
        else if (array->dtype == TS_I32)
            ((int32_t *)array->data)[i] = (int32_t)(i * 5 % V);
}

/* Binds new arrays; those that there are by then are in `array`, also after an error. */
static TsStatus bind_arrays(TsProgram *program, TsArray **array)
{
    for (int b = 0; b < ts_program_bindings(program); b++) {
        TsBinding binding = ts_program_binding(program, b);
        TS_TRY(ts_array_try_create(&array[b], NULL, binding.dtype, binding.shape, ts_replicated, (TsArrayOptions){0}));
        if (binding.kind == TS_BIND_INPUT || binding.kind == TS_BIND_PARAMETER)
            fill(array[b]);
        ts_program_bind(program, binding.name, array[b]);
    }
    return TS_OK;
}

/* The whole run, and everything given back. */
static TsStatus train(float *loss, TsMemoryPolicy memory)
{
    TsProgram *program = NULL;
    TsArray *array[MOST_BINDINGS] = {NULL};
    TS_TRY(ts_program_compile(&program, trace_step(), (TsCompileOptions){.threads = 1, .memory = memory}));
    TsStatus status = bind_arrays(program, array);
    for (int64_t step = 1; step <= STEPS && !status; step++) {
        for (int b = 0; b < ts_program_bindings(program); b++)
            if (array[b]->dtype == TS_I64)
                *(int64_t *)array[b]->data = step;
        ts_program_run(program);
        status = ts_memory_status();
    }
    for (int b = 0; b < ts_program_bindings(program) && !status; b++)
        if (ts_program_binding(program, b).kind == TS_BIND_OUTPUT)
            *loss = *(const float *)array[b]->data;
    ts_program_free(&program);
    for (int b = 0; b < MOST_BINDINGS; b++)
        ts_array_free(&array[b]);
    return status;
}

typedef struct Failing {
    void (*fail)(int64_t n);
    TsMemoryPolicy memory;
    int64_t step; /* from one n to the next */
} Failing;

/* Trains with failing allocations, until none fails any more. */
static void fail_each(Failing failing)
{
    float expected = 0;
    TEST_OK(train(&expected, failing.memory)); /* what libraries and labels keep is there from now on */
    int64_t blocks = ts_memory_usage().live_blocks, n = 1;
    for (bool failed = true; failed && n < MOST_ALLOCATIONS; n += failing.step) {
        float loss = NAN;
        failing.fail(n);
        TsStatus status = train(&loss, failing.memory);
        ts_memory_fail_at(0);
        failed = status != TS_OK;
        bool told = strstr(ts_status_message(status), "out of memory") && strstr(ts_status_message(status), " bytes");
        bool fine = failed ? told && ts_status_code(status) == TS_CODE_RESOURCES : loss == expected;
        if (!fine)
            fprintf(stderr, "allocation %lld: loss %g, %s\n", (long long)n, (double)loss, ts_status_message(status));
        ts_status_free(&status);
        CU_ASSERT(fine);
        CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, blocks);
        CU_ASSERT(!ts_memory_short());
    }
    CU_ASSERT(n > 300 && n < MOST_ALLOCATIONS); /* the last one failed nothing */
}

static void each_allocation_fails(void)
{
    fail_each((Failing){.fail = ts_memory_fail_at, .memory = {.recompute = TS_RECOMPUTE_BLOCK}, .step = 1});
}

static void all_from_each_on_fail(void)
{
    fail_each((Failing){.fail = ts_memory_fail_from, .memory = {.recompute = TS_RECOMPUTE_BLOCK}, .step = 1});
}

/* The passes are tried again and again, for a limit between what the arena is with everything computed again and with
 * nothing: thousands of allocations, of which some fail. */
static void some_fail_while_a_limit_is_met(void)
{
    TsMemoryPolicy limited = {.recompute = TS_RECOMPUTE_AUTO, .limit_bytes = 240000};
    fail_each((Failing){.fail = ts_memory_fail_at, .memory = limited, .step = 211});
    fail_each((Failing){.fail = ts_memory_fail_from, .memory = limited, .step = 307});
}

/* More than any machine has: told, not tried. */
static void large_arrays_are_refused(void)
{
    int64_t blocks = ts_memory_usage().live_blocks;
    TsArray *array;
    TEST_ERROR(
        ts_array_try_create(&array, NULL, TS_F32, ts_shape(1 << 30, 1 << 30), ts_replicated, (TsArrayOptions){0}),
        "out of memory: an array f32 (1073741824, 1073741824) takes 4611686018427387904 bytes");
    CU_ASSERT_PTR_NULL(array);
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, blocks);
}

TEST_MAIN("out of memory", {"each allocation fails", each_allocation_fails},
          {"all from each on fail", all_from_each_on_fail},
          {"some fail while a limit is met", some_fail_while_a_limit_is_met},
          {"large arrays are refused", large_arrays_are_refused})
