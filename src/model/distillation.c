/* SPDX-License-Identifier: Apache-2.0 */
#include "model/distillation.h"

TsTensor ts_teacher_logits(TsScope scope, const TsDistillation *distillation, TsTensor tokens)
{
    TsScope own = scope;
    own.frozen = true;
    own.training = false; /* it drops nothing */
    own.asides = NULL;
    TsTensor hidden = ts_transformer(ts_in(own, "teacher"), &distillation->teacher, tokens, TS_NONE, NULL);
    TsTensor logits = ts_transformer_logits(ts_in(own, "teacher"), &distillation->teacher, hidden);
    ts_graph_set_path(scope.graph, scope.path);
    return ts_stop_gradient(logits);
}

TsTensor ts_distillation_loss(const TsDistillation *distillation, TsTensor student, TsTensor teacher, TsTensor loss,
                              TsTensor counted)
{
    TsDtype dtype = ts_dtype_of(loss);
    double heat = distillation->temperature, weight = distillation->weight;
    TsTensor cool = ts_scale(ts_cast(student, dtype), 1 / heat), warm = ts_scale(ts_cast(teacher, dtype), 1 / heat);
    TsTensor apart = ts_sub(ts_log_softmax(warm), ts_log_softmax(cool));
    TsTensor divergence = ts_sum(ts_mul(ts_softmax(warm), apart), 1 << 2, false); /* (B, T) */
    return ts_add(ts_scale(ts_mul(divergence, counted), weight * heat * heat), ts_scale(loss, 1 - weight));
}
