/* SPDX-License-Identifier: Apache-2.0
 *
 * Distillation: a student learns what a frozen teacher predicts of the same tokens: Hinton, Vinyals and Dean 2015.
 *
 * The loss of a token is weight * T^2 * KL(teacher || student), of both distributions at temperature T, plus
 * (1 - weight) times what its label costs. The teacher's parameters lie under "teacher"; they do not learn, and come
 * from where init_from says.
 */
#pragma once

#include "model/transformer.h"

typedef struct TsDistillation {
    TsTransformer teacher; /* with the student's vocabulary and at least its context */
    double temperature;    /* above 0 */
    double weight;         /* 0 to 1 */
} TsDistillation;

/* What the teacher predicts: logits (B, T, V) of tokens (B, T), a constant to differentiation. */
TsTensor ts_teacher_logits(TsScope scope, const TsDistillation *distillation, TsTensor tokens);

/* Of each token whose label counts: (B, T), from logits (B, T, V) of both, and `loss` (B, T), what labels cost. */
TsTensor ts_distillation_loss(const TsDistillation *distillation, TsTensor student, TsTensor teacher, TsTensor loss,
                              TsTensor counted);
