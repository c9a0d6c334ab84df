/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/stop.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"

static volatile sig_atomic_t stop_signal;
static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
enum { SIGNALS = sizeof signals / sizeof *signals };
static struct sigaction before[SIGNALS];
static time_t stop_time, end_time; /* 0: none */

static void on_signal(int signal)
{
    stop_signal = signal;
}

void ts_stop_before_end(double margin_s)
{
    const char *text = getenv("SLURM_JOB_END_TIME");
    char *rest = NULL;
    long long end = text ? strtoll(text, &rest, 10) : 0;
    time_t now = time(NULL);
    stop_time = end_time = 0;
    if (!text || rest == text || *rest || end <= now || margin_s <= 0)
        return;
    double left_s = difftime((time_t)end, now);
    end_time = (time_t)end;
    stop_time = end_time - (time_t)(margin_s < left_s / 4 ? margin_s : left_s / 4);
}

/* The handler runs on a stack of its own: oneDNN 2.6's products keep values below the end of the stack, where the frame
 * of a handler would overwrite them. A signal to a process goes to its main thread, which is this one, if it takes it.
 */
void ts_stop_watch(void)
{
    static char stack[1 << 16];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    stop_signal = 0;
    stop_time = 0;
    sigaltstack(&alternate, NULL);
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &action, &before[i]);
}

void ts_stop_ignore(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
    sigaltstack(&none, NULL);
}

int ts_stop_asked(void)
{
    if (stop_signal)
        return stop_signal;
    return stop_time && time(NULL) >= stop_time ? TS_STOP_BY_TIME : 0;
}

int ts_stop_agreed(TsGroup *group)
{
    int32_t mine = ts_stop_asked(), all = 0;
    ts_all_reduce(
        group,
        (TsTransfer){
            .out = &all, .in = &mine, .count_elems = 1, .dtype = TS_I32, .reduction = TS_MAX, .label = "step/stop"});
    return all;
}

char *ts_stop_reason(int why)
{
    if (why < TS_STOP_BY_TIME)
        return ts_format("signal %d", why);
    char text[64] = "";
    struct tm when;
    if (end_time && localtime_r(&end_time, &when))
        strftime(text, sizeof text, ", %Y-%m-%d %H:%M:%S", &when);
    return ts_format("the end of its time%s", text);
}

TsStatus ts_stop_error(int why)
{
    char *reason = ts_stop_reason(why);
    TsStatus status = ts_status_error(TS_CODE_INTERRUPTED, "stopped by %s", reason);
    ts_free(reason);
    return status;
}
