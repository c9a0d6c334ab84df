/* SPDX-License-Identifier: Apache-2.0
 *
 * The values of checkpoints: norms, and differences.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ckpt/inspect.h"
#include "ckpt/share.h"
#include "comm/collectives.h"

/* values[0, count) = their reduction over all ranks. Collective. */
static void reduce(TsGroup *group, double *values, int64_t count, TsReduction reduction)
{
    ts_all_reduce(group, (TsTransfer){.out = values,
                                      .in = values,
                                      .count_elems = count,
                                      .dtype = TS_F64,
                                      .reduction = reduction,
                                      .label = "checkpoint: inspect"});
}

/* Reads those arrays [first, end) of `like` that `wanted` names (NULL: all) from `source`. Collective. */
static TsStatus read_shares(TsBatch **shares, const TsMesh *mesh, TsCheckpoint *source, const TsCheckpoint *like,
                            const TsCheckpointDifference *wanted, int first, int end)
{
    *shares = ts_batch_create();
    for (int i = first; i < end; i++) {
        TsCheckpointEntry entry = ts_checkpoint_entry(like, i);
        if (!wanted || wanted[i].comparable)
            ts_batch_put(*shares, entry.name, ts_share_create(mesh, entry));
    }
    TsStatus status = ts_checkpoint_restore(source, *shares, (TsRestoreOptions){.allow_unused = true});
    if (status)
        ts_batch_free(shares);
    return status;
}

/* ---- norms ---- */

static double sum_of_squares(const TsArray *array)
{
    double sum = 0;
    int64_t elems = ts_share_elems(array);
    for (int64_t i = 0; i < elems; i++) {
        double value = ts_share_value(array, i);
        sum += value * value;
    }
    return sum;
}

TsStatus ts_checkpoint_norms(double *norms, TsGroup *group, TsCheckpoint *checkpoint)
{
    int count = ts_checkpoint_count(checkpoint);
    TsMesh *mesh = NULL;
    TsStatus status = ts_share_mesh(&mesh, group);
    for (int first = 0, end; !status && first < count; first = end) {
        TsBatch *shares = NULL;
        end = ts_share_portion(checkpoint, first, group);
        status = read_shares(&shares, mesh, checkpoint, checkpoint, NULL, first, end);
        for (int i = first; !status && i < end; i++)
            norms[i] = sum_of_squares(ts_batch_array(shares, i - first));
        ts_batch_free(&shares);
    }
    ts_mesh_free(&mesh);
    if (status)
        return status;
    reduce(group, norms, count, TS_SUM);
    for (int i = 0; i < count; i++)
        norms[i] = sqrt(norms[i]);
    return TS_OK;
}

/* ---- differences ---- */

/* What the ranks reduce of one array. */
typedef struct Measure {
    double elems, one_sided_nan; /* sums */
    double largest, largest_of_one;
} Measure;

static Measure measure(const TsArray *one, const TsArray *other)
{
    Measure found = {0};
    size_t bytes = ts_dtype_bytes(one->dtype);
    int64_t elems = ts_share_elems(one);
    for (int64_t i = 0; i < elems; i++) {
        double x = ts_share_value(one, i);
        found.largest_of_one = fmax(found.largest_of_one, fabs(x)); /* a NaN does not count */
        if (memcmp((char *)one->data + (size_t)i * bytes, (char *)other->data + (size_t)i * bytes, bytes) == 0)
            continue;
        double y = ts_share_value(other, i);
        found.elems++;
        if (isnan(x) != isnan(y))
            found.one_sided_nan++;
        else if (x != y && !isnan(x))
            found.largest = fmax(found.largest, fabs(x - y));
    }
    return found;
}

/* Finds for each array of `one` its counterpart. */
static void match(TsCheckpointDifference *differences, const TsCheckpoint *one, const TsCheckpoint *other)
{
    int count = ts_checkpoint_count(one), others = ts_checkpoint_count(other);
    for (int i = 0; i < count; i++) {
        TsCheckpointEntry entry = ts_checkpoint_entry(one, i);
        differences[i] = (TsCheckpointDifference){.other = -1};
        for (int step = 0; step < others && differences[i].other < 0; step++) {
            int k = (i + step) % others; /* mostly in the same place */
            TsCheckpointEntry there = ts_checkpoint_entry(other, k);
            if (strcmp(entry.name, there.name) == 0) {
                differences[i].other = k;
                differences[i].comparable = entry.dtype == there.dtype && ts_shape_equal(entry.shape, there.shape);
            }
        }
    }
}

/* Fills in the measures of arrays [first, end). Collective. */
static TsStatus measure_portion(Measure *measures, const TsMesh *mesh, const TsCheckpointDifference *differences,
                                TsCheckpoint *one, TsCheckpoint *other, int first, int end)
{
    TsBatch *these = NULL, *those = NULL;
    TS_TRY(read_shares(&these, mesh, one, one, differences, first, end));
    TsStatus status = read_shares(&those, mesh, other, one, differences, first, end);
    for (int i = first, k = 0; !status && i < end; i++)
        if (differences[i].comparable) {
            measures[i] = measure(ts_batch_array(these, k), ts_batch_array(those, k));
            k++;
        }
    ts_batch_free(&these);
    ts_batch_free(&those);
    return status;
}

/* Makes the ranks' measures those of whole arrays. Collective. */
static void reduce_measures(TsCheckpointDifference *differences, TsGroup *group, const Measure *measures, int count)
{
    double *sums = ts_calloc((size_t)count, 2 * sizeof *sums), *most = ts_calloc((size_t)count, 2 * sizeof *most);
    for (int i = 0; i < count; i++) {
        sums[2 * i] = measures[i].elems;
        sums[2 * i + 1] = measures[i].one_sided_nan;
        most[2 * i] = measures[i].largest;
        most[2 * i + 1] = measures[i].largest_of_one;
    }
    reduce(group, sums, 2 * (int64_t)count, TS_SUM);
    reduce(group, most, 2 * (int64_t)count, TS_MAX);
    for (int i = 0; i < count; i++) {
        differences[i].elems = (int64_t)sums[2 * i];
        differences[i].largest = sums[2 * i + 1] > 0 ? NAN : most[2 * i];
        differences[i].largest_of_one = most[2 * i + 1];
    }
    ts_free(sums);
    ts_free(most);
}

TsStatus ts_checkpoint_compare(TsCheckpointDifference *differences, TsGroup *group, TsCheckpoint *one,
                               TsCheckpoint *other)
{
    int count = ts_checkpoint_count(one);
    Measure *measures = ts_calloc((size_t)count, sizeof *measures);
    TsMesh *mesh = NULL;
    TsStatus status = ts_share_mesh(&mesh, group);
    match(differences, one, other);
    for (int first = 0, end; !status && first < count; first = end) {
        end = ts_share_portion(one, first, group);
        status = measure_portion(measures, mesh, differences, one, other, first, end);
    }
    ts_mesh_free(&mesh);
    if (!status)
        reduce_measures(differences, group, measures, count);
    ts_free(measures);
    return status;
}
