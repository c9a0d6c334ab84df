/* SPDX-License-Identifier: Apache-2.0
 *
 * The kinds of tasks behind the registry ts_task_kinds (task.c), and what they share.
 */
#pragma once

#include "model/adapter.h"
#include "model/transformer.h"
#include "task/task.h"

extern const TsTaskKind ts_classification_task, ts_regression_task, ts_token_classification_task, ts_mlm_task,
    ts_embed_task, ts_inference_task, ts_sequence_task;
extern const TsTaskKind ts_ridge_task, ts_logistic_task, ts_pca_task, ts_kmeans_task, ts_anomaly_task;
extern const TsConfigTable ts_classification_task_table, ts_regression_task_table, ts_token_classification_task_table,
    ts_mlm_task_table, ts_embed_task_table, ts_sequence_task_table, ts_ridge_task_table, ts_logistic_task_table,
    ts_pca_task_table, ts_kmeans_task_table, ts_anomaly_task_table;

/* The options of the backbone, with its vocabulary. */
TsTransformer ts_kind_backbone(const TsTaskSetting *setting);

/* An error where it is no transformer: what decodes needs one. */
TS_MUST_USE TsStatus ts_kind_check_transformer(const TsTaskSetting *setting, const TsChoice *backbone);

/* That an adapter is of this level, and right on the backbone. */
TS_MUST_USE TsStatus ts_kind_check_adapter(const TsTaskSetting *setting, const TsChoice *adapter, TsAdapterLevel level);

/* values (all of a row): the local row `row` of an array of f32, f64 or bf16. */
void ts_kind_read_row(double *values, const TsArray *array, int64_t row);

/* A number as JSON has it; null where it is not finite. Owned by the caller. */
json_t *ts_kind_number(double value);
