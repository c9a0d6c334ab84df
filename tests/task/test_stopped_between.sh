#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# A run that is told to end while it evaluates, while it decodes, and again while it saves: it leaves at once, nothing that
# it learned is lost, it ends with code 8, and the same command goes on from there to the same bits.
set -u
. tests/program.sh

cat >"$top/job.yaml" <<'YAML'
run: {seed: 4, threads: 1, log: 1 steps, evaluate: never, steps: 6}
backbone: {type: transformer, layers: 2, heads: 2, width: 32, context: 2048}
learner: {optimizer: {type: adamw, rate: 3e-3}}
tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, validation: 0.9, batch: 2, length: 8}}}
decode: {prompts: ["Alice "], max_decode_steps: 2000}
checkpoint: {every: never}
YAML

# told NAME SIGNALS WORD…: trains until step 3 is said, behind which the run is busy for long, and then sends so many signals.
told() {
    local name=$1 signals=$2 i code
    shift 2
    : >"$top/out"
    timeout -k 5 100 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" train "$top/job.yaml" run.dir="$top/$name" "$@" </dev/null >"$top/out" 2>&1 &
    for ((i = 0; i < 2000; i++)); do
        grep -qs '^step     3/' "$top/out" && break
        sleep 0.02
    done
    for ((i = 0; i < signals; i++)); do
        sleep 0.1
        pkill -USR1 -P $! -x mpirun
    done
    wait $!
    code=$?
    [ $code = 8 ] || fail "$name: it ends with code $code"
    grep -q "stopped by signal 10 after step $stop; the same command goes on from there" "$top/out" || fail "$name: it does not stop after step $stop"
    [ -e "$top/$name/checkpoints/step_0000000$stop/COMMIT" ] || fail "$name: step $stop is not committed"
    works 2 train "$top/job.yaml" run.dir="$top/$name" run.mode=train
    grep -q "^going on after step $stop\$" "$top/out" || fail "$name: it does not go on from step $stop"
    ends 0 '^no array differs' 1 ckpt diff "$top/whole" "$top/$name"
}

works 2 train "$top/job.yaml" run.dir="$top/whole" run.mode=train
stop=3
told evaluating 1 run.evaluate='3 steps'
! grep -q 'step     3  validation' "$top/evaluating/log.txt" || fail 'the evaluation went on to its end'
told decoding 1 run.decode_every='3 steps' decode.prompts='["Alice "]'
told twice 3 run.evaluate='3 steps'
[ $failures = 0 ]
