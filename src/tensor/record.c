/* SPDX-License-Identifier: Apache-2.0
 *
 * Recording: what the actions of a Program did when, into a Timeline.
 */
#include <stdio.h>

#include "base/memory.h"
#include "tensor/program_internal.h"

void ts_program_record(TsProgram *program, TsTimeline *timeline)
{
    program->timeline = timeline;
    ts_free(program->begun_s);
    program->begun_s = timeline ? ts_calloc(2 * (size_t)program->requests + 1, sizeof *program->begun_s) : NULL;
}

void ts_program_record_over(TsProgram *program, int32_t request)
{
    program->begun_s[program->requests + request] = ts_timeline_now();
}

/* What the event says of an action's node. */
static TsTimelineEvent event_of(const TsProgram *program, const TsAction *action)
{
    TsTimelineEvent event = {.name = action->op->name, .category = "kernel"};
    if (action->step >= program->schedule.steps) /* a copy behind the last step */
        return event;
    const TsNode *node = &program->graph->node[program->schedule.step[action->step].node];
    event.path = program->graph->path[node->path].text;
    event.backward = node->backward;
    if (ts_op_is_collective(node->op)) {
        event.axes = ((const TsMoveStep *)node->attributes)->axes;
        event.sent_bytes = ts_action_sent_bytes(action);
    }
    return event;
}

void ts_program_record_action(TsProgram *program, const TsAction *action, double begin_s)
{
    double now_s = ts_timeline_now();
    TsTimelineEvent event = event_of(program, action);
    event.begin_s = begin_s;
    event.end_s = now_s;
    if (action->kind == TS_STEP_RUN) {
        ts_timeline_add(program->timeline, event);
        return;
    }
    char name[48];
    bool ends = action->kind == TS_STEP_END;
    snprintf(name, sizeof name, "%s %s", ends ? "wait for" : "begin", event.name);
    TsTimelineEvent mine = event;
    mine.name = name;
    mine.category = ends ? "wait" : "begin";
    ts_timeline_add(program->timeline, mine);
    double *begun_s = &program->begun_s[action->request], *over_s = begun_s + program->requests;
    if (!ends) {
        *begun_s = begin_s;
        *over_s = 0;
        return;
    }
    event.category = "collective";
    event.lane = TS_LANE_COMMUNICATION;
    event.begin_s = *begun_s;
    event.end_s = *over_s > 0 ? *over_s : now_s;
    ts_timeline_add(program->timeline, event);
}
