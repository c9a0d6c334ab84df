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
#include "tensor/program_cache.h"

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

/* 1 where a label counts, 0 where it is negative: i32 -> dtype. */
TsTensor ts_counted_labels(TsTensor labels, TsDtype dtype);

/* sum / (weight + 1e-8), the weight a constant to differentiation: what is differentiated. */
TsTensor ts_loss_mean(TsLoss loss);

/* Adds what layers said aside: "load_balance" and "dropped", of which the first, times `factor`, is added to what is
 * learned from while training. counted (B): what each example weighs in the first loss, so that this adds up over
 * examples too. Nothing without asides. */
void ts_losses_add_asides(TsLosses *losses, TsScope scope, TsTensor counted, double factor);

/* A value with its weight: the mean over everything is sum(value * weight) / sum(weight). */
typedef struct TsWeightedScalar {
    double value, weight;
} TsWeightedScalar;

/* That of both together: what metrics over several batches are merged by. */
TsWeightedScalar ts_weighted_scalar_merge(TsWeightedScalar a, TsWeightedScalar b);

/* Text of tokens; owned by the caller, ts_free. `context` is what the Task gave with the function. */
typedef char *TsDetokenise(const void *context, const int32_t *tokens, int64_t count_tokens);

/* How what was decoded becomes text: what the Task hands to process_decode_out. */
typedef struct TsDetokeniser {
    TsDetokenise *tokens;
    const void *context; /* of both */

    /* What the values (positions, outputs) of a row are called; owned by the caller, ts_free. NULL: tokens say all. */
    char *(*values)(const void *context, const float *values, int64_t positions);
} TsDetokeniser;

/* Told, on every rank, whenever a hypothesis of prompt `prompt` has grown; `added` are all its tokens so far. */
typedef void TsDecodeListener(void *context, int64_t prompt, const int32_t *added, int64_t count_tokens, bool ended);

/* How prompts are continued. Sampling is greedy where the temperature is 0; beams look for what is likeliest as a
 * whole. Everything may be left out. */
typedef struct TsDecodeOptions {
    int64_t max_decode_steps; /* tokens that are added to each prompt, at most; fewer where the context ends */
    int64_t min_decode_steps; /* so many are added before one may be an end */
    double temperature;       /* 0: always the likeliest token */
    int64_t top_k;            /* only the likeliest so many; 0: all */
    double top_p;             /* only the likeliest that together reach this, at the temperature; 0: all */
    int64_t samples;          /* of each prompt, sorted by log-probability; 0 counts as 1 */
    uint64_t seed;            /* of the samples */
    int64_t beams;            /* hypotheses of beam search; 0: sampling */
    double length_penalty;    /* alpha: ended hypotheses score sum(log p) / ((5 + L) / 6)^alpha; see beam.h */
    bool early_exit;          /* beams stop when so many have ended, whatever might still come */
    double guidance;          /* of prompts that have an unguided one: u + guidance (p - u); 0 counts as 1: none */
    const int32_t *ends;      /* (end_count) tokens that end a row */
    int end_count;
    const char *const *stops; /* (stop_count) strings that end a row, found in its text; not with beams */
    int stop_count;
    TsDetokenise *detokenise; /* for `stops` */
    const void *detokenise_context;
    TsDecodeListener *listener; /* NULL: nobody listens; not with beams */
    void *listener_context;
} TsDecodeOptions;

/* What to continue. Prompts may differ in length. */
typedef struct TsPrompts {
    int64_t count;
    const int32_t *const *tokens; /* (count) of (length[i]) */
    const int64_t *length_tokens; /* (count), each at least 1 */
    int64_t first;                /* the number of the first among all there are: samples follow numbers */
    const int64_t *max_steps;     /* (count) limits of their own, or NULL */

    /* (count) what guidance leads away from: prompts without the condition; or NULL, where there is no guidance. */
    const int32_t *const *unguided;
    const int64_t *unguided_tokens; /* (count) their lengths */
} TsPrompts;

typedef enum TsDecodeEnd {
    TS_DECODE_END_LENGTH, /* a limit of steps, or the context's */
    TS_DECODE_END_TOKEN,  /* an end token, which is the row's last */
    TS_DECODE_END_STOP    /* a stop sequence: text_bytes says where its text ends */
} TsDecodeEnd;

/* One row for each hypothesis, those of a prompt together, best first, in the order of prompts; the same on all ranks.
 */
typedef struct TsDecoded {
    int64_t prompts;         /* how many there were */
    int64_t each;            /* rows for each prompt: samples or beams */
    int64_t count;           /* prompts * each */
    int64_t capacity_tokens; /* of a row */
    int32_t *tokens;         /* (count, capacity): the prompt and what was added */
    int64_t *prompt_tokens;  /* (count) */
    int64_t *length_tokens;  /* (count), the prompt included */
    double *log_probability; /* (count): of all added tokens together, at temperature 1 */
    double *score;           /* (count): what rows are sorted by; of beams, see beam.h */
    TsDecodeEnd *end;        /* (count): why it ended */
    int64_t *text_bytes;     /* (count): of the added text, in front of a stop sequence; -1: all of it */
    int64_t steps;           /* passes over one token that were run */
    double read_s, steps_s;  /* what reading the prompts took on this rank, and those passes, without compiling */
    bool apart;              /* what was added is a text of its own: its prompt was a source */

    /* (count, positions, outputs) what a head gave, of which a row has the first of its positions; NULL: it has none */
    float *values;
    int64_t positions, outputs;

    /* Merges over batches: of a token that was added, and how many those are a row. */
    TsWeightedScalar mean_log_probability, mean_length;
} TsDecoded;

/* Rows of zeros for so many prompts, with room for capacity_tokens each, whose text is not cut. Owned by the caller. */
TsDecoded *ts_decoded_create(int64_t prompts, int64_t each, int64_t capacity_tokens);

/* Sets *decoded to NULL; NULL is fine. */
void ts_decoded_free(TsDecoded **decoded);

/* The weights a model is run with. All borrowed. */
typedef struct TsWeights {
    TsParameters *parameters; /* the table; tracing adds what it lacks */
    const TsBatch *arrays;    /* by path */
    TsDtype dtype;
    bool narrow;              /* the arrays are those of ts_weights_narrow */
    int threads;              /* of each kernel */
    TsProgramCache *programs; /* of this model with these weights alone: passes are kept there; NULL: none are */
} TsWeights;

/* Copies for decoding in bf16: kernels and tables as bf16, so that each pass reads half the bytes; the rest as it is.
 * Not collective. Owned by the caller. */
TsBatch *ts_weights_narrow(const TsParameters *parameters, const TsBatch *arrays);

/* What decoded rows are as text, in their order. */
typedef struct TsDecodeText {
    int64_t count;
    char **prompt, **added; /* (count) strings; without end tokens, and cut where a stop sequence begins */

    /* Merge over batches: of a token that was added; bytes that a row was given; how many rows ended by themselves. */
    TsWeightedScalar log_probability, added_bytes, ended;
} TsDecodeText;

/* No text yet, of so many rows, with the log-probability that they were given. Owned by the caller. */
TsDecodeText *ts_decode_text_create(const TsDecoded *decoded);

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

    /* Text from what decode gave, on the host. Not collective. Owned by the caller. */
    TsDecodeText *(*process_decode_out)(const TsDecoded *decoded, TsDetokeniser detokeniser);
} TsModel;
