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

/* y + s (x A) B: `kernel` is that of the layer. */
static TsTensor add_lora(TsScope scope, TsTensor y, TsTensor x, TsLinear options, TsShape kernel,
                         const TsFineTuneConfig *lora)
{
    int contract = options.contract ? options.contract : 1;
    TsShape narrow = kernel, wide = {.dims = 1 + options.out.dims, .size = {lora->r}};
    narrow.dims = contract + 1;
    narrow.size[contract] = lora->r;
    for (int dim = 0; dim < options.out.dims; dim++)
        wide.size[1 + dim] = options.out.size[dim];
    double deviation = 1 / sqrt((double)contracted_elems(kernel, contract));
    TsPlacement cut_a = options.cut_rows ? ts_shard(ts_replicated, 0, options.cut_rows) : ts_replicated;
    TsPlacement cut_b = options.cut_columns ? ts_shard(ts_replicated, 1, options.cut_columns) : ts_replicated;
    TsTensor a = ts_declare(
        scope, "lora_a",
        (TsDeclare){.shape = narrow, .initializer = {TS_INIT_NORMAL, deviation}, .placement = cut_a, .decays = true});
    TsTensor b = ts_declare(scope, "lora_b", (TsDeclare){.shape = wide, .placement = cut_b, .decays = true});
    TsDtype dtype = ts_dtype_of(x);
    x = ts_dropout(ts_in(scope, "lora_dropout"), x, lora->dropout);
    TsTensor h = ts_dot(x, ts_cast(a, dtype), (TsDot){.contract = contract});
    h = ts_scale(ts_dot(h, ts_cast(b, dtype), (TsDot){.contract = 1}), ts_fine_tune_scale(lora));
    return ts_add(y, h);
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
    TsInitializer initializer = {TS_INIT_NORMAL, deviation};
    if (options.zero)
        initializer = (TsInitializer){.kind = TS_INIT_ZEROS};
    TsTensor kernel = ts_declare(
        scope, "kernel",
        (TsDeclare){.shape = shape, .initializer = initializer, .placement = kernel_placement, .decays = true});
    TsDtype dtype = ts_dtype_of(x);
    TsTensor y = ts_dot(x, ts_cast(kernel, dtype), (TsDot){.contract = contract});
    if (!options.without_bias)
        y = ts_add(y, ts_cast(ts_declare(scope, "bias", (TsDeclare){.shape = options.out, .placement = bias_placement}),
                              dtype));
    const TsFineTuneConfig *lora = ts_fine_tune_lora(ts_parameters_fine_tuning(scope.parameters), scope.path);
    return ts_leave(scope, lora ? add_lora(scope, y, x, options, shape, lora) : y);
}

TsTensor ts_linear(TsScope scope, TsTensor x, int64_t width)
{
    return ts_linear_with(scope, x, (TsLinear){.out = ts_shape(width)});
}
