/* SPDX-License-Identifier: Apache-2.0
 *
 * Model: what turns a batch into predictions, predictions into losses, prompts into tokens, and tokens into text.
 *
 * A Model is four functions over a struct of options of its own. compute_predictions and compute_loss trace; decode
 * compiles and runs; process_decode_out works on the host. The Task hands in options, columns and a detokeniser.
 */
#pragma once

#include "model/layers.h"
#include "tensor/batch.h"

enum { TS_MAX_COLUMNS = 16, TS_MAX_LOSSES = 8 };

/* A batch while it is traced: an input of the Graph for each of its arrays, with their names. */
typedef struct TsColumns {
    TsGraph *graph;
    int count;
    const char *name[TS_MAX_COLUMNS]; /* borrowed from the batch */
    TsTensor tensor[TS_MAX_COLUMNS];
} TsColumns;

TsColumns ts_columns_trace(TsGraph *graph, const TsBatch *batch);

/* The column of that name; one that is missing is an error of the Graph. */
TsTensor ts_column(const TsColumns *columns, const char *name);

/* Whether there is a column of that name. */
bool ts_has_column(const TsColumns *columns, const char *name);

/* A weighted scalar as a sum that adds up over ranks and batches: its value is sum / weight. */
typedef struct TsLoss {
    const char *name;     /* borrowed for the life of the process */
    TsTensor sum, weight; /* f32 scalars; f64 in f64 graphs */
} TsLoss;

typedef struct TsLosses {
    int count; /* the first one is learned from */
    TsLoss loss[TS_MAX_LOSSES];
    TsTensor per_example; /* (B): the first loss, summed over each example */
} TsLosses;

/* sum / (weight + 1e-8), the weight a constant to differentiation: what is differentiated. */
TsTensor ts_loss_mean(TsLoss loss);

/* Adds what layers said aside: "load_balance" and "dropped", of which the first, times `factor`, is added to what is
 * learned from while training. counted (B): what each example weighs in the first loss, so that this adds up over
 * examples too. Nothing without asides. */
void ts_losses_add_asides(TsLosses *losses, TsScope scope, TsTensor counted, double factor);

/* What to continue, and how. Rows may differ in length. */
typedef struct TsDecodeOptions {
    int64_t max_tokens; /* that are added to each prompt, at most; fewer where the context ends */
    double temperature; /* 0: always the likeliest token */
    uint64_t seed;      /* of the samples */
    int32_t end;        /* a token that ends a row; negative: none */
} TsDecodeOptions;

typedef struct TsPrompts {
    int64_t count;
    const int32_t *const *tokens; /* (count) of (length[i]) */
    const int64_t *length_tokens; /* (count), each at least 1 */
} TsPrompts;

/* One row for each prompt, in their order, the same on all ranks. */
typedef struct TsDecoded {
    int64_t count;
    int64_t capacity_tokens; /* of a row */
    int32_t *tokens;         /* (count, capacity): the prompt and what was added */
    int64_t *prompt_tokens;  /* (count) */
    int64_t *length_tokens;  /* (count), the prompt included */
    double *log_probability; /* (count): of all added tokens together, at temperature 1 */
} TsDecoded;

/* Sets *decoded to NULL; NULL is fine. */
void ts_decoded_free(TsDecoded **decoded);

/* The weights a model is run with. All borrowed. */
typedef struct TsWeights {
    TsParameters *parameters; /* the table; tracing adds what it lacks */
    const TsBatch *arrays;    /* by path */
    TsDtype dtype;
    int threads; /* of each kernel */
} TsWeights;

/* Text of tokens; owned by the caller, ts_free. `context` is what the Task gave with the function. */
typedef char *TsDetokenise(const void *context, const int32_t *tokens, int64_t count_tokens);

/* A value with its weight: the mean over everything is sum(value * weight) / sum(weight). */
typedef struct TsWeightedScalar {
    double value, weight;
} TsWeightedScalar;

typedef struct TsDecodeText {
    int64_t count;
    char **prompt, **added;           /* (count) strings */
    TsWeightedScalar log_probability; /* a token that was added */
} TsDecodeText;

/* Sets *text to NULL; NULL is fine. */
void ts_decode_text_free(TsDecodeText **text);

typedef struct TsModel {
    const char *name;

    /* Traces predictions from the columns of a batch. */
    TsTensor (*compute_predictions)(TsScope scope, const void *options, const TsColumns *columns);

    /* Traces losses from predictions and columns. */
    TsLosses (*compute_loss)(TsScope scope, const void *options, TsTensor predictions, const TsColumns *columns);

    /* Continues prompts. Collective on the mesh of the weights; same on all ranks: everything. Owned by the caller. */
    TsStatus (*decode)(TsDecoded **decoded, const void *options, TsWeights weights, TsPrompts prompts,
                       TsDecodeOptions decode_options);

    /* Text from what decode gave. Not collective. Owned by the caller. */
    TsDecodeText *(*process_decode_out)(const TsDecoded *decoded, TsDetokenise *detokenise, const void *context);
} TsModel;
