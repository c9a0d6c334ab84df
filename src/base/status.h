/* SPDX-License-Identifier: Apache-2.0
 *
 * Status: whether something that depends on files, configurations or data went well, and in words if not.
 *
 * NULL is success. Anything else is an error, owned by whoever holds it: it is passed up, annotated on the way, and
 * printed and freed once. Bugs, lack of memory and MPI failures are not Statuses: they abort the job (check.h).
 */
#pragma once

#define TS_MUST_USE             __attribute__((warn_unused_result))
#define TS_PRINTF(text, values) __attribute__((format(printf, text, values)))

typedef enum TsCode {
    TS_CODE_OK = 0,
    TS_CODE_INVALID,     /* a config, argument or file says something that cannot be: the user can mend it */
    TS_CODE_NOT_FOUND,   /* a file, key or name that is not there */
    TS_CODE_IO,          /* the system refused to read or write */
    TS_CODE_CORRUPT,     /* bytes that do not match their checksum or their format */
    TS_CODE_UNSUPPORTED, /* right, but not something this build does */
    TS_CODE_RESOURCES,   /* too little memory, disk or ranks for what was asked */
    TS_CODE_INTERRUPTED, /* a signal or a time limit asked to stop */
} TsCode;

/* NULL, or an error owned by the holder. */
typedef struct TsError *TsStatus;

#define TS_OK ((TsStatus)0)

/* A new error with a message for a person: what, where (file and line of the input), what to do. No final newline. */
TS_MUST_USE TsStatus ts_status_error(TsCode code, const char *format, ...) TS_PRINTF(2, 3);

/* Puts "CONTEXT: " before the message of an error; leaves success alone. Takes and gives back ownership. */
TS_MUST_USE TsStatus ts_status_annotate(TsStatus status, const char *format, ...) TS_PRINTF(2, 3);

/* Borrowed until the status is freed; "ok" for success. */
const char *ts_status_message(TsStatus status);
TsCode ts_status_code(TsStatus status);

/* Frees the error, if any, and sets *status to NULL. */
void ts_status_free(TsStatus *status);

/* The exit code of a process that ends with this status: 0 for success, else in 1..125. */
int ts_status_exit_code(TsStatus status);

/* Returns the error of `expression` from the calling function, if it has one. */
#define TS_TRY(expression)                                                                                             \
    do {                                                                                                               \
        TsStatus ts_try_status = (expression);                                                                         \
        if (ts_try_status)                                                                                             \
            return ts_try_status;                                                                                      \
    } while (0)
