/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Every kind of task on every backbone with every adapter, by config alone: those that fit train a step, or where
 * nothing is learned give what they predict from; the others are refused by an error that names both.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/adapter.h"
#include "task/evaluator.h"
#include "task/learner/learner.h"
#include "test.h"

static char directory[] = "/tmp/tessera-matrix.XXXXXX";

static const TsKey *find_key(const TsConfigTable *table, const char *name)
{
    for (const TsKey *key = table ? table->keys : NULL; key && key->name; key++)
        if (strcmp(key->name, name) == 0)
            return key;
    return NULL;
}

/* One combination. */
typedef struct Cell {
    const TsVariant *kind, *backbone, *adapter; /* adapter NULL: the kind has none */
    bool causal;
} Cell;

/* What makes the combination unfit: words of the error; NULL: it fits. */
static const char *unfit(const Cell *cell)
{
    bool decodes =
        strcmp(cell->kind->name, "language_model") == 0 || strcmp(cell->kind->name, "sequence_to_sequence") == 0;
    if (decodes && strcmp(cell->backbone->name, "transformer") != 0)
        return "decodes, which takes a transformer";
    bool of_tokens = strcmp(cell->kind->name, "token_classification") == 0;
    if (strcmp(cell->kind->name, "language_model") == 0 && !cell->causal)
        return "causal: false: tasks.t predicts each next token";
    if (strcmp(cell->kind->name, "mlm") == 0 && cell->causal)
        return "causal: tasks.t guesses a token";
    if (strcmp(cell->kind->name, "sequence_to_sequence") == 0 && cell->causal)
        return "causal";
    if (!cell->adapter)
        return NULL;
    if (cell->causal && strcmp(cell->adapter->name, "linear_cls") == 0)
        return "linear_cls: the first token sees no other";
    bool gives_tokens = strcmp(cell->adapter->name, "linear") == 0 || strcmp(cell->adapter->name, "mlp") == 0;
    return gives_tokens == of_tokens ? NULL : cell->adapter->name;
}

/* The config of a combination; of the backbone's sizes those that it has. Owned by the caller. */
static char *config_of(const Cell *cell)
{
    static const struct {
        const char *key, *value;
    } sizes[] = {{"layers", "1"}, {"heads", "2"}, {"width", "16"}, {"context", "16"}};
    TsText text = {0};
    ts_text_append(&text, "run: {dir: %s/run, threads: 1}\nbackbone: {type: %s", directory, cell->backbone->name);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (find_key(cell->backbone->table, sizes[i].key))
            ts_text_append(&text, ", %s: %s", sizes[i].key, sizes[i].value);
    if (find_key(cell->backbone->table, "causal"))
        ts_text_append(&text, ", causal: %s", cell->causal ? "true" : "false");
    ts_text_append(&text,
                   "}\n"
                   "tasks:\n"
                   "  t:\n    type: %s\n    weight: 1\n"
                   "    data: {files: [%s/d.tsv], tokenizer: {type: bytes, specials: true}, batch: 4}\n",
                   cell->kind->name, directory);
    if (cell->adapter)
        ts_text_append(&text, "    adapter: %s\n", cell->adapter->name);
    return text.data;
}

/* A step of the job's only task: the loss is finite, and where something is learned it moves. */
static TsStatus train(TsJob *job)
{
    const TsTask *task = job->tasks[0];
    TsLearner *learner = NULL;
    TsStep *step = NULL;
    TsWeightedScalar scalars[TS_MAX_LOSSES] = {{0}};
    int64_t number = 1, place = 0;
    TS_TRY(ts_learner_create(&learner, (TsLearnerSetting){.config = &job->keys->learner,
                                                          .parameters = job->parameters,
                                                          .arrays = job->arrays,
                                                          .threads = job->threads}));
    int length = ts_loader_next(task->train, &place);
    TsStatus status = ts_step_create(&step, task, ts_loader_batch(task->train, length),
                                     (TsStepOptions){.parameters = ts_job_parameters_of(job, task),
                                                     .sequence = ts_job_sequence(job->keys),
                                                     .learner = &job->keys->learner,
                                                     .seed = 1,
                                                     .dtype = job->dtype,
                                                     .threads = job->threads});
    if (!status) {
        ts_step_bind(step, job->arrays, ts_learner_gradients(learner));
        ts_step_run(step, number, 1);
        TsLearnerReport report = ts_learner_step(learner, 0, &number, number, 1);
        ts_metrics_reduce(scalars, ts_step_metrics(step), ts_mesh_group(job->mesh, ts_batch_axes()));
        CU_ASSERT(isfinite(scalars[0].value) && scalars[0].value > 0 && scalars[0].weight > 0);
        CU_ASSERT(report.gradient_norm > 0 && report.factor > 0);
    }
    ts_step_free(&step);
    ts_learner_free(&learner);
    return status;
}

static void count_row(void *visitor, const TsBatch *given, const TsBatch *batch, int64_t row, int64_t example)
{
    (void)given;
    (void)batch;
    (void)row;
    (void)example;
    ++*(int64_t *)visitor;
}

static TsStatus evaluate(TsJob *job)
{
    TsEvaluator *evaluator = NULL;
    TsScores scores;
    int64_t rows = 0, place = 0, expected = 0;
    TsLoader *data = job->tasks[0]->validation;
    TS_TRY(ts_evaluator_create(&evaluator, job, job->tasks[0], data));
    TS_TRY(ts_evaluator_run(evaluator, &scores, count_row, &rows));
    for (int64_t b = 0; b < ts_loader_batches(data); b++) {
        ts_loader_next(data, &place);
        for (int64_t r = 0; r < ts_loader_local_rows(data); r++)
            expected += ts_loader_examples(data)[r] >= 0;
    }
    CU_ASSERT(rows == expected && rows > 0);
    ts_evaluator_free(&evaluator);
    return TS_OK;
}

static TsStatus run(const Cell *cell)
{
    TsConfig *config = NULL;
    TsJob *job = NULL;
    char *yaml = config_of(cell);
    TsConfigText text = {"matrix.yaml", yaml, strlen(yaml)};
    TsStatus status = ts_config_load(&config, &ts_job_table, (TsConfigSources){.texts = &text, .text_count = 1});
    if (!status)
        status = ts_job_open(&job, test_world, config, (TsJobOptions){0});
    if (!status && job->tasks[0]->train)
        status = train(job);
    if (!status)
        status = evaluate(job);
    ts_job_close(&job);
    ts_config_free(&config);
    ts_free(yaml);
    return status;
}

static void try_cell(const Cell *cell, int *fits, int *refused)
{
    const char *words = unfit(cell);
    TsStatus status = run(cell);
    const char *said = status ? ts_status_message(status) : "";
    bool both = words && status && strstr(said, words) &&
                (!cell->adapter || (strstr(said, cell->adapter->name) && strstr(said, cell->kind->name)) ||
                 strstr(said, "causal"));
    if (words ? !both : status != TS_OK)
        fprintf(stderr, "%s on %s (causal %d) with %s: expected %s, got: %s\n", cell->kind->name, cell->backbone->name,
                cell->causal, cell->adapter ? cell->adapter->name : "no adapter", words ? words : "a step", said);
    CU_ASSERT(words ? both : status == TS_OK);
    ++*(words ? refused : fits);
    ts_status_free(&status);
}

static void all_that_fit_train(void)
{
    int fits = 0, refused = 0;
    for (int64_t k = 0; k < ts_task_kinds.count; k++)
        for (int64_t b = 0; b < ts_backbones.count; b++)
            for (int causal = 0; causal < (find_key(ts_backbones.items[b].table, "causal") ? 2 : 1); causal++) {
                Cell cell = {.kind = &ts_task_kinds.items[k], .backbone = &ts_backbones.items[b], .causal = causal};
                if (!find_key(cell.kind->table, "adapter")) {
                    try_cell(&cell, &fits, &refused);
                    continue;
                }
                for (int64_t a = 0; a < ts_adapters.count; a++) {
                    cell.adapter = &ts_adapters.items[a];
                    try_cell(&cell, &fits, &refused);
                }
            }
    CU_ASSERT(fits >= 13 * ts_backbones.count && refused >= 13 * ts_backbones.count);
    printf("%d combinations trained a step, %d were refused: ", fits, refused);
}

static void begins(void)
{
    TsText text = {0};
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(directory));
    ts_text_append(&text, "text\tlabel\tlabels\tsource\ttarget\n");
    for (int i = 0; i < 23; i++)
        ts_text_append(&text, "%.*s\t%d\t%.*s\t%.*s\tuvw\n", 3 + i % 5, "abcabcab", i % 3, 3 + i % 5, "xyzxyzxy",
                       3 + i % 5, "abcabcab");
    char *path = ts_format("%s/d.tsv", directory);
    TEST_OK(ts_file_write(path, text.data, text.size_bytes));
    ts_free(path);
    ts_text_free(&text);
}

static void ends(void)
{
    TEST_OK(ts_file_remove(directory));
}

TEST_MAIN("matrix", {"begins", begins}, {"all that fit train a step", all_that_fit_train}, {"ends", ends})
