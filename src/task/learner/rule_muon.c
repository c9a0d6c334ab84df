/* SPDX-License-Identifier: Apache-2.0
 *
 * Muon (Jordan et al. 2024): the velocity of a matrix, made nearly orthogonal by iterations of Newton and Schulz.
 *
 * The velocity is cut as other state is; its matrix is gathered, and each rank goes through the iterations for the
 * whole of it.
 */
#include <math.h>

#include "task/learner/optimizer.h"
#include "tensor/ops.h"

/* What makes singular values near 1 fastest, where 1 itself is not needed: from the paper. */
static const double LINEAR = 3.4445, CUBIC = -4.7750, QUINTIC = 2.0315;

/* x (M, N) -> a x + b (x x^T) x + c (x x^T)^2 x, by products of the shorter side */
static TsTensor iterate(TsTensor x)
{
    bool wide = ts_dim(x, 0) <= ts_dim(x, 1);
    TsTensor gram = wide ? ts_dot(x, x, (TsDot){.transpose_b = true}) : ts_dot(x, x, (TsDot){.transpose_a = true});
    TsTensor powers = ts_add(ts_scale(gram, CUBIC), ts_scale(ts_dot(gram, gram, (TsDot){0}), QUINTIC));
    TsTensor turned = wide ? ts_dot(powers, x, (TsDot){0}) : ts_dot(x, powers, (TsDot){0});
    return ts_add(ts_scale(x, LINEAR), turned);
}

/* Of an update of a kernel that takes `rows` and gives `columns`. */
static double scale_of(TsMuonScale scale, double rows, double columns)
{
    return scale == TS_MUON_MATCH_RMS ? 0.2 * sqrt(fmax(rows, columns)) : sqrt(fmax(1, columns / rows));
}

TsTensor ts_rule_muon(const TsUpdate *update)
{
    const TsOptimizerConfig *options = update->options;
    TsShape shape = update->row->shape;
    int64_t rows = 1, columns = 1;
    for (int d = 0, split = ts_update_split(shape); d < shape.dims; d++)
        *(d < split ? &rows : &columns) *= shape.size[d];
    TsTensor velocity = ts_update_state(update, "velocity");
    TsOptimizerRuleOptions rule = {.beta1 = options->momentum, .nesterov = options->nesterov};
    TsOptimizerOut out = ts_velocity(velocity, update->gradient, update->scalars, rule);
    ts_assign(velocity, out.first);

    TsTensor x = ts_reshape(ts_constrain(out.second, ts_replicated), ts_shape(rows, columns));
    TsTensor length = ts_cast(ts_sqrt(ts_sum_squares(x)), update->row->dtype);
    x = ts_div(x, ts_shift(length, options->epsilon));
    for (int64_t i = 0; i < options->iterations; i++)
        x = iterate(x);
    TsTensor scale = ts_constant(x.graph, update->row->dtype == TS_F64 ? TS_F64 : TS_F32, ts_scalar,
                                 scale_of(options->scale, (double)rows, (double)columns));
    return ts_descend(update->parameter, ts_reshape(x, shape), scale, update->scalars,
                      (TsOptimizerRuleOptions){.decay = update->decay});
}
