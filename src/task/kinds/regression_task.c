/* SPDX-License-Identifier: Apache-2.0
 *
 * RegressionTask: `type: sequence_regression`: one number of a text, or several. The net learns numbers that are scaled
 * by the mean and deviation of the training data alone; what it predicts is scaled back.
 */
#include "base/memory.h"
#include "model/sharding.h"
#include "task/kinds/kinds.h"
#include "task/kinds/number_labels.h"

typedef struct RegressionConfig {
    TsDataConfig data;
    TsChoice adapter;
    int loss; /* TsErrorKind */
    double huber;
    bool scale;
} RegressionConfig;

static const char *const loss_words[] = {"mse", "mae", "huber", NULL};

static const TsKey keys[] = {
    TS_KEY_STRUCT(RegressionConfig, data, &ts_data_table,
                  "examples: columns text, label (numbers with data.separator between), and of pairs of texts pair"),
    TS_KEY_CHOICE(RegressionConfig, adapter, &ts_adapters, "from hidden states to values", .fallback = "mlp_pool"),
    TS_KEY_ENUM(RegressionConfig, loss, loss_words, "squared, absolute, or squared near zero and linear beyond",
                .fallback = "mse"),
    TS_KEY_REAL(RegressionConfig, huber, "where huber becomes linear, in deviations of the training data",
                .fallback = "1", .range = TS_ABOVE(0)),
    TS_KEY_BOOL(RegressionConfig, scale, "learn values less their mean, over their deviation", .fallback = "true"),
    TS_KEYS_END};
const TsConfigTable ts_regression_task_table = {"sequence_regression_task", "Numbers of a text.",
                                                sizeof(RegressionConfig), keys, NULL};

typedef struct RegressionTask {
    TsLabelledTask labelled; /* the first */
    const RegressionConfig *config;
} RegressionTask;

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    const RegressionConfig *config = setting->keys;
    RegressionTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->config = config;
    TS_TRY(ts_kind_check_adapter(setting, &config->adapter, TS_ADAPTER_SEQUENCE));
    return ts_labelled_configure(
        task, setting,
        (TsLabelledOptions){.data = &config->data,
                            .model = {.adapter = config->adapter,
                                      .objective = TS_OBJECTIVE_VALUES,
                                      .error = (TsErrorKind)config->loss,
                                      .huber = config->huber},
                            .observed = TS_OBSERVES_VALUES,
                            .role = "label",
                            .form = TS_LABEL_NUMBERS,
                            .collate = ts_numbers_collate,
                            .check = ts_numbers_check,
                            .measure = config->scale ? ts_numbers_measure_scaled : ts_numbers_measure,
                            .label_column = ts_numbers_column});
}

static const TsDataConfig *data_of(const void *value)
{
    return &((const RegressionConfig *)value)->data;
}

static void give_out(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns)
{
    (void)scope;
    (void)task;
    (void)columns;
    ts_output("values", predictions, ts_batch_placement());
}

/* The numbers in the units of the data. */
static char *name_values(const TsTask *task, const float *values, int64_t positions)
{
    const RegressionTask *own = task->own;
    TsText text = {0};
    (void)positions;
    for (int64_t k = 0; k < own->labelled.model.outputs; k++)
        ts_text_append(&text, "%s%.7g", k ? own->config->data.separator : "",
                       ts_numbers_unscaled(&own->labelled, k, (double)values[k]));
    char *name = ts_strdup(text.data);
    ts_text_free(&text);
    return name;
}

const TsTaskKind ts_regression_task = {.needs = (const char *const[]){"text", "label", NULL},
                                       .data = data_of,
                                       .configure = configure,
                                       .release = ts_labelled_release,
                                       .keep = ts_labelled_keep,
                                       .give_out = give_out,
                                       .observe = ts_numbers_observe,
                                       .predict = ts_numbers_predict,
                                       .name_values = name_values,
                                       .baseline = ts_numbers_baseline};
