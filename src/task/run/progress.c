/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/progress.h"

#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

double ts_progress_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

TsProgress ts_progress_start(int64_t step, int64_t steps, TsProgressKind kind)
{
    bool rewrites = kind == TS_PROGRESS_LINE || (kind == TS_PROGRESS_AUTO && isatty(STDERR_FILENO));
    return (TsProgress){.steps_at_start = step, .steps = steps, .started_s = ts_progress_now(), .rewrites = rewrites};
}

/* "41.2k" */
static void append_count(TsText *text, double count)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    int unit = 0;
    for (; count >= 1000 && unit < 4; unit++)
        count /= 1000;
    ts_text_append(text, count < 10 && unit ? "%.2f%s" : count < 100 ? "%.1f%s" : "%.0f%s", count, units[unit]);
}

/* "3:12", "1:02:07" */
static void append_time(TsText *text, double seconds)
{
    long long whole = (long long)ceil(seconds);
    if (whole >= 3600)
        ts_text_append(text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        ts_text_append(text, "%lld:%02lld", whole / 60, whole % 60);
}

/* JSON has no NaN and no infinity: null. */
static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* "TASK/grad_norm", and "conflict": {"TASK/TASK": cosine}. */
static void add_conflicts(json_t *object, const TsReport *report)
{
    json_t *conflict = json_object();
    char name[512];
    for (int i = 0; i < report->task_count; i++) {
        if (!(report->tasks[i].grad_norm > 0))
            continue;
        snprintf(name, sizeof name, "%s/grad_norm", report->tasks[i].name);
        json_object_set_new(object, name, real(report->tasks[i].grad_norm));
        for (int j = 0; j < i; j++) {
            snprintf(name, sizeof name, "%s/%s", report->tasks[j].name, report->tasks[i].name);
            if (report->tasks[j].grad_norm > 0)
                json_object_set_new(conflict, name, real(report->cosines[i * report->task_count + j]));
        }
    }
    json_object_set_new(object, "conflict", conflict);
}

static void add_metrics(TsRunDir *dir, const TsReport *report)
{
    const TsSpeedReport *speed = &report->speed;
    json_t *object =
        json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "kind", "train", "step",
                  (json_int_t)report->step, "loss", real(report->loss.value), "rate", real(report->learner.rate),
                  "grad_norm", real(report->learner.gradient_norm), "clip_factor", real(report->learner.factor),
                  "skipped_steps", (json_int_t)report->skipped_steps, "rollbacks", (json_int_t)report->rollbacks,
                  "weight_norm", real(report->weight_norm), "tokens_per_s", real(speed->tokens_per_s), "flops_fraction",
                  real(speed->flops_fraction), "communication_fraction", real(speed->communication_fraction));
    for (int i = 0; i < report->task_count; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s/loss", report->tasks[i].name);
        if (report->tasks[i].loss.weight > 0)
            json_object_set_new(object, name, real(report->tasks[i].loss.value));
    }
    if (report->cosines)
        add_conflicts(object, report);
    ts_run_dir_add_metrics(dir, object);
}

void ts_progress_say(const TsProgress *progress, TsRunDir *dir, const TsReport *report)
{
    double done = (double)(report->step - progress->steps_at_start);
    double left_s = (ts_progress_now() - progress->started_s) / done * (double)(progress->steps - report->step);

    TsText line = {0};
    ts_text_append(&line, "step %5lld/%lld  loss %.4f", (long long)report->step, (long long)progress->steps,
                   report->loss.value);
    for (int i = 0; i < report->task_count && report->task_count > 1; i++)
        if (report->tasks[i].loss.weight > 0)
            ts_text_append(&line, "  %s %.4f", report->tasks[i].name, report->tasks[i].loss.value);
    ts_text_append(&line, "  ");
    append_count(&line, report->speed.tokens_per_s);
    ts_text_append(&line, " tokens/s  %.*f %% of peak  ", report->speed.flops_fraction < 0.0995 ? 1 : 0,
                   100 * report->speed.flops_fraction);
    append_time(&line, left_s);
    ts_text_append(&line, " left");
    if (report->learner.factor == 0)
        ts_text_append(&line, "  (step skipped: gradient norm %g)", report->learner.gradient_norm);
    if (progress->rewrites)
        ts_log_progress(line.data);
    else
        ts_log(TS_LOG_INFO, "%s", line.data);
    ts_text_free(&line);
    add_metrics(dir, report);
}

/* "loss 2.1034 nats, bits_a_byte 3.0345, accuracy 0.7512" */
static void append_scores(TsText *line, const TsScores *scores)
{
    for (int i = 0; i < scores->count; i++)
        ts_text_append(line, "%s%s %.4f", i ? ", " : "", scores->score[i].name, scores->score[i].scalar.value);
}

void ts_progress_say_evaluation(TsRunDir *dir, int64_t step, const char *task, const TsScores *scores)
{
    json_t *object = json_pack("{s:s, s:I}", "kind", "eval", "step", (json_int_t)step);
    TsText line = {0};
    append_scores(&line, scores);
    ts_log(TS_LOG_INFO, "step %5lld  validation  %s: %s", (long long)step, task, line.data ? line.data : "nothing");
    ts_text_free(&line);
    for (int i = 0; i < scores->count; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", task, scores->score[i].name);
        json_object_set_new(object, path, real(scores->score[i].scalar.value));
    }
    json_object_set_new(object, "weight", real(scores->count ? scores->score[0].scalar.weight : 0));
    ts_run_dir_add_metrics(dir, object);
}
