#!/usr/bin/env bash
# ranks: 4
# SPDX-License-Identifier: Apache-2.0
#
# limit: 180 s
#
# numerics: reproducible from the command line: a run that stops on 4 ranks and goes on on 2, with other threads, has the
# bits of one that ran through on 1 rank; and what cannot be is one clear line.
set -u
. tests/program.sh

cat >"$top/job.yaml" <<'YAML'
run: {seed: 5, numerics: reproducible, evaluate: 4 steps, log: 1 step}
backbone: {type: transformer, layers: 2, heads: 2, width: 24, context: 16, dropout: 0.1}
learner: {optimizer: {type: adamw, rate: 1e-3}, clip: 0.5}
tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, batch: 16, validation: 0.05}}}
YAML

# run RANKS DIR key=value…
run() {
    local ranks=$1 dir=$2
    shift 2
    runs "$ranks" train "$top/job.yaml" run.dir="$top/$dir" "$@"
}

# What a run said of its losses, to the last digit: no times.
losses() { grep -aoE '"(step|loss|lm)[^,}]*' "$1/metrics.jsonl"; }

check "1 rank" run 1 through run.steps=8 run.threads=1
check "4 ranks" run 4 resumed run.steps=4 run.threads=1 parameters.shard=data
check "then 2 ranks" run 2 resumed run.steps=8 run.threads=2
same_bits() { "$TESSERA" ckpt diff "$top"/{through,resumed}/checkpoints/step_00000008 >"$top/out" 2>&1; }
same_losses() {
    losses "$top/through" >"$top/one" && losses "$top/resumed" >"$top/other"
    diff "$top/one" "$top/other" >"$top/out" && [ "$(wc -l <"$top/one")" -ge 16 ]
}
check "the same bits" same_bits
check "the same losses" same_losses

# said NAME WORDS RANKS key=value…: ends with an error of one line that has the words.
said() {
    local name=$1 words=$2 ranks=$3
    shift 3
    run "$ranks" refused run.steps=2 "$@"
    [ "$(grep -acF -- "$words" "$top/out")" = 1 ] && [ "$(grep -ac 'tessera: .*error' "$top/out")" = 1 ]
    check "$name" [ $? = 0 ]
}
said "shards that do not divide the batch" "a batch of 12 examples is not divided by the 8 of run.virtual_shards" 1 \
    tasks.lm.data.batch=12
said "ranks that do not divide the shards" "3 ranks along data do not divide them" 3 tasks.lm.data.batch=24
said "shards that are no power of two" "virtual_shards: 6 is not a power of two" 1 run.virtual_shards=6
said "more micro-batches than shards" "more of them take more virtual shards" 1 learner.accumulate=16

[ $failures = 0 ]
