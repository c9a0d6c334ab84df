/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

TsColumns ts_columns_trace(TsGraph *graph, const TsBatch *batch)
{
    TsColumns columns = {.graph = graph, .count = ts_batch_count(batch)};
    TS_CHECK(columns.count <= TS_MAX_COLUMNS, "%d columns in a batch", columns.count);
    for (int i = 0; i < columns.count; i++) {
        const TsArray *array = ts_batch_array(batch, i);
        columns.name[i] = ts_batch_name(batch, i);
        columns.tensor[i] = ts_input(graph, columns.name[i], array->dtype, array->shape, array->placement);
    }
    return columns;
}

TsTensor ts_column(const TsColumns *columns, const char *name)
{
    for (int i = 0; i < columns->count; i++)
        if (strcmp(columns->name[i], name) == 0)
            return columns->tensor[i];
    return ts_graph_error(columns->graph, "the batch has no column \"%s\"", name);
}

bool ts_has_column(const TsColumns *columns, const char *name)
{
    for (int i = 0; i < columns->count; i++)
        if (strcmp(columns->name[i], name) == 0)
            return true;
    return false;
}

TsTensor ts_counted_labels(TsTensor labels, TsDtype dtype)
{
    TsTensor zero = ts_constant(labels.graph, dtype, ts_scalar, 0),
             one = ts_constant(labels.graph, dtype, ts_scalar, 1);
    return ts_minimum(ts_maximum(ts_shift(ts_cast(labels, dtype), 1), zero), one);
}

TsTensor ts_loss_mean(TsLoss loss)
{
    return ts_div(loss.sum, ts_shift(ts_stop_gradient(loss.weight), 1e-8));
}

TsWeightedScalar ts_weighted_scalar_merge(TsWeightedScalar a, TsWeightedScalar b)
{
    double weight = a.weight + b.weight;
    return (TsWeightedScalar){weight > 0 ? (a.value * a.weight + b.value * b.weight) / weight : 0, weight};
}

TsBatch *ts_weights_narrow(const TsParameters *parameters, const TsBatch *arrays)
{
    TsBatch *narrow = ts_batch_create();
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        TsArray *array = ts_batch_array(arrays, i);
        const TsParameter *row = ts_parameters_find(parameters, ts_batch_name(arrays, i));
        if (!row || !row->decays || array->dtype != TS_F32) {
            ts_batch_lend(narrow, ts_batch_name(arrays, i), array);
            continue;
        }
        TsArray *copy = ts_array_create(array->mesh, TS_BF16, array->shape, array->placement, (TsArrayOptions){0});
        for (int64_t e = 0; e < ts_array_local_elems(array); e++)
            ((TsBf16 *)copy->data)[e] = ts_bf16_from_f32(((const float *)array->data)[e]);
        ts_batch_put(narrow, ts_batch_name(arrays, i), copy);
    }
    return narrow;
}

TsDecoded *ts_decoded_create(int64_t prompts, int64_t each, int64_t capacity_tokens)
{
    TsDecoded *decoded = ts_calloc(1, sizeof *decoded);
    size_t rows = (size_t)(prompts * each);
    *decoded = (TsDecoded){.prompts = prompts,
                           .each = each,
                           .count = (int64_t)rows,
                           .capacity_tokens = capacity_tokens,
                           .tokens = ts_calloc(rows * (size_t)capacity_tokens + 1, sizeof(int32_t)),
                           .prompt_tokens = ts_calloc(rows + 1, sizeof(int64_t)),
                           .length_tokens = ts_calloc(rows + 1, sizeof(int64_t)),
                           .log_probability = ts_calloc(rows + 1, sizeof(double)),
                           .score = ts_calloc(rows + 1, sizeof(double)),
                           .end = ts_calloc(rows + 1, sizeof(TsDecodeEnd)),
                           .text_bytes = ts_calloc(rows + 1, sizeof(int64_t))};
    for (size_t row = 0; row < rows; row++)
        decoded->text_bytes[row] = -1;
    return decoded;
}

void ts_decoded_free(TsDecoded **decoded)
{
    if (!*decoded)
        return;
    ts_free((*decoded)->tokens);
    ts_free((*decoded)->prompt_tokens);
    ts_free((*decoded)->length_tokens);
    ts_free((*decoded)->log_probability);
    ts_free((*decoded)->score);
    ts_free((*decoded)->end);
    ts_free((*decoded)->text_bytes);
    ts_free((*decoded)->values);
    ts_free(*decoded);
    *decoded = NULL;
}

TsDecodeText *ts_decode_text_create(const TsDecoded *decoded)
{
    TsDecodeText *text = ts_calloc(1, sizeof *text);
    *text = (TsDecodeText){.count = decoded->count,
                           .prompt = ts_calloc((size_t)decoded->count + 1, sizeof(char *)),
                           .added = ts_calloc((size_t)decoded->count + 1, sizeof(char *)),
                           .log_probability = decoded->mean_log_probability};
    return text;
}

void ts_decode_text_free(TsDecodeText **text)
{
    if (!*text)
        return;
    for (int64_t i = 0; i < (*text)->count; i++) {
        ts_free((*text)->prompt[i]);
        ts_free((*text)->added[i]);
    }
    ts_free((*text)->prompt);
    ts_free((*text)->added);
    ts_free(*text);
    *text = NULL;
}

/* sum over examples of value (B) * counted (B), with the sum of what is counted. */
static TsLoss weighted(const char *name, TsTensor value, TsTensor counted)
{
    return (TsLoss){name, ts_sum(ts_mul(value, counted), -1, false), ts_sum(counted, -1, false)};
}

void ts_losses_add_asides(TsLosses *losses, TsScope scope, TsTensor counted, double factor)
{
    if (!scope.asides || !scope.asides->layers || losses->count + 2 > TS_MAX_LOSSES)
        return;
    double each = 1 / (double)scope.asides->layers;
    TsLoss balance = weighted("load_balance", ts_scale(scope.asides->balance, each), counted);
    losses->loss[losses->count++] = balance;
    losses->loss[losses->count++] = weighted("dropped", ts_scale(scope.asides->dropped, each), counted);
    if (scope.training)
        losses->loss[0].sum = ts_add(losses->loss[0].sum, ts_scale(balance.sum, factor));
}
