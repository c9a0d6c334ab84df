/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bench says about its targets: one line each, `target NAME measured VALUE needed VALUE met|short`.
 *
 * The needed value and the direction come from bench/targets.tsv, which is read from the folder that a bench is run in,
 * the top of the tree. A name that is not in the table ends the program. Called by one rank.
 */
#pragma once

#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* Not collective: whoever prints. */
static inline void bench_target(const char *name, double measured)
{
    FILE *table = fopen("bench/targets.tsv", "r");
    TS_CHECK(table, "bench/targets.tsv cannot be read: run benches from the top of the tree");
    char line[512], row[128], unit[64], better[16];
    double needed = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, table))
        found = sscanf(line, "%127[^\t]\t%lf\t%63[^\t]\t%15[^\t]", row, &needed, unit, better) == 4 &&
                strcmp(row, name) == 0;
    fclose(table);
    TS_CHECK(found, "no target %s in bench/targets.tsv", name);
    bool met = strcmp(better, "higher") == 0 ? measured >= needed : measured <= needed;
    printf("target %s measured %.4g needed %g %s\n", name, measured, needed, met ? "met" : "short");
    fflush(stdout);
}
