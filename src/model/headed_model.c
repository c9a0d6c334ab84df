/* SPDX-License-Identifier: Apache-2.0 */
#include "model/headed_decode.h"

static TsTensor compute_predictions(TsScope scope, const void *options, const TsColumns *columns)
{
    const TsHeadedModel *model = options;
    TsTensor tokens = ts_column(columns, "tokens"), seen = ts_column(columns, "seen");
    TsTensor types = ts_has_column(columns, "types") ? ts_column(columns, "types") : TS_NONE;
    TsTensor hidden = ts_transformer_of_types(ts_in(scope, "backbone"), &model->backbone, tokens, types, seen);
    if (model->objective == TS_OBJECTIVE_TOKENS || model->objective == TS_OBJECTIVE_LOGITS)
        return ts_transformer_logits(ts_in(scope, "backbone"), &model->backbone, hidden); /* (B, T, V) */
    if (!model->adapter.variant)
        return hidden;
    TsScope own = ts_in(ts_in(ts_in(scope, "tasks"), model->name), "adapter");
    TsTensor out = ts_adapter(own, model->adapter, hidden, seen, model->outputs);
    ts_graph_set_path(scope.graph, scope.path);
    return out;
}

static TsTensor constant(TsTensor like, double value)
{
    return ts_constant(like.graph, ts_dtype_of(like), ts_scalar, value);
}

static TsLosses one_loss(TsTensor sum, TsTensor weight, TsTensor per_example)
{
    return (TsLosses){.count = 1, .loss = {{"loss", sum, weight}}, .per_example = per_example};
}

/* Each row's loss times its weight. */
static TsLosses classes_loss(const TsHeadedModel *model, TsTensor logits, const TsColumns *columns)
{
    TsTensor labels = ts_column(columns, "labels");
    TsTensor loss = ts_cross_entropy(logits, labels, (TsCrossEntropy){.ignore = -100, .smoothing = model->smoothing});
    TsTensor weight = ts_counted_labels(labels, ts_dtype_of(loss));
    if (ts_dims(labels) > 1) /* of tokens */
        return one_loss(ts_sum(loss, -1, false), ts_sum(weight, -1, false), ts_sum(loss, 1 << 1, false));
    weight = ts_mul(weight, ts_cast(ts_column(columns, "weights"), ts_dtype_of(loss)));
    loss = ts_mul(loss, weight);
    return one_loss(ts_sum(loss, -1, false), ts_sum(weight, -1, false), loss);
}

/* The mean over the K outputs of each row's errors (B, K), times its weight. */
static TsLosses rows_loss(TsTensor errors, const TsColumns *columns)
{
    TsTensor weight = ts_cast(ts_column(columns, "weights"), ts_dtype_of(errors));
    TsTensor loss = ts_mul(ts_mean(errors, 1 << 1, false), weight);
    return one_loss(ts_sum(loss, -1, false), ts_sum(weight, -1, false), loss);
}

/* -log of a sigmoid: max(x, 0) - x z + log(1 + exp(-|x|)), which no x makes overflow. */
static TsLosses labels_loss(TsTensor logits, const TsColumns *columns)
{
    TsTensor x = ts_cast(logits, ts_dtype_of(logits) == TS_F64 ? TS_F64 : TS_F32);
    TsTensor z = ts_cast(ts_column(columns, "labels"), ts_dtype_of(x));
    TsTensor size = ts_maximum(x, ts_scale(x, -1));
    TsTensor soft = ts_ln(ts_shift(ts_exp(ts_scale(size, -1)), 1));
    return rows_loss(ts_add(ts_sub(ts_relu(x), ts_mul(x, z)), soft), columns);
}

static TsLosses values_loss(const TsHeadedModel *model, TsTensor values, const TsColumns *columns)
{
    TsTensor x = ts_cast(values, ts_dtype_of(values) == TS_F64 ? TS_F64 : TS_F32);
    TsTensor error = ts_sub(x, ts_cast(ts_column(columns, "labels"), ts_dtype_of(x)));
    TsTensor size = ts_maximum(error, ts_scale(error, -1)), square = ts_mul(error, error);
    if (model->error == TS_ERROR_SQUARED)
        return rows_loss(square, columns);
    if (model->error == TS_ERROR_ABSOLUTE)
        return rows_loss(size, columns);
    TsTensor limit = constant(size, model->huber);
    TsTensor linear = ts_scale(ts_shift(size, -model->huber / 2), model->huber);
    return rows_loss(ts_where(ts_greater(size, limit), linear, ts_scale(square, 0.5)), columns);
}

/* Of the tokens that were hidden; in evaluation also how many were guessed. */
static TsLosses tokens_loss(TsScope scope, TsTensor logits, const TsColumns *columns)
{
    TsTensor labels = ts_column(columns, "labels");
    TsTensor loss = ts_cross_entropy(logits, labels, (TsCrossEntropy){.ignore = -100});
    TsTensor weight = ts_sum(ts_counted_labels(labels, ts_dtype_of(loss)), -1, false);
    TsLosses losses = one_loss(ts_sum(loss, -1, false), weight, ts_sum(loss, 1 << 1, false));
    if (!scope.training) {
        TsTensor right = ts_where(ts_equal(ts_argmax(logits), labels), constant(loss, 1), constant(loss, 0));
        losses.loss[losses.count++] = (TsLoss){"accuracy", ts_sum(right, -1, false), weight};
    }
    return losses;
}

static TsLosses compute_loss(TsScope scope, const void *options, TsTensor predictions, const TsColumns *columns)
{
    const TsHeadedModel *model = options;
    switch (model->objective) {
    case TS_OBJECTIVE_CLASSES:
        return classes_loss(model, predictions, columns);
    case TS_OBJECTIVE_LABELS:
        return labels_loss(predictions, columns);
    case TS_OBJECTIVE_VALUES:
        return values_loss(model, predictions, columns);
    case TS_OBJECTIVE_TOKENS:
        return tokens_loss(scope, predictions, columns);
    case TS_OBJECTIVE_LOGITS:
    case TS_OBJECTIVE_NOTHING:
        break;
    }
    TsTensor nothing = ts_constant(scope.graph, TS_F32, ts_scalar, 0);
    return (TsLosses){.count = 1, .loss = {{"loss", nothing, nothing}}};
}

const TsModel ts_headed_model = {"headed_model", compute_predictions, compute_loss, ts_headed_decode, ts_headed_text};
