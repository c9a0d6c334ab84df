/* SPDX-License-Identifier: Apache-2.0
 *
 * Slow: the host that all others wait for. Ranks tell how long they themselves were at work since the last time,
 * waiting for others left out; a host whose ranks need a quarter more than those of most others, several times in a
 * row, is named.
 *
 * One host alone is compared with nothing. The same on all ranks.
 */
#pragma once

#include "task/run/hosts.h"

typedef struct TsSlow {
    int rank;    /* the first of the host that was slowest the last time */
    int in_row;  /* times that it was */
    int told_at; /* in_row, when it was named last */
} TsSlow;

/* Takes own_s (ranks), seconds of work over `steps` steps. What there is to say, owned by the caller; NULL: nothing.
 * Not collective; the same on all ranks. */
char *ts_slow_note(TsSlow *slow, const TsHosts *hosts, const double *own_s, int64_t steps);
