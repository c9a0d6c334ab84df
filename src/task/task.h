/* SPDX-License-Identifier: Apache-2.0
 *
 * Task: a Model with its options, and the data it learns from.
 *
 * What kinds of tasks there are stands in one registry, ts_task_kinds; the kind reads its own keys and makes the rest.
 * A task's place in its training data is one integer, kept in checkpoints.
 */
#pragma once

#include "base/config.h"
#include "data/loader.h"
#include "model/model.h"

typedef struct TsTask TsTask;

/* What a task is made from. All borrowed for the life of the task. */
typedef struct TsTaskSetting {
    TsGroup *group;
    const TsMesh *mesh;
    const TsConfig *config;   /* for errors that name file and line */
    const void *keys;         /* the struct of the kind's table */
    const TsChoice *backbone; /* of ts_backbones */
    const char *name;
    uint64_t seed;     /* of the run */
    bool without_data; /* only what decoding needs: no file is opened, no loader made */
} TsTaskSetting;

typedef struct TsTaskKind {
    /* Opens data and fills in what is below `kind` in TsTask. Collective on the group; the same status on all ranks.
     * ts_task_free follows also where it fails. */
    TsStatus (*configure)(TsTask *task, const TsTaskSetting *setting);

    /* Frees what is behind task->own. */
    void (*release)(TsTask *task);
} TsTaskKind;

struct TsTask {
    const char *name; /* borrowed */
    const TsTaskKind *kind;
    const TsModel *model;
    const void *options;          /* of the model; owned by the kind */
    TsBatch *sample;              /* the smallest batch that predictions can be traced from; owned by the task */
    TsLoader *train, *validation; /* owned by the task; NULL where there is no such data */
    double nats_to_bits_a_byte;   /* bits a byte = loss * this; 0 where that means nothing */
    int64_t tokens_a_batch;       /* of the training data */
    const TsTokenizer *tokenizer; /* owned by the kind; NULL: none */
    int64_t place;                /* in the training data: examples taken so far */
    void *own;                    /* the kind's */
};

/* In the registry each variant's `extra` is a TsTaskKind. */
extern const TsVariants ts_task_kinds;

/* What backbones there are; the value of each is its options (model/transformer.h). */
extern const TsVariants ts_backbones;

/* A task of the kind that `kind` names. Collective on setting.group; the same status on all ranks. Owned by the caller:
 * ts_task_free. */
TS_MUST_USE TsStatus ts_task_create(TsTask **task, TsChoice kind, TsTaskSetting setting);

/* Sets *task to NULL; NULL is fine. */
void ts_task_free(TsTask **task);
