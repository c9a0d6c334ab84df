/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/averages.h"

#include <stdio.h>

#include "base/memory.h"
#include "model/binding.h"
#include "tensor/program.h"

struct TsAverages {
    const TsParameters *parameters;
    const TsBatch *given, *state;
    TsProgram *begin, *gather;
    TsBatch *arrays; /* NULL until asked for */
};

TsAverageName ts_average_name(const char *path)
{
    TsAverageName name;
    snprintf(name.text, sizeof name.text, "average/%s", path);
    return name;
}

static TsTensor average_of(TsGraph *graph, const TsParameter *row)
{
    return ts_state(graph, ts_average_name(row->path).text, row->dtype, row->shape, row->state);
}

static void trace_begin(TsGraph *graph, const TsParameter *row)
{
    ts_assign(average_of(graph, row), ts_parameter(graph, row->path, row->dtype, row->shape, row->placement));
}

static void trace_gather(TsGraph *graph, const TsParameter *row)
{
    ts_output(row->path, average_of(graph, row), row->placement);
}

static TsStatus compile(TsProgram **program, const TsAverages *averages, int threads,
                        void (*trace)(TsGraph *graph, const TsParameter *row))
{
    TsGraph *graph = ts_graph_create();
    for (int i = 0; i < ts_parameters_count(averages->parameters); i++)
        if (ts_parameters_at(averages->parameters, i)->trainable)
            trace(graph, ts_parameters_at(averages->parameters, i));
    TsCompileOptions options = {.mesh = ts_parameters_mesh(averages->parameters), .threads = threads};
    return ts_program_compile(program, graph, options);
}

TsStatus ts_averages_create(TsAverages **averages, const TsParameters *parameters, const TsBatch *arrays,
                            const TsBatch *state, int threads)
{
    const TsMesh *mesh = ts_parameters_mesh(parameters);
    TsAverages *made = ts_calloc(1, sizeof *made);
    *made = (TsAverages){.parameters = parameters, .given = arrays, .state = state};
    TsStatus status = compile(&made->begin, made, threads, trace_begin);
    if (!status)
        status = compile(&made->gather, made, threads, trace_gather);
    if (mesh)
        status = ts_comm_agree(ts_mesh_all(mesh), status);
    if (status)
        ts_averages_free(&made);
    *averages = made;
    return status;
}

void ts_averages_free(TsAverages **averages)
{
    if (!*averages)
        return;
    ts_program_free(&(*averages)->begin);
    ts_program_free(&(*averages)->gather);
    ts_batch_free(&(*averages)->arrays);
    ts_free(*averages);
    *averages = NULL;
}

void ts_averages_begin(TsAverages *averages)
{
    ts_bind_batch(averages->begin, averages->given);
    ts_bind_batch(averages->begin, averages->state);
    ts_program_run(averages->begin);
}

void ts_averages_gather(TsAverages *averages)
{
    ts_averages_arrays(averages);
    ts_bind_batch(averages->gather, averages->state);
    ts_program_run(averages->gather);
}

void ts_averages_drop(TsAverages *averages)
{
    ts_batch_free(&averages->arrays);
}

const TsBatch *ts_averages_arrays(TsAverages *averages)
{
    if (averages->arrays)
        return averages->arrays;
    averages->arrays = ts_batch_create();
    ts_bind_new(averages->gather, averages->arrays, TS_BIND_OUTPUT, ts_parameters_mesh(averages->parameters));
    for (int i = 0; i < ts_batch_count(averages->given); i++)
        if (!ts_batch_find(averages->arrays, ts_batch_name(averages->given, i)))
            ts_batch_lend(averages->arrays, ts_batch_name(averages->given, i), ts_batch_array(averages->given, i));
    return averages->arrays;
}
