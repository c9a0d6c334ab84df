/* SPDX-License-Identifier: Apache-2.0
 *
 * Task: a Model with its options, and the data it learns from.
 *
 * What kinds of tasks there are stands in one registry, ts_task_kinds; the kind reads its own keys and makes the rest:
 * it configures, collates rows of batches, says what evaluation takes out of predictions, and what a prediction is.
 * Parameters of all tasks lie in one table: the trunk under "backbone", a task's own under "tasks/NAME".
 * A task's place in its training data is one integer, kept in checkpoints.
 */
#pragma once

#include "base/config.h"
#include "data/data_config.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "model/model.h"
#include "task/metric/metric.h"

typedef struct TsTask TsTask;
typedef struct json_t json_t; /* jansson's, whose header is needed only to fill in predictions */

/* What a task is made from. All borrowed for the life of the task. */
typedef struct TsTaskSetting {
    TsGroup *group;
    const TsMesh *mesh;
    const TsConfig *config;   /* for errors that name file and line */
    const void *keys;         /* the struct of the kind's table */
    const TsList *metrics;    /* of names; empty: all of the kind's */
    const TsChoice *backbone; /* of ts_backbones */
    int64_t vocab;            /* of the backbone */
    const char *name;
    const char *type;                    /* of its kind; filled in */
    const char *prepared_dir;            /* where prepared data is kept */
    uint64_t seed;                       /* of the run */
    bool without_data;                   /* only what decoding needs: no file is opened, no loader made; what has a
                                            head needs `kept` then, to decode */
    const json_t *kept;                  /* what a checkpoint has of it; NULL: all is found in the training data */
    TsList files;                        /* of paths: examples to predict in place of the config's; their labels are not
                                            read. Empty: none */
    bool by_example;                     /* a row is an example, whatever data.pack says: to predict each */
    int train_micros, evaluation_micros; /* that loaders cut batches into */
} TsTaskSetting;

typedef struct TsEmbeddings TsEmbeddings;

/* What a task's solution is found with. All borrowed. */
typedef struct TsSolving {
    TsGroup *group;            /* of the job */
    const TsEmbeddings *train; /* the features of the training data (closed_form/embeddings.h) */
    const TsBatch *arrays;     /* parameters by path */
    int threads;
    uint64_t seed;
    json_t *report; /* an object: what is worth to be known of the solution goes in */
} TsSolving;

/* One kind of task. What is NULL is not there. */
typedef struct TsTaskKind {
    /* The columns that examples must have, by their role: "text", "label"; ends with NULL. Checked against what the
     * data gives before anything runs. */
    const char *const *needs;

    /* Where its keys say what it learns from. */
    const TsDataConfig *(*data)(const void *keys);

    /* Opens data and fills in what is below `kind` in TsTask. Collective on the group; the same status on all ranks.
     * ts_task_free follows also where it fails. */
    TsStatus (*configure)(TsTask *task, const TsTaskSetting *setting);

    /* Frees what is behind task->own. */
    void (*release)(TsTask *task);

    /* What a checkpoint must keep of it beside arrays, an object owned by the caller: TsTaskSetting.kept. */
    json_t *(*keep)(const TsTask *task);

    /* Traces ts_output of what metrics and predictions are made of, rows cut along data. */
    void (*give_out)(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns);

    /* Adds what was given out for the local row `row` of a batch to what metrics are computed from. */
    void (*observe)(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row);

    /* Fills in a prediction's cells, for the local row `row`, by name. */
    void (*predict)(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row);

    /* What the values (positions, outputs) that a head gave for a prompt are called; owned by the caller. */
    char *(*name_values)(const TsTask *task, const float *values, int64_t positions);

    /* What a trivial guess from the training data reaches on `data`: majority, mean, unigram. Collective. */
    void (*baseline)(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group);

    /* Of tasks that are solved, not trained: fills in their parameters. Collective; the same status on all ranks. */
    TsStatus (*solve)(const TsTask *task, const TsSolving *solving);
} TsTaskKind;

struct TsTask {
    const char *name; /* borrowed */
    const TsTaskKind *kind;
    const TsModel *model;
    const void *options;          /* of the model; owned by the kind */
    TsBatch *sample;              /* the smallest batch that predictions can be traced from; owned by the task */
    TsLoader *train, *validation; /* owned by the task; NULL where there is no such data */
    TsLoader *test;               /* likewise */
    TsLoader *train_in_order;     /* likewise: what is learned from, once through, for predictions and baselines */
    bool has_perplexity;          /* exp(loss) means something */
    double nats_to_bits_a_byte;   /* bits a byte = loss * this; 0 where that means nothing */
    int64_t tokens_a_batch;       /* of the training data */
    const TsTokenizer *tokenizer; /* owned by the kind; NULL: none */
    bool prompt_is_source;        /* a prompt stands between a begin and an end, as texts of examples do */
    bool takes_pairs;             /* its texts are pairs, which no prompt is */
    bool prompt_has_masks;        /* "<mask>" in a prompt is the token that hides one */
    const char *behind_prompt;    /* what stands between a prompt and what is learned; borrowed; NULL: nothing */
    TsObserved observed;          /* what its metrics are computed from */
    int64_t observed_width;       /* classes, labels or values */
    const TsMetricKind *metrics[TS_MAX_METRICS]; /* of its evaluation, beside its losses */
    int metric_count;
    int64_t place; /* in the training data: examples taken so far */
    void *own;     /* the kind's */
};

/* In the registry each variant's `extra` is a TsTaskKind. */
extern TsVariants ts_task_kinds;

/* What backbones there are; the value of each is its options (model/transformer.h), and its `extra` a TsTrunkKind, or
 * NULL of a transformer. */
extern TsVariants ts_backbones;

/* A task of the kind that `kind` names. Collective on setting.group; the same status on all ranks. Owned by the caller:
 * ts_task_free. */
TS_MUST_USE TsStatus ts_task_create(TsTask **task, TsChoice kind, TsTaskSetting setting);

/* Sets *task to NULL; NULL is fine. */
void ts_task_free(TsTask **task);
