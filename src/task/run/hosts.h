/* SPDX-License-Identifier: Apache-2.0
 *
 * Hosts: on which host each rank of a job is, by name: for those that have to name one.
 */
#pragma once

#include "comm/group.h"

enum { TS_HOST_BYTES = 64 };

typedef struct TsHosts {
    int ranks;
    char (*name)[TS_HOST_BYTES]; /* (ranks), cut to fit */
} TsHosts;

/* Of all ranks. Collective on group. Owned by the caller. */
TsHosts *ts_hosts_create(TsGroup *group);

/* Sets *hosts to NULL; NULL is fine. */
void ts_hosts_free(TsHosts **hosts);
