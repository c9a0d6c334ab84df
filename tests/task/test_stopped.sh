#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# Runs of three tasks, with dropout, averages and accumulation, that signals stop in the middle of a step: between two
# micro-batches, in the middle of epochs. Each stop saves, and the same command goes on; at the end the checkpoint is that
# of a run that was never stopped, to the bit, whether tasks take turns, or run together, or side by side.
set -u
. tests/program.sh

awk 'BEGIN { srand(7); print "text\tclass\tcount"; for (i = 0; i < 250; i++) { word = ""; a = 0; z = "without"
    for (k = 0; k < 20 + i % 8; k++) { c = substr("abcdez", 1 + int(6 * rand()), 1); word = word c; a += c == "a"; if (c == "z") z = "with" }
    print word "\t" z "\t" a } }' >"$top/words.tsv"
data="files: [$top/words.tsv], batch: 64, lengths: [31], tokenizer: {type: characters, alphabet: abcdez}, split: {type: fraction, validation: 0.2}"
cat >"$top/job.yaml" <<YAML
run: {seed: 5, threads: 1, log: 1 steps, evaluate: never, steps: 16}
backbone: {type: transformer, layers: 3, heads: 4, width: 64, context: 32, dropout: 0.1, causal: false}
learner: {optimizer: {type: adamw, rate: 3e-3, decay: 0.1}, clip: 1, accumulate: 4, ema: {decay: 0.9}, schedule: {type: cosine, warmup: 3, steps: 30}}
tasks:
  guess: {type: mlm, data: {$data}}
  class: {type: sequence_classification, adapter: {type: mlp_pool, hidden: [8]}, data: {$data, columns: {label: class}}}
  count: {type: sequence_regression, adapter: linear_cls, data: {$data, columns: {label: count}}}
checkpoint: {every: never, keep: {latest: 2}}
YAML

train() { # train RUN MODE [exec]
    ${3:-} timeout -k 5 100 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" train "$top/job.yaml" "run.dir=$top/$1" \
        "mixture.mode=$2" </dev/null >"$top/out" 2>&1
}
# stopped MODE AFTER: trains until it has said AFTER steps more, and then sends a signal to all ranks, which is in the
# middle of the next step but for a very small part of the time.
stopped() {
    local i
    : >"$top/out"
    train "$1-stopped" "$1" exec &
    for ((i = 0; i < 1000; i++)); do
        [ "0$(grep -cs "^step" "$top/out")" -ge "$2" ] && break
        sleep 0.02
    done
    pkill -USR1 -P $! -x mpirun # which hands it to all ranks
    wait $!
    grep -q 'stopped by signal .* goes on from there' "$top/out" || fail "$1: a signal after $2 steps"
}

for mode in interleaved joint concurrent; do
    train "$mode-whole" $mode || fail "$mode: it does not train"
    stopped $mode 2
    at=$(ls "$top/$mode-stopped/checkpoints" | tail -1)
    stopped $mode 3
    [ "$at" != "$(ls "$top/$mode-stopped/checkpoints" | tail -1)" ] || fail "$mode: it did not go on"
    train "$mode-stopped" $mode || fail "$mode: it does not end"
    if "$TESSERA" ckpt diff "$top/$mode-whole" "$top/$mode-stopped" >"$top/out" 2>&1 && ! grep -q '^state:' "$top/out" && grep -q '^no array differs' "$top/out"; then
        ok "$mode, stopped twice, has the same bits"
    else
        fail "$mode: not the same bits"
    fi
done
[ $failures = 0 ]
