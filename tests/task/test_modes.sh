#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# Modes of a run: with and without evaluations, followed by another job, ended early, by averages; a run with all of it
# that is interrupted equals one that is not, to the bit; what is wrong is said before the first step.
set -u
. tests/program.sh
cat >"$top/job.yaml" <<YAML
run: {dir: $top/run, steps: 24, log: 4 steps, evaluate: 8 steps, threads: 1}
backbone: {layers: 2, heads: 2, width: 32, context: 16}
learner:
  optimizer: {type: lion, rate: 1e-3}
  optimizers: {rest: {parameters: "/bias$|/scale$", type: adafactor, rate: 0.01}}
  ema: {decay: 0.9, evaluate: true}
tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, batch: 8, validation: 0.05}}}
checkpoint: {every: 8 steps, keep: {latest: 0}}
YAML
says() { # says WHAT WORDS ARGUMENT...: the run fails, and says the words
    local what=$1 words=$2
    shift 2
    if ranks 1 train "$top/job.yaml" "$@" >"$top/out" 2>&1; then fail "$what: it ran"
    elif grep -qF -- "$words" "$top/out"; then ok "$what"
    else fail "$what: not said: $words"; fi
}
value() { awk -F'\t' -v name="$2" '$(NF-2) == name { print $(NF-1) }' "$1"; }

# ---- what is wrong is said before the first step, and leaves nothing behind

says 'no steps' 'run.steps: ' run.steps=0
says 'a metric that is none' 'early_stop.by: no evaluation gives lm/los; there are lm/loss' early_stop.by=lm/los
says 'a metric of the best' 'checkpoint.keep.by: no evaluation gives lm/x' checkpoint.keep.best=1 checkpoint.keep.by=lm/x
says 'a metric without evaluations' 'there is none' run.mode=train early_stop.by=lm/loss
[ ! -e "$top/run/log.txt" ] && ok 'nothing is left behind' || fail 'nothing is left behind'

# ---- training and evaluating, followed from its first checkpoint on

timeout -k 5 60 mpirun --oversubscribe --bind-to none -n 1 "$TESSERA" eval --follow "$top/job.yaml" run.timeout=50 >"$top/followed" 2>"$top/follow.err" </dev/null &
follower=$!
if ranks 2 train "$top/job.yaml" >"$top/out" 2>&1; then ok 'trains and evaluates'; else fail 'trains and evaluates'; fi
if wait $follower && grep -q 'the run has ended; step 24' "$top/follow.err"; then ok 'the follower ends with the run'; else
    cat "$top/follow.err"; fail 'the follower ends with the run'
fi
grep -q '"outcome": "done"' "$top/run/run.json" && grep -q "\"host\": \"$(hostname)\"" "$top/run/run.json" && ok 'the run is recorded' || fail 'the run is recorded'
grep -q '% of peak' "$top/run/log.txt" && ok 'says how fast it is' || fail 'says how fast it is'
for part in train eval_lm; do
    if ls "$top/run/summaries/$part"/events.out.tfevents.* >/dev/null 2>&1; then ok "summaries of $part"; else fail "summaries of $part"; fi
done
ranks 1 eval "$top/job.yaml" >"$top/eval" 2>"$top/out" || fail 'evaluates the last checkpoint'
trained=$(grep '"kind":"eval"' "$top/run/metrics.jsonl" | tail -1 | grep -o '"lm/loss":[0-9.]*' | cut -d: -f2)
followed=$(awk '$1 == 24' "$top/followed" >"$top/last"; value "$top/last" loss)
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a > 0 && b > 0 && d < 1e-4 && d > -1e-4) }'; }
near "$trained" "$(value "$top/eval" loss)" && ok "averages: $trained while training, the same by eval" || fail "averages: '$trained' while training, '$(value "$top/eval" loss)' by eval"
near "$trained" "$followed" && ok 'and by the follower' || fail "and by the follower: '$followed'"
ranks 1 eval "$top/job.yaml" learner.ema.evaluate=false >"$top/plain" 2>"$top/out" || fail 'evaluates without averages'
near "$trained" "$(value "$top/plain" loss)" && fail 'parameters have another loss than averages' || ok 'parameters have another loss than averages'

# ---- interrupted at step 8, it ends with the same bits

ranks 2 train "$top/job.yaml" run.dir="$top/again" run.steps=8 >"$top/out" 2>&1 || fail 'a part of the run'
ranks 2 train "$top/job.yaml" run.dir="$top/again" >"$top/out" 2>&1 || fail 'the rest of the run'
if ranks 1 ckpt diff "$top/run/checkpoints/step_00000024" "$top/again/checkpoints/step_00000024" >"$top/out" 2>&1; then
    ok 'resumed, parameters, optimizer state and averages are the same bits'
else
    fail 'resumed, parameters, optimizer state and averages are the same bits'
fi

# ---- without evaluations; ended early; and not gone on with

ranks 1 train "$top/job.yaml" run.dir="$top/alone" run.mode=train >"$top/out" 2>&1 || fail 'trains alone'
grep -q validation "$top/alone/log.txt" && fail 'mode train evaluates nothing' || ok 'mode train evaluates nothing'
early=(run.dir="$top/early" early_stop.by=lm/loss early_stop.better=higher early_stop.patience=2 run.evaluate='2 steps')
ranks 2 train "$top/job.yaml" "${early[@]}" >"$top/out" 2>&1 || fail 'ends early'
if grep -q 'early stop after step 6: lm/loss was best at step 2' "$top/out" && [ -e "$top/early/checkpoints/step_00000006/COMMIT" ]; then
    ok 'ends early, with a checkpoint'
else
    fail 'ends early, with a checkpoint'
fi
ranks 2 train "$top/job.yaml" "${early[@]}" >"$top/out" 2>&1 && grep -q 'nothing to do: step 6' "$top/out" && ok 'and stays ended' || fail 'and stays ended'
[ $failures = 0 ]
