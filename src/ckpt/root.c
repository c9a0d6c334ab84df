/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/root.h"

#include <string.h>

#include "base/memory.h"
#include "comm/collectives.h"

static void broadcast(TsGroup *group, void *values, int64_t count, TsDtype dtype)
{
    ts_broadcast(
        group,
        (TsTransfer){.out = values, .in = values, .count_elems = count, .dtype = dtype, .label = "checkpoint: root"},
        0);
}

void ts_root_integers(TsGroup *group, int64_t *values, int64_t count)
{
    broadcast(group, values, count, TS_I64);
}

void ts_root_text(TsGroup *group, char **text, size_t *bytes)
{
    int64_t length = (int64_t)*bytes;
    ts_root_integers(group, &length, 1);
    size_t padded = ((size_t)length + 1 + 3) / 4 * 4; /* whole i32s, with the final zero */
    char *copy = ts_calloc(padded, 1);
    if (ts_group_rank(group) == 0)
        memcpy(copy, *text, (size_t)length);
    broadcast(group, copy, (int64_t)(padded / 4), TS_I32);
    ts_free(*text);
    *text = copy;
    *bytes = (size_t)length;
}

TsStatus ts_root_status(TsGroup *group, TsStatus status)
{
    int64_t code = ts_status_code(status);
    ts_root_integers(group, &code, 1);
    if (code == TS_CODE_OK)
        return TS_OK;
    size_t bytes = status ? strlen(ts_status_message(status)) : 0;
    char *message = status ? ts_strdup(ts_status_message(status)) : NULL;
    ts_root_text(group, &message, &bytes);
    if (ts_group_rank(group) != 0)
        status = ts_status_error((TsCode)code, "%s", message);
    ts_free(message);
    return status;
}
