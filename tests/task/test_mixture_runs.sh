#!/usr/bin/env bash
# ranks: 4
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# Runs of a mixture: in every mode, a run that is stopped after any step and gone on with on other numbers of ranks takes
# the same tasks and examples as one that is not; tasks that end, that are one example or learn nothing keep nobody
# waiting; scores of each task and their average decide what is kept and when a run ends; what is wrong is said before
# the first step.
set -u
. tests/program.sh
has() { grep -qE -- "$1" "$top/out"; }

awk 'BEGIN {
    srand(5); print "text,label,value"
    for (i = 0; i < 60; i++) {
        word = ""; a = b = 0
        for (k = 0; k < 8; k++) { c = int(6 * rand()); word = word substr("abcdef", c + 1, 1); a += c == 0; b += c == 1 }
        print word "," a % 2 "," b
    }
}' >"$top/d.csv"
printf 'text,label,value\nabcab,1,2\n' >"$top/one.csv"
cat >"$top/job.yaml" <<YAML
run: {dir: $top/run, seed: 3, steps: 12, log: 4 steps, evaluate: never, threads: 1, precision: f64}
backbone: {layers: 1, heads: 2, width: 16, context: 16, dropout: 0.1}
learner: {optimizer: {type: adamw, rate: 1e-3}}
tasks:
  lm: {type: language_model, data: {text: tests/data/alice.txt, batch: 6, length: 16, validation: 0.01}}
  cls: {type: sequence_classification, weight: 2, data: &data {files: [$top/d.csv], tokenizer: bytes, batch: 4, length: 16, split: {type: fraction, validation: 0.2}}}
  reg: {type: sequence_regression, data: {files: [$top/d.csv], columns: {label: value}, tokenizer: bytes, batch: 3, length: 16, split: {type: fraction, validation: 0.2}}}
mixture: {mode: joint, recut: 3}
checkpoint: {every: never, asynchronous: false, verify: false}
YAML
sed -i 's/&data //' "$top/job.yaml"
# train RANKS DIR [override...]: a run that begins, or goes on, in DIR; of `fresh`, one that begins.
train() {
    local count=$1 dir=$2
    shift 2
    runs "$count" train "$top/job.yaml" run.dir="$top/$dir" "$@"
}
fresh() {
    rm -rf "${top:?}/$2"
    train "$@"
}

# ---- stopped after any step, gone on with on another number of ranks

# same NAME: the last checkpoints of whole and parts hold the same tasks, examples and, but for roundings, arrays; those
# of what a balance learned are in its numbers.
same() {
    "$TESSERA" ckpt diff "$top/whole" "$top/parts" >"$top/out" 2>&1
    local off
    off=$(sed -n 's/.* differ, by \([0-9.e+-]*\) at most.*/\1/p' "$top/out" | awk '{ if ($1 + 0 > most) most = $1 + 0; n++ } END { print n ? most : "nothing compared" }')
    ! has '^state: (tasks|step)' && ! has 'only in' &&
        awk -v off="$off" 'BEGIN { exit !(off + 0 < 1e-11 && off != "nothing compared") }' &&
        ok "$1: off by $off" || fail "$1: off by $off"
}
# parts NAME OVERRIDES MODE...: the whole by the first of the modes, on two ranks; the parts by one after another, on others.
parts() {
    local name=$1 words=$2 modes=("${@:3}") part k=0
    # shellcheck disable=SC2086
    fresh 2 whole mixture.mode="$3" $words && rm -rf "$top/parts" && for part in 1:1 5:3 7:4 12:3; do
        # shellcheck disable=SC2086
        train ${part#*:} parts --force mixture.mode="${modes[k++ % ${#modes[@]}]}" $words run.steps=${part%:*} || break
    done
    same "$name, stopped after steps 1, 5 and 7"
}
parts interleaved '' interleaved
parts 'joint, pcgrad' mixture.balance=pcgrad joint
parts 'concurrent, gradnorm' mixture.balance=gradnorm concurrent
parts 'now joint, now concurrent' 'mixture.batches=7 learner.ema.decay=0.9' joint concurrent
parts 'now concurrent, now joint' mixture.balance=uncertainty concurrent joint
fresh 2 whole mixture.mode=concurrent
places=$(grep -o '"place": [0-9]*' "$top/whole/checkpoints/step_00000012/manifest.json" | tr '\n' ' ')
check "a step of all takes a batch of each: $places" [ "$places" = '"place": 72 "place": 48 "place": 36 ' ]
fresh 2 whole mixture.mode=concurrent mixture.batches=8 mixture.by=steps
places=$(grep -o '"place": [0-9]*' "$top/whole/checkpoints/step_00000012/manifest.json" | tr '\n' ' ')
check "a step of eight batches takes them by weight: $places" [ "$places" = '"place": 144 "place": 192 "place": 72 ' ]

# ---- tasks that are unlike others

for mode in interleaved:2 joint:2 concurrent:3; do
    count=${mode#*:} mode=${mode%:*}
    fresh "$count" run mixture.mode="$mode" 'learner.freeze=[backbone, tasks/cls]' && has 'step    12/12'
    check "$mode: two tasks that learn nothing" [ $? = 0 ]
    fresh "$count" run mixture.mode="$mode" mixture.exhausted=drop mixture.epochs=8 mixture.balance=pcgrad \
        "tasks.cls.data.files=[$top/one.csv]" 'tasks.cls.data.split={type: fraction, validation: 0}' &&
        has 'step    12/12' && ! grep 'step    12/12' "$top/out" | grep -q ' cls '
    check "$mode: a task of one example, which ends" [ $? = 0 ]
    fresh "$count" run mixture.mode="$mode" mixture.exhausted=stop mixture.epochs=0.3 && has 'data are exhausted after step [3-9]'
    check "$mode: data that end the run" [ $? = 0 ]
done

# A task that has no room in its group is run by all ranks; one that has room in none is named.
room=(mixture.mode=concurrent mixture.scaling=0.5 tasks.lm.data.batch=32 memory.recompute=auto checkpoint.last=false)
fresh 2 run "${room[@]}" memory.limit=1000KiB && has 'warning: .*task lm: .*; all ranks run all tasks' && has 'step    12/12'
check 'groups that are too small' [ $? = 0 ]
rm -rf "$top/run"
says 'mixture.mode: concurrent: a task has no room in any group: task lm: ' 2 train "$top/job.yaml" "${room[@]}" memory.limit=20KiB
check 'a task with no room in any group ends before the first step' [ "$(grep -c '^step' "$top/out")" = 0 ]

# ---- evaluation

fresh 2 run run.evaluate='4 steps' mixture.mode=concurrent mixture.conflicts=true checkpoint.every='4 steps' checkpoint.keep.latest=1 \
    checkpoint.keep.best=2 checkpoint.keep.by=average/loss checkpoint.keep.better=higher tasks.lm.evaluation_weight=0 \
    tasks.reg.evaluation_weight=3
scores=$(awk '/"kind":"eval"/ && /"step":4[,}]/ {
    if (match($0, /"cls\/loss":[0-9.e-]+/)) cls = substr($0, RSTART + 11, RLENGTH - 11)
    if (match($0, /"reg\/loss":[0-9.e-]+/)) reg = substr($0, RSTART + 11, RLENGTH - 11)
    if (match($0, /"average\/loss":[0-9.e-]+/)) average = substr($0, RSTART + 15, RLENGTH - 15)
} END { d = average - (cls + 3 * reg) / 4; print (average > 0 && d < 1e-9 && d > -1e-9) ? "right" : "wrong: " cls " " reg " " average }' "$top/run/metrics.jsonl")
check "the average by weights: $scores" [ "$scores" = right ]
best=$(awk '/"kind":"eval"/ && match($0, /"average\/loss":[0-9.e-]+/) {
    average = substr($0, RSTART + 15, RLENGTH - 15) + 0; match($0, /"step":[0-9]+/); step = substr($0, RSTART + 7, RLENGTH - 7) + 0
    if (step < 12 && average > most) { most = average; best = step }
} END { printf "step_%08d step_00000012 ", best }' "$top/run/metrics.jsonl")
check "the best by average/loss stays: $best" [ "$(ls "$top/run/checkpoints" | tr '\n' ' ')" = "$best" ]
grep -q '"cls/grad_norm":[0-9]' "$top/run/metrics.jsonl" && grep -q '"lm/cls":-\?[0-9]' "$top/run/metrics.jsonl"
check 'gradients and conflicts are told' [ $? = 0 ]
runs 1 eval "$top/job.yaml" run.dir="$top/run" && has '^average	loss	'
check 'eval prints the average' [ $? = 0 ]
fresh 2 run run.evaluate='2 steps' tasks.cls.weight=0 tasks.reg.weight=0 tasks.reg.evaluation_batches=1 &&
    [ "$(grep -c '"kind":"eval"' "$top/run/metrics.jsonl")" = 24 ] && ! grep -q '"kind":"train".*"cls/loss"' "$top/run/metrics.jsonl" &&
    grep -q '"reg/loss":.*"weight":3.0' "$top/run/metrics.jsonl"
check 'one task is learned, three are evaluated' [ $? = 0 ]
# ends_early WHEN BY: the run ends after this step.
ends_early() {
    fresh 1 run run.evaluate='2 steps' early_stop.by="$2" early_stop.patience=2 early_stop.better=higher learner.optimizer.rate=1e-9 &&
        has "early stop after step $1: "
    check "early stop by $2 after $1" [ $? = 0 ]
}
ends_early 6 cls/accuracy
ends_early 6 all/accuracy
ends_early 6 average/loss

# ---- what is wrong

# refused WORDS [override...]: before the first step, on one rank; what depends on ranks is named by `says`.
refused() {
    local words=$1
    shift
    fresh 1 run "$@"
    one_error $? -F "$words" && [ "$(grep -c '^step' "$top/out")" = 0 ]
    check "refused: $words" [ $? = 0 ]
}
refused 'tasks.lm.weight: expected a number, at least 0, found "-1"' tasks.lm.weight=-1
refused 'tasks.lm.weight: expected a number, at least 0, found "nan"' tasks.lm.weight=nan
refused 'the rates of lm, cls, reg add up to 0: there is nothing to run' tasks.lm.weight=0 tasks.cls.weight=0 tasks.reg.weight=0
refused 'loss_weight of all tasks is 0' tasks.lm.loss_weight=0 tasks.cls.loss_weight=0 tasks.reg.loss_weight=0
refused 'mixtures.x contains itself, by way of y' 'mixture.of={lm: 1, x: 2}' 'mixture.mixtures={x: {of: {lm: 1, y: 1}}, y: {of: {x: 1}}}'
refused 'nothing is neither a task nor a mixture' 'mixture.of={lm: 1, nothing: 2}'
refused 'the tokenizers of tasks.lm and tasks.cls have 256 and' tasks.cls.data.tokenizer=characters
refused 'no evaluation gives average/accuracy; there are lm/loss' early_stop.by=average/accuracy
refused 'parameters.shard: mixture.mode: concurrent needs parameters whole along data' mixture.mode=concurrent parameters.shard=data
says 'concurrent cuts the ranks along data, and a pipeline along stage' 2 train "$top/job.yaml" mixture.mode=concurrent mesh.stage=2 \
    backbone.layers=2
cp "$top/job.yaml" "$top/good.yaml"
sed 's/^  reg:/  cls:/' "$top/good.yaml" >"$top/job.yaml"
refused 'the key cls is given twice, first in line 6'
sed 's/^  reg:/  average:/' "$top/good.yaml" >"$top/job.yaml"
refused 'tasks.average: the name means several tasks in names of metrics'
[ $failures = 0 ]
