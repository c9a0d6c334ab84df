/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Without arguments: calls that all ranks make alike pass. With one, the name of a mistake of rank 1, which debug
 * builds must find (tests/comm/test_call_check.sh).
 */
#include <stdlib.h>
#include <string.h>

#include "comm/collectives.h"
#include "comm/group_internal.h"
#include "test.h"

static void sum(TsGroup *group, int64_t count_elems, TsDtype dtype, const char *label)
{
    double values[16] = {0};
    ts_all_reduce(
        group, (TsTransfer){.out = values, .in = values, .count_elems = count_elems, .dtype = dtype, .label = label});
}

static void equal_calls_pass(void)
{
    char *label = getenv("HOME") ? "test/home" : "test/no_home";
    sum(test_world, 16, TS_F64, label);
    sum(test_world, 0, TS_F32, NULL);
    ts_barrier(test_world, "test/barrier");
    TsGroup *half = ts_group_split(test_world, "half", ts_group_rank(test_world) % 2, 0);
    sum(half, ts_group_rank(test_world) % 2 ? 3 : 5, TS_F64, label); /* other groups may do otherwise */
    ts_group_free(&half);
}

static void make_mistake(const char *mistake, TsGroup *world, bool mine)
{
    if (strcmp(mistake, "count") == 0)
        sum(world, mine ? 7 : 8, TS_F32, "test/sum");
    else if (strcmp(mistake, "dtype") == 0)
        sum(world, 8, mine ? TS_F64 : TS_F32, "test/sum");
    else if (strcmp(mistake, "label") == 0)
        sum(world, 8, TS_F32, mine ? "test/other" : "test/sum");
    else if (strcmp(mistake, "kind") == 0 && mine)
        ts_barrier(world, "test/barrier");
    else if (strcmp(mistake, "end") == 0 && mine)
        return; /* goes on to the end of the program */
    else
        sum(world, 8, TS_F32, "test/sum");
}

int main(int argc, char **argv)
{
    const CU_TestInfo cases[] = {{"equal calls pass", equal_calls_pass}, CU_TEST_INFO_NULL};
    if (argc == 1)
        return test_run("call check", cases);
    if (strcmp(argv[1], "is-debug") == 0)
        return TS_DEBUG ? 0 : 1;
    TsGroup *world = ts_runtime_start((TsRuntimeOptions){0});
    make_mistake(argv[1], world, ts_group_rank(world) == 1);
    return ts_runtime_end(0);
}
