/* SPDX-License-Identifier: Apache-2.0 */
#include "task/metric/observations.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

TsObservations ts_observations_create(TsObserved kind, int64_t width)
{
    return (TsObservations){.kind = kind, .width = width};
}

void ts_observations_free(TsObservations *observations)
{
    ts_free(observations->scores);
    ts_free(observations->truth);
    ts_free(observations->classes);
    ts_free(observations->clusters);
    *observations = (TsObservations){.kind = observations->kind, .width = observations->width};
}

void ts_observations_clear(TsObservations *observations)
{
    observations->count = 0;
}

static void grow(TsObservations *observations)
{
    if (observations->count < observations->capacity)
        return;
    observations->capacity = observations->capacity ? 2 * observations->capacity : 256;
    size_t rows = (size_t)observations->capacity, width = (size_t)observations->width;
    observations->scores = ts_realloc(observations->scores, rows * width * sizeof(double));
    if (observations->kind == TS_OBSERVES_CLUSTERS)
        observations->clusters = ts_realloc(observations->clusters, rows * sizeof(int32_t));
    if (observations->kind == TS_OBSERVES_CLASSES || observations->kind == TS_OBSERVES_CLUSTERS)
        observations->classes = ts_realloc(observations->classes, rows * sizeof(int32_t));
    else
        observations->truth = ts_realloc(observations->truth, rows * width * sizeof(double));
}

void ts_observations_add_class(TsObservations *observations, const double *scores, int32_t class_index)
{
    TS_CHECK(observations->kind == TS_OBSERVES_CLASSES && class_index >= 0 && class_index < observations->width,
             "class %d of %lld", class_index, (long long)observations->width);
    grow(observations);
    memcpy(observations->scores + observations->count * observations->width, scores,
           (size_t)observations->width * sizeof *scores);
    observations->classes[observations->count++] = class_index;
}

void ts_observations_add_values(TsObservations *observations, const double *scores, const double *truth)
{
    TS_CHECK(observations->kind == TS_OBSERVES_LABELS || observations->kind == TS_OBSERVES_VALUES ||
                 observations->kind == TS_OBSERVES_RANKING,
             "kind %d", (int)observations->kind);
    grow(observations);
    size_t bytes = (size_t)observations->width * sizeof *scores;
    memcpy(observations->scores + observations->count * observations->width, scores, bytes);
    memcpy(observations->truth + observations->count * observations->width, truth, bytes);
    observations->count++;
}

void ts_observations_add_cluster(TsObservations *observations, const double *features, int64_t width, int32_t cluster,
                                 int32_t class_index)
{
    TS_CHECK(observations->kind == TS_OBSERVES_CLUSTERS && (observations->width == width || observations->count == 0),
             "features of %lld, not %lld", (long long)width, (long long)observations->width);
    if (observations->width != width)
        observations->capacity = 0;
    observations->width = width;
    grow(observations);
    memcpy(observations->scores + observations->count * width, features, (size_t)width * sizeof *features);
    observations->clusters[observations->count] = cluster;
    observations->classes[observations->count++] = class_index;
}
