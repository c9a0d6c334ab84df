#!/usr/bin/env bash
# ranks: 3
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# What tasks share of their trunks, by path: one trunk, parts of one, trunks of their own, residual adapters of each task
# in a trunk that is frozen; joint and side by side alike, gone on with on other ranks; what cannot be shared is said.
set -u
. tests/program.sh

printf 'text,label\n' >"$top/d.csv"
for i in 1 2 3 4 5 6 7 8; do printf 'abc%sde,%s\nb%sad,%s\n' "$i" $((i % 2)) "$i" $((i % 3 % 2)); done >>"$top/d.csv"
cat >"$top/job.yaml" <<YAML
run: {seed: 3, steps: 6, log: 1 step, evaluate: 3 steps, threads: 1, precision: f64}
backbone: {type: transformer, layers: 2, heads: 2, width: 16, context: 16}
learner: {optimizer: {type: adamw, rate: 1e-2}}
tasks:
  lm: {type: language_model, data: {text: tests/data/alice.txt, batch: 4, length: 16, validation: 0.001}}
  cls: {type: sequence_classification, data: {files: [$top/d.csv], tokenizer: bytes, batch: 4, length: 16, split: {type: fraction, validation: 0.2}}}
mixture: {mode: joint}
checkpoint: {every: never, asynchronous: false}
YAML
words=(train "$top/job.yaml")
paths() { # paths RUN: those of its parameters
    "$TESSERA" ckpt show "$1" 2>>"$top/out" | sed -n 's|^parameters/\([^ ]*\) .*|\1|p'
}
has() { # has RUN PATTERN COUNT
    local found
    found=$(paths "$1" | grep -c -- "$2")
    [ "$found" = "$3" ] || fail "$1: $found parameters are like $2, expected $3"
}
# alike NAME [override...]: joint on one rank, concurrent on three, and interrupted after step 2, learn the same.
alike() {
    local name=$1 off
    shift
    works 1 "${words[@]}" "run.dir=$top/$name" "$@"
    works 3 "${words[@]}" "run.dir=$top/$name.side" mixture.mode=concurrent "$@"
    works 2 "${words[@]}" "run.dir=$top/$name.half" mixture.mode=concurrent run.steps=2 "$@"
    works 3 "${words[@]}" "run.dir=$top/$name.half" mixture.mode=concurrent "$@"
    for other in side half; do
        off=$("$TESSERA" ckpt diff "$top/$name" "$top/$name.$other" 2>/dev/null | tee "$top/out" |
            sed -n 's/^parameters.* differ, by \([0-9.e+-]*\) at most.*/\1/p' | awk '{ if ($1 + 0 > most) most = $1 + 0; n++ } END { print n ? most : "none" }')
        awk -v off="$off" 'BEGIN { exit !(off != "none" && off + 0 < 1e-11) }' || fail "$name: $other is off by $off"
    done
}

alike one
has "$top/one" '^backbone/layer_' 32
has "$top/one" '^tasks/cls/backbone/' 0

alike part 'tasks.cls.own=["layer_01/", "^backbone/norm/"]'
has "$top/part" '^backbone/layer_' 32
has "$top/part" '^tasks/cls/backbone/layer_01/' 16
has "$top/part" '^tasks/cls/backbone/norm/' 2
has "$top/part" '^tasks/cls/backbone/' 18

alike deeper 'tasks.cls.backbone={type: transformer, layers: 3, heads: 2, width: 16, context: 16}' 'tasks.cls.own=["layer_02/"]'
has "$top/deeper" '^backbone/layer_' 32
has "$top/deeper" '^tasks/cls/backbone/layer_02/' 16

alike other 'tasks.cls.backbone={type: conv1d, layers: 2, width: 24, context: 16}' tasks.cls.data.tokenizer=characters
has "$top/other" '^tasks/cls/backbone/.*convolution/kernel' 2
has "$top/other" '^backbone/layer_' 32

# A trunk that is frozen, with a residual adapter a task.
alike adapters init_from.path="$top/one" fine_tune.mode=adapters fine_tune.width=4
has "$top/adapters" '^tasks/lm/residual/' 12
has "$top/adapters" '^tasks/cls/residual/' 12
has "$top/adapters" '^backbone/' 0

alike lora init_from.path="$top/one" fine_tune.mode=lora fine_tune.r=2 'fine_tune.targets="attention/"'

says 'tasks.cls: parameter backbone/tokens/table is f64 .128, 16. here and f64 .256, 16. where it was declared first' 2 "${words[@]}" "run.dir=$top/bad" \
    'tasks.cls.backbone={type: transformer, layers: 2, heads: 2, width: 16, context: 16, vocab: 128}' 'tasks.cls.own=["layer_01/"]' tasks.cls.data.tokenizer=characters
says 'tasks.cls: own: "layer_09" is found in the path of no parameter of the backbone' 1 "${words[@]}" "run.dir=$top/bad" 'tasks.cls.own=["layer_09"]'
says 'tasks.cls: .*layer_0' 1 "${words[@]}" "run.dir=$top/bad" 'tasks.cls.own=["layer_0("]'

[ $failures = 0 ]
