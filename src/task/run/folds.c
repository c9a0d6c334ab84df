/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/folds.h"

#include <math.h>
#include <stdio.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

/* The k_fold split of a task that leaves out which fold; NULL: it has none. */
static const TsSplitFolds *folds_of(const TsTaskConfig *task)
{
    const TsTaskKind *kind = task->kind.variant->extra;
    const TsDataConfig *data = kind->data(task->kind.value);
    const TsSplitFolds *folds = data->split.value;
    bool all = data->files.count && data->split.variant == &ts_splits.items[TS_SPLIT_FOLDS] && folds->fold == TS_AUTO;
    return all ? folds : NULL;
}

TsStatus ts_folds_count(int64_t *count, const TsConfig *config)
{
    const TsJobConfig *keys = ts_config_value(config);
    const TsTaskConfig *tasks = keys->tasks.items;
    *count = 0;
    for (int64_t i = 0; i < keys->tasks.count; i++) {
        const TsSplitFolds *folds = folds_of(&tasks[i]);
        if (folds && *count && folds->folds != *count)
            return ts_config_error(config, &folds->folds, "tasks.%s has %lld folds, another task %lld: all the same",
                                   keys->tasks.names[i], (long long)folds->folds, (long long)*count);
        *count = folds ? folds->folds : *count;
    }
    return TS_OK;
}

/* The config of one fold, in a directory of its own. Owned by the caller: ts_config_free. */
static TsStatus derive(TsConfig **derived, const TsConfig *config, int64_t fold)
{
    const TsJobConfig *keys = ts_config_value(config);
    const TsTaskConfig *tasks = keys->tasks.items;
    const char **overrides = ts_calloc((size_t)keys->tasks.count + 1, sizeof *overrides);
    TsText text = {0};
    int64_t count = 0;
    ts_config_write(config, &text);
    overrides[count++] = ts_format("run.dir=%s/fold_%lld", keys->run.dir, (long long)fold);
    for (int64_t i = 0; i < keys->tasks.count; i++)
        if (folds_of(&tasks[i]))
            overrides[count++] = ts_format("tasks.%s.data.split.fold=%lld", keys->tasks.names[i], (long long)fold);
    TsConfigText whole = {"the configuration of a fold", text.data, text.size_bytes};
    TsStatus status = ts_config_load(
        derived, &ts_job_table,
        (TsConfigSources){.texts = &whole, .text_count = 1, .overrides = overrides, .override_count = count});
    for (int64_t i = 0; i < count; i++)
        ts_free((char *)overrides[i]);
    ts_free(overrides);
    ts_text_free(&text);
    return status;
}

/* ---- scores ---- */

/* A line a score of the first fold; what other folds lack is left out of mean and deviation. */
static void write_table(TsText *out, const TsEvaluation *folds, int64_t count)
{
    for (int t = 0; t < folds[0].count; t++)
        for (int s = 0; s < folds[0].tasks[t].scores.count; s++) {
            const char *name = folds[0].tasks[t].scores.score[s].name;
            double sum = 0, square = 0, there = 0;
            TsText values = {0};
            for (int64_t f = 0; f < count; f++) {
                const TsWeightedScalar *score =
                    t < folds[f].count ? ts_scores_find(&folds[f].tasks[t].scores, name) : NULL;
                double value = score ? score->value : (double)NAN;
                ts_text_append(&values, "\t%.6g", value);
                sum += isfinite(value) ? value : 0;
                there += isfinite(value);
            }
            for (int64_t f = 0; f < count; f++) {
                const TsWeightedScalar *score =
                    t < folds[f].count ? ts_scores_find(&folds[f].tasks[t].scores, name) : NULL;
                if (score && isfinite(score->value))
                    square += (score->value - sum / there) * (score->value - sum / there);
            }
            ts_text_append(out, "%s\t%s\t%.6g\t%.6g%s\n", folds[0].tasks[t].task, name, sum / there,
                           there > 1 ? sqrt(square / (there - 1)) : 0, values.data);
            ts_text_free(&values);
        }
}

static TsStatus tell(TsGroup *group, const char *dir, const TsEvaluation *folds, int64_t count)
{
    TsText text = {0};
    TsStatus status = TS_OK;
    if (ts_group_rank(group) == 0) {
        ts_text_append(&text, "task\tscore\tmean\tdeviation");
        for (int64_t f = 0; f < count; f++)
            ts_text_append(&text, "\tfold %lld", (long long)f);
        ts_text_append(&text, "\n");
        write_table(&text, folds, count);
        char *path = ts_format("%s/folds.tsv", dir);
        status = ts_file_write(path, text.data, text.size_bytes);
        ts_free(path);
        if (!status && (fwrite(text.data, 1, text.size_bytes, stdout) != text.size_bytes || fflush(stdout) != 0))
            status = ts_status_error(TS_CODE_IO, "the scores could not be printed");
    }
    ts_text_free(&text);
    return ts_comm_agree(group, status);
}

/* Each fold in its turn; `training` NULL: they are there. */
static TsStatus run(TsGroup *group, const TsConfig *config, int64_t count, const TsTrainOptions *training,
                    TsEvalOptions options)
{
    const TsJobConfig *keys = ts_config_value(config);
    TsEvaluation *folds = ts_calloc((size_t)count, sizeof *folds);
    TsStatus status = TS_OK;
    for (int64_t f = 0; f < count && !status; f++) {
        TsConfig *derived = NULL;
        status = derive(&derived, config, f);
        if (!status && training) {
            ts_log(TS_LOG_INFO, "fold %lld of %lld", (long long)f, (long long)count);
            status = ts_train(group, derived, *training);
        }
        if (!status)
            status = ts_evaluation_run(&folds[f], group, derived, options);
        ts_config_free(&derived);
        if (status)
            status = ts_status_annotate(status, "fold %lld", (long long)f);
    }
    if (!status)
        status = tell(group, keys->run.dir, folds, count);
    for (int64_t f = 0; f < count; f++)
        ts_evaluation_free(&folds[f]);
    ts_free(folds);
    return status;
}

TsStatus ts_folds_train(TsGroup *group, const TsConfig *config, TsTrainOptions options)
{
    int64_t count;
    TS_TRY(ts_folds_count(&count, config));
    return count ? run(group, config, count, &options, (TsEvalOptions){.part = "validation", .baselines = true})
                 : ts_train(group, config, options);
}

TsStatus ts_folds_evaluate(TsGroup *group, const TsConfig *config, TsEvalOptions options)
{
    int64_t count;
    TS_TRY(ts_folds_count(&count, config));
    return count ? run(group, config, count, NULL, options) : ts_evaluate(group, config, options);
}
