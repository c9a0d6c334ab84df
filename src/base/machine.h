/* SPDX-License-Identifier: Apache-2.0
 *
 * Machine: what this process may use of the host it runs on. Linux; what cannot be found out is 0, never a guess.
 *
 * Not collective: each rank asks for itself, and may get another answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct TsMachine {
    char cpu[96];                          /* the processor's name, as it gives it; "unknown" otherwise */
    int cores;                             /* logical ones that are online */
    int allowed_cores;                     /* in the affinity mask of the calling thread */
    int cpus_quota;                        /* whole ones that a control group allows, at least 1; 0: no limit */
    int64_t memory_bytes, available_bytes; /* of the host, or what a control group leaves of it if that is less */
    bool sse42, avx2, fma, avx512, avx512_bf16, amx_bf16; /* avx512: F, BW, DQ and VL */
} TsMachine;

/* Looks it up anew. Safe from any thread. */
TsMachine ts_machine(void);

/* "avx512_bf16", "avx512", "avx2", "sse4.2" or "baseline": the widest of them. */
const char *ts_machine_isa(const TsMachine *machine);

/* How many threads a rank runs, at least 1. `asked` is a number above 0, or TS_AUTO (config.h): the cores of the
 * affinity mask, and where the mask is the whole host, shared among the `ranks_on_host` (at least 1). A control group's
 * limit holds for auto too. *narrower says whether more were asked for than the mask has: the caller warns. May be
 * NULL. */
int ts_machine_threads(const TsMachine *machine, int64_t asked, int ranks_on_host, bool *narrower);
