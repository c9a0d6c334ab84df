/* SPDX-License-Identifier: Apache-2.0 */
#include "model/prompt_rows.h"

#include <string.h>

#include "comm/collectives.h"

TsStatus ts_prompt_row_check(const char *what, int64_t number, const int32_t *tokens, int64_t length_tokens,
                             int64_t context, int64_t vocab)
{
    if (length_tokens < 1)
        return ts_status_error(TS_CODE_INVALID, "%s %lld is empty: at least one token is needed", what,
                               (long long)number);
    if (length_tokens > context)
        return ts_status_error(TS_CODE_INVALID, "%s %lld has %lld tokens, more than the context of %lld", what,
                               (long long)number, (long long)length_tokens, (long long)context);
    for (int64_t i = 0; i < length_tokens; i++)
        if (tokens[i] < 0 || tokens[i] >= vocab)
            return ts_status_error(TS_CODE_INVALID, "%s %lld has the token %d; tokens are 0..%lld", what,
                                   (long long)number, tokens[i], (long long)vocab - 1);
    return TS_OK;
}

int64_t ts_prompt_rows_fill_up(int64_t prompts, const TsMesh *mesh)
{
    int64_t ranks = 1;
    for (int axis = 1; mesh && axis < TS_AXES; axis++)
        if (ts_batch_axes() & TS_AXIS_BIT(axis))
            ranks *= ts_mesh_size(mesh, (TsAxis)axis);
    return (prompts + ranks - 1) / ranks * ranks;
}

void ts_prompt_rows_share(const TsMesh *mesh, void *values, int64_t count_elems, TsDtype dtype, const char *label)
{
    bool speaks = true;
    for (int axis = 1; mesh && axis < TS_AXES; axis++)
        speaks = speaks && (ts_batch_axes() & TS_AXIS_BIT(axis) || ts_mesh_coord(mesh, (TsAxis)axis) == 0);
    if (!speaks)
        memset(values, 0, (size_t)count_elems * ts_dtype_bytes(dtype));
    if (!mesh || ts_mesh_ranks(mesh) == 1)
        return;
    ts_all_reduce(
        ts_mesh_all(mesh),
        (TsTransfer){.out = values, .in = values, .count_elems = count_elems, .dtype = dtype, .label = label});
}
