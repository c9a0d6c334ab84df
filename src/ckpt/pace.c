/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/pace.h"

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "comm/collectives.h"

/* Of one core. The steps meanwhile get slower by about as much. */
static const double share = 0.05;

/* How long a thread sleeps between two looks at whether the others have come. A look takes time from the steps. */
static const double nap_s = 0.02;

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void ts_pace_init(TsPace *pace)
{
    *pace = (TsPace){0};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pace->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&pace->mutex, NULL);
}

void ts_pace_destroy(TsPace *pace)
{
    pthread_cond_destroy(&pace->changed);
    pthread_mutex_destroy(&pace->mutex);
}

void ts_pace_begin(TsPace *pace)
{
    pthread_mutex_lock(&pace->mutex);
    pace->hurry = false;
    pace->worked_s = 0;
    pthread_mutex_unlock(&pace->mutex);
}

void ts_pace_hurry(TsPace *pace)
{
    pthread_mutex_lock(&pace->mutex);
    pace->hurry = true;
    pthread_cond_broadcast(&pace->changed);
    pthread_mutex_unlock(&pace->mutex);
}

/* With the mutex held. */
static void sleep_unless_hurried(TsPace *pace, double sleep_s)
{
    double until_s = seconds(CLOCK_MONOTONIC) + sleep_s;
    struct timespec until = {.tv_sec = (time_t)until_s, .tv_nsec = (long)((until_s - (double)(time_t)until_s) * 1e9)};
    while (!pace->hurry && pthread_cond_timedwait(&pace->changed, &pace->mutex, &until) != ETIMEDOUT) {
    }
}

void ts_pace_rest(TsPace *pace)
{
    if (!pace)
        return;
    double worked_s = seconds(CLOCK_THREAD_CPUTIME_ID);
    pthread_mutex_lock(&pace->mutex);
    double rest_s = (worked_s - pace->worked_s) * (1 / share - 1);
    pace->worked_s = worked_s;
    sleep_unless_hurried(pace, rest_s);
    pthread_mutex_unlock(&pace->mutex);
}

/* Sleeps for a while, or returns true at once. */
static bool hurries(TsPace *pace)
{
    pthread_mutex_lock(&pace->mutex);
    sleep_unless_hurried(pace, nap_s);
    bool hurry = pace->hurry;
    pthread_mutex_unlock(&pace->mutex);
    return hurry;
}

void ts_pace_meet(TsPace *pace, TsGroup *group)
{
    if (!pace || ts_group_size(group) == 1)
        return;
    int32_t here = 1, all = 0;
    TsRequest *request = ts_all_reduce_begin(group, (TsTransfer){.out = &all,
                                                                 .in = &here,
                                                                 .count_elems = 1,
                                                                 .dtype = TS_I32,
                                                                 .reduction = TS_SUM,
                                                                 .algorithm = TS_ALGORITHM_LIBRARY,
                                                                 .label = "checkpoint: meet"});
    while (!ts_request_poll(request) && !hurries(pace)) {
    }
    ts_request_end(&request); /* in a hurry the watchdog sees who is waited for */
}
