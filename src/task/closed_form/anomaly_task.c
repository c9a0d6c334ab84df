/* SPDX-License-Identifier: Apache-2.0
 *
 * AnomalyTask: `type: anomaly`: how unlike the training data a text is: by Mahalanobis' distance of its features, or by
 * how far its nearest neighbours are.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "task/closed_form/closed_task.h"
#include "task/closed_form/mahalanobis.h"
#include "task/kinds/kinds.h"

typedef enum Method { METHOD_MAHALANOBIS, METHOD_NEIGHBOURS } Method;

typedef struct AnomalyConfig {
    TsClosedConfig closed; /* the first */
    int method;
    double shrinkage; /* or TS_AUTO */
    int64_t neighbours;
    const char *normal;
} AnomalyConfig;

static const char *const method_words[] = {"mahalanobis", "neighbours", NULL};

static const TsKey keys[] = {
    TS_CLOSED_KEYS(AnomalyConfig,
                   "examples: column text; a column label, if columns names it, is what scores are compared with"),
    TS_KEY_ENUM(AnomalyConfig, method, method_words,
                "mahalanobis: the squared distance from the mean, by the covariance; neighbours: the mean distance to "
                "the nearest training examples",
                .fallback = "mahalanobis"),
    TS_KEY_REAL(AnomalyConfig, shrinkage,
                "of the covariance to a multiple of the identity; auto is that of Ledoit and Wolf", .fallback = "auto",
                .takes_auto = true, .range = TS_BETWEEN(0, 1)),
    TS_KEY_INT(AnomalyConfig, neighbours, "how many count", .fallback = "5", .range = TS_BETWEEN(1, 1000)),
    TS_KEY_STRING(AnomalyConfig, normal, "the label of what is no anomaly; all others are", .fallback = "\"0\""),
    TS_KEYS_END};
const TsConfigTable ts_anomaly_task_table = {"anomaly_task", "How unlike the training data a text is.",
                                             sizeof(AnomalyConfig), keys, NULL};

/* 1 of an anomaly, 0, or -1 where there is no label. */
static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TsClosedTask *own = examples->own;
    const char *normal = ((const AnomalyConfig *)own->config)->normal;
    int32_t *out = row[TS_LABELLED_LABELS];
    (void)length;
    *out = -1;
    if (draw.example < 0 || own->labelled.label < 0)
        return;
    TsField label = ts_dataset_text(examples->dataset, own->labelled.label, draw.example);
    *out = !(label.bytes == strlen(normal) && memcmp(label.text, normal, label.bytes) == 0);
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    const AnomalyConfig *config = setting->keys;
    TsClosedTask *own = ts_calloc(1, sizeof *own);
    TsLabelledOptions options = ts_closed_unlabelled();
    options.observed = TS_OBSERVES_RANKING;
    options.collate = collate;
    task->own = own;
    own->model.head = config->method == METHOD_NEIGHBOURS ? TS_HEAD_NEIGHBOURS : TS_HEAD_MAHALANOBIS;
    own->model.outputs = 1;
    own->model.neighbours = config->neighbours;
    TS_TRY(ts_closed_configure(task, setting, options));
    task->observed_width = 1;
    return TS_OK;
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    double score, truth = ((const int32_t *)ts_batch_find(batch, "labels")->data)[row];
    (void)task;
    ts_kind_read_row(&score, ts_batch_find(given, "values"), row);
    ts_observations_add_values(observations, &score, &truth);
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    double score;
    (void)task;
    (void)batch;
    ts_kind_read_row(&score, ts_batch_find(given, "values"), row);
    json_object_set_new(cells, "score", ts_kind_number(score));
}

enum { PANEL = 128 };

/* The root as the kernel, some rows at a time; the bias takes the mean off. Collective. */
static void put_root(const TsTask *task, const TsSolving *solving, const TsMahalanobis *solution, int64_t columns)
{
    double *rows = ts_alloc((size_t)(PANEL * columns) * sizeof *rows + 1);
    double *bias = ts_calloc((size_t)columns + 1, sizeof *bias);
    for (int64_t first = 0; first < columns; first += PANEL) {
        int64_t count = columns - first < PANEL ? columns - first : PANEL;
        ts_dist_matrix_get(rows, solution->root, (TsPanel){first, 0, count, columns});
        ts_closed_put((TsPut){.array = ts_closed_array(task, solving, "kernel"),
                              .values = rows,
                              .first = first,
                              .count = count,
                              .columns = columns});
        for (int64_t i = 0; i < count * columns; i++)
            bias[i % columns] -= solution->mean[first + i / columns] * rows[i];
    }
    ts_closed_put((TsPut){
        .array = ts_closed_array(task, solving, "bias"), .values = bias, .first = 0, .count = 1, .columns = columns});
    ts_free(rows);
    ts_free(bias);
}

static TsStatus solve_mahalanobis(const TsTask *task, const TsSolving *solving)
{
    const AnomalyConfig *config = (const AnomalyConfig *)((const TsClosedTask *)task->own)->config;
    TsFeatures *x = NULL;
    TsMahalanobis solution = {.mean = NULL};
    TsStatus status = ts_closed_features(&x, task, solving);
    if (!status)
        status = ts_mahalanobis_solve(&solution, x, config->shrinkage);
    if (!status) {
        put_root(task, solving, &solution, x->columns);
        ts_closed_report(solving, "shrinkage", &solution.shrinkage, 1);
    }
    ts_mahalanobis_free(&solution);
    ts_features_free(&x);
    return status;
}

/* The training data are the solution: each rank takes the rows that its part of the parameter has. */
static TsStatus take_references(const TsTask *task, const TsSolving *solving)
{
    TsArray *references = ts_closed_array(task, solving, "references");
    TsFeatures *x = NULL;
    TsStatus status = ts_closed_features(&x, task, solving); /* checked */
    ts_features_free(&x);
    if (status)
        return status;
    return ts_comm_agree(solving->group,
                         ts_embeddings_read(solving->train, references->data, references->block.first[0],
                                            references->block.shape.size[0]));
}

static TsStatus solve(const TsTask *task, const TsSolving *solving)
{
    return ((const TsClosedTask *)task->own)->model.head == TS_HEAD_NEIGHBOURS ? take_references(task, solving)
                                                                               : solve_mahalanobis(task, solving);
}

const TsTaskKind ts_anomaly_task = {.needs = (const char *const[]){"text", NULL},
                                    .data = ts_closed_data,
                                    .configure = configure,
                                    .release = ts_labelled_release,
                                    .keep = ts_closed_keep,
                                    .give_out = ts_closed_give_values,
                                    .observe = observe,
                                    .predict = predict,
                                    .solve = solve};
