#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# What a user can get wrong: one clear line, a code that is not 0, and nothing hangs.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${TESSERA:=build/tessera}"
[ -x "$TESSERA" ] || { echo "there is no $TESSERA"; exit 77; }
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-bad.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
failed=0

ranks() {
    local count=$1
    shift
    timeout -k 5 60 mpirun --oversubscribe --bind-to none -n "$count" "$TESSERA" "$@" </dev/null >"$top/out" 2>&1
}

# expect NAME WORDS COMMAND...: on 2 ranks it ends with a code in 1..123, and says WORDS on exactly one line.
expect() {
    local name=$1 words=$2 code lines
    shift 2
    ranks 2 "$@"
    code=$?
    lines=$(grep -cF -- "$words" "$top/out")
    if [ $code -ge 1 ] && [ $code -le 123 ] && [ "$lines" = 1 ]; then
        echo "good: $name"
    else
        echo "bad: $name: code $code, '$words' on $lines lines of"
        cat "$top/out"
        failed=1
    fi
}

line=(train jobs/line.yaml "run.dir=$top/run" run.steps=2 run.threads=1)
expect "a mesh of other ranks" "mesh" "${line[@]}" mesh.data=3
expect "a mesh that leaves ranks over" "mesh" "${line[@]}" mesh.data=1
expect "an axis that is none" "did you mean" "${line[@]}" mesh.modle=2
expect "a key that is none" "learner" "${line[@]}" learner.clpi=1
expect "a value of the wrong type" "run.steps" "${line[@]}" run.steps=many
expect "no steps" "run.steps" "${line[@]}" run.steps=0
expect "a text that is not there" "$top/none.txt" "${line[@]}" "tasks.lm.data.text=$top/none.txt"
: >"$top/empty.txt"
expect "an empty text" "empty.txt" "${line[@]}" "tasks.lm.data.text=$top/empty.txt"
echo short >"$top/short.txt"
expect "a text that is too short" "token" "${line[@]}" "tasks.lm.data.text=$top/short.txt"
expect "a window beyond the context" "context" "${line[@]}" tasks.lm.data.length=65
expect "heads that do not divide" "heads" "${line[@]}" backbone.heads=3
expect "a vocabulary that is too small" "vocab" "${line[@]}" backbone.vocab=100
expect "a weight of nothing" "weight" "${line[@]}" tasks.lm.weight=0
expect "a configuration that is not there" "$top/none.yaml" train "$top/none.yaml"
head -c 300 /dev/urandom >"$top/binary.yaml"
expect "a configuration that is binary" "binary.yaml" train "$top/binary.yaml"
expect "an option that is none" "--frobnicate" "${line[@]}" --frobnicate
: >"$top/file"
expect "a run directory that is a file" "$top/file" train jobs/line.yaml "run.dir=$top/file" run.steps=2
expect "a run directory below a file" "$top/file" train jobs/line.yaml "run.dir=$top/file/run" run.steps=2
expect "decoding before training" "no checkpoint" decode jobs/line.yaml "run.dir=$top/never" --prompt a
expect "decoding without a prompt" "--prompt" decode jobs/line.yaml "run.dir=$top/never"

# A run directory of another configuration: what differs is shown, and --force is what it takes.
if ranks 2 "${line[@]}"; then echo "good: trains"; else echo "bad: trains"; cat "$top/out"; failed=1; fi
expect "another configuration" "learner.clip: 1, now 2" "${line[@]}" learner.clip=2
if ranks 2 "${line[@]}" learner.clip=2 run.steps=3 --force; then echo "good: --force"; else echo "bad: --force"; cat "$top/out"; failed=1; fi
if ranks 1 "${line[@]}" learner.clip=2 run.steps=4 mesh.data=1 checkpoint.every=1; then
    echo "good: free keys may change"
else
    echo "bad: free keys may change"; cat "$top/out"; failed=1
fi
expect "an empty prompt" "prompt 0 is empty" decode jobs/line.yaml "run.dir=$top/run" --prompt ""
exit $failed
