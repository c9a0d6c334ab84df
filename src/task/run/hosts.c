/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/hosts.h"

#include <stdio.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/collectives.h"

TsHosts *ts_hosts_create(TsGroup *group)
{
    enum { WORDS = TS_HOST_BYTES / 4 };
    int ranks = ts_group_size(group);
    TsHosts *made = ts_alloc(sizeof *made);
    *made = (TsHosts){.ranks = ranks, .name = ts_calloc((size_t)ranks, sizeof *made->name)};
    int64_t *first = ts_calloc((size_t)ranks + 1, sizeof *first);
    int32_t mine[WORDS] = {0};
    snprintf((char *)mine, sizeof mine, "%s", ts_log_host());
    for (int r = 0; r <= ranks; r++)
        first[r] = (int64_t)r * WORDS;
    ts_all_gather(group,
                  (TsTransfer){.out = made->name, .in = mine, .first_elem = first, .dtype = TS_I32, .label = "hosts"});
    ts_free(first);
    return made;
}

void ts_hosts_free(TsHosts **hosts)
{
    if (!*hosts)
        return;
    ts_free((*hosts)->name);
    ts_free(*hosts);
    *hosts = NULL;
}
