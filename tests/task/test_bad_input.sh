#!/usr/bin/env bash
# ranks: 4
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# What a user can get wrong: one clear line, a code that is not 0, nothing hangs, and nothing is lost.
set -u
. tests/program.sh
trap 'umount "$top/tiny" 2>/dev/null; rm -rf "$top"' EXIT
count=2 # ranks
run() { runs $count "$@"; }

# verdict NAME GOOD: says it, with the output where it is bad.
verdict() {
    if [ "$2" = yes ]; then ok "$1"; else fail "$1"; fi
}

# said CODE WORDS: whether it ended with one error that says WORDS.
said() { one_error "$1" -F "$2" && echo yes; }

# expect NAME WORDS COMMAND...: ends with an error that says WORDS.
expect() {
    local name=$1 words=$2 code
    shift 2
    run "$@"
    code=$?
    verdict "$name (code $code, \"$words\")" "$(said $code "$words")"
}

# works NAME COMMAND...: ends with 0.
works() {
    local name=$1
    shift
    if run "$@"; then verdict "$name" yes; else verdict "$name" no; fi
}

small=(run.threads=1 run.evaluate=never backbone.layers=1 backbone.heads=2 backbone.width=32 tasks.lm.data.batch=4)
line=(train jobs/line.yaml "run.dir=$top/run" run.steps=2 "${small[@]}")

# ---- ranks ----
expect "a mesh of other ranks" "mesh" "${line[@]}" mesh.data=3
expect "an axis that is none" "did you mean model" "${line[@]}" mesh.modle=2
expect "a rule that finds nothing, on two ranks" "is found in the path of no parameter" "${line[@]}" 'parameters.rules=[["kernle$", "0: model"]]'
timeout -k 5 60 mpirun --oversubscribe --bind-to none -n 1 "$TESSERA" "${line[@]}" : -n 2 "$TESSERA" "${line[@]}" run.seed=2 \
    </dev/null >"$top/out" 2>&1
code=$?
verdict "ranks started with different words (code $code)" "$(said $code "rank 1 was started with")"
count=4
expect "a mesh that leaves ranks over" "mesh" "${line[@]}" mesh.data=1
expect "a text that is not there" "$top/none.txt" "${line[@]}" "tasks.lm.data.text=$top/none.txt"
expect "more ranks along model than heads" "4 ranks for 2 heads of keys and values" "${line[@]}" mesh.model=4
count=2
expect "a model beyond the memory, on two ranks" "in all a rank needs" "${line[@]}" backbone.width=4096 \
    backbone.layers=40 parameters.shard=data
expect "activations beyond the memory, on two ranks" "the smallest mesh with room, 2 ranks on such a host, is {data:" \
    "${line[@]}" tasks.lm.data.batch=3000000
expect "a placement on an axis that is none, on two ranks" '"dta" is not a mesh axis' "${line[@]}" 'parameters.rules=[["bias", "0: dta"]]'
expect "a placement of a dim that is none, on two ranks" '"1" is not a dim: expected 0 to 0' "${line[@]}" \
    'parameters.rules=[["norm/bias", "1: data"]]'
count=1
expect "a mesh of two without a launcher" "there is 1 rank" "${line[@]}" mesh.data=2
expect "a mesh larger than any number" "99999999999999999999" "${line[@]}" mesh.data=99999999999999999999

# ---- configurations, as one rank reads them ----
expect "no command" "which command" </dev/null
expect "no configuration" "which configuration" train
expect "a configuration that is not there" "$top/none.yaml" train "$top/none.yaml"
expect "a configuration without a name" '""' train ""
expect "a configuration that is a directory" "is a directory" train "$top"
head -c 300 /dev/urandom >"$top/binary.yaml"
expect "a configuration that is binary" "binary.yaml" train "$top/binary.yaml"
head -c 330 jobs/line.yaml >"$top/cut.yaml"
expect "a configuration that is cut off" "cut.yaml:" train "$top/cut.yaml"
printf 'a: %.0s[' $(seq 3000) >"$top/deep.yaml"
expect "a configuration that is deep" "deep.yaml:1" train "$top/deep.yaml"
yes '# nothing' | head -c 104857600 >"$top/long.yaml"
expect "a configuration of 100 MB" "long.yaml: 104857600 bytes" train "$top/long.yaml"
rm "$top/long.yaml"
: >"$top/empty.yaml"
expect "an empty configuration" "it is empty" train "$top/empty.yaml"
{ cat jobs/line.yaml; echo 'run: {dir: there}'; } >"$top/twice.yaml"
expect "a key given twice" "twice.yaml:20: the key run is given twice, first in line 2" train "$top/twice.yaml"
expect "a stream without an end" "/dev/zero: more than" train /dev/zero
expect "a key that is none" "learner" "${line[@]}" learner.clpi=1
expect "a value of the wrong type" "run.steps" "${line[@]}" run.steps=many
expect "a list for a number" "found a list of 2" "${line[@]}" 'run.steps=[1, 2]'
expect "no steps" "run.steps" "${line[@]}" run.steps=0
expect "an infinite rate" "learner.optimizer.rate" "${line[@]}" learner.optimizer.rate=inf
expect "an interval beyond all numbers" "run.log" "${line[@]}" "run.log=1e300 steps"
expect "layers beyond counting" "backbone.layers" "${line[@]}" backbone.layers=1000000000
expect "a number of checkpoints beyond 32 bits" "checkpoint.keep.latest" "${line[@]}" checkpoint.keep.latest=4294967297
expect "parameters beyond the memory" "GiB for 1 rank on a host" "${line[@]}" backbone.width=1048576
expect "a model beyond the memory" "the smallest mesh with room, 1 rank on such a host, is {data:" "${line[@]}" backbone.width=4096 \
    backbone.layers=40 parameters.shard=data
expect "a rule that finds nothing" 'parameters.rules: rule 1: "kernle$" is found in the path of no parameter' "${line[@]}" \
    'parameters.rules=[["kernle$", "0: model"]]'
expect "a rule that comes too late" "that an earlier rule has not taken" "${line[@]}" \
    'parameters.rules=[["kernel", "0: model"], ["query/kernel", "1: model"]]'
expect "a pattern that is none" "missing closing parenthesis at character" "${line[@]}" 'parameters.rules=[["(bias", "0: model"]]'
expect "a placement on an axis that is none" '"dta" is not a mesh axis' "${line[@]}" 'parameters.rules=[["bias", "0: dta"]]'
expect "a placement of a dim that is none" '"1" is not a dim: expected 0 to 0' "${line[@]}" 'parameters.rules=[["norm/bias", "1: data"]]'
expect "a parameter that rests as a sum" "rests whole or cut" "${line[@]}" 'parameters.rules=[["bias", "partial: data"]]'
expect "a rule of three words" "rules" "${line[@]}" 'parameters.rules=[["bias", "0: data", "0: model"]]'
expect "key-value heads that do not divide heads" "3 heads of keys and values do not divide" "${line[@]}" backbone.key_value_heads=3
expect "whole state of cut gradients" "gradient_shard: data" "${line[@]}" parameters.gradient_shard=data parameters.optimizer_shard=none
expect "an option that is none" "--frobnicate" "${line[@]}" --frobnicate

# ---- data ----
: >"$top/empty.txt"
expect "an empty text" "empty.txt" "${line[@]}" "tasks.lm.data.text=$top/empty.txt"
echo short >"$top/short.txt"
expect "a text that is too short" "token" "${line[@]}" "tasks.lm.data.text=$top/short.txt"
expect "a text that is a directory" "is a directory" "${line[@]}" "tasks.lm.data.text=$top"
expect "a window beyond the context" "context" "${line[@]}" tasks.lm.data.length=65
expect "heads that do not divide" "heads" "${line[@]}" backbone.heads=3
expect "a vocabulary that is too small" "vocab" "${line[@]}" backbone.vocab=100
expect "a weight of nothing" "weight" "${line[@]}" tasks.lm.weight=0

# ---- run directories ----
: >"$top/file"
expect "a run directory that is a file" "$top/file" "${line[@]}" "run.dir=$top/file"
expect "a run directory below a file" "$top/file" "${line[@]}" "run.dir=$top/file/run"
expect "a run directory that cannot be made" "/proc/run" "${line[@]}" "run.dir=/proc/run"
expect "decoding before training" "no checkpoint" decode jobs/line.yaml "run.dir=$top/never" --prompt a
expect "decoding without a prompt" "--prompt" decode jobs/line.yaml "run.dir=$top/never"
count=2
if mkdir "$top/tiny" && mount -t tmpfs -o size=200k none "$top/tiny" 2>/dev/null; then
    expect "a full disk" "too little space" "${line[@]}" "run.dir=$top/tiny/run"
    [ -z "$(ls "$top/tiny/run/checkpoints")" ]
    verdict "nothing half-written on the full disk" "$([ $? = 0 ] && echo yes)"
    umount "$top/tiny"
else
    echo "skipped: a full disk: no tmpfs can be mounted here"
fi

# ---- a run that goes on ----
works "trains" "${line[@]}" run.steps=4 checkpoint.every=2
count=1
expect "another configuration" "learner.clip: 1, now 2" "${line[@]}" learner.clip=2
cp "$top/run/config.yaml" "$top/before.yaml"
expect "a model of another shape, by force" "does not fit" "${line[@]}" backbone.width=64 --force
verdict "what could not go on has not changed config.yaml" "$(cmp -s "$top/before.yaml" "$top/run/config.yaml" && echo yes)"
works "--force" "${line[@]}" learner.clip=2 run.steps=5 --force
works "free keys may change" "${line[@]}" learner.clip=2 run.steps=6 mesh.data=1 checkpoint.every=1

# ---- checkpoints that were damaged: steps 4, 5 and 6 are there ----
skips() { # NAME WORDS: going on skips the newest with WORDS
    run "${line[@]}" learner.clip=2 run.steps=6 || fail "$1: it does not run"
    verdict "$1" "$([ "$(grep -acF "$2" "$top/out")" = 1 ] && grep -qF 'going on after step 5' "$top/out" && echo yes)"
    rm -rf "$top/run"
    cp -r "$top/kept" "$top/run"
}
newest=$top/run/checkpoints/step_00000006
cp -r "$top/run" "$top/kept"
printf '\x55' | dd of="$newest/state.h5" bs=1 seek=$(($(stat -c %s "$newest/state.h5") - 5001)) conv=notrunc status=none
skips "a byte of the state" "SKIPPED the checkpoint of step 6"
truncate -s 500 "$newest/manifest.json"
skips "a manifest that is cut off" "manifest.json: does not match its checksum"
rm "$newest/COMMIT"
skips "a checkpoint without COMMIT" "not committed"
sed -i 's/^tessera checkpoint [0-9]*/tessera checkpoint 99/' "$newest/COMMIT"
expect "a checkpoint of a newer program" "newer than this program" "${line[@]}" learner.clip=2 run.steps=7
verdict "which is still there" "$(grep -q 99 "$newest/COMMIT" && [ ! -e "$top/run/checkpoints/step_00000007" ] && echo yes)"
rm -rf "$top/run"
cp -r "$top/kept" "$top/run"
for step in 4 5 6; do : >"$top/run/checkpoints/step_0000000$step/COMMIT"; done
expect "no checkpoint that can be used" "none of its 3 checkpoints can be used" "${line[@]}" learner.clip=2 run.steps=7
rm -rf "$top/run"
cp -r "$top/kept" "$top/run"
echo '{' >"$top/run/config.yaml"
expect "a kept configuration that is broken" "config.yaml:" "${line[@]}" learner.clip=2 run.steps=7
cp "$top/kept/config.yaml" "$top/run/config.yaml"

# ---- prompts ----
decode=(decode jobs/line.yaml "run.dir=$top/run" "${small[@]}" decode.max_decode_steps=3)
expect "an empty prompt" "prompt 0 is empty" "${decode[@]}" --prompt ""
expect "a prompt beyond the context" "prompt 1 has 65 tokens" "${decode[@]}" --prompt a --prompt "$(printf 'x%.0s' $(seq 65))"
expect "a task that is none" "no task nope" "${decode[@]}" --prompt a --task nope
expect "a seed that is none" "--seed" "${decode[@]}" --prompt a --seed -1
works "a prompt that is not UTF-8" "${decode[@]}" --prompt $'\xff\xfe\x80'

# ---- while it runs ----
# begin NAME COMMAND...: trains in the background, until its first line of progress.
begin() {
    rm -f "$top/out"
    timeout -k 5 60 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" "${line[@]}" run.steps=100000000 \
        run.log="1 step" "$@" </dev/null >"$top/out" 2>&1 &
    job=$!
    for ((i = 0; i < 200; i++)); do
        grep -qs '^step' "$top/out" && return
        sleep 0.1
    done
}
# stopped NAME: the run in the background says that a signal stopped it, and has saved.
stopped() {
    local code
    wait "$job"
    code=$?
    verdict "$1 (code $code)" "$([ $code -ge 1 ] && [ $code -le 123 ] && grep -q 'stopped by signal' "$top/out" &&
        ls "$top"/stopped/checkpoints/step_*/COMMIT >"$top/found" && [ -s "$top/found" ] && echo yes)"
    rm -rf "$top/stopped"
}
begin "run.dir=$top/stopped" checkpoint.every=never
pkill -USR1 -P "$job" -x mpirun # which hands it to all ranks, and waits; at a SIGTERM it ends them within a second
stopped "SIGUSR1 to all ranks saves"
begin "run.dir=$top/stopped" checkpoint.every=never
kill -TERM "$(pgrep -f "$top/stopped" | while read -r pid; do [ "$(ps -o comm= -p "$pid")" = tessera ] && echo "$pid"; done | tail -1)"
stopped "SIGTERM to one rank saves"
cp tests/data/alice.txt "$top/shrinks.txt"
begin "run.dir=$top/shrunk" checkpoint.every=never "tasks.lm.data.text=$top/shrinks.txt"
: >"$top/shrinks.txt"
wait "$job"
code=$?
verdict "a text that shrinks (code $code)" "$([ $code -ge 1 ] && [ $code -le 123 ] && grep -q 'shrinks.txt: has become shorter' "$top/out" && echo yes)"
[ $failures = 0 ]
