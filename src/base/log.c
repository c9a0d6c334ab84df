/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define CLEAR "\r\033[K" /* a terminal goes to the beginning of its line, and empties it */

static _Atomic TsLogLevel lowest = TS_LOG_INFO;
static atomic_int log_rank;
static FILE *log_file;
static char progress[512]; /* what stands on the terminal's last line; "": nothing */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void ts_log_set_level(TsLogLevel level)
{
    lowest = level;
}

void ts_log_set_rank(int rank)
{
    log_rank = rank;
}

int ts_log_rank(void)
{
    return log_rank;
}

static char host_name[256];

static void read_host_name(void)
{
    if (gethostname(host_name, sizeof host_name - 1) != 0 || !host_name[0])
        snprintf(host_name, sizeof host_name, "unknown-host");
    host_name[strcspn(host_name, ".")] = '\0';
}

const char *ts_log_host(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_host_name);
    return host_name;
}

/* With the lock held. */
static void add_to_file(const char *where, const char *prefix, const char *text)
{
    if (!log_file)
        return;
    time_t now = time(NULL);
    struct tm parts;
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    fprintf(log_file, "%s %s%s%s\n", stamp, where, prefix, text);
    fflush(log_file);
}

void ts_log(TsLogLevel level, const char *format, ...)
{
    static const char *const prefix[] = {"debug: ", "", "warning: ", "error: "};
    if (level < lowest || (level <= TS_LOG_INFO && log_rank != 0))
        return;
    char text[4096], where[64] = "";
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof text) /* not from the heap: memory may be what ran out */
        memcpy(text + sizeof text - 4, "...", 4);
    if (log_rank != 0)
        snprintf(where, sizeof where, "[rank %d] ", log_rank);
    pthread_mutex_lock(&lock);
    fprintf(stderr, "%s%s%s%s%s\n%s", progress[0] ? CLEAR : "", level >= TS_LOG_WARNING ? "tessera: " : "", where,
            prefix[level], text, progress);
    add_to_file(where, prefix[level], text);
    pthread_mutex_unlock(&lock);
}

/* As much of the line as the terminal shows in one: more would not be rewritten. */
static int shown_columns(const char *line)
{
    struct winsize window;
    int columns =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1 : (int)sizeof progress;
    int length = (int)strlen(line);
    return length < columns ? length : columns;
}

void ts_log_progress(const char *line)
{
    if (lowest > TS_LOG_INFO || log_rank != 0)
        return;
    pthread_mutex_lock(&lock);
    snprintf(progress, sizeof progress, "%.*s", shown_columns(line), line);
    fprintf(stderr, CLEAR "%s", progress);
    fflush(stderr);
    add_to_file("", "", line);
    pthread_mutex_unlock(&lock);
}

void ts_log_progress_end(void)
{
    pthread_mutex_lock(&lock);
    if (progress[0])
        fputc('\n', stderr);
    progress[0] = '\0';
    pthread_mutex_unlock(&lock);
}

TsStatus ts_log_open(const char *path)
{
    FILE *opened = NULL;
    if (path && !(opened = fopen(path, "ae")))
        return ts_status_error(TS_CODE_IO, "%s: cannot open the log file: %s", path, strerror(errno));
    pthread_mutex_lock(&lock);
    if (log_file)
        fclose(log_file);
    log_file = opened;
    pthread_mutex_unlock(&lock);
    return TS_OK;
}
