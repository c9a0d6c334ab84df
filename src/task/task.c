/* SPDX-License-Identifier: Apache-2.0 */
#include "task/task.h"

#include "base/memory.h"
#include "model/baseline.h"
#include "task/kinds/kinds.h"
#include "task/kinds/language_task.h"

static const TsVariant kinds[] = {
    {"language_model", "predicts each next token of a text", &ts_language_task_table, &ts_language_task},
    {"sequence_classification", "which class a text is of, or which labels it bears", &ts_classification_task_table,
     &ts_classification_task},
    {"sequence_regression", "numbers of a text", &ts_regression_task_table, &ts_regression_task},
    {"token_classification", "the class of each token", &ts_token_classification_task_table,
     &ts_token_classification_task},
    {"mlm", "guesses tokens that are hidden, from those on both sides", &ts_mlm_task_table, &ts_mlm_task},
    {"sequence_to_sequence", "writes a text for another one: translation, summaries", &ts_sequence_task_table,
     &ts_sequence_task},
    {"ridge", "numbers of a text, by ridge regression on its features: solved, not trained", &ts_ridge_task_table,
     &ts_ridge_task},
    {"logistic", "the class of a text, by logistic regression on its features: solved", &ts_logistic_task_table,
     &ts_logistic_task},
    {"pca", "principal components of the features of texts", &ts_pca_task_table, &ts_pca_task},
    {"kmeans", "clusters of the features of texts", &ts_kmeans_task_table, &ts_kmeans_task},
    {"anomaly", "how unlike the training data a text is", &ts_anomaly_task_table, &ts_anomaly_task},
    {"embed", "hidden states of the trunk, for predictions", &ts_embed_task_table, &ts_embed_task},
    {"inference", "logits of the trunk, for predictions", &ts_embed_task_table, &ts_inference_task}};
TsVariants ts_task_kinds = {"task", kinds, sizeof kinds / sizeof *kinds};

static const TsTrunkKind onehot_trunk = {TS_TRUNK_ONEHOT, NULL}, conv1d_trunk = {TS_TRUNK_CONV1D, NULL};
static const TsVariant backbones[] = {
    {"transformer", "pre-norm blocks, GPT-2 by its defaults", &ts_transformer_table, NULL},
    {"onehot", "each token a row of zeros with a single one: what is reached without a trunk", &ts_onehot_table,
     &onehot_trunk},
    {"conv1d", "convolutions along the sequence", &ts_conv1d_trunk_table, &conv1d_trunk}};
TsVariants ts_backbones = {"backbone", backbones, sizeof backbones / sizeof *backbones};

static TsStatus choose_metrics(TsTask *task, const TsTaskSetting *setting)
{
    TsStatus status = ts_metric_choose(task->metrics, &task->metric_count, task->observed, setting->metrics->items,
                                       setting->metrics->count);
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error(setting->config, setting->metrics, "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

TsStatus ts_task_create(TsTask **task, TsChoice kind, TsTaskSetting setting)
{
    TsTask *made = ts_calloc(1, sizeof *made);
    *made = (TsTask){.name = setting.name, .kind = kind.variant->extra};
    setting.keys = kind.value;
    setting.type = kind.variant->name;
    TsStatus status = made->kind->configure(made, &setting);
    if (!status && !setting.without_data &&
        setting.files.count == 0) /* who only decodes or predicts measures nothing */
        status = choose_metrics(made, &setting);
    if (status)
        ts_task_free(&made);
    *task = made;
    /* cppcheck-suppress returnDanglingLifetime ; configure keeps nothing of `setting` itself */
    return status;
}

void ts_task_free(TsTask **task)
{
    if (!*task)
        return;
    ts_batch_free(&(*task)->sample);
    ts_loader_free(&(*task)->train);
    ts_loader_free(&(*task)->validation);
    ts_loader_free(&(*task)->test);
    ts_loader_free(&(*task)->train_in_order);
    (*task)->kind->release(*task);
    ts_free(*task);
    *task = NULL;
}
