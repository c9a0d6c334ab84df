/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <stdarg.h>

#include "base/memory.h"

struct TsError {
    TsCode code;
    char *message; /* owned */
};

TsStatus ts_status_error(TsCode code, const char *format, ...)
{
    bool was_short = ts_memory_short();
    TsStatus status = ts_alloc(sizeof *status);
    va_list arguments;
    va_start(arguments, format);
    status->code = code;
    status->message = ts_format_list(format, arguments);
    va_end(arguments);
    if (!was_short)
        ts_memory_forget_shortage();
    return status;
}

TsStatus ts_status_annotate(TsStatus status, const char *format, ...)
{
    if (!status)
        return status;
    bool was_short = ts_memory_short();
    va_list arguments;
    va_start(arguments, format);
    char *context = ts_format_list(format, arguments);
    va_end(arguments);
    TsStatus annotated = ts_status_error(status->code, "%s: %s", context, status->message);
    ts_free(context);
    ts_status_free(&status);
    if (!was_short)
        ts_memory_forget_shortage();
    return annotated;
}

const char *ts_status_message(TsStatus status)
{
    return status ? status->message : "ok";
}

TsCode ts_status_code(TsStatus status)
{
    return status ? status->code : TS_CODE_OK;
}

void ts_status_free(TsStatus *status)
{
    if (*status) {
        ts_free((*status)->message);
        ts_free(*status);
    }
    *status = TS_OK;
}

int ts_status_exit_code(TsStatus status)
{
    return status ? 1 + (int)status->code : 0;
}
