#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 120 s
#
# What a run shows while it learns: texts that it continues, histograms, a line of progress that is rewritten in place.
# None of it changes what is learned, and the texts are those that `tessera decode` writes.
set -u
. tests/program.sh

cat >"$top/job.yaml" <<'YAML'
run: {seed: 3, threads: 1, evaluate: never, steps: 6, log: 2 steps}
backbone: {type: transformer, layers: 1, heads: 2, width: 32, context: 32, dropout: 0.1}
learner: {optimizer: {type: adamw, rate: 3e-3}, ema: {decay: 0.9, evaluate: true}}
tasks:
  lm: {type: language_model, data: {text: tests/data/alice.txt, validation: 0.02, batch: 8, length: 16}}
  more: {type: language_model, data: {text: tests/data/alice.txt, validation: 0, batch: 4, length: 16}}
decode: {prompts: ["Alice ", "the"], max_decode_steps: 9, samples: 2}
checkpoint: {every: 3 steps, keep: {latest: 0}}
YAML
watched=("run.decode_every=3 steps" "run.histograms=2 steps")
works 2 train "$top/job.yaml" run.dir="$top/plain"
works 2 train "$top/job.yaml" run.dir="$top/watched" "${watched[@]}"
cp "$top/out" "$top/shown"
works 1 train "$top/job.yaml" run.dir="$top/alone" run.steps=3 "${watched[@]}"
works 2 train "$top/job.yaml" run.dir="$top/joint" mixture.mode=joint "${watched[@]}"
ends 0 '^no array differs' 1 ckpt diff "$top/plain" "$top/watched"
! grep -qa '^state' "$top/out" || fail 'a run that is watched has another state'

# ---- texts, of both tasks, before the first step, every third, and at the end once
texts() { grep '"kind":"decode"' "$top/$1/metrics.jsonl" | sed -nE 's/.*"step":'"$2"',"task":"lm".*("prompt".*)/\1/p' | grep -o '"text":"[^"]*"'; }
count=$(grep -c '"kind":"decode"' "$top/watched/metrics.jsonl")
[ "$count" = 12 ] || fail "$count prompts were continued, should be 3 times 2 by 2 tasks"
[ "$(grep -ac '^step     3  decoded  lm: "Alice " | "' "$top/shown")" = 2 ] || fail "texts are not shown: $(grep -a decoded "$top/shown")"
for step in 3 6; do
    mkdir -p "$top/at$step/checkpoints" && cp -r "$top/watched/checkpoints/step_0000000$step" "$top/at$step/checkpoints/"
    runs 1 decode "$top/job.yaml" run.dir="$top/at$step" --json --prompt 'Alice ' --prompt the
    [ "$(texts watched $step | wc -l)" = 4 ] && [ "$(texts watched $step)" = "$(grep -o '"text": "[^"]*"' "$top/out" | sed 's/: /:/')" ] ||
        fail "step $step: not the texts that decode writes: $(texts watched $step)"
done
[ "$(texts alone 0)" = "$(texts watched 0)" ] || fail "on 1 rank other texts"
says 'decode.prompts is empty' 1 train "$top/job.yaml" run.dir="$top/none" 'run.decode_every=3 steps' 'decode.prompts=[]'
says 'prompt 0 has 40 tokens, more than the context of 32' 1 train "$top/job.yaml" run.dir="$top/none" 'run.decode_every=3 steps' \
    "decode.prompts=[$(printf 'x%.0s' {1..40})]"

# ---- progress: lines where nobody sees a terminal; on one, a line in its place, below what else is said
grep -qa $'\r' "$top/shown" && fail 'a file gets lines that are rewritten'
[ "$(grep -ac '^step     [246]/6  loss' "$top/shown")" = 3 ] || fail 'a file gets no lines of progress'
works 1 train "$top/job.yaml" run.dir="$top/line" run.progress=line 'run.evaluate=4 steps'
grep -qa $'^\r\033\\[Kstep     2/6 .* left\r\033\\[Kstep     4/6 .* left\r\033\\[Kstep     4  validation' "$top/out" &&
    [ "$(tail -n 1 "$top/out" | grep -ac '^step     6/6 .* left$')" = 1 ] || fail 'progress is not rewritten in place'
[ "$(grep -ac 'Z step     [246]/6 .* left$' "$top/line/log.txt")" = 3 ] && ! grep -qa $'\r' "$top/line/log.txt" ||
    fail 'the log file has other lines of progress'
if command -v script >/dev/null; then
    script -qc "'$TESSERA' train '$top/job.yaml' run.dir='$top/terminal'" "$top/typed" </dev/null >/dev/null 2>&1
    grep -qa $'\r\033\\[Kstep     4/6' "$top/typed" || fail 'progress is not rewritten on a terminal'
fi
[ $failures = 0 ]
