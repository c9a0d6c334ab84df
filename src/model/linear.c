/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "model/layers.h"

/* (contracted dims of x..., out...) */
static TsShape kernel_shape(TsTensor x, int contract, TsShape out)
{
    TsShape shape = {.dims = contract + out.dims};
    for (int dim = 0; dim < contract; dim++)
        shape.size[dim] = ts_dim(x, ts_dims(x) - contract + dim);
    for (int dim = 0; dim < out.dims; dim++)
        shape.size[contract + dim] = out.size[dim];
    return shape;
}

static int64_t contracted_elems(TsShape kernel, int contract)
{
    int64_t elems = 1;
    for (int dim = 0; dim < contract; dim++)
        elems *= kernel.size[dim];
    return elems;
}

TsTensor ts_linear_with(TsScope scope, TsTensor x, TsLinear options)
{
    int contract = options.contract ? options.contract : 1;
    if (x.id < 0 || ts_dims(x) < contract || contract + options.out.dims > TS_MAX_DIMS)
        return ts_leave(scope, x.id < 0 ? x
                                        : ts_graph_error(scope.graph, "a linear layer from %s to %s over %d dims",
                                                         ts_shape_text(ts_shape_of_tensor(x)).text,
                                                         ts_shape_text(options.out).text, contract));

    TsShape shape = kernel_shape(x, contract, options.out);
    TsPlacement kernel_placement = ts_replicated, bias_placement = ts_replicated;
    if (options.cut_rows)
        kernel_placement = ts_shard(kernel_placement, 0, options.cut_rows);
    if (options.cut_columns) {
        kernel_placement = ts_shard(kernel_placement, contract, options.cut_columns);
        bias_placement = ts_shard(bias_placement, 0, options.cut_columns);
    }
    double deviation = (options.gain ? options.gain : 1) / sqrt((double)contracted_elems(shape, contract));
    TsTensor kernel = ts_declare(
        scope, "kernel",
        (TsDeclare){
            .shape = shape, .initializer = {TS_INIT_NORMAL, deviation}, .placement = kernel_placement, .decays = true});
    TsDtype dtype = ts_dtype_of(x);
    TsTensor y = ts_dot(x, ts_cast(kernel, dtype), (TsDot){.contract = contract});
    if (!options.without_bias)
        y = ts_add(y, ts_cast(ts_declare(scope, "bias", (TsDeclare){.shape = options.out, .placement = bias_placement}),
                              dtype));
    return ts_leave(scope, y);
}

TsTensor ts_linear(TsScope scope, TsTensor x, int64_t width)
{
    return ts_linear_with(scope, x, (TsLinear){.out = ts_shape(width)});
}
