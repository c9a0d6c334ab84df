/* SPDX-License-Identifier: Apache-2.0
 *
 * Spread: how the values of Arrays are spread over all ranks: what TensorBoard shows as histograms of parameters and
 * gradients.
 *
 * Each value counts once, however many ranks hold it. Values that are not finite are in no histogram. Used by the
 * trainer, where run.histograms asks for it.
 */
#pragma once

#include "task/run/summaries.h"
#include "tensor/batch.h"

/* Gives `summaries` a histogram of each array, under the tag "histograms/NAME"; none of what is Partial, or has no
 * finite value. Collective on group, whose ranks hold the arrays; same on all ranks: names, shapes, placements. */
void ts_spread_report(TsSummaries *summaries, TsGroup *group, const TsBatch *arrays, int64_t step);
