/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/closed_task.h"

#include <jansson.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "model/sharding.h"
#include "task/kinds/kinds.h"

const char *const ts_closed_features_words[] = {"mean", "cls", "flatten", NULL};

/* tokens and seen (1, T): features side by side are as wide as sequences are long. */
static TsBatch *make_sample(const TsMesh *mesh, int64_t length)
{
    TsBatch *sample = ts_batch_create();
    TsShape shape = ts_shape(1, length);
    ts_batch_put(sample, "tokens", ts_array_create(mesh, TS_I32, shape, ts_replicated, (TsArrayOptions){0}));
    ts_batch_put(sample, "seen", ts_array_create(mesh, TS_BOOL, shape, ts_replicated, (TsArrayOptions){0}));
    return sample;
}

/* How many examples the training data have, or had when the solution was found. */
static int64_t count_references(const TsClosedTask *own, const TsTaskSetting *setting)
{
    const json_t *kept = json_object_get(setting->kept, "references");
    return kept ? json_integer_value(kept) : own->labelled.examples.part[TS_PART_TRAIN].split.count;
}

TsStatus ts_closed_configure(TsTask *task, const TsTaskSetting *setting, TsLabelledOptions options)
{
    TsClosedTask *own = task->own;
    own->config = setting->keys;
    if (own->config->features == TS_FEATURES_FLATTEN && own->config->data.lengths.count)
        return ts_config_error(setting->config, &own->config->data.lengths,
                               "features: flatten takes sequences of one length: data.length alone");
    options.data = &own->config->data;
    options.role = "label";
    TS_TRY(ts_labelled_configure(task, setting, options));
    ts_batch_free(&task->sample);
    task->model = NULL;
    if (setting->without_data) /* it does not decode */
        return TS_OK;
    ts_loader_free(&task->train); /* no step learns */
    task->sample = make_sample(setting->mesh, own->labelled.examples.length);
    own->model.headed = own->labelled.model;
    own->model.headed.adapter = (TsChoice){.variant = NULL};
    own->model.features = own->config->features;
    own->model.references = count_references(own, setting);
    if (own->model.outputs == 0)
        own->model.outputs = own->labelled.model.outputs;
    if (own->model.head == TS_HEAD_NEIGHBOURS && own->model.neighbours > own->model.references)
        return ts_status_error(TS_CODE_INVALID, "tasks.%s: %lld neighbours of %lld examples", setting->name,
                               (long long)own->model.neighbours, (long long)own->model.references);
    task->model = &ts_closed_model;
    task->options = &own->model;
    return TS_OK;
}

/* ---- labels that are only compared with ---- */

static void collate_class(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TsLabelledTask *labelled = examples->own;
    (void)length;
    *(int32_t *)row[TS_LABELLED_LABELS] =
        draw.example < 0 || labelled->label < 0 || !labelled->classes
            ? -1
            : ts_labelled_class(labelled, ts_dataset_text(examples->dataset, labelled->label, draw.example));
}

static TsStatus accept_all(const TsExamples *examples, int64_t example)
{
    (void)examples;
    (void)example;
    return TS_OK;
}

static TsRowColumn class_column(const TsTask *task)
{
    (void)task;
    return (TsRowColumn){"labels", TS_I32, 0};
}

TsLabelledOptions ts_closed_unlabelled(void)
{
    return (TsLabelledOptions){.model = {.objective = TS_OBJECTIVE_NOTHING},
                               .form = TS_LABEL_WHOLE,
                               .optional = true,
                               .collate = collate_class,
                               .check = accept_all,
                               .label_column = class_column};
}

const TsDataConfig *ts_closed_data(const void *keys)
{
    return &((const TsClosedConfig *)keys)->data;
}

json_t *ts_closed_keep(const TsTask *task)
{
    json_t *kept = ts_labelled_keep(task);
    json_object_set_new(kept, "references", json_integer(((const TsClosedTask *)task->own)->model.references));
    return kept;
}

void ts_closed_give_values(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns)
{
    (void)scope;
    (void)task;
    (void)columns;
    ts_output("values", predictions, ts_batch_placement());
}

/* ---- for solvers ---- */

TsStatus ts_closed_features(TsFeatures **features, const TsTask *task, const TsSolving *solving)
{
    const TsEmbeddings *train = solving->train;
    TsFeatures *made = ts_features_create(solving->group, ts_embeddings_dtype(train), ts_embeddings_count(train),
                                          ts_embeddings_columns(train), solving->threads);
    char *what = ts_format("tasks.%s: training data", task->name);
    *features = made;
    TsStatus status = ts_comm_agree(solving->group, ts_embeddings_read(train, made->data, made->first, made->local));
    if (!status)
        status = ts_features_check_finite(made, what);
    ts_free(what);
    return status;
}

TsStatus ts_closed_varying(TsFeatures **features, int64_t **kept, const TsTask *task, const TsSolving *solving)
{
    *kept = ts_calloc((size_t)ts_embeddings_columns(solving->train) + 1, sizeof **kept);
    TS_TRY(ts_closed_features(features, task, solving));
    int64_t all = (*features)->columns, left = ts_features_drop_constant(*features, *kept);
    json_object_set_new(solving->report, "constant_columns", json_integer(all - left));
    if (left < all && ts_group_rank(solving->group) == 0)
        ts_log(TS_LOG_INFO, "tasks.%s: %lld of %lld columns are the same in all examples, and bear nothing", task->name,
               (long long)(all - left), (long long)all);
    return TS_OK;
}

int64_t ts_closed_example(const TsTask *task, int64_t row)
{
    const TsClosedTask *own = task->own;
    return ts_split_example(&own->labelled.examples.part[TS_PART_TRAIN].split, row);
}

TsArray *ts_closed_array(const TsTask *task, const TsSolving *solving, const char *what)
{
    char *path = ts_format("tasks/%s/solution/%s", task->name, what);
    TsArray *array = ts_batch_find(solving->arrays, path);
    ts_free(path);
    return array;
}

void ts_closed_put(TsPut put)
{
    TsArray *array = put.array;
    bool vector = array->shape.dims == 1;
    const TsBlockRange *block = &array->block;
    int64_t first_row = vector ? 0 : block->first[0], rows = vector ? 1 : block->shape.size[0];
    int64_t first_column = block->first[!vector], columns = block->shape.size[!vector];
    if (put.first == 0)
        memset(array->data, 0, ts_array_local_bytes(array));
    for (int64_t i = 0; i < put.count; i++) {
        int64_t row = (put.rows ? put.rows[put.first + i] : put.first + i) - first_row;
        for (int64_t j = 0; row >= 0 && row < rows && j < put.columns; j++) {
            int64_t column = j - first_column;
            if (column < 0 || column >= columns)
                continue;
            if (array->dtype == TS_F64)
                ((double *)array->data)[row * columns + column] = put.values[i * put.columns + j];
            else
                ((float *)array->data)[row * columns + column] = (float)put.values[i * put.columns + j];
        }
    }
}

void ts_closed_put_linear(const TsTask *task, const TsSolving *solving, const double *kernel, int64_t columns,
                          const int64_t *kept, const double *bias)
{
    int64_t outputs = ((const TsClosedTask *)task->own)->model.outputs;
    ts_closed_put((TsPut){.array = ts_closed_array(task, solving, "kernel"),
                          .values = kernel,
                          .count = columns,
                          .columns = outputs,
                          .rows = kept});
    ts_closed_put(
        (TsPut){.array = ts_closed_array(task, solving, "bias"), .values = bias, .count = 1, .columns = outputs});
}

json_t *ts_closed_numbers(const TsTask *task, const TsBatch *given, int64_t row)
{
    int64_t outputs = ((const TsClosedTask *)task->own)->model.outputs;
    double *values = ts_calloc((size_t)outputs, sizeof *values);
    json_t *list = json_array();
    ts_kind_read_row(values, ts_batch_find(given, "values"), row);
    for (int64_t k = 0; k < outputs; k++)
        json_array_append_new(list, ts_kind_number(values[k]));
    ts_free(values);
    return list;
}

void ts_closed_report(const TsSolving *solving, const char *name, const double *values, int64_t count)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++)
        json_array_append_new(list, ts_kind_number(values[i]));
    json_object_set_new(solving->report, name, list);
}
