/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/summaries.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/run/event_file.h"

struct TsSummaries {
    const char *const *names;
    int count;
    char *dir;
    int64_t step;
    TsEventFile *train;        /* NULL: this rank writes nothing, or cannot */
    TsEventFile **evaluations; /* (count), each NULL until it has something */
};

static void complain(TsStatus status)
{
    ts_log(TS_LOG_WARNING, "%s; no more summaries go there", ts_status_message(status));
    ts_status_free(&status);
}

TsStatus ts_summaries_create(TsSummaries **summaries, TsGroup *group, const char *run_dir, const char *const *names,
                             int count, int64_t step)
{
    TsSummaries *made = ts_calloc(1, sizeof *made);
    *made = (TsSummaries){.names = names,
                          .count = count,
                          .dir = ts_format("%s/summaries", run_dir),
                          .step = step,
                          .evaluations = ts_calloc((size_t)count + 1, sizeof(TsEventFile *))};
    TsStatus status = TS_OK;
    if (ts_group_rank(group) == 0) {
        char *train = ts_format("%s/train", made->dir);
        status = ts_event_file_create(&made->train, train, step);
        ts_free(train);
    }
    if (status)
        ts_summaries_free(&made);
    *summaries = made;
    return status;
}

void ts_summaries_free(TsSummaries **summaries)
{
    if (!*summaries)
        return;
    ts_event_file_close(&(*summaries)->train);
    for (int i = 0; i <= (*summaries)->count; i++)
        ts_event_file_close(&(*summaries)->evaluations[i]);
    ts_free((*summaries)->evaluations);
    ts_free((*summaries)->dir);
    ts_free(*summaries);
    *summaries = NULL;
}

static void flush(TsEventFile *file)
{
    TsStatus status = ts_event_file_flush(file);
    if (status)
        complain(status);
}

TS_PRINTF(4, 5)
static void add(TsEventFile *file, int64_t step, double value, const char *format, ...)
{
    char tag[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tag, sizeof tag, format, arguments);
    va_end(arguments);
    ts_event_file_scalar(file, step, tag, value);
}

static void add_conflicts(TsEventFile *file, const TsReport *report)
{
    for (int i = 0; i < report->task_count; i++) {
        if (!(report->tasks[i].grad_norm > 0))
            continue;
        add(file, report->step, report->tasks[i].grad_norm, "mixture/grad_norm/%s", report->tasks[i].name);
        for (int j = 0; j < i; j++)
            if (report->tasks[j].grad_norm > 0)
                add(file, report->step, report->cosines[i * report->task_count + j], "mixture/conflict/%s/%s",
                    report->tasks[j].name, report->tasks[i].name);
    }
}

void ts_summaries_report(TsSummaries *summaries, const TsReport *report)
{
    TsEventFile *file = summaries->train;
    int64_t step = report->step;
    if (!file)
        return;
    if (report->loss.weight > 0)
        add(file, step, report->loss.value, "loss");
    for (int i = 0; i < report->task_count; i++) {
        const TsReportTask *task = &report->tasks[i];
        if (task->loss.weight > 0) {
            add(file, step, task->loss.value, "%s/loss", task->name);
            add(file, step, task->loss.weight, "%s/loss/weight", task->name);
        }
        add(file, step, task->rate, "mixture/rate/%s", task->name);
        add(file, step, (double)task->steps, "mixture/count/%s", task->name);
    }
    if (report->cosines)
        add_conflicts(file, report);
    add(file, step, report->learner.rate, "learning/rate");
    add(file, step, report->learner.gradient_norm, "learning/grad_norm");
    add(file, step, report->learner.factor == 0 ? 0 : report->learner.factor * report->learner.gradient_norm,
        "learning/clipped_norm");
    add(file, step, (double)report->skipped_steps, "learning/skipped_steps");
    add(file, step, (double)report->rollbacks, "learning/rollbacks");
    add(file, step, report->weight_norm, "learning/weight_norm");
    add(file, step, report->speed.steps_per_s, "speed/steps_per_s");
    add(file, step, report->speed.tokens_per_s, "speed/tokens_per_s");
    add(file, step, report->speed.flops_fraction, "speed/flops_fraction");
    add(file, step, report->speed.communication_fraction, "speed/communication_fraction");
    add(file, step, report->speed.imbalance, "speed/imbalance");
    flush(file);
}

void ts_summaries_scores(TsSummaries *summaries, int index, int64_t step, const TsScores *scores)
{
    TsEventFile **file = &summaries->evaluations[index];
    const char *name = index < summaries->count ? summaries->names[index] : TS_AVERAGE;
    if (!summaries->train)
        return;
    if (!*file) {
        char *dir = ts_format("%s/eval_%s", summaries->dir, name);
        TsStatus status = ts_event_file_create(file, dir, summaries->step);
        ts_free(dir);
        if (status) {
            complain(status);
            return;
        }
    }
    for (int i = 0; i < scores->count; i++) {
        add(*file, step, scores->score[i].scalar.value, "%s/%s", name, scores->score[i].name);
        add(*file, step, scores->score[i].scalar.weight, "%s/%s/weight", name, scores->score[i].name);
    }
    flush(*file);
}

void ts_summaries_histogram(TsSummaries *summaries, int64_t step, const char *tag, TsEventHistogram histogram)
{
    if (summaries->train)
        ts_event_file_histogram(summaries->train, step, tag, histogram);
}

void ts_summaries_flush(TsSummaries *summaries)
{
    if (summaries->train)
        flush(summaries->train);
}

void ts_summaries_text(TsSummaries *summaries, int64_t step, const char *tag, const char *text)
{
    if (!summaries->train)
        return;
    ts_event_file_text(summaries->train, step, tag, text);
    flush(summaries->train);
}
