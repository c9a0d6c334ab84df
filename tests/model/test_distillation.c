/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Distillation: the loss against its formula, in f64; nothing flows back into the teacher, and its parameters do not
 * learn.
 */
#include "model/distillation.h"

#include <math.h>
#include <string.h>

#include "base/philox.h"
#include "model/binding.h"
#include "model/language_model.h"
#include "tensor/program.h"
#include "test.h"

enum { B = 2, T = 3, V = 5, TEACHER_WIDTH = 8 };
static const double HEAT = 2.5, WEIGHT = 0.7;

static void softmax(double *out, const double *logits)
{
    double sum = 0;
    for (int v = 0; v < V; v++)
        sum += exp(logits[v] / HEAT);
    for (int v = 0; v < V; v++)
        out[v] = exp(logits[v] / HEAT) / sum;
}

static void the_formula(void)
{
    TsGraph *graph = ts_graph_create();
    TsDistillation distillation = {.temperature = HEAT, .weight = WEIGHT};
    TsTensor student = ts_input(graph, "student", TS_F64, ts_shape(B, T, V), ts_replicated);
    TsTensor teacher = ts_input(graph, "teacher", TS_F64, ts_shape(B, T, V), ts_replicated);
    TsTensor labels = ts_input(graph, "labels", TS_I32, ts_shape(B, T), ts_replicated);
    TsTensor plain = ts_cross_entropy(student, labels, (TsCrossEntropy){.ignore = -100});
    ts_output("loss", ts_distillation_loss(&distillation, student, teacher, plain, ts_counted_labels(labels, TS_F64)),
              ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    TsBatch *arrays = ts_batch_create();
    ts_bind_new(program, arrays, TS_BIND_INPUT, NULL);
    ts_bind_new(program, arrays, TS_BIND_OUTPUT, NULL);
    double *s = ts_batch_find(arrays, "student")->data, *t = ts_batch_find(arrays, "teacher")->data;
    int32_t *label = ts_batch_find(arrays, "labels")->data;
    for (int i = 0; i < B * T * V; i++) {
        s[i] = 2 * ts_stream_normal_f64(ts_stream(1, "s", 0), i);
        t[i] = 2 * ts_stream_normal_f64(ts_stream(1, "t", 0), i);
    }
    for (int i = 0; i < B * T; i++)
        label[i] = i == 4 ? -100 : i % V;
    ts_program_run(program);
    const double *loss = ts_batch_find(arrays, "loss")->data;
    for (int i = 0; i < B * T; i++) {
        double p[V], q[V], divergence = 0, sum = 0;
        softmax(p, t + i * V);
        softmax(q, s + i * V);
        for (int v = 0; v < V; v++) {
            divergence += p[v] * log(p[v] / q[v]);
            sum += exp(s[i * V + v]);
        }
        double cost = i == 4 ? 0 : log(sum) - s[i * V + label[i]];
        double expected = i == 4 ? 0 : WEIGHT * HEAT * HEAT * divergence + (1 - WEIGHT) * cost;
        CU_ASSERT_DOUBLE_EQUAL(loss[i], expected, 1e-12);
    }
    ts_program_free(&program);
    ts_batch_free(&arrays);
}

static void expect_gradients(bool of_teacher)
{
    TsTransformer trunk = {.layers = 1,
                           .heads = 2,
                           .width = TEACHER_WIDTH,
                           .hidden = TS_AUTO,
                           .context = T,
                           .vocab = V,
                           .biases = true,
                           .tied = true,
                           .causal = true};
    TsDistillation distillation = {.teacher = trunk, .temperature = HEAT, .weight = WEIGHT};
    TsLanguageModel model = {.backbone = trunk, .ignored = -100, .distillation = &distillation};
    TsGraph *graph = ts_graph_create();
    TsParameters *parameters = ts_parameters_create(NULL);
    TsScope scope = {.graph = graph, .parameters = parameters, .dtype = TS_F32, .step = TS_NONE, .training = true};
    TsColumns columns = {.graph = graph, .count = 2, .name = {"tokens", "labels"}};
    columns.tensor[0] = ts_input(graph, "tokens", TS_I32, ts_shape(B, T), ts_replicated);
    columns.tensor[1] = ts_input(graph, "labels", TS_I32, ts_shape(B, T), ts_replicated);
    TsTensor logits = ts_language_model.compute_predictions(scope, &model, &columns);
    TsLosses losses = ts_language_model.compute_loss(scope, &model, logits, &columns);
    TsTensor mean = ts_loss_mean(losses.loss[0]), gradient;
    const TsParameter *own_row = ts_parameters_find(parameters, "backbone/tokens/table");
    const TsParameter *teacher_row = ts_parameters_find(parameters, "teacher/tokens/table");
    CU_ASSERT(own_row->trainable && !teacher_row->trainable);
    TsTensor own_table = ts_parameter(graph, own_row->path, own_row->dtype, own_row->shape, own_row->placement);
    TsTensor table =
        ts_parameter(graph, teacher_row->path, teacher_row->dtype, teacher_row->shape, teacher_row->placement);
    if (of_teacher) {
        ts_gradients(&gradient, mean, &table, 1);
        TEST_ERROR(ts_graph_status(graph), "no path leads from teacher/tokens/table to the loss");
        ts_graph_free(&graph);
        ts_parameters_free(&parameters);
        return;
    }
    ts_gradients(&gradient, mean, &own_table, 1);
    ts_output("mean", mean, ts_replicated);
    ts_output("own", gradient, ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    TsBatch *arrays = ts_parameters_initialize(parameters, 1), *bound = ts_batch_create();
    ts_bind_batch(program, arrays);
    ts_bind_new(program, bound, TS_BIND_INPUT, NULL);
    ts_bind_new(program, bound, TS_BIND_OUTPUT, NULL);
    ts_program_run(program);
    double own = 0;
    for (int i = 0; i < V * TEACHER_WIDTH; i++)
        own += fabs((double)((float *)ts_batch_find(bound, "own")->data)[i]);
    CU_ASSERT(own > 0 && isfinite(*(float *)ts_batch_find(bound, "mean")->data));
    ts_program_free(&program);
    ts_batch_free(&arrays);
    ts_batch_free(&bound);
    ts_parameters_free(&parameters);
}

static void the_teacher_is_frozen(void)
{
    expect_gradients(false);
    expect_gradients(true);
}

TEST_MAIN("distillation", {"the formula", the_formula}, {"the teacher is frozen", the_teacher_is_frozen})
