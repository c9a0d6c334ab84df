/* SPDX-License-Identifier: Apache-2.0
 *
 * An optimizer: `optimizer: {type: rmsprop, rate: 1e-3}` (Tieleman and Hinton 2012). v = beta2 v + (1 - beta2) g^2;
 * p - rate (g / (sqrt(v) + epsilon) + decay p).
 */
#include <tessera/tessera.h>

static const TsKey keys[] = {
    TS_KEY_REAL(TsOptimizerConfig, rate, "the peak learning rate", .fallback = "1e-3", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsOptimizerConfig, decay, "of weights", .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsOptimizerConfig, beta2, "of the mean of squares", .fallback = "0.99", .range = TS_FROM_TO(0, 1)),
    TS_KEY_REAL(TsOptimizerConfig, epsilon, "added to the root", .fallback = "1e-8", .range = TS_ABOVE(0)),
    TS_KEYS_END};
static const TsConfigTable table = {"rmsprop", "Gradients over the root of the mean of their squares.",
                                    sizeof(TsOptimizerConfig), keys, NULL};

/* One parameter's step. A factor of 0 skips it: then nothing may change, whatever the gradient is. */
static TsTensor trace(const TsUpdate *update)
{
    const TsOptimizerConfig *options = update->options;
    TsTensor variance = ts_update_state(update, "variance"), factor = update->scalars.factor;
    TsTensor zero = ts_constant(update->graph, TS_F32, ts_scalar, 0);
    TsTensor counts = ts_greater(factor, zero);
    TsTensor none = ts_constant(update->graph, ts_dtype_of(update->gradient), ts_scalar, 0);
    TsTensor gradient = ts_mul(update->gradient, ts_cast(factor, ts_dtype_of(update->gradient)));
    gradient = ts_where(counts, gradient, none);
    TsTensor fresh =
        ts_add(ts_scale(variance, options->beta2), ts_scale(ts_mul(gradient, gradient), 1 - options->beta2));
    fresh = ts_where(counts, fresh, variance);
    ts_assign(variance, fresh);
    TsTensor direction = ts_div(gradient, ts_shift(ts_sqrt(fresh), options->epsilon));
    TsDtype sums = ts_dtype_of(direction) == TS_F64 ? TS_F64 : TS_F32;
    return ts_descend(update->parameter, direction, ts_constant(update->graph, sums, ts_scalar, 1), update->scalars,
                      (TsOptimizerRuleOptions){.decay = update->decay});
}

static double one_state(const TsOptimizerConfig *options)
{
    (void)options;
    return 1;
}

static const TsOptimizer rule = {.trace = trace, .states = one_state};

TS_PLUGIN
{
    return ts_variants_add(&ts_optimizers,
                           (TsVariant){"rmsprop", "gradients over their root mean square", &table, &rule});
}
