/* SPDX-License-Identifier: Apache-2.0
 *
 * Summaries: what TensorBoard shows of a run, in RUN/summaries/train and RUN/summaries/eval_TASK.
 *
 *   loss                                     of all tasks that ran, by their weights
 *   TASK/METRIC, TASK/METRIC/weight          of a task: in train its loss, in eval_TASK all its scores
 *   mixture/grad_norm/TASK                   of the gradient of a task over what tasks share, where mixture.conflicts
 *   mixture/conflict/TASK/TASK               asks for that; and the cosine between two of them
 *   learning/rate, grad_norm, clipped_norm, skipped_steps, weight_norm
 *   mixture/rate/TASK, mixture/count/TASK    what is drawn from now on; steps so far
 *   histograms/PATH, histograms/gradient/PATH    of parameters, and of the gradients of the last step, on request
 *   decoded/TASK                             texts that the task continued, on request
 *   speed/steps_per_s, tokens_per_s, flops_fraction, communication_fraction, imbalance
 *
 * Rank 0 writes, and flushes whenever it was given something: a crash loses at most the last interval. What cannot be
 * written is said once, and does not end the run.
 */
#pragma once

#include "comm/group.h"
#include "task/run/event_file.h"
#include "task/run/report.h"

typedef struct TsSummaries TsSummaries;

/* Of a run in `run_dir` that goes on after `step`, with tasks of these names, which are borrowed. Not collective: other
 * ranks than rank 0 of the group get one that does nothing. Owned by the caller. */
TS_MUST_USE TsStatus ts_summaries_create(TsSummaries **summaries, TsGroup *group, const char *run_dir,
                                         const char *const *names, int count, int64_t step);

/* Sets *summaries to NULL; NULL is fine. */
void ts_summaries_free(TsSummaries **summaries);

void ts_summaries_report(TsSummaries *summaries, const TsReport *report);

/* What an evaluation of task `index` gave; the number of tasks: the average over them. */
void ts_summaries_scores(TsSummaries *summaries, int index, int64_t step, const TsScores *scores);

/* A histogram under a tag of train; ts_summaries_flush, or the next report or text, writes it. */
void ts_summaries_histogram(TsSummaries *summaries, int64_t step, const char *tag, TsEventHistogram histogram);

void ts_summaries_flush(TsSummaries *summaries);

/* Text under a tag of train. */
void ts_summaries_text(TsSummaries *summaries, int64_t step, const char *tag, const char *text);
