/* SPDX-License-Identifier: Apache-2.0
 *
 * Adafactor (Shazeer and Stern 2018), as T5X and Transformers have it: of a matrix of squares of gradients only the
 * means of its rows and of its columns are kept, whole on every rank.
 */
#include <stdio.h>

#include "task/learner/optimizer.h"
#include "tensor/ops.h"

/* What the rule needs all along. */
typedef struct Scene {
    const TsUpdate *update;
    TsTensor taken; /* bool: the step is not skipped */
    TsTensor keep;  /* 1 - t^-exponent, what is kept of the means at this step */
    TsTensor gradient;
} Scene;

static TsTensor scalar(TsTensor like, double value)
{
    return ts_constant(like.graph, ts_dtype_of(like), ts_scalar, value);
}

static Scene set_scene(const TsUpdate *update)
{
    TsTensor factor = update->scalars.factor, step = ts_cast(update->scalars.step, TS_F32);
    TsTensor fall = ts_exp(ts_scale(ts_ln(step), -update->options->exponent));
    TsTensor gradient = update->gradient;
    if (update->parts) /* sums over parts of a matrix would depend on the parts */
        gradient = ts_constrain(gradient, ts_replicated);
    return (Scene){.update = update,
                   .taken = ts_greater(factor, scalar(factor, 0)),
                   .keep = ts_cast(ts_sub(scalar(fall, 1), fall), update->row->dtype),
                   .gradient = ts_mul(gradient, ts_cast(factor, update->row->dtype))};
}

/* The running mean in `state` with what is new; given back, and assigned unless the step is skipped. */
static TsTensor mix(const Scene *scene, TsTensor state, TsTensor fresh)
{
    TsTensor rest = ts_sub(scalar(scene->keep, 1), scene->keep);
    TsTensor mixed = ts_add(ts_mul(state, scene->keep), ts_mul(fresh, rest));
    ts_assign(state, ts_where(scene->taken, mixed, state));
    return mixed;
}

static TsTensor small_state(const TsUpdate *update, const char *what, TsShape shape)
{
    char name[256];
    snprintf(name, sizeof name, "optimizer/%s/%s", what, update->row->path);
    return ts_state(update->graph, name, update->row->dtype, shape, ts_replicated);
}

/* The gradient over the root of what the means of rows and columns say of its squares. */
static TsTensor factored(const Scene *scene, TsTensor squares)
{
    TsShape rows = scene->update->row->shape, columns = rows;
    int split = ts_update_split(rows), before = (1 << split) - 1, all = (1 << rows.dims) - 1;
    for (int d = 0; d < rows.dims; d++)
        *(d < split ? &columns.size[d] : &rows.size[d]) = 1;
    TsTensor row_means = ts_mean(squares, all & ~before, true), column_means = ts_mean(squares, before, true);
    TsTensor row = mix(scene, small_state(scene->update, "rows", rows), ts_constrain(row_means, ts_replicated));
    TsTensor column =
        mix(scene, small_state(scene->update, "columns", columns), ts_constrain(column_means, ts_replicated));
    TsTensor relative = ts_div(row, ts_mean(row, -1, false));
    return ts_div(ts_div(scene->gradient, ts_sqrt(relative)), ts_sqrt(column));
}

static TsTensor root_mean_square(const TsUpdate *update, TsTensor x)
{
    double elems = (double)ts_shape_elems(update->row->shape);
    return ts_sqrt(ts_scale(ts_update_squares(update, x), 1 / (elems > 0 ? elems : 1)));
}

/* Decays, and goes by the mean of what the updates came to. */
static TsTensor descend_by_mean(const Scene *scene, TsTensor u, TsOptimizerScalars scalars)
{
    const TsUpdate *update = scene->update;
    double beta = update->options->beta1;
    TsTensor mean = ts_update_state(update, "mean");
    TsTensor fresh = ts_mul(u, ts_cast(scalars.rate, update->row->dtype));
    TsTensor mixed = ts_add(ts_scale(mean, beta), ts_scale(fresh, 1 - beta));
    ts_assign(mean, ts_where(scene->taken, mixed, mean));
    TsTensor sum = ts_constant(u.graph, update->row->dtype == TS_F64 ? TS_F64 : TS_F32, ts_scalar, 0);
    TsTensor decayed =
        ts_descend(update->parameter, mixed, sum, scalars, (TsOptimizerRuleOptions){.decay = update->decay});
    scalars.rate = scalar(scalars.rate, 1);
    return ts_descend(decayed, mixed, ts_shift(sum, 1), scalars, (TsOptimizerRuleOptions){.decay = 0});
}

TsTensor ts_rule_adafactor(const TsUpdate *update)
{
    const TsOptimizerConfig *options = update->options;
    Scene scene = set_scene(update);
    TsTensor squares = ts_shift(ts_mul(scene.gradient, scene.gradient), options->epsilon);
    TsTensor u = update->row->shape.dims < 2
                     ? ts_div(scene.gradient, ts_sqrt(mix(&scene, ts_update_state(update, "variance"), squares)))
                     : factored(&scene, squares);
    TsTensor rms = root_mean_square(update, u);
    TsTensor scale = ts_div(scalar(rms, 1), ts_maximum(ts_scale(rms, 1 / options->threshold), scalar(rms, 1)));
    TsOptimizerScalars scalars = update->scalars;
    if (options->scale_parameter) {
        TsTensor size = root_mean_square(update, update->parameter);
        size = ts_maximum(size, scalar(size, options->least_scale));
        scalars.rate = ts_mul(scalars.rate, ts_cast(size, TS_F32));
    }
    if (options->beta1 > 0)
        return descend_by_mean(&scene, ts_mul(u, ts_cast(scale, update->row->dtype)), scalars);
    return ts_descend(update->parameter, u, scale, scalars, (TsOptimizerRuleOptions){.decay = update->decay});
}
