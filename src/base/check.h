/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks: what must hold whatever the input. A failed check is a bug, a lack of memory or an MPI failure; it says rank,
 * host, file and line, and ends the whole job. What a user can get wrong is a Status instead (status.h).
 */
#pragma once

#include <stdint.h>

#include "base/status.h"

/* Always on, also with NDEBUG. The message says what was expected and what was found. */
#define TS_CHECK(condition, ...)                                                                                       \
    do {                                                                                                               \
        if (__builtin_expect(!(condition), 0))                                                                         \
            ts_fatal(__FILE__, __LINE__, #condition, __VA_ARGS__);                                                     \
    } while (0)

/* In debug builds only; the condition must have no side effect. */
#ifdef NDEBUG
#define TS_ASSERT(condition) ((void)sizeof(condition))
#else
#define TS_ASSERT(condition) TS_CHECK(condition, "assertion")
#endif

/* Exit codes of jobs that did not end by a Status. Open MPI ends with 0 on codes above 255: all are in 1..125. */
enum { TS_EXIT_FATAL = 70, TS_EXIT_WATCHDOG = 71 };

/* Prints the failure with rank, host, file and line, and ends the job with TS_EXIT_FATAL. */
_Noreturn void ts_fatal(const char *file, int line, const char *condition, const char *format, ...) TS_PRINTF(4, 5);

/* How a job is ended from here on, with a code in 1..125: src/comm sets it to abort all ranks. `abort_job` must not
 * return. NULL restores the default, which ends this process only. */
void ts_fatal_set_abort(void (*abort_job)(int exit_code));

/* In memory that several ranks see: what the first of them to fail said. All zero at first. */
typedef struct TsSaid {
    _Atomic uint64_t failure;
    _Atomic uint64_t printed;
} TsSaid;

/* Of ranks that are given the same `said`, only the first prints a failure of one line of the program: it is the
 * others' too. It must last as long as the process. NULL: each prints. */
void ts_fatal_set_said(TsSaid *said);

/* Ends the job with `exit_code` (clamped to 1..125) through what ts_fatal_set_abort set. */
_Noreturn void ts_abort_job(int exit_code);
