/* SPDX-License-Identifier: Apache-2.0
 *
 * Fit: whether what a run keeps - parameters, gradients, optimizer state - has room in the memory of its hosts, before
 * any of it is made. What is computed in between is not counted: a Program says itself where its arena has no room.
 */
#pragma once

#include "model/parameter.h"

/* Bytes that the rank at `coord` of a mesh of this shape keeps: parameters, and the gradient and `states` arrays of
 * optimizer state of each that learns; negative: of parameters alone. Not collective. */
double ts_fit_bytes(const TsParameters *parameters, TsMeshShape mesh_shape, const int *coord, double states);

/* An error where this rank's host has not the memory for all its ranks: it says how much is needed, and the smallest
 * mesh that has. To be agreed on by the ranks. Not collective. */
TS_MUST_USE TsStatus ts_fit_check(const TsParameters *parameters, TsGroup *group, double states);
