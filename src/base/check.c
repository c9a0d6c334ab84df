/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

typedef void AbortJob(int exit_code);
static AbortJob *_Atomic job_abort;
static TsSaid *_Atomic said_by_all;

void ts_fatal_set_abort(void (*abort_job)(int exit_code))
{
    atomic_store(&job_abort, abort_job);
}

void ts_fatal_set_said(TsSaid *said)
{
    atomic_store(&said_by_all, said);
}

/* Whether another rank has said it. Waits, a second at most, until that rank has: who ends the job may end it too. */
static bool is_said(const char *file, int line)
{
    TsSaid *said = atomic_load(&said_by_all);
    uint64_t failure = (uint64_t)line, none = 0;
    for (const char *at = file; *at; at++)
        failure = (failure ^ (unsigned char)*at) * 1099511628211u;
    if (!said || atomic_compare_exchange_strong(&said->failure, &none, failure) || none != failure)
        return false;
    for (int turn = 0; turn < 1000 && !atomic_load(&said->printed); turn++)
        usleep(1000);
    return true;
}

/* One thread ends the job. Another that wants to, too, gives it time; what fails while ending it ends at once. No lock
 * that a stuck thread may hold is waited for. */
_Noreturn void ts_abort_job(int exit_code)
{
    static atomic_bool is_ending;
    static _Thread_local bool is_ending_here;
    enum { PATIENCE_S = 20 };
    int code = exit_code < 1 ? 1 : exit_code > 125 ? 125 : exit_code;
    if (!is_ending_here && atomic_exchange(&is_ending, true))
        sleep(PATIENCE_S);
    else if (!is_ending_here) {
        is_ending_here = true;
        if (ftrylockfile(stdout) == 0) {
            fflush_unlocked(stdout);
            funlockfile(stdout);
        }
        AbortJob *abort_all = atomic_load(&job_abort);
        if (abort_all)
            abort_all(code);
    }
    _Exit(code);
}

/* The path from the last src/ on, which is what a reader knows. */
static const char *short_path(const char *file)
{
    const char *from = file, *next = file;
    while ((next = strstr(next, "src/"))) {
        if (next == file || next[-1] == '/')
            from = next;
        next++;
    }
    return from;
}

_Noreturn void ts_fatal(const char *file, int line, const char *condition, const char *format, ...)
{
    if (is_said(file, line))
        ts_abort_job(TS_EXIT_FATAL);
    char message[1024], text[1536]; /* no allocation: memory may be what ran out */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    int length = snprintf(text, sizeof text, "tessera: fatal: rank %d on %s: %s:%d: %s (%s)\n", ts_log_rank(),
                          ts_log_host(), short_path(file), line, message, condition);
    size_t left = length < 0 ? 0 : (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    for (const char *at = text; left > 0;) { /* not through stderr, whose lock another thread may hold */
        ssize_t put = write(STDERR_FILENO, at, left);
        if (put <= 0)
            break;
        at += put;
        left -= (size_t)put;
    }
    TsSaid *said = atomic_load(&said_by_all);
    if (said)
        atomic_store(&said->printed, 1);
    ts_abort_job(TS_EXIT_FATAL);
}
