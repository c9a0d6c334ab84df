/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layers.h"

TsTensor ts_feed_forward(TsScope scope, TsTensor x, TsFeedForward options)
{
    TsTensor h = ts_linear_with(ts_in(scope, "up"), x,
                                (TsLinear){.out = ts_shape(options.hidden_width), .cut_columns = TS_AXIS_MODEL});
    h = options.activation(h);
    h = ts_linear_with(ts_in(scope, "down"), h,
                       (TsLinear){.out = ts_shape(ts_dim(x, -1)), .cut_rows = TS_AXIS_MODEL, .gain = options.out_gain});
    return ts_leave(scope, ts_dropout(ts_in(scope, "dropout"), h, options.dropout));
}
