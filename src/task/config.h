/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of a job: the root table of keys, from which every command takes what it needs.
 *
 *     run:        {dir: runs/line, seed: 1, steps: 2000}
 *     mesh:       {data: auto}
 *     backbone:   {type: transformer, layers: 6}
 *     parameters: {shard: data}
 *     memory:     {recompute: block}
 *     fine_tune:  {mode: lora, r: 16}
 *     learner:    {optimizer: {type: adamw, rate: 3e-4}, schedule: {type: cosine, warmup: 100}, clip: 1}
 *     tasks:      {lm: {type: language_model, data: {text: book.txt}, weight: 1}}
 *     mixture:    {mode: interleaved, sampler: proportional}
 *     checkpoint: {every: 500 steps, keep: {latest: 3}}
 *     decode:     {max_decode_steps: 200, temperature: 0.8}
 *     trace:      {file: steps.json, from_step: 2, steps: 3}
 *     cluster:    {flops: 1e11, nodes: 16, link: {latency: 0.02 ms, bandwidth: 1.25e9}}
 */
#pragma once

#include "comm/mesh.h"
#include "model/fine_tune.h"
#include "task/command/cluster.h"
#include "task/command/decoding.h"
#include "task/run/early_stop.h"
#include "task/learner/guard.h"
#include "task/run/init_from.h"
#include "task/learner/learner.h"
#include "task/mixture/mixture.h"
#include "task/learner/objective.h"
#include "tensor/program.h"

typedef enum TsCompute { TS_COMPUTE_AUTO, TS_COMPUTE_BF16 } TsCompute;
typedef enum TsPrecision { TS_PRECISION_F32, TS_PRECISION_F64 } TsPrecision;
typedef enum TsRunMode { TS_MODE_TRAIN_AND_EVAL, TS_MODE_TRAIN, TS_MODE_EVAL, TS_MODE_CONTINUOUS_EVAL } TsRunMode;
typedef enum TsProgressKind { TS_PROGRESS_AUTO, TS_PROGRESS_LINE, TS_PROGRESS_LINES } TsProgressKind;
typedef enum TsNumerics { TS_NUMERICS_FAST, TS_NUMERICS_REPRODUCIBLE } TsNumerics;

/* Micro-batches of a batch. */
typedef struct TsJobMicros {
    int train, evaluation;
} TsJobMicros;

typedef struct TsRunConfig {
    const char *dir;
    TsRunMode mode;
    int64_t seed, steps;
    double timeout_s;     /* of continuous_eval */
    double stop_before_s; /* the end of the job's time */
    int64_t threads;      /* of each rank; TS_AUTO: what ts_machine_threads says */
    TsPrecision precision;
    TsCompute compute;
    TsNumerics numerics;
    int64_t virtual_shards;                             /* of a batch, where numerics are reproducible */
    TsInterval log, evaluate, decode_every, histograms; /* how often */
    TsProgressKind progress;
} TsRunConfig;

typedef struct TsMeshConfig {
    int64_t stage, data, expert, seq, model; /* data may be TS_AUTO: the ranks that are left */
    bool sequence_parallel;
} TsMeshConfig;

typedef struct TsMemoryConfig {
    TsRecompute recompute;
    int64_t limit; /* in bytes, of the arena of a rank; TS_AUTO: none */
} TsMemoryConfig;

typedef struct TsKeepConfig {
    int64_t latest;
    TsInterval every;  /* steps or time */
    double every_time; /* in seconds; 0: never */
    TsList steps;      /* of int64_t */
    int64_t best;
    const char *by; /* NULL only where best is 0 */
    TsBetter better;
} TsKeepConfig;

typedef struct TsCheckpointConfig {
    TsInterval every;  /* steps or time */
    double every_time; /* in seconds; 0: never */
    TsList steps;      /* of int64_t */
    bool last, on_stop;
    TsKeepConfig keep;
    bool verify, asynchronous;
    int64_t files; /* ranks a file; 0: one file */
} TsCheckpointConfig;

typedef struct TsTaskConfig {
    TsChoice kind; /* of ts_task_kinds */
    double weight, loss_weight, evaluation_weight;
    int64_t evaluation_batches; /* 0: all */
    TsChoice backbone;          /* of ts_backbones; left out: that of the job */
    TsList own;     /* of patterns: what of its backbone it shares with nobody; of a backbone of its own, where there is
                       none, all */
    TsList metrics; /* of names; empty: all that fit */
    TsObjectiveConfig objective;
    const TsVnConfig *vn; /* NULL: none */
} TsTaskConfig;

typedef struct TsTraceConfig {
    const char *file; /* NULL: nothing is recorded */
    int64_t from_step, steps;
} TsTraceConfig;

typedef struct TsJobConfig {
    TsList plugins; /* of paths; loaded before the rest is read */
    TsRunConfig run;
    TsMeshConfig mesh;
    TsChoice backbone; /* of ts_backbones */
    TsShardingConfig parameters;
    TsMemoryConfig memory;
    TsFineTuneConfig fine_tune;
    TsLearnerConfig learner;
    TsGuardConfig guard;
    TsMap tasks; /* of TsTaskConfig */
    TsMixtureConfig mixture;
    TsCheckpointConfig checkpoint;
    const TsEarlyStopConfig *early_stop; /* NULL: the run goes on to run.steps */
    const TsInitFromConfig *init_from;   /* NULL: initial values as the layers have them */
    TsDecodeConfig decode;
    TsTraceConfig trace;
    TsClusterConfig cluster;
} TsJobConfig;

extern const TsConfigTable ts_job_table;

/* Reads files and overrides, as they stand on a command line: "a.yaml", "learner.clip=0.5"; "trace=FILE" is short for
 * "trace.file=FILE". Rank 0 reads, all ranks get
 * the same bytes. Collective on group; the same status on all ranks. Owned by the caller: ts_config_free. The value of
 * the config is a TsJobConfig. */
TS_MUST_USE TsStatus ts_job_load(TsConfig **config, TsGroup *group, const char *const *words, int count);

/* The bytes of a file that rank 0 reads, on every rank; owned by the caller, with a NUL behind them. Collective on
 * group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_job_read(char **bytes, int64_t *count, TsGroup *group, const char *path, size_t most_bytes);

/* The mesh that the config asks for, over all ranks of group, where data: auto is what the other axes leave. Collective
 * on group; the same status on all ranks. Owned by the caller: ts_mesh_free. */
TS_MUST_USE TsStatus ts_job_mesh(TsMesh **mesh, TsGroup *group, const TsConfig *config);

/* The axis that cuts the sequence between blocks, or TS_AXIS_NONE. */
TsAxis ts_job_sequence(const TsJobConfig *job);

/* How many micro-batches the loaders of training and of evaluation cut a batch into: learner.accumulate and 1; or,
 * where numerics are reproducible, as many virtual shards as each rank along data has. An error where that cannot be.
 * Not collective; the same on all ranks. */
TS_MUST_USE TsStatus ts_job_micros(TsJobMicros *micros, const TsConfig *config, const TsMesh *mesh);

/* The dtype of activations, and of parameters but where it is bf16: they are f32 then. */
TsDtype ts_job_dtype(const TsJobConfig *job);

/* What is computed again in the backward pass of a step. */
TsMemoryPolicy ts_job_memory(const TsJobConfig *job);

/* Threads of each rank's kernels. Collective on group (the lowest of all ranks is taken, so that they wait little). */
int ts_job_threads(TsGroup *group, const TsJobConfig *job);
