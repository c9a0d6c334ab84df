/* SPDX-License-Identifier: Apache-2.0
 *
 * A task: `type: median_regression`. All of sequence_regression, but for what it learns: the error's logarithm of cosh,
 * squared near zero and absolute far from it; and evaluation also tells how often a prediction was too high.
 */
#include <tessera/tessera.h>

static TsTensor predict_all(TsScope scope, const void *options, const TsColumns *columns)
{
    return ts_headed_model.compute_predictions(scope, options, columns);
}

/* ln cosh e = |e| + ln(1 + exp(-2 |e|)) - ln 2. predictions (B, K); labels (B, K), weights (B). */
static TsLosses compute_loss(TsScope scope, const void *options, TsTensor predictions, const TsColumns *columns)
{
    (void)options;
    TsDtype dtype = ts_dtype_of(predictions) == TS_F64 ? TS_F64 : TS_F32;
    TsTensor error = ts_sub(ts_cast(predictions, dtype), ts_cast(ts_column(columns, "labels"), dtype));
    TsTensor size = ts_maximum(error, ts_scale(error, -1));
    TsTensor loss = ts_add(size, ts_shift(ts_ln(ts_shift(ts_exp(ts_scale(size, -2)), 1)), -0.69314718055994531));
    TsTensor weight = ts_cast(ts_column(columns, "weights"), dtype);
    loss = ts_mul(ts_mean(loss, 1 << 1, false), weight); /* (B) */
    TsLosses losses = {
        .count = 1, .loss = {{"loss", ts_sum(loss, -1, false), ts_sum(weight, -1, false)}}, .per_example = loss};
    if (!scope.training) {
        TsTensor zero = ts_constant(scope.graph, dtype, ts_scalar, 0),
                 one = ts_constant(scope.graph, dtype, ts_scalar, 1);
        TsTensor high = ts_mul(ts_mean(ts_where(ts_greater(error, zero), one, zero), 1 << 1, false), weight);
        losses.loss[losses.count++] = (TsLoss){"too_high", ts_sum(high, -1, false), ts_sum(weight, -1, false)};
    }
    return losses;
}

static const TsModel model = {
    .name = "median_regression", .compute_predictions = predict_all, .compute_loss = compute_loss};

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    TS_TRY(ts_regression_task.configure(task, setting));
    task->model = &model;
    return TS_OK;
}

TS_PLUGIN
{
    static TsTaskKind kind;
    kind = ts_regression_task;
    kind.configure = configure;
    return ts_variants_add(&ts_task_kinds, (TsVariant){"median_regression", "numbers of a text, by ln cosh",
                                                       &ts_regression_task_table, &kind});
}
