#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# Initial weights from another run's checkpoint: as they are, by rules, with its optimizer and step; what does not fit
# is listed, with the nearest names; where each array came from is in every checkpoint that follows.
set -u
. tests/program.sh

# A rate of 0 leaves parameters as they were initialized.
words=(train jobs/line.yaml run.threads=1 run.log=never run.evaluate=never run.steps=2 learner.optimizer.decay=0
    backbone.width=32 backbone.context=16 tasks.lm.data.length=16)
still=(learner.optimizer.rate=0 backbone.layers=1)

norm() { norm_of "$1" "parameters/$2"; }

works 2 "${words[@]}" "run.dir=$top/base" backbone.layers=1
works 1 "${words[@]}" "run.dir=$top/deep" backbone.layers=2 run.seed=5

# As it is: the same parameters to the bit, on other ranks.
works 1 "${words[@]}" "${still[@]}" "run.dir=$top/same" "init_from.path=$top/base" run.seed=9
grep -q 'initialized [0-9]* of [0-9]* arrays from .*/base/checkpoints/step_00000002' "$top/out" || fail "it does not say from where"
runs 1 ckpt diff "$top/same" "$top/base"
grep '^parameters/' "$top/out" && fail "parameters differ"
manifest=$top/same/checkpoints/step_00000002/manifest.json
grep -q '"initialized"' "$manifest" && grep -q '"parameters/backbone/tokens/table": "parameters/backbone/tokens/table"' "$manifest" ||
    fail "the manifest does not say where arrays come from"
works 1 "${words[@]}" "${still[@]}" "run.dir=$top/same" "init_from.path=$top/base" run.seed=9 run.steps=3 # goes on, and keeps saying so
grep -q 'going on after step 2' "$top/out" && ! grep -q 'initialized' "$top/out" || fail "it began anew"
grep -q '"initialized"' "$top/same/checkpoints/step_00000003/manifest.json" || fail "the next checkpoint has forgotten"

# By rules, from several arrays of another name; with optimizer and step.
works 2 "${words[@]}" "${still[@]}" "run.dir=$top/moved" "init_from.path=$top/deep/checkpoints/step_00000002" \
    'init_from.rules=[["layer_00/(.*)$","backbone/layer_01/$1"],["(.*)","$1"]]' init_from.allow_unused=true \
    init_from.load_step=true init_from.load_optimizer=true run.steps=3
for name in attention/out/kernel feed_forward/up/bias; do
    [ "$(norm "$top/moved" "backbone/layer_00/$name")" = "$(norm "$top/deep" "backbone/layer_01/$name")" ] || fail "$name is another"
done
[ -d "$top/moved/checkpoints/step_00000003" ] && [ "$(ls "$top/moved/checkpoints")" = step_00000003 ] || fail "the step was not loaded"

# Averages: from the source where it has them; else, or where they are not wanted, the weights that were taken.
average() { norm_of "$1" average/backbone/tokens/table; }
works 2 "${words[@]}" "run.dir=$top/averaged" backbone.layers=1 learner.ema.decay=0.999 learner.optimizer.rate=0.1
[ "$(average "$top/averaged")" != "$(norm "$top/averaged" backbone/tokens/table)" ] || fail "averages that are the parameters say nothing"
for from in averaged base; do
    for load in true false; do
        run=$top/$from-$load
        works 2 "${words[@]}" "${still[@]}" learner.ema.decay=0 "run.dir=$run" "init_from.path=$top/$from" init_from.load_ema=$load \
            init_from.load_step=true "checkpoint.every=1 steps" run.steps=3 learner.skip_above=1e-30 learner.skip_limit=100
        expected=$(norm "$top/$from" backbone/tokens/table)
        [ $from-$load = averaged-true ] && expected=$(average "$top/averaged")
        [ "$(average "$run")" = "$expected" ] || fail "$from, load_ema=$load: the average is $(average "$run"), should be $expected"
    done
done

# What does not fit.
says 'nobody asks for 16 of its arrays: parameters/backbone/layer_01/' 2 "${words[@]}" "${still[@]}" "run.dir=$top/no" "init_from.path=$top/deep"
says 'nothing to initialize 16 arrays from: parameters/backbone/layer_01/.* \(from .*; did you mean parameters/backbone/layer_00/' \
    1 "${words[@]}" "run.dir=$top/no" backbone.layers=2 "init_from.path=$top/base"
says 'init_from.rules: "laier" is found in no name' 1 "${words[@]}" "${still[@]}" "run.dir=$top/no" "init_from.path=$top/base" 'init_from.rules=[["laier","x"],["(.*)","$1"]]'
says 'init_from.ignore: "laier" is found in no name' 1 "${words[@]}" "${still[@]}" "run.dir=$top/no" "init_from.path=$top/base" 'init_from.ignore=[laier]'
says 'expected \[pattern, template\], found a list of 3' 1 "${words[@]}" "${still[@]}" "run.dir=$top/no" "init_from.path=$top/base" 'init_from.rules=[[a,b,c]]'
says '"\(" is not a regular expression' 1 "${words[@]}" "${still[@]}" "run.dir=$top/no" "init_from.path=$top/base" 'init_from.ignore=["("]'
says 'init_from: .*/none: no checkpoint: No such file' 1 "${words[@]}" "${still[@]}" "run.dir=$top/no" "init_from.path=$top/none"
says 'init_from: .*step_00000007: no checkpoint' 1 "${words[@]}" "${still[@]}" "run.dir=$top/no" "init_from.path=$top/base" init_from.step=7
says 'is f32 .* there and f64 .* here' 1 "${words[@]}" "${still[@]}" "run.dir=$top/no" "init_from.path=$top/base" run.precision=f64
works 1 "${words[@]}" "${still[@]}" "run.dir=$top/wide" "init_from.path=$top/base" run.precision=f64 init_from.cast=true
[ "$(norm "$top/wide" backbone/tokens/table)" = "$(norm "$top/base" backbone/tokens/table)" ] || fail "another norm in f64"
works 1 "${words[@]}" run.dir="$top/part" backbone.layers=2 "init_from.path=$top/base" 'init_from.ignore=[layer_01]'

[ $failures = 0 ]
