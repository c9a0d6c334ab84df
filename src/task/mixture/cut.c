/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/cut.h"

#include <math.h>

#include "base/check.h"

static double group_load(const TsCut *cut, int group, const double *load)
{
    double sum = 0;
    for (int i = 0; i < cut->tasks; i++)
        sum += cut->group_of[i] == group ? load[i] : 0;
    return sum;
}

static double group_time(const TsCut *cut, int group, const double *load, double scaling)
{
    return group_load(cut, group, load) / pow(cut->slots[group], 1 + log2(scaling));
}

static int slowest(const TsCut *cut, const double *load, double scaling)
{
    int worst = 0;
    for (int g = 1; g < cut->groups; g++)
        if (group_time(cut, g, load, scaling) > group_time(cut, worst, load, scaling))
            worst = g;
    return worst;
}

double ts_cut_time(const TsCut *cut, const double *load, double scaling)
{
    return cut->groups ? group_time(cut, slowest(cut, load, scaling), load, scaling) : 0;
}

/* The task of the largest load that has no group yet; -1: none. */
static int largest_left(const TsCut *cut, const double *load)
{
    int largest = -1;
    for (int i = 0; i < cut->tasks; i++)
        if (cut->group_of[i] < 0 && load[i] > 0 && (largest < 0 || load[i] > load[largest]))
            largest = i;
    return largest;
}

/* The largest loads first, each to the group that has least; then slot by slot to the group that is slowest. */
static TsCut cut_in(int groups, const double *load, int tasks, int slots, double scaling)
{
    TsCut cut = {.tasks = tasks, .groups = groups};
    for (int i = 0; i < tasks; i++)
        cut.group_of[i] = -1;
    for (int task; (task = largest_left(&cut, load)) >= 0;) {
        int least = 0;
        for (int g = 1; g < groups; g++)
            if (group_load(&cut, g, load) < group_load(&cut, least, load))
                least = g;
        cut.group_of[task] = least;
    }
    for (int g = 0; g < groups; g++)
        cut.slots[g] = 1;
    for (int left = slots - groups; left > 0; left--)
        cut.slots[slowest(&cut, load, scaling)]++;
    return cut;
}

TsCut ts_cut_make(const double *load, int tasks, int slots, double scaling)
{
    TS_CHECK(tasks <= TS_MAX_CUT && slots >= 1, "a cut of %d tasks over %d slots", tasks, slots);
    int running = 0;
    for (int i = 0; i < tasks; i++)
        running += load[i] > 0;
    TsCut best = cut_in(running ? 1 : 0, load, tasks, slots, scaling);
    for (int groups = 2; groups <= running && groups <= slots; groups++) {
        TsCut other = cut_in(groups, load, tasks, slots, scaling);
        if (ts_cut_time(&other, load, scaling) <= ts_cut_time(&best, load, scaling))
            best = other;
    }
    return best;
}
