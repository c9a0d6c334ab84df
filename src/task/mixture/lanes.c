/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/lanes.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"

static const TsMixtureConfig *keys_of(const TsLanes *lanes)
{
    return &lanes->job->keys->mixture;
}

TsStatus ts_lanes_check(const TsJob *job)
{
    if (job->sharding.shard == TS_SHARD_DATA)
        return ts_config_error_at(job->config, "parameters.shard",
                                  "mixture.mode: concurrent needs parameters whole along data: tasks on different "
                                  "ranks use them at different times");
    if (job->sharding.virtual_shards > 0)
        return ts_config_error_at(job->config, "mixture.mode",
                                  "concurrent: what groups add up depends on how they are cut, so it is not "
                                  "reproducible: joint is");
    if (job->task_count > TS_MAX_CUT)
        return ts_config_error_at(job->config, "mixture.mode", "concurrent: %d tasks; %d can run side by side",
                                  job->task_count, TS_MAX_CUT);
    if (ts_mesh_size(job->mesh, TS_AXIS_STAGE) > 1)
        return ts_config_error_at(job->config, "mesh.stage",
                                  "mixture.mode: concurrent cuts the ranks along data, and a pipeline along stage: "
                                  "give one of them");
    return TS_OK;
}

/* Along data, the only axis on which groups differ. */
static int slots_of(const TsLanes *lanes)
{
    return ts_mesh_size(lanes->job->mesh, TS_AXIS_DATA);
}

bool ts_lanes_run_here(const TsLanes *lanes, int task)
{
    return lanes->partition && lanes->cut.group_of[task] == ts_partition_part(lanes->partition);
}

static void say_cut(const TsLanes *lanes)
{
    TsText line = {0};
    if (ts_group_rank(lanes->job->group) != 0)
        return;
    for (int g = 0; g < lanes->cut.groups; g++) {
        const char *between = "";
        int ranks = ts_partition_ranks(lanes->partition, g);
        ts_text_append(&line, "%s", g ? "; " : "");
        for (int i = 0; i < lanes->cut.tasks; i++)
            if (lanes->cut.group_of[i] == g) {
                ts_text_append(&line, "%s%s", between, lanes->job->tasks[i]->name);
                between = ", ";
            }
        ts_text_append(&line, " on %d rank%s", ranks, ranks == 1 ? "" : "s");
    }
    ts_log(TS_LOG_INFO, "side by side: %s", line.data ? line.data : "nothing");
    ts_text_free(&line);
}

TsStatus ts_lanes_cut(TsLanes *lanes, TsCut cut, const bool *active)
{
    TsMeshShape shapes[TS_MAX_CUT];
    TsPartition *partition = NULL;
    for (int g = 0; g < cut.groups; g++) {
        shapes[g] = ts_mesh_shape(lanes->job->mesh);
        shapes[g].size[TS_AXIS_DATA] = cut.slots[g];
    }
    TsStatus status = ts_partition_create(&partition, lanes->job->group, shapes, NULL, cut.groups);
    if (!status)
        status = ts_own_cut(lanes->own, partition, &cut, active);
    if (status) {
        ts_partition_free(&partition);
        return status;
    }
    ts_partition_free(&lanes->partition); /* nothing lies on its meshes any more */
    lanes->partition = partition;
    lanes->cut = cut;
    say_cut(lanes);
    return TS_OK;
}

/* The largest over ranks of what a batch of each task cost since the last look. */
static void measure(const TsLanes *lanes, double *cost, TsCourse *courses)
{
    int count = lanes->job->task_count;
    double *mine = ts_calloc((size_t)count, sizeof *mine);
    for (int i = 0; i < count; i++) {
        mine[i] = courses[i].batches ? courses[i].seconds / (double)courses[i].batches : 0;
        courses[i].seconds = 0;
        courses[i].batches = 0;
    }
    ts_all_reduce(lanes->job->group, (TsTransfer){.out = cost,
                                                  .in = mine,
                                                  .count_elems = count,
                                                  .dtype = TS_F64,
                                                  .reduction = TS_MAX,
                                                  .label = "mixture/cost"});
    ts_free(mine);
}

/* What a step of each task costs one slot: its batches, by the seconds that one was measured to take; where it never
 * ran, by its tokens, at what a token of the others costs. `load` is room for it. */
static void find_loads(TsLanes *lanes, double *load, TsCourse *courses, const int64_t *batches)
{
    double seconds = 0, tokens = 0;
    measure(lanes, load, courses);
    for (int i = 0; i < lanes->job->task_count; i++) {
        int group = lanes->partition ? lanes->cut.group_of[i] : -1;
        if (group >= 0 && load[i] > 0)
            lanes->cost[i] = load[i] * pow(lanes->cut.slots[group], 1 + log2(keys_of(lanes)->scaling));
        seconds += lanes->cost[i];
        tokens += lanes->cost[i] > 0 ? (double)courses[i].task->tokens_a_batch : 0;
    }
    for (int i = 0; i < lanes->job->task_count; i++) {
        double guess = (double)courses[i].task->tokens_a_batch * (tokens > 0 ? seconds / tokens : 1);
        load[i] = (double)batches[i] * (lanes->cost[i] > 0 ? lanes->cost[i] : guess);
    }
}

TsCut ts_lanes_stay_whole(TsLanes *lanes, const int64_t *batches)
{
    TsCut cut = {.tasks = lanes->job->task_count, .groups = 1, .slots = {slots_of(lanes)}};
    for (int i = 0; i < cut.tasks; i++)
        cut.group_of[i] = batches[i] ? 0 : -1;
    lanes->whole = true;
    return cut;
}

bool ts_lanes_look(TsLanes *lanes, TsCut *cut, TsCourse *courses, const int64_t *batches, int64_t step)
{
    bool changed = !lanes->partition, rates = false;
    int count = lanes->job->task_count;
    for (int i = 0; i < count; i++) {
        changed |= lanes->partition && (batches[i] > 0) != (lanes->cut.group_of[i] >= 0);
        rates |= batches[i] != lanes->batches[i];
    }
    if (!changed && (lanes->whole || (!rates && step - lanes->looked_step < keys_of(lanes)->recut)))
        return false;
    lanes->looked_step = step;
    memcpy(lanes->batches, batches, (size_t)count * sizeof *batches);
    if (lanes->whole)
        return *cut = ts_lanes_stay_whole(lanes, batches), true;
    double scaling = keys_of(lanes)->scaling, *load = ts_calloc((size_t)count, sizeof *load);
    find_loads(lanes, load, courses, batches);
    *cut = ts_cut_make(load, count, slots_of(lanes), scaling);
    double now = changed ? INFINITY : ts_cut_time(&lanes->cut, load, scaling);
    bool pays = ts_cut_time(cut, load, scaling) < 0.9 * now;
    ts_free(load);
    return pays;
}

void ts_lanes_free(TsLanes *lanes)
{
    ts_own_free(&lanes->own);
    ts_partition_free(&lanes->partition);
}
