/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts that a run writes while it learns: decode.prompts, continued every run.decode_every, always from the same seed,
 * so that what changes from one time to the next is what was learned.
 */
#include <jansson.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/run/training.h"

TsStatus ts_training_expect_prompts(const TsTraining *training)
{
    const TsJob *job = training->job;
    if (training->keys->run.decode_every.unit == TS_NEVER)
        return TS_OK;
    if (!training->keys->decode.prompts.count)
        return ts_config_error_at(job->config, "run.decode_every",
                                  "decode.prompts is empty: there is nothing to continue");
    for (int i = 0; i < job->task_count; i++)
        if (ts_decode_can(job->tasks[i]))
            return TS_OK;
    return ts_config_error_at(job->config, "run.decode_every", "no task continues text");
}

/* Says `"prompt" | "text"`, as JSON writes them, and adds it to all of the step. */
static void tell_text(const TsTraining *training, TsText *all, const char *task, const json_t *prompt,
                      const json_t *text)
{
    char *before = json_dumps(prompt, JSON_ENCODE_ANY), *after = json_dumps(text, JSON_ENCODE_ANY);
    ts_log(TS_LOG_INFO, "step %5lld  decoded  %s: %s | %s", (long long)training->step, task, before, after);
    ts_text_append(all, "%s | %s\n\n", before, after);
    free(before); /* jansson's */
    free(after);
}

/* Says what came of the prompts, and writes it down. On rank 0. */
static void tell(TsTraining *training, const char *task, const json_t *objects)
{
    TsText all = {0};
    for (size_t i = 0; i < json_array_size(objects); i++) {
        json_t *object = json_array_get(objects, i);
        json_t *prompt = json_object_get(object, "prompt"), *samples = json_object_get(object, "samples");
        if (!samples)
            tell_text(training, &all, task, prompt, json_object_get(object, "text"));
        for (size_t k = 0; k < json_array_size(samples); k++)
            tell_text(training, &all, task, prompt, json_object_get(json_array_get(samples, k), "text"));
        json_t *kept = json_pack("{s:s, s:I, s:s}", "kind", "decode", "step", (json_int_t)training->step, "task", task);
        json_object_update(kept, object);
        ts_run_dir_add_metrics(training->dir, kept);
    }
    char *tag = ts_format("decoded/%s", task);
    ts_summaries_text(training->summaries, training->step, tag, all.data ? all.data : "");
    ts_free(tag);
    ts_text_free(&all);
}

TsStatus ts_training_decode(TsTraining *training)
{
    TsJob *job = training->job;
    const TsList *prompts = &training->keys->decode.prompts;
    const TsBatch *arrays = ts_training_evaluated(training);
    TsStatus status = TS_OK;
    for (int i = 0; i < job->task_count && !status; i++) {
        const char *task = job->tasks[i]->name;
        if (!ts_decode_can(job->tasks[i]))
            continue;
        TsDecodeRequest request = {.prompts = (const char *const *)prompts->items,
                                   .prompt_count = (int)prompts->count,
                                   .task = task,
                                   .seed = -1,
                                   .objects = json_array()};
        status = ts_status_annotate(ts_decode_job(job, arrays, &request), "run.decode_every: tasks.%s", task);
        if (!status && ts_group_rank(job->group) == 0)
            tell(training, task, request.objects);
        json_decref(request.objects);
    }
    training->decoded_s = ts_progress_now();
    return status;
}
