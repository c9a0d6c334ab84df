/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/closed_model.h"

#include "model/sharding.h"

/* Hidden states (B, T, C) of what is seen, side by side: (B, T C); padding gives zeros. */
static TsTensor flatten(TsTensor hidden, TsTensor seen)
{
    TsDtype dtype = ts_dtype_of(hidden);
    TsTensor one = ts_constant(hidden.graph, dtype, ts_scalar, 1),
             zero = ts_constant(hidden.graph, dtype, ts_scalar, 0);
    TsTensor mask = ts_reshape(ts_where(seen, one, zero), ts_shape(ts_dim(seen, 0), ts_dim(seen, 1), 1));
    return ts_reshape(ts_mul(hidden, mask), ts_shape(ts_dim(hidden, 0), ts_dim(hidden, 1) * ts_dim(hidden, 2)));
}

/* (B, D) in f32, or f64 */
static TsTensor find_features(TsScope scope, const TsClosedModel *model, const TsColumns *columns)
{
    TsDtype dtype = scope.dtype == TS_F64 ? TS_F64 : TS_F32;
    TsTensor hidden = ts_headed_model.compute_predictions(scope, &model->headed, columns), x;
    TsTensor seen = ts_column(columns, "seen");
    if (model->features == TS_FEATURES_FLATTEN)
        x = flatten(hidden, seen);
    else
        x = ts_pool(ts_in(scope, "embed"), hidden, seen,
                    model->features == TS_FEATURES_CLS ? TS_POOLING_CLS : TS_POOLING_MEAN);
    ts_graph_set_path(scope.graph, scope.path);
    return ts_cast(x, dtype);
}

static TsTensor declare(TsScope scope, const char *name, TsShape shape, TsPlacement placement)
{
    return ts_declare(scope, name, (TsDeclare){.shape = shape, .placement = placement, .frozen = true});
}

/* x (B, D) -> (B, K) */
static TsTensor linear(TsScope scope, TsTensor x, int64_t outputs)
{
    TsTensor kernel = declare(scope, "kernel", ts_shape(ts_dim(x, 1), outputs), ts_replicated);
    TsTensor bias = declare(scope, "bias", ts_shape(outputs), ts_replicated);
    return ts_add(ts_dot(x, kernel, (TsDot){0}), bias);
}

/* Squared distances of x (B, D) to rows of y (K, D): |x|^2 - 2 x y + |y|^2, both less the mean of y, so that little is
 * lost where all are far from 0. (B, K) */
static TsTensor square_distances(TsTensor x, TsTensor y)
{
    TsTensor mean = ts_mean(y, 1 << 0, false), zero = ts_constant(x.graph, ts_dtype_of(x), ts_scalar, 0);
    x = ts_sub(x, mean);
    y = ts_sub(y, mean);
    TsTensor own = ts_sum(ts_mul(x, x), 1 << 1, true), others = ts_sum(ts_mul(y, y), 1 << 1, false);
    TsTensor product = ts_dot(x, y, (TsDot){.transpose_b = true});
    return ts_maximum(ts_add(ts_sub(own, ts_scale(product, 2)), others), zero);
}

/* The mean of the k least of each row, after their roots. (B, n) -> (B, 1) */
static TsTensor mean_of_least(TsTensor squares, int64_t k)
{
    static const double FAR = -1e30;
    int64_t rows = ts_dim(squares, 0);
    TsTensor left = ts_scale(ts_constrain(squares, ts_batch_placement()), -1), sum = TS_NONE;
    TsTensor far = ts_constant(left.graph, ts_dtype_of(left), ts_shape(rows, 1), FAR);
    for (int64_t i = 0; i < k; i++) {
        TsTensor nearest = ts_sqrt(ts_scale(ts_max(left, 1 << 1, true), -1));
        sum = i ? ts_add(sum, nearest) : nearest;
        if (i + 1 < k)
            left = ts_scatter_add(left, far, ts_reshape(ts_argmax(left), ts_shape(rows, 1)), 1);
    }
    return ts_scale(sum, 1 / (double)k);
}

static TsTensor apply_head(TsScope scope, const TsClosedModel *model, TsTensor x)
{
    int64_t width = ts_dim(x, 1);
    switch (model->head) {
    case TS_HEAD_DISTANCES:
        return square_distances(x, declare(scope, "centers", ts_shape(model->outputs, width), ts_replicated));
    case TS_HEAD_MAHALANOBIS:
        x = linear(scope, x, width);
        return ts_sum(ts_mul(x, x), 1 << 1, true);
    case TS_HEAD_NEIGHBOURS:
        return mean_of_least(square_distances(x, declare(scope, "references", ts_shape(model->references, width),
                                                         ts_shard(ts_replicated, 0, TS_AXIS_DATA))),
                             model->neighbours);
    case TS_HEAD_LINEAR:
        break;
    }
    return linear(scope, x, model->outputs);
}

static TsTensor compute_predictions(TsScope scope, const void *options, const TsColumns *columns)
{
    const TsClosedModel *model = options;
    TsTensor x = find_features(scope, model, columns);
    ts_output("embedding", x, ts_batch_placement());
    TsTensor out = apply_head(ts_in(ts_in(ts_in(scope, "tasks"), model->headed.name), "solution"), model, x);
    ts_graph_set_path(scope.graph, scope.path);
    return out;
}

/* Of kmeans the mean squared distance to the nearest center; of those that learn labels theirs. */
static TsLosses compute_loss(TsScope scope, const void *options, TsTensor predictions, const TsColumns *columns)
{
    const TsClosedModel *model = options;
    if (model->head != TS_HEAD_DISTANCES)
        return ts_headed_model.compute_loss(scope, &model->headed, predictions, columns);
    TsTensor weights = ts_cast(ts_column(columns, "weights"), ts_dtype_of(predictions));
    TsTensor least = ts_scale(ts_max(ts_scale(predictions, -1), 1 << 1, false), -1);
    TsTensor loss = ts_mul(least, weights);
    return (TsLosses){
        .count = 1, .loss = {{"loss", ts_sum(loss, -1, false), ts_sum(weights, -1, false)}}, .per_example = loss};
}

const TsModel ts_closed_model = {"closed_model", compute_predictions, compute_loss, NULL, NULL};
