/* SPDX-License-Identifier: Apache-2.0
 *
 * How long it takes to trace, differentiate and compile the training step of a deep GPT.
 */
#include <stdio.h>

#include "model/language_model.h"
#include "ops/ops.h"
#include "tensor/ops.h"
#include "tensor/program.h"

enum { LAYERS = 48, HEADS = 25, WIDTH = 1600, VOCAB = 50257, TOKENS = 256 };

typedef struct Counts {
    int64_t parameters;
    double arena_bytes, trace_s;
} Counts;

static void output_gradients(TsGraph *graph, TsTensor loss, const TsParameters *parameters)
{
    int count = ts_parameters_count(parameters);
    TsTensor *of = ts_calloc((size_t)count, sizeof *of), *gradient = ts_calloc((size_t)count, sizeof *gradient);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        of[i] = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement);
    }
    ts_gradients(gradient, loss, of, count);
    for (int i = 0; i < count; i++) {
        char *name = ts_format("gradient/%s", ts_parameters_at(parameters, i)->path);
        ts_output(name, gradient[i], ts_replicated);
        ts_free(name);
    }
    ts_free(of);
    ts_free(gradient);
}

static void build(void *context)
{
    Counts *counts = context;
    double start = bench_now_s();
    TsLanguageModel model = {.backbone = {.layers = LAYERS,
                                          .heads = HEADS,
                                          .width = WIDTH,
                                          .hidden = TS_AUTO,
                                          .context = TOKENS,
                                          .vocab = VOCAB,
                                          .tied = true},
                             .ignored = -1};
    TsGraph *graph = ts_graph_create();
    TsParameters *parameters = ts_parameters_create(NULL);
    TsScope scope = {.graph = graph, .parameters = parameters, .dtype = TS_F32, .training = true};
    TsColumns columns = {.graph = graph, .count = 2, .name = {"tokens", "labels"}};
    for (int i = 0; i < 2; i++)
        columns.tensor[i] = ts_input(graph, columns.name[i], TS_I32, ts_shape(1, TOKENS), ts_replicated);
    TsTensor predictions = ts_language_model.compute_predictions(scope, &model, &columns);
    TsLosses losses = ts_language_model.compute_loss(scope, &model, predictions, &columns);
    TsTensor loss = ts_loss_mean(losses.loss[0]);
    ts_output("loss", loss, ts_replicated);
    output_gradients(graph, loss, parameters);
    counts->trace_s = bench_now_s() - start;
    counts->parameters = ts_parameters_elems(parameters);
    TsProgram *program = NULL;
    TsStatus status = ts_program_compile(&program, graph, (TsCompileOptions){.threads = threads});
    TS_CHECK(!status, "the program does not compile: %s", ts_status_message(status));
    counts->arena_bytes = (double)ts_program_arena_bytes(program);
    ts_program_free(&program);
    ts_parameters_free(&parameters);
}

void bench_compile(void)
{
    Counts counts;
    double median_s;
    bench_alternate(&median_s, &(BenchAction){build, &counts}, 1, 1);
    printf("the graph of a GPT of %d layers, width %d, and its gradients: %.2f G parameters, arena %.2f GiB\n", LAYERS,
           WIDTH, (double)counts.parameters / 1e9, counts.arena_bytes / (1 << 30));
    printf("  traced in %.3f s, with the passes %.3f s\n", counts.trace_s, median_s);
    bench_target("ops/compile", median_s);
}
