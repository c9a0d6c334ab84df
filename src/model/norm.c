/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layers.h"

TsTensor ts_layer_norm(TsScope scope, TsTensor x, double epsilon)
{
    TsShape width = ts_shape(ts_dim(x, -1));
    TsTensor scale = ts_declare(scope, "scale", (TsDeclare){.shape = width, .initializer = {.kind = TS_INIT_ONES}});
    TsTensor bias = ts_declare(scope, "bias", (TsDeclare){.shape = width});
    return ts_leave(scope, ts_normalize(x, scale, bias, (TsNormalize){.epsilon = epsilon > 0 ? epsilon : 1e-5}));
}

TsTensor ts_rms_norm(TsScope scope, TsTensor x, double epsilon)
{
    TsShape width = ts_shape(ts_dim(x, -1));
    TsTensor scale = ts_declare(scope, "scale", (TsDeclare){.shape = width, .initializer = {.kind = TS_INIT_ONES}});
    TsNormalize options = {.epsilon = epsilon > 0 ? epsilon : 1e-6, .rms = true};
    return ts_leave(scope, ts_normalize(x, scale, TS_NONE, options));
}
