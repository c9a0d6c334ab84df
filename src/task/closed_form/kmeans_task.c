/* SPDX-License-Identifier: Apache-2.0
 *
 * KmeansTask: `type: kmeans`: texts whose features lie near one another.
 */
#include <jansson.h>
#include <math.h>

#include "base/memory.h"
#include "task/closed_form/closed_task.h"
#include "task/closed_form/kmeans.h"
#include "task/kinds/kinds.h"

typedef struct KmeansConfig {
    TsClosedConfig closed; /* the first */
    int64_t clusters, restarts, iterations, minibatch;
    double tolerance;
} KmeansConfig;

static const TsKey keys[] = {
    TS_CLOSED_KEYS(KmeansConfig, "examples: column text; a column label, if columns names it, is what clusters are "
                                 "compared with"),
    TS_KEY_INT(KmeansConfig, clusters, "how many", .fallback = "8", .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEY_INT(KmeansConfig, restarts, "beginnings, of which the best counts", .fallback = "10",
               .range = TS_BETWEEN(1, 10000)),
    TS_KEY_INT(KmeansConfig, iterations, "from each, at most", .fallback = "300", .range = TS_BETWEEN(1, 1 << 30)),
    TS_KEY_INT(KmeansConfig, minibatch, "examples that an iteration draws; 0: all of them", .fallback = "0",
               .range = TS_BETWEEN(0, 1 << 30)),
    TS_KEY_REAL(KmeansConfig, tolerance,
                "it ends where centers move less than this part of the mean variance, squared and summed up",
                .fallback = "1e-4", .range = TS_AT_LEAST(0)),
    TS_KEYS_END};
const TsConfigTable ts_kmeans_task_table = {"kmeans_task", "Clusters of the features of texts.", sizeof(KmeansConfig),
                                            keys, NULL};

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    TsClosedTask *own = ts_calloc(1, sizeof *own);
    TsLabelledOptions options = ts_closed_unlabelled();
    options.observed = TS_OBSERVES_CLUSTERS;
    task->own = own;
    own->model.head = TS_HEAD_DISTANCES;
    own->model.outputs = ((const KmeansConfig *)setting->keys)->clusters;
    TS_TRY(ts_closed_configure(task, setting, options));
    task->observed = TS_OBSERVES_CLUSTERS;
    task->observed_width = 0; /* as wide as features, which no one knows yet */
    return TS_OK;
}

/* The nearest center of a row; *square its squared distance. */
static int32_t nearest_of(const TsTask *task, const TsBatch *given, int64_t row, double *square)
{
    int64_t k = ((const TsClosedTask *)task->own)->model.outputs;
    double *squares = ts_calloc((size_t)k, sizeof *squares);
    int32_t best = 0;
    ts_kind_read_row(squares, ts_batch_find(given, "values"), row);
    for (int32_t c = 1; c < k; c++)
        best = squares[c] < squares[best] ? c : best;
    *square = squares[best];
    ts_free(squares);
    return best;
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    const TsArray *embedding = ts_batch_find(given, "embedding");
    int64_t width = embedding->shape.size[1];
    double *features = ts_calloc((size_t)width, sizeof *features), square;
    ts_kind_read_row(features, embedding, row);
    ts_observations_add_cluster(observations, features, width, nearest_of(task, given, row, &square),
                                ((const int32_t *)ts_batch_find(batch, "labels")->data)[row]);
    ts_free(features);
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    double square;
    (void)batch;
    json_object_set_new(cells, "cluster", json_integer(nearest_of(task, given, row, &square)));
    json_object_set_new(cells, "distance", ts_kind_number(sqrt(square)));
}

static TsStatus solve(const TsTask *task, const TsSolving *solving)
{
    const TsClosedTask *own = task->own;
    const KmeansConfig *config = (const KmeansConfig *)own->config;
    TsFeatures *x = NULL;
    TsKmeansSolution solution = {.centers = NULL};
    TsStatus status = ts_closed_features(&x, task, solving);
    if (!status)
        status = ts_kmeans_solve(&solution, x,
                                 (TsKmeans){.k = config->clusters,
                                            .restarts = config->restarts,
                                            .iterations = config->iterations,
                                            .tolerance = config->tolerance,
                                            .batch = config->minibatch,
                                            .seed = solving->seed});
    if (!status) {
        ts_closed_put((TsPut){.array = ts_closed_array(task, solving, "centers"),
                              .values = solution.centers,
                              .first = 0,
                              .count = config->clusters,
                              .columns = x->columns});
        ts_closed_report(solving, "inertia", &solution.inertia, 1);
        json_object_set_new(solving->report, "iterations", json_integer(solution.iterations));
    }
    ts_kmeans_free(&solution);
    ts_features_free(&x);
    return status;
}

const TsTaskKind ts_kmeans_task = {.needs = (const char *const[]){"text", NULL},
                                   .data = ts_closed_data,
                                   .configure = configure,
                                   .release = ts_labelled_release,
                                   .keep = ts_closed_keep,
                                   .give_out = ts_closed_give_values,
                                   .observe = observe,
                                   .predict = predict,
                                   .solve = solve};
