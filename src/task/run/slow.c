/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/slow.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

enum { TIMES = 3 }; /* in a row, before a host is named; and then after twice as many each */
static const double slow_above = 1.25;

typedef struct Host {
    int rank; /* its first */
    int ranks;
    double own_s; /* of a rank */
} Host;

/* In the order of their first ranks, into list (ranks); returns how many. */
static int list_hosts(Host *list, const TsHosts *hosts, const double *own_s)
{
    int count = 0;
    for (int r = 0; r < hosts->ranks; r++) {
        int h = 0;
        while (h < count && strcmp(hosts->name[list[h].rank], hosts->name[r]) != 0)
            h++;
        if (h == count)
            list[count++] = (Host){.rank = r};
        list[h].own_s += own_s[r];
        list[h].ranks++;
    }
    for (int h = 0; h < count; h++)
        list[h].own_s /= list[h].ranks;
    return count;
}

static int by_time(const void *a, const void *b)
{
    double x = ((const Host *)a)->own_s, y = ((const Host *)b)->own_s;
    return (x > y) - (x < y);
}

/* The slowest, and the middle of the others. */
static Host find_slowest(double *usual_s, Host *list, int count)
{
    qsort(list, (size_t)count, sizeof *list, by_time);
    int others = count - 1;
    *usual_s = (list[(others - 1) / 2].own_s + list[others / 2].own_s) / 2;
    return list[others];
}

char *ts_slow_note(TsSlow *slow, const TsHosts *hosts, const double *own_s, int64_t steps)
{
    Host *list = ts_calloc((size_t)hosts->ranks, sizeof *list);
    int count = list_hosts(list, hosts, own_s);
    double usual_s = 0;
    Host slowest = count > 1 ? find_slowest(&usual_s, list, count) : (Host){.rank = -1};
    ts_free(list);
    if (count < 2 || steps < 1 || !(slowest.own_s > slow_above * usual_s)) {
        *slow = (TsSlow){.rank = -1};
        return NULL;
    }
    if (slow->in_row == 0 || slow->rank != slowest.rank)
        *slow = (TsSlow){.rank = slowest.rank};
    slow->in_row++;
    if (slow->in_row < TIMES || slow->in_row < 2 * slow->told_at)
        return NULL;
    slow->told_at = slow->in_row;
    return ts_format(
        "%s is slow: its ranks work %.3g s a step, those of the other hosts %.3g s, and wait for it; %d times "
        "in a row now",
        hosts->name[slowest.rank], slowest.own_s / (double)steps, usual_s / (double)steps, slow->in_row);
}
