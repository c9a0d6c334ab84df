/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What the passes make of a whole step: forward and backward through a language model. The graph of GPT-2 (124 M) is
 * compiled for a mesh that is only described, so that nothing is allocated.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/program_internal.h"
#include "test.h"
#include "tiny.h"

static TsProgram *compile_gpt2(TsCompileOptions options, const char *error_words)
{
    static const TsLanguageModel gpt2 = {.backbone = {.layers = 12,
                                                      .heads = 12,
                                                      .width = 768,
                                                      .hidden = TS_AUTO,
                                                      .context = 1024,
                                                      .vocab = 50257,
                                                      .activation = TS_ACTIVATION_GELU_TANH,
                                                      .biases = true,
                                                      .causal = true,
                                                      .tied = true},
                                         .ignored = -100};
    TsMesh *mesh = ts_mesh_describe((TsMeshShape){.size = {0}}, 0);
    TsGraph *graph = ts_graph_create();
    TsParameters *parameters = ts_parameters_create(NULL);
    TsScope scope = {.graph = graph, .parameters = parameters, .dtype = TS_F32, .seed = 5, .training = true};
    scope.step = ts_input(graph, "step", TS_I64, ts_scalar, ts_replicated);
    TsTensor tokens = ts_input(graph, "tokens", TS_I32, ts_shape(8, 1024), ts_replicated);
    TsTensor labels = ts_input(graph, "labels", TS_I32, ts_shape(8, 1024), ts_replicated), of[200], gradient[200];
    TsTensor logits = ts_language_model_logits(scope, &gpt2, tokens, NULL);
    TsTensor loss = ts_mean(ts_cross_entropy(logits, labels, (TsCrossEntropy){.ignore = -100}), -1, false);
    int count = ts_parameters_count(parameters);
    CU_ASSERT(count <= 200);
    CU_ASSERT_EQUAL(ts_parameters_elems(parameters), 124439808);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        of[i] = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement);
    }
    ts_gradients(gradient, loss, of, count);
    ts_output("loss", loss, ts_replicated);
    for (int i = 0; i < count; i++) {
        char name[200];
        snprintf(name, sizeof name, "gradient/%s", ts_parameters_at(parameters, i)->path);
        ts_output(name, gradient[i], ts_replicated);
    }
    TsProgram *program = NULL;
    options.mesh = mesh;
    options.threads = 2;
    if (error_words)
        TEST_ERROR(ts_program_compile(&program, graph, options), error_words);
    else
        TEST_OK(ts_program_compile(&program, graph, options));
    ts_parameters_free(&parameters);
    ts_mesh_free(&mesh);
    return program;
}

/* What a compiled step costs. */
typedef struct Costs {
    double flops, bytes, arena_bytes, live_bytes;
} Costs;

static Costs costs_of(TsCompileOptions options)
{
    TsProgram *program = compile_gpt2(options, NULL);
    Costs costs = {.flops = NAN, .bytes = NAN, .arena_bytes = NAN, .live_bytes = NAN};
    if (program) {
        ts_program_cost(program, &costs.flops, &costs.bytes);
        costs.arena_bytes = (double)program->layout.arena_bytes;
        costs.live_bytes = (double)program->layout.live_bytes;
    }
    ts_program_free(&program);
    return costs;
}

static void fuse_moves_a_quarter_less(void)
{
    Costs parts = costs_of((TsCompileOptions){.without_fusion = true}), fused = costs_of((TsCompileOptions){0});
    CU_ASSERT(fused.bytes <= 0.75 * parts.bytes);
    CU_ASSERT_DOUBLE_EQUAL(fused.flops, parts.flops, 0.001 * parts.flops);
    if (ts_group_rank(test_world) == 0)
        printf("fuse: %.1f of %.1f GB moved ...", fused.bytes / 1e9, parts.bytes / 1e9);
}

static void half_the_arena_takes_a_third_more_flops_at_most(void)
{
    Costs kept = costs_of((TsCompileOptions){0});
    size_t half_bytes = (size_t)(kept.arena_bytes / 2);
    Costs half = costs_of((TsCompileOptions){.memory = {TS_RECOMPUTE_AUTO, half_bytes}});
    CU_ASSERT(half.arena_bytes <= (double)half_bytes);
    CU_ASSERT(half.flops > kept.flops);
    CU_ASSERT(half.flops <= 1.35 * kept.flops);
    Costs block = costs_of((TsCompileOptions){.memory = {.recompute = TS_RECOMPUTE_BLOCK}});
    CU_ASSERT(block.arena_bytes <= (double)half_bytes);
    CU_ASSERT(half.flops < block.flops); /* no more is computed again than the limit takes */
    CU_ASSERT(block.flops <= 1.35 * kept.flops);
    if (ts_group_rank(test_world) == 0)
        printf("arena %.0f MiB; half with %.1f %% more flops; by block %.0f MiB with %.1f %% ...",
               kept.arena_bytes / 1048576, 100 * (half.flops / kept.flops - 1), block.arena_bytes / 1048576,
               100 * (block.flops / kept.flops - 1));
    Costs enough = costs_of((TsCompileOptions){.memory = {TS_RECOMPUTE_AUTO, SIZE_MAX}});
    CU_ASSERT_EQUAL(enough.flops, kept.flops);
    CU_ASSERT_EQUAL(enough.arena_bytes, kept.arena_bytes);
    CU_ASSERT_PTR_NULL(compile_gpt2((TsCompileOptions){.memory = {TS_RECOMPUTE_AUTO, 100 << 20}},
                                    "a limit of 100.0 MiB for the arena of a step: it takes"));
}

static void arenas_are_near_what_lives(void)
{
    static const TsRecompute ways[] = {TS_RECOMPUTE_NOTHING, TS_RECOMPUTE_BLOCK, TS_RECOMPUTE_EVERYTHING};
    for (int fused = 0; fused < 2; fused++)
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            Costs costs = costs_of((TsCompileOptions){.without_fusion = !fused, .memory = {.recompute = ways[w]}});
            CU_ASSERT(costs.arena_bytes >= costs.live_bytes);
            CU_ASSERT(costs.arena_bytes <= 1.1 * costs.live_bytes);
        }
}

/* ---- the same numbers ---- */

static bool same_values(const TsBatch *a, const TsBatch *b)
{
    for (int i = 0; i < ts_batch_count(a); i++) {
        const TsArray *mine = ts_batch_array(a, i), *its = ts_batch_find(b, ts_batch_name(a, i));
        size_t bytes = ts_array_local_bytes(mine);
        if (!its || ts_array_local_bytes(its) != bytes || (bytes && memcmp(mine->data, its->data, bytes)))
            return false;
    }
    return true;
}

/* Losses and gradients are the same bits whatever is computed again, on any mesh and in micro-batches; with dropout. */
static void computing_again_changes_no_bit(void)
{
    TsLanguageModel model = tiny_model;
    TsMesh *mesh = tiny_mesh(test_world, ts_group_size(test_world) > 1 ? 2 : 1);
    model.backbone.dropout = 0.2;
    model.backbone.layers = 6;
    for (int way = 0; way < 4; way++) {
        TsDtype dtype = way & 1 ? TS_F64 : TS_F32;
        TsCompileOptions options = {.mesh = mesh, .threads = 2, .without_fusion = way > 1};
        Tiny kept;
        TEST_OK(tiny_compile(&kept, &model, dtype, options));
        *(int64_t *)ts_batch_find(kept.batch, "step")->data = 3;
        ts_program_run(kept.program);
        double loss = tiny_value(kept.outputs, "loss", 0), kept_flops, kept_bytes;
        CU_ASSERT(isfinite(loss) && loss > 0);
        ts_program_cost(kept.program, &kept_flops, &kept_bytes);
        size_t limit_bytes = 0;
        for (TsRecompute policy = TS_RECOMPUTE_BLOCK; policy <= TS_RECOMPUTE_AUTO; policy++) {
            Tiny again;
            double flops, bytes;
            options.memory = (TsMemoryPolicy){policy, limit_bytes};
            TsStatus status = tiny_compile(&again, &model, dtype, options);
            CU_ASSERT_PTR_NULL(status);
            if (status) {
                fprintf(stderr, "way %d, policy %d: %s\n", way, (int)policy, ts_status_message(status));
                ts_status_free(&status);
                tiny_free(&again);
                continue;
            }
            *(int64_t *)ts_batch_find(again.batch, "step")->data = 3;
            ts_program_run(again.program);
            int64_t allocations = ts_memory_usage().allocations;
            ts_program_run(again.program);
            CU_ASSERT_EQUAL(ts_memory_usage().allocations, allocations);
            CU_ASSERT_TRUE(same_values(kept.outputs, again.outputs));
            ts_program_cost(again.program, &flops, &bytes);
            CU_ASSERT(flops > kept_flops);
            if (policy == TS_RECOMPUTE_BLOCK) /* half way */
                limit_bytes = (ts_program_arena_bytes(kept.program) + ts_program_arena_bytes(again.program)) / 2;
            if (policy == TS_RECOMPUTE_AUTO)
                CU_ASSERT(ts_program_arena_bytes(again.program) <= limit_bytes);
            tiny_free(&again);
        }
        tiny_free(&kept);
    }
    ts_mesh_free(&mesh);
}

/* ---- fused and not ---- */

/* A step of a GPT of 3 layers, large enough for products in panels and for sums of several segments; with dropout.
 * What it gives is in `outputs`, owned by the caller. */
static void run_gpt(TsBatch **outputs, TsDtype dtype, TsCompileOptions options)
{
    static const TsLanguageModel gpt = {.backbone = {.layers = 3,
                                                     .heads = 4,
                                                     .width = 128,
                                                     .hidden = TS_AUTO,
                                                     .context = 128,
                                                     .vocab = 512,
                                                     .dropout = 0.1,
                                                     .activation = TS_ACTIVATION_GELU_TANH,
                                                     .biases = true,
                                                     .causal = true,
                                                     .tied = true},
                                        .ignored = -100};
    Tiny tiny = {.parameters = ts_parameters_create(NULL), .batch = ts_batch_create(), .outputs = ts_batch_create()};
    TsShape shape = ts_shape(16, 128);
    for (int k = 0; k < 2; k++) {
        TsArray *tokens = ts_array_create(NULL, TS_I32, shape, ts_replicated, (TsArrayOptions){0});
        for (int64_t i = 0; i < ts_shape_elems(shape); i++)
            ((int32_t *)tokens->data)[i] = (int32_t)ts_stream_below(ts_stream(3, "tokens", 0), i + k, 512);
        ts_batch_put(tiny.batch, k ? "labels" : "tokens", tokens);
    }
    TEST_OK(tiny_trace(&tiny, &gpt, dtype, options));
    *(int64_t *)ts_batch_find(tiny.batch, "step")->data = 3;
    ts_program_run(tiny.program);
    *outputs = tiny.outputs;
    tiny.outputs = NULL;
    tiny_free(&tiny);
}

/* The largest difference beside the largest element of an array, over all arrays. A softmax does not see what all keys
 * have alike: the gradient of their bias is 0 but for rounding. */
static double worst_of(const TsBatch *a, const TsBatch *b)
{
    double worst = 0;
    for (int i = 0; i < ts_batch_count(a); i++) {
        const char *name = ts_batch_name(a, i);
        double largest = 0, difference = 0;
        for (int64_t e = 0; e < ts_array_local_elems(ts_batch_array(a, i)) && !strstr(name, "key/bias"); e++) {
            double x = tiny_value(a, name, e), y = tiny_value(b, name, e);
            largest = fmax(largest, fabs(x));
            difference = fmax(difference, fabs(x - y));
        }
        worst = difference > 0 ? fmax(worst, difference / largest) : worst;
    }
    return worst;
}

/* Fused steps round as their ops do; sums over rows and over classes are taken in another order, and that is all: the
 * difference is some units in the last place, whatever the dtype, and 0 where nothing is summed in another order. */
static void fusing_changes_last_bits_alone(void)
{
    if (ts_group_size(test_world) > 1)
        return;
    for (int way = 0; way < 4; way++) {
        bool wide = way & 1, reproducible = way > 1;
        double last_place = wide ? 2.220446e-16 : 1.192093e-7;
        TsCompileOptions options = {.threads = 2, .reproducible = reproducible};
        TsBatch *fused, *parts;
        run_gpt(&fused, wide ? TS_F64 : TS_F32, options);
        options.without_fusion = true;
        run_gpt(&parts, wide ? TS_F64 : TS_F32, options);
        double worst = worst_of(parts, fused) / last_place;
        CU_ASSERT(worst < 32);
        printf("%s%s: %.1f ...", wide ? "f64" : "f32", reproducible ? " reproducible" : "", worst);
        ts_batch_free(&parts);
        ts_batch_free(&fused);
    }
}

TEST_MAIN("passes", {"fuse moves a quarter less", fuse_moves_a_quarter_less},
          {"half the arena takes a third more flops at most", half_the_arena_takes_a_third_more_flops_at_most},
          {"arenas are near what lives", arenas_are_near_what_lives},
          {"computing again changes no bit", computing_again_changes_no_bit},
          {"fusing changes last bits alone", fusing_changes_last_bits_alone})
