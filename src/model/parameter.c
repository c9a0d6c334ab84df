/* SPDX-License-Identifier: Apache-2.0 */
#include "model/parameter.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/names.h"
#include "base/pattern.h"
#include "base/philox.h"

typedef struct Rule {
    TsPattern *pattern;
    const char *text, *placement; /* borrowed from the config */
    bool found;                   /* some parameter */
} Rule;

struct TsParameters {
    const TsMesh *mesh;
    TsParameter *rows;
    int count, capacity;
    TsNames names; /* of rows, by index */
    const TsShardingConfig *sharding;
    Rule *rules; /* (sharding->rules.count) */
    TsStatus misplaced;
    TsFineTune *fine_tune; /* NULL: all learns */
    Rule *own;             /* (own_count) without placements: what of the trunk is the task's own */
    int64_t own_count;
    const char *task;
};

static const TsShardingConfig as_declared;

TsParameters *ts_parameters_create(const TsMesh *mesh)
{
    TsParameters *parameters = ts_calloc(1, sizeof *parameters);
    parameters->mesh = mesh;
    parameters->sharding = &as_declared;
    return parameters;
}

void ts_parameters_free(TsParameters **parameters)
{
    if (!*parameters)
        return;
    for (int i = 0; i < (*parameters)->count; i++)
        ts_free((char *)(*parameters)->rows[i].path);
    for (int64_t i = 0; (*parameters)->rules && i < (*parameters)->sharding->rules.count; i++)
        ts_pattern_free(&(*parameters)->rules[i].pattern);
    ts_free((*parameters)->rules);
    for (int64_t i = 0; i < (*parameters)->own_count; i++)
        ts_pattern_free(&(*parameters)->own[i].pattern);
    ts_free((*parameters)->own);
    ts_status_free(&(*parameters)->misplaced);
    ts_fine_tune_free(&(*parameters)->fine_tune);
    ts_free((*parameters)->rows);
    ts_names_free(&(*parameters)->names);
    ts_free(*parameters);
    *parameters = NULL;
}

/* ---- sharding ---- */

static TsStatus parse_resting(TsPlacement *placement, const char *text, int dims)
{
    TS_TRY(ts_placement_parse(placement, text, dims));
    if (placement->partial || placement->at_axis)
        return ts_status_error(TS_CODE_INVALID, "placement \"%s\": a parameter rests whole or cut, as in \"0: model\"",
                               text);
    return TS_OK;
}

TsStatus ts_parameters_shard(TsParameters *parameters, const TsShardingConfig *config)
{
    const TsList *rules = config->rules.items;
    parameters->sharding = config;
    parameters->rules = ts_calloc((size_t)config->rules.count + 1, sizeof *parameters->rules);
    for (int64_t i = 0; i < config->rules.count; i++) {
        const char *const *pair = rules[i].items;
        Rule *rule = &parameters->rules[i];
        TsPlacement unused;
        *rule = (Rule){.text = pair[0], .placement = pair[1]};
        TsStatus status = ts_pattern_create(&rule->pattern, rule->text);
        if (!status)
            status = parse_resting(&unused, rule->placement, TS_MAX_DIMS);
        if (status)
            return ts_status_annotate(status, "rule %lld", (long long)i + 1);
    }
    return TS_OK;
}

TsStatus ts_parameters_check_rules(const TsParameters *parameters)
{
    if (parameters->misplaced)
        return ts_status_error(ts_status_code(parameters->misplaced), "%s", ts_status_message(parameters->misplaced));
    for (int64_t i = 0; i < parameters->sharding->rules.count; i++) {
        bool earlier = false; /* what it finds, earlier rules took */
        for (int row = 0; row < parameters->count; row++)
            earlier |= ts_pattern_found(parameters->rules[i].pattern, parameters->rows[row].path);
        if (!parameters->rules[i].found)
            return ts_status_error(
                TS_CODE_INVALID, "rule %lld: \"%s\" is found in the path of no parameter%s, such as %s",
                (long long)i + 1, parameters->rules[i].text, earlier ? " that an earlier rule has not taken" : "",
                parameters->count ? parameters->rows[0].path : "none");
    }
    return TS_OK;
}

const TsShardingConfig *ts_parameters_sharding(const TsParameters *parameters)
{
    return parameters->sharding;
}

/* The placement of the first rule that finds the path; false where there is none. */
static bool find_rule(TsParameters *parameters, TsPlacement *placement, const char *path, TsShape shape)
{
    for (int64_t i = 0; i < parameters->sharding->rules.count; i++) {
        Rule *rule = &parameters->rules[i];
        if (!ts_pattern_found(rule->pattern, path))
            continue;
        rule->found = true;
        TsStatus status = parse_resting(placement, rule->placement, shape.dims);
        if (!status)
            return true;
        status = ts_status_annotate(status, "rule %lld: %s %s", (long long)i + 1, path, ts_shape_text(shape).text);
        if (parameters->misplaced)
            ts_status_free(&status);
        else
            parameters->misplaced = status;
        return false;
    }
    return false;
}

static void shard_row(TsParameters *parameters, TsParameter *row)
{
    TsPlacement ruled;
    bool has_rule = find_rule(parameters, &ruled, row->path, row->shape);
    TsMeshShape mesh_shape = parameters->mesh ? ts_mesh_shape(parameters->mesh) : (TsMeshShape){{0}};
    TsShards shards =
        ts_sharding_apply(parameters->sharding, row->placement, has_rule ? &ruled : NULL, row->shape, mesh_shape);
    row->declared = row->placement;
    row->has_rule = has_rule;
    row->placement = shards.rest;
    row->gathered = shards.gathered;
    row->state = shards.state;
    row->gradient = shards.gradient;
    row->dim = shards.dim;
}

/* ---- fine-tuning ---- */

TsStatus ts_parameters_fine_tune(TsParameters *parameters, const TsFineTuneConfig *config, const char *task)
{
    ts_fine_tune_free(&parameters->fine_tune);
    return ts_fine_tune_create(&parameters->fine_tune, config, task);
}

TsFineTune *ts_parameters_fine_tuning(const TsParameters *parameters)
{
    return parameters->fine_tune;
}

/* ---- what of the trunk is the task's own ---- */

TsStatus ts_parameters_own(TsParameters *parameters, const TsList *patterns, const char *task)
{
    const char *const *texts = patterns->items;
    parameters->own = ts_calloc((size_t)patterns->count + 1, sizeof *parameters->own);
    parameters->task = task;
    for (int64_t i = 0; i < patterns->count; i++) {
        parameters->own[i] = (Rule){.text = texts[i]};
        TS_TRY(ts_pattern_create(&parameters->own[i].pattern, texts[i]));
        parameters->own_count++;
    }
    return TS_OK;
}

const char *ts_parameters_own_unfound(const TsParameters *parameters)
{
    for (int64_t i = 0; i < parameters->own_count; i++)
        if (!parameters->own[i].found)
            return parameters->own[i].text;
    return NULL;
}

const char *ts_parameters_path(TsParameters *parameters, char *own, size_t own_bytes, const char *path)
{
    bool found = false;
    for (int64_t i = 0; i < parameters->own_count && strncmp(path, "backbone/", strlen("backbone/")) == 0; i++)
        if (ts_pattern_found(parameters->own[i].pattern, path))
            parameters->own[i].found = found = true;
    if (!found)
        return path;
    snprintf(own, own_bytes, "tasks/%s/%s", parameters->task, path);
    return own;
}

/* ---- rows ---- */

static TsStatus check_same(const TsParameter *have, const TsParameter *want)
{
    if (!ts_shape_equal(have->shape, want->shape) || have->dtype != want->dtype)
        return ts_status_error(TS_CODE_INVALID, "parameter %s is %s %s here and %s %s where it was declared first",
                               want->path, ts_dtype_name(want->dtype), ts_shape_text(want->shape).text,
                               ts_dtype_name(have->dtype), ts_shape_text(have->shape).text);
    if (have->initializer.kind != want->initializer.kind || have->initializer.scale != want->initializer.scale)
        return ts_status_error(TS_CODE_INVALID, "parameter %s is declared twice with different initial values",
                               want->path);
    return TS_OK;
}

TsStatus ts_parameters_declare(TsParameters *parameters, TsParameter parameter)
{
    const TsParameter *have = ts_parameters_find(parameters, parameter.path);
    if (have)
        return check_same(have, &parameter);
    if (parameters->count == parameters->capacity) {
        parameters->capacity = parameters->capacity ? 2 * parameters->capacity : 64;
        parameters->rows = ts_realloc(parameters->rows, (size_t)parameters->capacity * sizeof *parameters->rows);
    }
    parameter.trainable &= ts_fine_tune_learns(ts_fine_tune_config(parameters->fine_tune), parameter.path);
    parameter.path = ts_strdup(parameter.path);
    ts_names_add(&parameters->names, parameter.path, parameters->count);
    shard_row(parameters, &parameter);
    parameters->rows[parameters->count++] = parameter;
    return TS_OK;
}

void ts_parameters_freeze(TsParameters *parameters, const char *path)
{
    int64_t found = ts_names_find(&parameters->names, path);
    TS_CHECK(found >= 0, "there is no parameter %s to freeze", path);
    parameters->rows[found].trainable = false;
}

int ts_parameters_count(const TsParameters *parameters)
{
    return parameters->count;
}

const TsParameter *ts_parameters_at(const TsParameters *parameters, int index)
{
    TS_CHECK(index >= 0 && index < parameters->count, "parameter %d of %d", index, parameters->count);
    return &parameters->rows[index];
}

const TsParameter *ts_parameters_find(const TsParameters *parameters, const char *path)
{
    int64_t found = ts_names_find(&parameters->names, path);
    return found < 0 ? NULL : &parameters->rows[found];
}

const TsMesh *ts_parameters_mesh(const TsParameters *parameters)
{
    return parameters->mesh;
}

int64_t ts_parameters_elems(const TsParameters *parameters)
{
    int64_t elems = 0;
    for (int i = 0; i < parameters->count; i++)
        elems += ts_shape_elems(parameters->rows[i].shape);
    return elems;
}

enum { CHUNK = 512 };

/* values[0, count) = elements [first, first + count) of the whole parameter */
static void make_values(float *values, TsInitializer initializer, TsStream stream, int64_t first, int64_t count)
{
    if (initializer.kind == TS_INIT_NORMAL)
        ts_stream_fill_normal_f32(stream, values, first, count);
    for (int64_t i = 0; i < count; i++)
        values[i] = initializer.kind == TS_INIT_NORMAL ? values[i] * (float)initializer.scale
                                                       : (float)(initializer.kind == TS_INIT_ONES);
}

static void store(TsArray *array, const float *values, int64_t local, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        switch (array->dtype) {
        case TS_F32:
            ((float *)array->data)[local + i] = values[i];
            break;
        case TS_F64:
            ((double *)array->data)[local + i] = (double)values[i];
            break;
        case TS_BF16:
            ((TsBf16 *)array->data)[local + i] = ts_bf16_from_f32(values[i]);
            break;
        default:
            TS_CHECK(false, "a parameter of dtype %s", ts_dtype_name(array->dtype));
        }
}

/* Row by row of the local block: a row is contiguous here and in the whole. */
static void fill(TsArray *array, TsInitializer initializer, TsStream stream)
{
    const TsBlockRange *block = &array->block;
    int last = array->shape.dims - 1;
    int64_t elems = ts_array_local_elems(array), row = last >= 0 ? block->shape.size[last] : 1;
    int64_t at[TS_MAX_DIMS] = {0};
    float values[CHUNK];
    for (int64_t local = 0; local < elems; local += row) {
        int64_t global = 0;
        for (int dim = 0; dim <= last; dim++)
            global = global * array->shape.size[dim] + block->first[dim] + at[dim];
        for (int64_t done = 0; done < row; done += CHUNK) {
            int64_t count = row - done < CHUNK ? row - done : CHUNK;
            make_values(values, initializer, stream, global + done, count);
            store(array, values, local + done, count);
        }
        for (int dim = last - 1; dim >= 0 && ++at[dim] == block->shape.size[dim]; dim--)
            at[dim] = 0;
    }
}

TsBatch *ts_parameters_initialize(const TsParameters *parameters, uint64_t seed)
{
    TsBatch *arrays = ts_batch_create();
    for (int i = 0; i < parameters->count; i++) {
        const TsParameter *row = &parameters->rows[i];
        TsArray *array = ts_array_create(parameters->mesh, row->dtype, row->shape, row->placement, (TsArrayOptions){0});
        fill(array, row->initializer, ts_stream(seed, row->path, 0));
        ts_batch_put(arrays, row->path, array);
    }
    return arrays;
}
