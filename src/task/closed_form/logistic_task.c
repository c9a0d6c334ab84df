/* SPDX-License-Identifier: Apache-2.0
 *
 * LogisticTask: `type: logistic`: the class of a text, by multinomial logistic regression on its features.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "data/windows.h"
#include "task/closed_form/closed_task.h"
#include "task/closed_form/logistic.h"
#include "task/kinds/kinds.h"

typedef struct LogisticConfig {
    TsClosedConfig closed; /* the first */
    TsList classes;
    double l2, gradient_norm;
    int64_t iterations;
} LogisticConfig;

static const TsKey keys[] = {
    TS_CLOSED_KEYS(LogisticConfig, "examples: columns text and label"),
    TS_KEY_LIST(LogisticConfig, classes, TS_ELEMENT(TS_KIND_STRING),
                "in their order; left out: those that the training data have"),
    TS_KEY_REAL(LogisticConfig, l2, "half of it weighs the squares of coefficients, beside the sum over examples",
                .fallback = "1", .range = TS_ABOVE(0)),
    TS_KEY_REAL(LogisticConfig, gradient_norm, "of the mean over examples: where it is found", .fallback = "1e-7",
                .range = TS_ABOVE(0)),
    TS_KEY_INT(LogisticConfig, iterations, "of Newton's method, at most", .fallback = "100", .range = TS_AT_LEAST(1)),
    TS_KEYS_END};
const TsConfigTable ts_logistic_task_table = {"logistic_task", "Logistic regression on the features of a text.",
                                              sizeof(LogisticConfig), keys, NULL};

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TsLabelledTask *labelled = examples->own;
    (void)length;
    *(int32_t *)row[TS_LABELLED_LABELS] =
        draw.example < 0 || labelled->label < 0
            ? TS_LABEL_IGNORED
            : ts_labelled_class(labelled, ts_dataset_text(examples->dataset, labelled->label, draw.example));
}

static TsStatus check(const TsExamples *examples, int64_t example)
{
    const TsLabelledTask *labelled = examples->own;
    TsField label = ts_dataset_text(examples->dataset, labelled->label, example);
    return ts_labelled_class(labelled, label) < 0 ? ts_labelled_unknown(labelled, example, label, "") : TS_OK;
}

static TsRowColumn label_column(const TsTask *task)
{
    (void)task;
    return (TsRowColumn){"labels", TS_I32, 0};
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    const LogisticConfig *config = setting->keys;
    TsClosedTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->model.head = TS_HEAD_LINEAR;
    return ts_closed_configure(task, setting,
                               (TsLabelledOptions){.model = {.objective = TS_OBJECTIVE_CLASSES},
                                                   .observed = TS_OBSERVES_CLASSES,
                                                   .form = TS_LABEL_WHOLE,
                                                   .classes = config->classes,
                                                   .collate = collate,
                                                   .check = check,
                                                   .label_column = label_column});
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    double *scores = ts_calloc((size_t)task->observed_width + 1, sizeof *scores);
    ts_kind_read_row(scores, ts_batch_find(given, "probabilities"), row);
    ts_observations_add_class(observations, scores, ((int32_t *)ts_batch_find(batch, "labels")->data)[row]);
    ts_free(scores);
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    const TsLabelledTask *labelled = task->own;
    int64_t width = labelled->model.outputs, best = 0;
    double *scores = ts_calloc((size_t)width + 1, sizeof *scores);
    json_t *all = json_object();
    (void)batch;
    ts_kind_read_row(scores, ts_batch_find(given, "probabilities"), row);
    for (int64_t c = 0; c < width; c++) {
        best = scores[c] > scores[best] ? c : best;
        json_object_set_new(all, ts_class_names_at(labelled->classes, c), ts_kind_number(scores[c]));
    }
    json_object_set_new(cells, "class", json_string(ts_class_names_at(labelled->classes, best)));
    json_object_set_new(cells, "probabilities", all);
    ts_free(scores);
}

/* An error that names the one class that the training data have. */
static TsStatus check_classes(const TsTask *task)
{
    const TsLabelledTask *labelled = task->own;
    int64_t there = 0, last = 0;
    for (int64_t c = 0; c < labelled->model.outputs; c++)
        if (labelled->measured[c] > 0) {
            there++;
            last = c;
        }
    return there > 1 ? TS_OK
                     : ts_status_error(TS_CODE_INVALID, "tasks.%s: all training data are of the class \"%s\"",
                                       task->name, ts_class_names_at(labelled->classes, last));
}

static TsStatus solve(const TsTask *task, const TsSolving *solving)
{
    const TsClosedTask *own = task->own;
    const TsLabelledTask *labelled = &own->labelled;
    const LogisticConfig *config = (const LogisticConfig *)own->config;
    int64_t *kept = NULL, outputs = own->model.outputs;
    TsFeatures *x = NULL;
    TsLogisticSolution solution = {.kernel = NULL};
    TS_TRY(check_classes(task));
    TsStatus status = ts_closed_varying(&x, &kept, task, solving);
    if (!status) {
        int32_t *classes = ts_calloc((size_t)x->local + 1, sizeof *classes);
        for (int64_t i = 0; i < x->local; i++)
            classes[i] = ts_labelled_class(labelled, ts_dataset_text(labelled->examples.dataset, labelled->label,
                                                                     ts_closed_example(task, x->first + i)));
        status = ts_logistic_solve(&solution, x,
                                   (TsLogistic){.classes = classes,
                                                .class_count = outputs,
                                                .l2 = config->l2,
                                                .gradient_norm = config->gradient_norm,
                                                .steps = config->iterations});
        ts_free(classes);
    }
    if (!status) {
        ts_closed_put_linear(task, solving, solution.kernel, x->columns, kept, solution.bias);
        ts_closed_report(solving, "gradient_norm", &solution.gradient_norm, 1);
        ts_closed_report(solving, "loss", &solution.loss, 1);
        json_object_set_new(solving->report, "iterations", json_integer(solution.steps));
    }
    ts_logistic_free(&solution);
    ts_features_free(&x);
    ts_free(kept);
    return status;
}

const TsTaskKind ts_logistic_task = {.needs = (const char *const[]){"text", "label", NULL},
                                     .data = ts_closed_data,
                                     .configure = configure,
                                     .release = ts_labelled_release,
                                     .keep = ts_closed_keep,
                                     .give_out = ts_labelled_give_probabilities,
                                     .observe = observe,
                                     .predict = predict,
                                     .baseline = ts_labelled_majority,
                                     .solve = solve};
