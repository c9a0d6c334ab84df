/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layers.h"

TsTensor ts_feed_forward(TsScope scope, TsTensor x, TsFeedForward options)
{
    TsLinear widen = {
        .out = ts_shape(options.hidden_width), .without_bias = options.without_bias, .cut_columns = TS_AXIS_MODEL};
    TsLinear narrow = {.out = ts_shape(ts_dim(x, -1)),
                       .without_bias = options.without_bias,
                       .cut_rows = TS_AXIS_MODEL,
                       .gain = options.out_gain};
    TsTensor h = ts_linear_with(ts_in(scope, "up"), x, widen);
    h = options.gated ? options.gated(ts_linear_with(ts_in(scope, "gate"), x, widen), h) : options.activation(h);
    h = ts_linear_with(ts_in(scope, "down"), h, narrow);
    return ts_leave(scope, ts_dropout(ts_in(scope, "dropout"), h, options.dropout));
}
