#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# What stands in the way of going on, and of saving: checkpoints that are damaged, half copied, foreign, of a newer
# program or of another model; paths that are files; a disk that is too small. One clear line, a code that says the kind,
# and nothing removed.
set -u
: "${TESSERA:=build/tessera}"
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-bad.XXXXXX") || exit 1
trap 'mountpoint -q "$top/small" && umount "$top/small"; rm -rf "$top"' EXIT
failures=0
cat >"$top/job.yaml" <<'YAML'
run: {seed: 1, threads: 1, log: never, evaluate: never, steps: 4}
backbone: {type: transformer, layers: 1, heads: 4, width: 32, context: 16}
learner: {optimizer: {type: adamw, rate: 3e-3}}
tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, tokenizer: bytes, validation: 0.1, batch: 8}}}
checkpoint: {every: 2 steps, keep: {latest: 2}}
YAML

train() { timeout 60 "$TESSERA" train "$top/job.yaml" "$@" </dev/null >"$top/out" 2>&1; }
fail() {
    echo "$*"
    cat "$top/out"
    failures=$((failures + 1))
}
copy() { # copy NAME: a run with checkpoints of steps 2 and 4
    rm -rf "${top:?}/$1"
    cp -r "$top/good" "$top/$1"
    newest=$top/$1/checkpoints/step_00000004 older=$top/$1/checkpoints/step_00000002
}
# refused CODE REGEX NAME [WORDS…]: going on there ends with this code, this regular expression on its one line of error,
# and with every file as it was.
refused() {
    local code=$1 regex=$2 name=$3 got before
    shift 3
    before=$(cd "$top/$name" && find checkpoints -type f ! -name damaged -exec cksum {} + 2>/dev/null | sort)
    train "run.dir=$top/$name" run.steps=6 "$@"
    got=$?
    [ "$got" = "$code" ] || fail "$name: code $got, should be $code"
    [ "$(grep -c 'tessera: error: ' "$top/out")" = 1 ] || fail "$name: not one line of error"
    grep -qE "tessera: error: .*$regex" "$top/out" || fail "$name: not /$regex/"
    [ "$before" = "$(cd "$top/$name" && find checkpoints -type f ! -name damaged -exec cksum {} + 2>/dev/null | sort)" ] ||
        fail "$name: files were changed"
}
# goes_on STEP REGEX NAME: after that step, with a loud word about the one that was skipped.
goes_on() {
    train "run.dir=$top/$3" run.steps=6 || fail "$3: it does not go on"
    grep -q "going on after step $1\$" "$top/out" || fail "$3: not from step $1"
    [ "$(grep -cE "warning: SKIPPED .*$2" "$top/out")" = 1 ] || fail "$3: not /$2/"
}
spoil() { printf '%4096s' x | dd of="$1" bs=1 seek=$((size / 2)) conv=notrunc status=none; } # in the middle of values

train "run.dir=$top/good" || { cat "$top/out"; exit 1; }
size=$(stat -c %s "$top/good/checkpoints/step_00000004/state.h5")

# ---- the newest is of no use: the one before is taken

copy spoiled && spoil "$newest/state.h5"
goes_on 2 'step 4: .*state.h5: .*: bytes [0-9]+ to [0-9]+ are not what was saved' spoiled
copy half && truncate -s $((size / 2)) "$newest/state.h5"
goes_on 2 "step 4: .*state.h5: has $((size / 2)) bytes, should have $size" half
copy part && rm "$newest/manifest.json"
goes_on 2 'step 4: .*manifest.json: .*No such file' part
copy uncommitted && rm "$newest/COMMIT"
goes_on 2 'step 4: .*not committed: it has no COMMIT' uncommitted
copy foreign && echo 'of another program' >"$newest/COMMIT"
goes_on 2 'step 4: .*not a checkpoint of this program' foreign

# ---- none is, or going on would overwrite

copy none && spoil "$newest/state.h5" && spoil "$older/state.h5"
refused 5 'none of its 2 checkpoints can be used: move them elsewhere' none
copy newer && sed -i '1s/.*/tessera checkpoint 9/' "$newest/COMMIT"
refused 6 'a newer program has gone on here: .*layout 9, newer than this program' newer
copy wider
refused 2 '/wider holds a run of another configuration; .*--force' wider backbone.width=64
grep -q 'backbone.width: 32, now 64' "$top/out" || fail "wider: not what differs"
timeout 60 "$TESSERA" train "$top/job.yaml" "run.dir=$top/wider" run.steps=6 backbone.width=64 --force </dev/null >"$top/out" 2>&1
[ $? = 2 ] && grep -qE 'error: .*does not fit: .* is f32 \([0-9, ]+\) there and f32 \([0-9, ]+\) here' "$top/out" || fail "wider, by force"

# ---- places

echo file >"$top/file"
mkdir "$top/taken" && echo file >"$top/taken/checkpoints"
train "run.dir=$top/file"
[ $? != 0 ] && grep -qE 'error: .*/file: is a file, expected a directory' "$top/out" || fail "a run.dir that is a file"
train "run.dir=$top/taken"
[ $? != 0 ] && grep -qE 'error: .*/taken/checkpoints: is a file, expected a directory' "$top/out" || fail "checkpoints that are a file"
[ "$(cat "$top/file" "$top/taken/checkpoints")" = "$(printf 'file\nfile')" ] || fail "a file was changed"

# ---- a disk that is too small: found before anything is written, where there is one to be had

mkdir "$top/small"
if mount -t tmpfs -o size=1800k tmpfs "$top/small" 2>/dev/null; then
    train "run.dir=$top/small/run" run.steps=8 checkpoint.asynchronous=false
    code=$?
    [ $code = 7 ] || fail "a small disk: code $code, should be 7"
    grep -qE 'error: checkpoint of step [0-9]+ not saved: .*too little space: .*needs' "$top/out" || fail "a small disk: not named"
    timeout 60 "$TESSERA" ckpt verify "$top/small/run" >"$top/out" 2>&1 || fail "a small disk: what was saved before is damaged"
    ls "$top/small/run/checkpoints" | grep -q tmp && fail "a small disk: something is left over"
    umount "$top/small"
fi

[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
