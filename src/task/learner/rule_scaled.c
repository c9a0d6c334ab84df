/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules that scale Adam's update by its own norm: Pax's Adam, and LAMB.
 */
#include "tensor/ops.h"

#include "task/learner/optimizer.h"

static TsTensor scalar(TsTensor like, double value)
{
    return ts_constant(like.graph, ts_dtype_of(like), ts_scalar, value);
}

/* update / max(1, RMS(update) / threshold), and then decay. Praxis, `sharded_adam` with `clip_threshold`. */
TsTensor ts_rule_adam_pax(const TsUpdate *update)
{
    const TsOptimizerConfig *options = update->options;
    TsTensor mean = ts_update_state(update, "mean"), variance = ts_update_state(update, "variance");
    TsOptimizerRuleOptions moments = {
        .beta1 = options->beta1, .beta2 = options->beta2, .epsilon = options->epsilon, .corrected_betas = true};
    TsOptimizerOut out = ts_adam_update(mean, variance, update->parameter, update->gradient, update->scalars, moments);
    ts_assign(mean, out.first);
    ts_assign(variance, out.second);
    TsTensor squares = ts_update_squares(update, out.third);
    double elems = (double)ts_shape_elems(update->row->shape);
    TsTensor rms = ts_sqrt(ts_scale(squares, 1 / (elems > 0 ? elems : 1)));
    TsTensor above = ts_maximum(ts_scale(rms, 1 / options->threshold), scalar(rms, 1));
    return ts_descend(update->parameter, out.third, ts_div(scalar(rms, 1), above), update->scalars,
                      (TsOptimizerRuleOptions){.decay = update->decay});
}

/* Algorithm 2 of the paper, with |x| for phi; a ratio of 1 where a norm is 0. */
TsTensor ts_rule_lamb(const TsUpdate *update)
{
    const TsOptimizerConfig *options = update->options;
    TsTensor mean = ts_update_state(update, "mean"), variance = ts_update_state(update, "variance");
    TsOptimizerRuleOptions moments = {
        .beta1 = options->beta1, .beta2 = options->beta2, .epsilon = options->epsilon, .decay = update->decay};
    TsOptimizerOut out = ts_adam_update(mean, variance, update->parameter, update->gradient, update->scalars, moments);
    ts_assign(mean, out.first);
    ts_assign(variance, out.second);
    TsTensor weight = ts_sqrt(ts_update_squares(update, update->parameter));
    TsTensor length = ts_sqrt(ts_update_squares(update, out.third));
    TsTensor zero = scalar(weight, 0), one = scalar(weight, 1);
    TsTensor ratio = ts_where(ts_greater(length, zero), ts_div(weight, length), one);
    ratio = ts_where(ts_greater(weight, zero), ratio, one);
    return ts_descend(update->parameter, out.third, ratio, update->scalars, (TsOptimizerRuleOptions){.decay = 0});
}
