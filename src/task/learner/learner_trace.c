/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "task/learner/learner_internal.h"
#include "tensor/ops.h"

TsScalarName ts_learner_scalar(const char *what, int number)
{
    TsScalarName name;
    snprintf(name.text, sizeof name.text, "%s/%d", what, number);
    return name;
}

bool ts_learner_has(const TsLearner *learner, int row)
{
    return learner->rows[row] && ts_parameters_at(learner->setting.parameters, row)->trainable;
}

bool ts_learner_updates(const TsLearner *learner, int row, int program)
{
    bool used =
        learner->setting.together ? learner->used[row] : learner->uses[row * learner->setting.user_count + program];
    return used && ts_learner_has(learner, row);
}

/* Of sums of squares: no coarser than the parameters. */
static TsDtype squares_dtype(const TsLearner *learner)
{
    return ts_parameters_at(learner->setting.parameters, 0)->dtype == TS_F64 ? TS_F64 : TS_F32;
}

/* The sum of squares of a gradient: a scalar, or that of each of `parts` parts. */
static TsTensor squares_of(const TsLearner *learner, const TsParameter *row, TsTensor x, int parts)
{
    return ts_cast(parts ? ts_sum_squares_parts(x, row->dim, parts) : ts_sum_squares(x), squares_dtype(learner));
}

/* Parts are whole on one rank each, and then summed up in one order. */
static TsTensor sum_parts(TsTensor squares, int parts)
{
    return parts ? ts_sum(ts_constrain(squares, ts_replicated), -1, false) : squares;
}

/* The norm of what these are the squares of. */
static TsTensor norm_of(TsTensor squares, int parts)
{
    return ts_cast(ts_sqrt(sum_parts(squares, parts)), TS_F32);
}

/* What a step of one user is made of, while it is traced; (rows). */
typedef struct Tracing {
    TsGraph *graph;
    const TsLearner *learner;
    int user, parts; /* 0: sums of squares as they come */
    TsTensor *gradient, *squares;
    TsTensor *gate;  /* (entries of unfreezing) 0 until they learn, then 1 */
    TsTensor factor; /* of all gradients */
} Tracing;

/* x, or nothing as long as the row does not learn yet. */
static TsTensor gated(Tracing *tracing, int row, TsTensor x)
{
    int entry = tracing->learner->unfreezing.of[row];
    if (entry < 0)
        return x;
    if (!tracing->gate[entry].graph)
        tracing->gate[entry] =
            ts_input(tracing->graph, ts_learner_scalar("gate", entry).text, TS_F32, ts_scalar, ts_replicated);
    return ts_mul(x, ts_cast(tracing->gate[entry], ts_dtype_of(x)));
}

/* The gradients, and the sum of their squares. */
static TsTensor trace_gradients(Tracing *tracing)
{
    const TsLearner *learner = tracing->learner;
    int parts = tracing->parts;
    TsTensor sum = ts_constant(tracing->graph, squares_dtype(learner), parts ? ts_shape(parts) : ts_scalar, 0);
    for (int i = 0; i < ts_parameters_count(learner->setting.parameters); i++) {
        const TsParameter *row = ts_parameters_at(learner->setting.parameters, i);
        if (!ts_learner_updates(learner, i, tracing->user))
            continue;
        ts_graph_set_path(tracing->graph, row->path);
        TsTensor gradient = ts_input(tracing->graph, ts_learner_gradient_name(row->path).text, row->dtype, row->shape,
                                     ts_learner_gradient_placement(row, learner->setting.in_parts));
        tracing->gradient[i] = learner->setting.in_parts ? ts_constrain(gradient, row->state) : gradient;
        tracing->squares[i] = gated(tracing, i, squares_of(learner, row, tracing->gradient[i], parts));
        sum = ts_add(sum, tracing->squares[i]);
    }
    ts_graph_set_path(tracing->graph, "learner");
    return sum;
}

/* What all gradients are multiplied by: from their norm, or as who leads found it. */
static void trace_factor(Tracing *tracing)
{
    const TsLearner *learner = tracing->learner;
    const TsLearnerConfig *config = learner->setting.config;
    TsGraph *graph = tracing->graph;
    TsTensor sum = trace_gradients(tracing);
    if (learner->setting.part == TS_LEARNER_FOLLOWS) {
        tracing->factor = ts_input(graph, "factor", TS_F32, ts_scalar, ts_replicated);
        return;
    }
    if (learner->setting.part == TS_LEARNER_LEADS)
        sum = ts_add(sum_parts(sum, tracing->parts),
                     ts_cast(ts_input(graph, "others", TS_F64, ts_scalar, ts_replicated), squares_dtype(learner)));
    TsTensor norm = norm_of(sum, learner->setting.part == TS_LEARNER_LEADS ? 0 : tracing->parts);
    TsTensor limit = ts_input(graph, "limit", TS_F32, ts_scalar, ts_replicated);
    tracing->factor = ts_clip_factor(norm, limit, (TsClipFactor){.clip = config->clip});
    ts_output("norm", norm, ts_replicated);
    ts_output("factor", tracing->factor, ts_replicated);
}

/* One parameter's update, once the factor of all is known: by its optimizer, and then its average. */
static void trace_row(Tracing *tracing, int i, TsTensor rate, TsTensor step)
{
    const TsLearner *learner = tracing->learner;
    const TsLearnerConfig *config = learner->setting.config;
    const TsParameter *row = ts_parameters_at(learner->setting.parameters, i);
    TsGraph *graph = tracing->graph;
    ts_graph_set_path(graph, row->path);
    TsTensor factor = gated(tracing, i, tracing->factor); /* 0 changes nothing */
    if (config->clip_each > 0)
        factor = ts_mul(factor, ts_clip_factor(norm_of(tracing->squares[i], tracing->parts),
                                               ts_constant(graph, TS_F32, ts_scalar, INFINITY),
                                               (TsClipFactor){.clip = config->clip_each}));
    const TsChoice *choice = &learner->groups.optimizer[learner->groups.of[i]];
    TsUpdate update = {.graph = graph,
                       .row = row,
                       .options = choice->value,
                       .decay = learner->groups.decay[i],
                       .parameter = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement),
                       .gradient = tracing->gradient[i],
                       .scalars = {.rate = rate, .factor = factor, .step = step},
                       .parts = tracing->parts};
    TsTensor fresh = ((const TsOptimizer *)choice->variant->extra)->trace(&update);
    ts_assign(update.parameter, fresh);
    if (config->ema) {
        TsTensor average = ts_state(graph, ts_average_name(row->path).text, row->dtype, row->shape, row->state);
        ts_assign(average,
                  ts_average(average, fresh, update.scalars, (TsOptimizerRuleOptions){.beta1 = config->ema->decay}));
    }
}

static Tracing begin_tracing(TsGraph *graph, const TsLearner *learner, int user)
{
    const TsParameters *parameters = learner->setting.parameters;
    size_t count = (size_t)ts_parameters_count(parameters);
    return (Tracing){.graph = graph,
                     .learner = learner,
                     .user = user,
                     .parts = ts_parameters_sharding(parameters)->virtual_shards,
                     .gradient = ts_calloc(count, sizeof(TsTensor)),
                     .squares = ts_calloc(count, sizeof(TsTensor)),
                     .gate = ts_calloc((size_t)learner->unfreezing.count + 1, sizeof(TsTensor))};
}

static void end_tracing(Tracing *tracing)
{
    ts_free(tracing->gradient);
    ts_free(tracing->squares);
    ts_free(tracing->gate);
}

void ts_learner_trace(TsGraph *graph, const TsLearner *learner, int user)
{
    Tracing tracing = begin_tracing(graph, learner, user);
    size_t count = (size_t)ts_parameters_count(learner->setting.parameters);
    TsTensor *step = ts_calloc(count, sizeof *step);
    TsTensor *rate = ts_calloc((size_t)learner->groups.count, sizeof *rate);
    trace_factor(&tracing);
    for (int i = 0; i < (int)count; i++) {
        if (!ts_learner_updates(learner, i, user))
            continue;
        int family = learner->family[i], group = learner->groups.of[i];
        if (family == i)
            step[i] = ts_input(graph, ts_learner_scalar("step", i).text, TS_I64, ts_scalar, ts_replicated);
        if (!rate[group].graph)
            rate[group] = ts_input(graph, ts_learner_scalar("rate", group).text, TS_F32, ts_scalar, ts_replicated);
        trace_row(&tracing, i, rate[group], step[family]);
    }
    end_tracing(&tracing);
    ts_free(step);
    ts_free(rate);
}

void ts_learner_trace_measure(TsGraph *graph, const TsLearner *learner, int user)
{
    Tracing tracing = begin_tracing(graph, learner, user);
    TsTensor sum = sum_parts(trace_gradients(&tracing), tracing.parts);
    ts_output("squares", ts_cast(sum, TS_F64), ts_replicated);
    end_tracing(&tracing);
}

void ts_learner_trace_weights(TsGraph *graph, const TsLearner *learner)
{
    const TsParameters *parameters = learner->setting.parameters;
    TsTensor sum = ts_constant(graph, squares_dtype(learner), ts_scalar, 0);
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (ts_learner_has(learner, i))
            sum = ts_add(sum, squares_of(learner, row,
                                         ts_parameter(graph, row->path, row->dtype, row->shape, row->placement), 0));
    }
    ts_output("weights", norm_of(sum, 0), ts_replicated);
}
