/* SPDX-License-Identifier: Apache-2.0
 *
 * Fit: whether what a run keeps has room in the memory of its hosts: parameters, gradients and optimizer state before
 * any of it is made; then, before the first step, all that was made; and where there is no room, which mesh has it.
 */
#pragma once

#include "model/parameter.h"

/* Bytes that the rank at `coord` of a mesh of this shape keeps: parameters, and the gradient and `states` arrays of
 * optimizer state of each that learns; negative: of parameters alone. Not collective. */
double ts_fit_bytes(const TsParameters *parameters, TsMeshShape mesh_shape, const int *coord, double states);

/* An error, of TS_CODE_RESOURCES, where this rank's host has not the memory for that of all its ranks. To be agreed on
 * by the ranks. Not collective. */
TS_MUST_USE TsStatus ts_fit_check(const TsParameters *parameters, TsGroup *group, double states);

/* The same about all that this rank has allocated so far, touched or not. */
TS_MUST_USE TsStatus ts_fit_check_made(TsGroup *group);

/* `status`; if it is agreed on and of TS_CODE_RESOURCES, with what a rank of a training run of the config needs in all,
 * and the smallest mesh that has room, by plans that the first rank makes. Collective on group. */
TS_MUST_USE TsStatus ts_fit_explain(TsStatus status, TsGroup *group, const TsConfig *config);
