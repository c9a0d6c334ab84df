/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static void (*job_abort)(int exit_code);

void ts_fatal_set_abort(void (*abort_job)(int exit_code))
{
    job_abort = abort_job;
}

_Noreturn void ts_abort_job(int exit_code)
{
    int code = exit_code < 1 ? 1 : exit_code > 125 ? 125 : exit_code;
    fflush(NULL);
    if (job_abort)
        job_abort(code);
    _Exit(code);
}

_Noreturn void ts_fatal(const char *file, int line, const char *condition, const char *format, ...)
{
    char message[1024]; /* no allocation: memory may be what ran out */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    const char *src = strstr(file, "src/");
    fprintf(stderr, "tessera: fatal: rank %d on %s: %s:%d: %s (%s)\n", ts_log_rank(), ts_log_host(), src ? src : file,
            line, message, condition);
    ts_abort_job(TS_EXIT_FATAL);
}
