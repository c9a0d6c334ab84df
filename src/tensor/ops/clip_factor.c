/* SPDX-License-Identifier: Apache-2.0
 *
 * What a gradient is multiplied by, from its norm.
 */
#include <math.h>

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

static TsStatus infer(TsInference *inference)
{
    TS_TRY(ts_op_scalar("the norm", inference, 0, TS_F32));
    TS_TRY(ts_op_scalar("the limit", inference, 1, TS_F32));
    inference->out_shape[0] = ts_scalar;
    inference->out_dtype[0] = TS_F32;
    return TS_OK;
}

static void forward(const TsCall *call)
{
    const TsClipFactor *options = call->attributes;
    double norm = (double)*(const float *)call->in[0].data, limit = (double)*(const float *)call->in[1].data;
    double factor = 1;
    if (!isfinite(norm) || norm > limit)
        factor = 0;
    else if (options->clip > 0 && norm > options->clip)
        factor = options->clip / norm;
    *(float *)call->out[0].data = (float)factor;
}

const TsOp ts_op_clip_factor = {.name = "clip_factor",
                                .attributes_bytes = sizeof(TsClipFactor),
                                .outputs = 1,
                                .infer = infer,
                                .forward = forward,
                                .gradient = ts_op_refuse_gradient};

TsTensor ts_clip_factor(TsTensor norm, TsTensor limit, TsClipFactor options)
{
    TsTensor in[] = {norm, limit};
    return ts_graph_add_one(&ts_op_clip_factor, in, 2, &options);
}
