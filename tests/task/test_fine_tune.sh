#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# Fine-tuning of a run's backbone: checkpoints hold what was learned and say where the rest is; evaluation, decoding and
# going on find it there; export merges; on two ranks along model and with parameters cut along data it learns the same.
set -u
. tests/program.sh

words=(train jobs/line.yaml run.threads=1 run.log=1 run.steps=3 learner.optimizer.rate=0.01 backbone.layers=1
    backbone.width=32 backbone.context=16 tasks.lm.data.length=16 tasks.lm.data.batch=8 run.precision=f64)
lora=(init_from.path="$top/base" fine_tune.mode=lora fine_tune.r=4 'fine_tune.targets="attention/|feed_forward/"')

validation() { sed -n 's/.*validation.*lm: loss \([0-9.]*\),.*/\1/p' "$top/out" | tail -1; }
evaluated() { # evaluated WORDS…: the loss that eval prints
    timeout 60 "$TESSERA" eval "$@" 2>"$top/out" | awk '$2 == "loss" { printf "%.4f", $3 }'
}

works 1 "${words[@]}" "run.dir=$top/base"

# What is kept, and what learns.
works 1 "${words[@]}" "run.dir=$top/lora" "${lora[@]}"
loss=$(validation)
"$TESSERA" ckpt show "$top/lora" >"$top/out"
[ "$(grep -c '/lora_[ab]  ' "$top/out")" = $((3 * 12)) ] || fail "not 12 matrices with their means and variances"
grep '^parameters/\|^optimizer/' "$top/out" | grep -v '/lora_[ab]  ' && fail "the checkpoint holds more than was learned"
[ "$(evaluated "$top/lora/config.yaml")" = "$loss" ] || fail "evaluation is not that of the run: $loss"
works 1 decode "$top/lora/config.yaml" --prompt Alice decode.max_decode_steps=3

# On two ranks: heads cut along model; ZeRO-3. Base, A and B lie elsewhere; nothing else changes.
works 2 "${words[@]}" "run.dir=$top/model" "${lora[@]}" mesh.model=2
[ "$(validation)" = "$loss" ] || fail "mesh.model=2 learns otherwise: $loss"
works 2 "${words[@]}" "run.dir=$top/zero3" "${lora[@]}" parameters.shard=data
[ "$(validation)" = "$loss" ] || fail "ZeRO-3 learns otherwise: $loss"

# Going on, on other ranks, is as if nothing had been.
works 2 "${words[@]}" "run.dir=$top/half" "${lora[@]}" learner.schedule.steps=3 run.steps=2
works 1 "${words[@]}" "run.dir=$top/half" "${lora[@]}" learner.schedule.steps=3
[ "$(validation)" = "$loss" ] || fail "a run that went on learns otherwise: $loss"

# Merged, it is a model of its own.
works 2 ckpt export "$top/lora" "$top/exported"
works 1 ckpt import "$top/exported" "$top/merged"
[ "$(evaluated "$top/base/config.yaml" "run.dir=$top/merged" run.precision=f32)" = "$loss" ] || fail "merged it is another: $loss"

# The base has moved; is gone.
mv "$top/base" "$top/moved"
says "the base of this run, step 3 of .*, is not there any more; init_from.path=DIR" 1 eval "$top/lora/config.yaml"
[ "$(evaluated "$top/lora/config.yaml" "init_from.path=$top/moved")" = "$loss" ] || fail "the base that moved is not found"
mv "$top/moved" "$top/base"

# The other modes; step 0 is the base.
base=$(evaluated "$top/base/config.yaml")
for mode in adapters frozen; do
    runs 1 "${words[@]}" "run.dir=$top/$mode" "init_from.path=$top/base" "fine_tune.mode=$mode"
    if [ $mode = frozen ]; then
        grep -q 'error: .*nothing is learned' "$top/out" || fail "all is frozen, and nobody says so"
        continue
    fi
    learned=$(validation)
    [ "$(evaluated "$top/$mode/config.yaml")" = "$learned" ] || fail "evaluation of $mode is not that of the run"
    "$TESSERA" ckpt show "$top/$mode" >"$top/out"
    grep -q '^parameters/tasks/lm/residual/layer_00/up/kernel' "$top/out" || fail "no adapters"
    says "residual adapters .* no other program" 1 ckpt export "$top/$mode" "$top/refused"
    works 1 "${words[@]}" "run.dir=$top/$mode-still" "init_from.path=$top/base" "fine_tune.mode=$mode" \
        learner.optimizer.rate=0
    [ "$(validation)" = "$base" ] || fail "$mode does not begin as its base: $base"
done

# Gradually: what waits does not move, nor count, until its step; then it does.
moved() { # moved RUN REGEX: how many parameters of that name differ from those of the base
    "$TESSERA" ckpt diff "$1" "$top/base" 2>"$top/out" | grep '^parameters/' | grep -c "$2"
}
waits='fine_tune.unfreeze=[{parameters: "layer_00/", step: 3}]'
works 1 "${words[@]}" "run.dir=$top/slow" "init_from.path=$top/base" "$waits" run.steps=2
[ "$(moved "$top/slow" layer_00)" = 0 ] || fail "layer_00 moves before its step"
[ "$(moved "$top/slow" tokens/table)" = 1 ] || fail "what does not wait does not move"
works 2 "${words[@]}" "run.dir=$top/slow" "init_from.path=$top/base" "$waits" run.steps=3
[ "$(moved "$top/slow" layer_00)" -ge 12 ] || fail "layer_00 does not move from its step on: $(moved "$top/slow" layer_00)"
says 'fine_tune.unfreeze: "nowhere" is found in the path of no parameter that learns' 1 "${words[@]}" "run.dir=$top/bad" \
    'fine_tune.unfreeze=[{parameters: nowhere, step: 3}]'

# The memory of the optimizer counts what learns.
state() { "$TESSERA" plan jobs/line.yaml "$@" 2>&1 | awk '/optimizer/ { print $0 }' | head -1; }
[ "$(state)" != "$(state fine_tune.mode=lora)" ] || fail "plan counts the same optimizer state: $(state)"

says 'fine_tune.targets: "nowhere" is found in the path of no linear layer' 1 "${words[@]}" "run.dir=$top/bad" \
    "${lora[@]}" fine_tune.targets=nowhere
says 'fine_tune: targets: .*\(' 1 "${words[@]}" "run.dir=$top/bad" "${lora[@]}" 'fine_tune.targets="("'
says 'fine_tune.r: ' 1 "${words[@]}" "run.dir=$top/bad" "${lora[@]}" fine_tune.r=0
says 'fine_tune.mode: ' 1 "${words[@]}" "run.dir=$top/bad" fine_tune.mode=some
[ ! -e "$top/bad/checkpoints" ] || fail "an error left checkpoints"

[ $failures = 0 ]
