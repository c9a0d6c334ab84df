#!/usr/bin/env bash
# ranks: 1
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# When a run saves and what it keeps, by each of the rules of `checkpoint`, as a user finds it on disk and as
# `tessera ckpt ls` explains it.
set -u
. tests/program.sh

cat >"$top/job.yaml" <<'YAML'
run: {seed: 1, threads: 1, log: never, evaluate: never, steps: 10}
backbone: {type: transformer, layers: 1, heads: 2, width: 16, context: 8}
learner: {optimizer: {type: adamw, rate: 3e-2}}
tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, tokenizer: bytes, validation: 0.005, batch: 4}}}
checkpoint: {every: never, last: false, keep: {latest: 0}}
YAML
train() { # train RUN WORDS…
    local run=$1
    shift
    timeout 60 "$TESSERA" train "$top/job.yaml" "run.dir=$top/$run" "$@" </dev/null >"$top/out" 2>&1
}
steps() { ls "$top/$1/checkpoints" 2>/dev/null | sed -n 's/^step_0*\([0-9]*\)$/\1/p' | sort -n | xargs; }
# saves NAME STEPS WORDS…: a run with these words leaves the checkpoints of just these steps.
saves() {
    local name=$1 expected=$2
    shift 2
    train "$name" "$@" || fail "$name: it does not train"
    [ "$(steps "$name")" = "$expected" ] || fail "$name: steps $(steps "$name"), should be $expected"
}
# because NAME STEP WORDS: ls says so of why it is kept.
because() {
    "$TESSERA" ckpt ls "$top/$1" >"$top/out" 2>&1
    grep -qE "^ +$2 .* committed +$3( |\$)" "$top/out" || fail "$1: step $2 is not kept because of $3: $(cat "$top/out")"
}

# ---- when

saves never ''
saves last 10 checkpoint.last=true
saves every '3 6 9' 'checkpoint.every=3 steps'
saves given '2 7' 'checkpoint.steps=[7, 2]'
saves any '2 4 5 8 10' 'checkpoint.every=4 steps' 'checkpoint.steps=[5, 2]' checkpoint.last=true
train time run.steps=3000 checkpoint.every='0.05 s' || fail "time: it does not train"
[ "$(steps time | wc -w)" -ge 2 ] && [ "$(steps time | wc -w)" -lt 1500 ] || fail "every 0.05 s: steps $(steps time)"
train time2 run.steps=3000 checkpoint.every='2999 steps' checkpoint.every_time='0.05 s' || fail "time: it does not train"
[ "$(steps time2 | wc -w)" -ge 3 ] && [[ " $(steps time2) " == *" 2999 "* ]] || fail "every_time 0.05 s: steps $(steps time2)"

# a signal that asks for the end, as before a preemption
for on_stop in true false; do
    rm -f "$top/out"
    train "stop-$on_stop" run.steps=100000000 "run.log=1 steps" checkpoint.on_stop=$on_stop &
    for ((i = 0; i < 500; i++)); do grep -qs '^step' "$top/out" && break; sleep 0.02; done
    kill -TERM "$(pgrep -f "run.dir=$top/stop-$on_stop " | while read -r pid; do [ "$(ps -o comm= -p "$pid")" = tessera ] && echo "$pid"; done)"
    wait $!
    code=$?
    [ $code = 8 ] || fail "a signal: code $code, should be 8"
done
[ "$(steps stop-true | wc -w)" = 1 ] || fail "a signal does not save: $(steps stop-true)"
[ -z "$(steps stop-false)" ] || fail "on_stop: false saves: $(steps stop-false)"

# ---- what stays

every='checkpoint.every=1 steps'
saves latest '9 10' "$every" checkpoint.keep.latest=2
because latest 9 latest
saves multiples '4 8 10' "$every" checkpoint.keep.latest=1 'checkpoint.keep.every=4 steps'
because multiples 4 'every 4 steps'
because multiples 10 latest
saves some '3 5 10' "$every" checkpoint.keep.latest=1 'checkpoint.keep.steps=[3, 5]'
because some 3 'given step'
saves apart '1 10' "$every" checkpoint.keep.latest=1 'checkpoint.keep.every_time=1 h'
because apart 1 'every 3600 s'

# ---- the best by a metric of evaluation, whose checkpoints are each evaluated
for better in lower higher; do
    train "best-$better" "$every" checkpoint.keep.latest=1 checkpoint.keep.best=2 checkpoint.keep.by=lm/loss checkpoint.keep.better=$better ||
        fail "best, $better: it does not train"
    [ $better = lower ] && order=-g || order=-gr
    expected=$(grep '"kind":"eval"' "$top/best-$better/metrics.jsonl" | sed -E 's/.*"step":([0-9]+).*"lm\/loss":([0-9.]+).*/\2 \1/' |
        sort $order | head -2 | { cut -d' ' -f2; echo 10; } | sort -nu | xargs)
    [ "$(steps "best-$better")" = "$expected" ] || fail "best, $better: steps $(steps "best-$better"), should be $expected"
    because "best-$better" "${expected%% *}" '(latest, )?best lm/loss'
done
first=$(steps best-lower | cut -d' ' -f1)
train best-lower "$every" checkpoint.keep.latest=1 checkpoint.keep.best=2 checkpoint.keep.by=lm/loss run.steps=12 || fail "best: it does not go on"
[ "$(steps best-lower | wc -w)" -le 3 ] && [[ " $(steps best-lower) " == *" 12 "* ]] || fail "best, gone on: $(steps best-lower), first $first"

# ---- which configuration it was

hash() { sed -n 's/.*"config_hash": "\([0-9a-f]*\)".*/\1/p' "$top/$1"/checkpoints/step_*/manifest.json | sort -u; }
[ "$(hash latest | wc -w)" = 1 ] && [ "$(hash latest)" != "$(hash some)" ] || fail "config_hash: $(hash latest), $(hash some)"
before=$(hash last)
train last checkpoint.last=true run.steps=11 || fail "last: it does not go on"
[ "$(hash last | grep -c "$before")" = 1 ] && [ "$(hash last | wc -w)" = 2 ] || fail "config_hash, gone on with: $(hash last)"
[ $failures = 0 ]
