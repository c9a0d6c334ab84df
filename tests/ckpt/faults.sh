#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Disks that fail while checkpoints are written: at operations all over a save, the file system is full, fails, is
# read-only, writes less than it should or something else, loses the end of a file or the whole directory, or the clock
# is set back. Either the run goes on, or it ends with the reason; the checkpoint from before is never lost, and the next
# start goes on from the newest. Then power cuts: what any of them could leave is restored from.
set -u
: "${TESSERA:=build/tessera}" "${BUILD:=build}"
shim=$BUILD/tests/libfaults.so
[ -f "$shim" ] || { echo "there is no $shim"; exit 77; }
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-faults.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
failures=0

cat >"$top/job.yaml" <<'YAML'
run: {seed: 1, threads: 1, log: never, evaluate: never}
backbone: {type: transformer, layers: 1, heads: 4, width: 32, context: 16, dropout: 0.1}
learner: {optimizer: {type: adamw, rate: 3e-3, decay: 0.1}, schedule: {type: cosine, warmup: 20, steps: 200}, clip: 1.0}
tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, tokenizer: bytes, validation: 0.1, batch: 8}}}
checkpoint: {every: 1 steps, keep: {latest: 2}}
YAML
words=(train "$top/job.yaml")

fail() {
    echo "$*"
    tail -5 "$top/out"
    ls "$top"/run/checkpoints/*
    failures=$((failures + 1))
}
start() { # start RUN STEPS [VARIABLE=VALUE…], one rank without a launcher
    local run=$1 steps=$2
    shift 2
    env "$@" timeout 60 "$TESSERA" "${words[@]}" "run.dir=$run" "run.steps=$steps" </dev/null >"$top/out" 2>&1
}
committed() { ls -d "$top"/run/checkpoints/step_*/COMMIT 2>/dev/null | sed -n 's/.*step_0*\([0-9]*\)\/COMMIT$/\1/p' | sort -n | tail -1; }

start "$top/first" 1 || { cat "$top/out"; exit 1; }
cp -r "$top/first" "$top/run"
start "$top/run" 2 "LD_PRELOAD=$shim" "FAULT_LOG=$top/operations" || fail "it does not train"
operations=$(wc -l <"$top/operations")
[ "$operations" -ge 15 ] || fail "only $operations operations were counted"

for fault in enospc eio erofs short flip truncate vanish clock; do
    for part in 1 3 5 7 9; do
        at=$((operations * part / 10))
        rm -rf "$top/run"
        cp -r "$top/first" "$top/run"
        keeps=FAULT_NOTHING=1
        [ $fault = enospc ] || [ $fault = erofs ] && keeps=FAULT_KEEPS=1
        start "$top/run" 2 "LD_PRELOAD=$shim" "FAULT=$fault" "FAULT_AT=$at" $keeps
        code=$?
        what="$fault at operation $at ($(sed -n "${at}s/[0-9]* //p" "$top/operations")), code $code"
        [ $code -lt 100 ] || fail "$what: it hangs or crashes"
        if [ $code != 0 ]; then
            [ "$(grep -c 'tessera: error: ' "$top/out")" = 1 ] || fail "$what: not one error"
            grep -qE 'error: .*(checkpoint|step_)' "$top/out" || fail "$what: the error does not name the checkpoint"
        fi
        [ -n "$(committed)" ] || fail "$what: nothing is left"
        timeout 60 "$TESSERA" ckpt verify "$top/run" >"$top/out" 2>&1 || fail "$what: the newest is damaged"
        newest=$(committed)
        start "$top/run" 3 || fail "$what: the next start failed"
        grep -q "going on after step $newest\$" "$top/out" || fail "$what: it did not go on from step $newest"
        [ "$(committed)" = 3 ] || fail "$what: the next start did not save"
    done
done

# ---- power cuts, as far as there is a Python to rebuild what they leave

if command -v python3 >/dev/null; then
    rm -rf "$top/run" "$top/out"
    mkdir -p "$top/run/checkpoints" "$top/cuts"
    : >"$top/out"
    start "$top/run" 3 "LD_PRELOAD=$shim" "FAULT_RECORD=$top/record" || fail "the recorded run failed"
    python3 tests/support/power_cut.py "$top/record" "$top/run" "$top/cuts" >"$top/made" || fail "no cuts: $(cat "$top/made")"
    cuts=() expected=()
    for cut in "$top"/cuts/*-*/; do
        cut=${cut%/}
        least=$(cat "$cut.least")
        found=$(ls -d "$cut"/checkpoints/step_*/COMMIT 2>/dev/null | sed -n 's/.*step_0*\([0-9]*\)\/COMMIT$/\1/p' | sort -n | tail -1)
        if [ "$least" != - ] && [ "${found:-0}" -lt "$least" ]; then fail "$cut: step $least was committed, and is lost"; fi
        [ -z "$found" ] || cuts+=("$cut")
    done
    [ ${#cuts[@]} -ge 50 ] || fail "only ${#cuts[@]} cuts leave a checkpoint: $(cat "$top/made")"
    timeout 120 "$TESSERA" ckpt verify "${cuts[@]}" >"$top/out" 2>&1 || fail "a power cut leaves a committed checkpoint that is damaged"
    [ "$(grep -c ': good: ' "$top/out")" = ${#cuts[@]} ] || fail "not all of ${#cuts[@]} were verified"
    echo "$(cat "$top/made"), ${#cuts[@]} of them after the first commit"
fi
[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
