/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layers.h"

TsTensor ts_residual_adapter(TsScope scope, TsTensor x, int64_t width)
{
    TsTensor h = ts_layer_norm(ts_in(scope, "norm"), x, 0);
    h = ts_linear_with(ts_in(scope, "down"), h, (TsLinear){.out = ts_shape(width), .cut_columns = TS_AXIS_MODEL});
    h = ts_linear_with(ts_in(scope, "up"), ts_relu(h),
                       (TsLinear){.out = ts_shape(ts_dim(x, -1)), .zero = true, .cut_rows = TS_AXIS_MODEL});
    return ts_leave(scope, ts_add(x, h));
}
