#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: kills.sh RANKS KILLS [FIRST [STRIDE]]    ($TESSERA is the program, $BUILD the build, with tests/libfaults.so)
#
# A run is killed again and again: one rank, all ranks or the launcher, with SIGKILL, at each stage of a save in turn (the
# FIRST of them, then STRIDE further) and, one time in five, at a random instant. After each kill the next start must go
# on from the newest checkpoint that was committed, none may be found damaged, and in the end, after as many steps, the
# state must be that of a run that was never disturbed, to the bit. Exits with 0 where all of that held.
set -u
ranks=$1 kills=$2 first=${3:-0} stride=${4:-1}
RANDOM=$((first + 7))
: "${TESSERA:=build/tessera}" "${BUILD:=build}"
shim=$BUILD/tests/libfaults.so
[ -f "$shim" ] || { echo "there is no $shim"; exit 77; }
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-kills.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1

cat >"$top/job.yaml" <<'YAML'
run: {seed: 1, threads: 1, log: never, evaluate: never}
backbone: {type: transformer, layers: 1, heads: 4, width: 32, context: 16, dropout: 0.1}
learner: {optimizer: {type: adamw, rate: 3e-3, decay: 0.1}, schedule: {type: cosine, warmup: 20, steps: 200}, clip: 1.0}
tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, tokenizer: bytes, validation: 0.1, batch: 8}}}
checkpoint: {every: 2 steps, keep: {latest: 2}}
YAML
words=(train "$top/job.yaml" learner.accumulate=2)

# start DIR STEPS [VARIABLE=VALUE…]: trains up to that step; what it says is in $top/out.
start() {
    local dir=$1 steps=$2 set=() word
    shift 2
    for word in "$@"; do set+=(-x "$word"); done
    timeout -k 5 150 mpirun --oversubscribe --bind-to none -n "$ranks" "${set[@]}" \
        "$TESSERA" "${words[@]}" "run.dir=$dir" "run.steps=$steps" </dev/null >"$top/out" 2>&1
}

fail() {
    printf '%s\n' "$*"
    cat "$top/out"
    ls -R "$top/run/checkpoints"
    exit 1
}

committed() { # the step of the newest checkpoint that is committed; 0: none
    ls -d "$top"/run/checkpoints/step_*/COMMIT 2>/dev/null | sed -n 's/.*step_0*\([0-9]*\)\/COMMIT$/\1/p' | sort -n | tail -1 | grep . || echo 0
}

# The stages of saves that prune too, each once, in their order.
start "$top/counted" 6 "LD_PRELOAD=$shim" "FAULT_LOG=$top/operations" FAULT_RANK=0 || fail "it does not train"
mapfile -t stages < <(cut -d' ' -f2- "$top/operations" | awk '!seen[$0]++')
[ ${#stages[@]} -ge 25 ] || fail "only ${#stages[@]} stages: $(printf '%s, ' "${stages[@]}")"

step=0 stage=$first
for ((kill = 0; kill < kills; kill++)); do
    whom=(kill kill-all kill-launcher)
    fault=${whom[kill % 3]}
    began=$(committed)
    if ((kill % 5 == 4)); then # at a random instant
        { start "$top/run" 1000000 & } 2>/dev/null
        job=$!
        while kill -0 "$job" 2>/dev/null; do # from when all ranks are there
            launcher=$(pgrep -P "$(pgrep -P "$job" -x timeout || echo "$job")" -x mpirun) &&
                victims=$(pgrep -P "$launcher" -f "run.dir=$top/run") && [ "$(echo "$victims" | wc -l)" = "$ranks" ] && break
            sleep 0.02
        done
        sleep "$((RANDOM % 2)).$((RANDOM % 900 + 100))"
        case $fault in
        kill) kill -9 $(echo "$victims" | tail -1) 2>/dev/null ;;
        kill-all) kill -9 $victims 2>/dev/null ;;
        kill-launcher) kill -9 "$launcher" 2>/dev/null ;;
        esac
        wait "$job"
        code=$?
        what="$fault at an instant"
    else
        rank=0 on=${stages[stage % ${#stages[@]}]} # rank 0 does most; the others write, and sync
        if ((kill % 6 == 5)); then rank=$((ranks - 1)) on="write STEP.tmp/state.h5"; else stage=$((stage + stride)); fi
        at=$((1 + RANDOM % 2))
        start "$top/run" 1000000 "LD_PRELOAD=$shim" "FAULT=$fault" "FAULT_ON=$on" "FAULT_AT=$at" "FAULT_RANK=$rank"
        code=$?
        what="$fault of rank $rank at $on"
    fi
    for ((i = 0; i < 1200; i++)); do # ranks that outlive their launcher see that it is gone
        pgrep -f "run.dir=$top/run" >/dev/null || break
        sleep 0.05
    done
    [ "$code" != 0 ] && [ "$code" != 124 ] || fail "kill $kill, $what: the run ended with code $code"
    grep -aqE 'SKIPPED|none of its|tessera: (\[rank [0-9]+\] )?error' "$top/out" && fail "kill $kill, $what: went on wrongly"
    if [ "$began" != 0 ] && ! grep -aqE "going on after step $began\$" "$top/out" && grep -aq 'parameters' "$top/out"; then
        grep -aq 'going on after' "$top/out" && fail "kill $kill, $what: did not go on from step $began"
    fi
    step=$(committed)
    [ "$step" -ge "$began" ] || fail "kill $kill, $what: step $began was committed, now there is $step"
done

timeout 60 "$TESSERA" ckpt verify "$top"/run/checkpoints/step_*[0-9] >"$top/out" 2>&1 || fail "a committed checkpoint is damaged"
end=$((step + 3))
start "$top/run" $end || fail "the last start failed"
grep -aq "going on after step $step\$" "$top/out" || fail "the last start did not go on from step $step"
[ "$(ls "$top/run/checkpoints" | grep -c .)" = 2 ] || fail "something is left over"
start "$top/whole" $end || fail "the undisturbed run failed"
timeout 60 "$TESSERA" ckpt diff "$top/run" "$top/whole" >"$top/out" 2>&1 || fail "the state is not that of an undisturbed run"
echo "$kills kills of $ranks ranks up to step $step, $stage of ${#stages[@]} stages: nothing was lost"
