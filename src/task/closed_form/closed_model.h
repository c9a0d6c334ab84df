/* SPDX-License-Identifier: Apache-2.0
 *
 * ClosedModel: features of an example, and what a closed-form solution makes of them.
 *
 *   linear       x kernel + bias                     kernel (D, K), bias (K): ridge, logistic, pca
 *   distances    squared, to each center             centers (K, D): kmeans
 *   mahalanobis  |x kernel + bias|^2                 kernel (D, D), bias (D)
 *   neighbours   the mean distance to the k nearest  references (n, D), cut along data
 *
 * Parameters lie under "tasks/NAME/solution"; no step changes them, a solver does. Columns are those of HeadedModel.
 * Features also come out, as "embedding".
 */
#pragma once

#include "model/headed_model.h"

typedef enum TsClosedFeatures { TS_FEATURES_MEAN, TS_FEATURES_CLS, TS_FEATURES_FLATTEN } TsClosedFeatures;
typedef enum TsClosedHead { TS_HEAD_LINEAR, TS_HEAD_DISTANCES, TS_HEAD_MAHALANOBIS, TS_HEAD_NEIGHBOURS } TsClosedHead;

typedef struct TsClosedModel {
    TsHeadedModel headed; /* backbone, name; objective and outputs of its loss */
    int features;         /* TsClosedFeatures: of the tokens' hidden states the mean, the first, or all side by side */
    TsClosedHead head;
    int64_t outputs;    /* K */
    int64_t references; /* n */
    int64_t neighbours; /* k */
} TsClosedModel;

/* `options` is a TsClosedModel. It does not decode. */
extern const TsModel ts_closed_model;
