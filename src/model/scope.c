/* SPDX-License-Identifier: Apache-2.0 */
#include "model/scope.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/pattern.h"
#include "base/philox.h"
#include "tensor/ops.h"

static TsScope enter(TsScope scope, const char *text)
{
    TsScope part = scope;
    int length = snprintf(part.path, sizeof part.path, "%s%s%s", scope.path, scope.path[0] ? "/" : "", text);
    TS_CHECK(length > 0 && length < TS_MAX_PATH, "the path %s/%s is longer than %d", scope.path, text, TS_MAX_PATH);
    ts_graph_set_path(part.graph, part.path);
    return part;
}

TsScope ts_in(TsScope scope, const char *name)
{
    return enter(scope, name);
}

TsScope ts_in_numbered(TsScope scope, const char *name, int64_t number)
{
    char text[TS_MAX_PATH];
    snprintf(text, sizeof text, "%s_%02lld", name, (long long)number);
    return enter(scope, text);
}

TsTensor ts_leave(TsScope scope, TsTensor x)
{
    char *last = strrchr(scope.path, '/');
    if (last)
        *last = 0;
    ts_graph_set_path(scope.graph, last ? scope.path : "");
    return x;
}

TsTensor ts_between_blocks(TsScope scope, TsTensor x)
{
    return scope.sequence ? ts_constrain_axis(x, 1, scope.sequence) : x;
}

/* The parameter with this step's noise. */
static TsTensor vary(TsScope scope, const TsParameter *row, TsTensor parameter)
{
    char stream[2 * TS_MAX_PATH + 8];
    snprintf(stream, sizeof stream, "vn/%s", row->path);
    TsTensor noise = ts_normal(scope.step, row->shape, ts_stream_key(scope.seed, stream));
    TsTensor last = ts_constant(scope.graph, TS_I64, ts_scalar, (double)scope.variation->start_step - 1);
    TsTensor scale =
        ts_where(ts_greater(scope.step, last), ts_constant(scope.graph, TS_F32, ts_scalar, scope.variation->scale),
                 ts_constant(scope.graph, TS_F32, ts_scalar, 0));
    return ts_add(parameter, ts_cast(ts_mul(noise, scale), row->dtype));
}

TsTensor ts_declare(TsScope scope, const char *name, TsDeclare declare)
{
    char shared[2 * TS_MAX_PATH], own[3 * TS_MAX_PATH];
    snprintf(shared, sizeof shared, "%s/%s", scope.path, name);
    const char *path = ts_parameters_path(scope.parameters, own, sizeof own, shared);
    TsStatus status =
        ts_parameters_declare(scope.parameters, (TsParameter){.path = path,
                                                              .dtype = scope.dtype == TS_BF16 ? TS_F32 : scope.dtype,
                                                              .shape = declare.shape,
                                                              .placement = declare.placement,
                                                              .initializer = declare.initializer,
                                                              .trainable = !declare.frozen && !scope.frozen,
                                                              .decays = declare.decays});
    if (status) {
        TsTensor error = ts_graph_error(scope.graph, "%s", ts_status_message(status));
        ts_status_free(&status);
        return error;
    }
    const TsParameter *row = ts_parameters_find(scope.parameters, path);
    TsDtype dtype = scope.narrow && row->decays ? scope.dtype : row->dtype;
    TsTensor parameter = ts_parameter(scope.graph, row->path, dtype, row->shape, row->placement);
    ts_parameter_gather(parameter, row->gathered);
    bool varies = scope.variation && scope.training && row->trainable;
    return varies && ts_pattern_found(scope.variation->pattern, path) ? vary(scope, row, parameter) : parameter;
}

uint64_t ts_stream_key(uint64_t seed, const char *name)
{
    TsStream stream = ts_stream(seed, name, 0);
    return (uint64_t)stream.key[1] << 32 | stream.key[0];
}
