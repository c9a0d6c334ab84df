/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/cut.h"

#include <math.h>
#include <string.h>

#include "test.h"

static void groups_follow_loads(void)
{
    TsCut cut = ts_cut_make((double[]){3, 1}, 2, 4, 1);
    CU_ASSERT_EQUAL(cut.groups, 2);
    CU_ASSERT_EQUAL(cut.slots[cut.group_of[0]], 3);
    CU_ASSERT_EQUAL(cut.slots[cut.group_of[1]], 1);
    CU_ASSERT_DOUBLE_EQUAL(ts_cut_time(&cut, (double[]){3, 1}, 1), 1, 1e-12);
}

/* Two slots and loads 4, 2, 2: the large one alone. Six tasks alike on two slots: three each. */
static void tasks_share_groups(void)
{
    TsCut cut = ts_cut_make((double[]){2, 4, 2}, 3, 2, 1);
    CU_ASSERT_EQUAL(cut.groups, 2);
    CU_ASSERT_EQUAL(cut.group_of[0], cut.group_of[2]);
    CU_ASSERT_NOT_EQUAL(cut.group_of[0], cut.group_of[1]);
    double alike[] = {1, 1, 1, 1, 1, 1};
    cut = ts_cut_make(alike, 6, 2, 0.9);
    CU_ASSERT_DOUBLE_EQUAL(ts_cut_time(&cut, alike, 0.9), 3, 1e-12);
}

/* Loads 5 and 1 on two slots: both together on two ranks take 3 where that scales, and 6 / 1.2 where it does not. */
static void what_does_not_scale_runs_alone(void)
{
    double loads[] = {5, 1};
    TsCut cut = ts_cut_make(loads, 2, 2, 1);
    CU_ASSERT_EQUAL(cut.groups, 1);
    CU_ASSERT_EQUAL(cut.slots[0], 2);
    cut = ts_cut_make(loads, 2, 2, 0.55);
    CU_ASSERT_EQUAL(cut.groups, 2);
}

static void ended_tasks_have_no_group(void)
{
    TsCut cut = ts_cut_make((double[]){0, 2, 0}, 3, 5, 0.9);
    CU_ASSERT_EQUAL(cut.groups, 1);
    CU_ASSERT_EQUAL(cut.slots[0], 5);
    CU_ASSERT_EQUAL(cut.group_of[0], -1);
    CU_ASSERT_EQUAL(cut.group_of[1], 0);
    cut = ts_cut_make((double[]){0, 0}, 2, 3, 0.9);
    CU_ASSERT_EQUAL(cut.groups, 0);
}

/* Every slot is used, every group has a task, and no move of one slot makes it faster. */
static void many_cuts(void)
{
    for (int tasks = 1; tasks <= 7; tasks++)
        for (int slots = 1; slots <= 12; slots++) {
            double load[7];
            int used = 0, members[TS_MAX_CUT] = {0};
            for (int i = 0; i < tasks; i++)
                load[i] = 1 + (i * 7919 + slots * 104729) % 13;
            TsCut cut = ts_cut_make(load, tasks, slots, 0.9);
            for (int g = 0; g < cut.groups; g++)
                used += cut.slots[g];
            for (int i = 0; i < tasks; i++)
                members[cut.group_of[i]]++;
            CU_ASSERT_EQUAL(used, slots);
            for (int g = 0; g < cut.groups; g++)
                CU_ASSERT(members[g] > 0);
            double time = ts_cut_time(&cut, load, 0.9);
            for (int from = 0; from < cut.groups; from++)
                for (int to = 0; to < cut.groups; to++) {
                    TsCut moved = cut;
                    moved.slots[from]--, moved.slots[to]++;
                    CU_ASSERT(moved.slots[from] < 1 || ts_cut_time(&moved, load, 0.9) >= time - 1e-12);
                }
        }
}

TEST_MAIN("cut", {"groups follow loads", groups_follow_loads}, {"tasks share groups", tasks_share_groups},
          {"what does not scale runs alone", what_does_not_scale_runs_alone},
          {"ended tasks have no group", ended_tasks_have_no_group}, {"many cuts", many_cuts})
