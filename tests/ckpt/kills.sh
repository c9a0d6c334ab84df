#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: kills.sh RANKS KILLS [SEED]    ($TESSERA is the program, $BUILD the build, with tests/libfaults.so)
#
# A run is killed again and again: one rank, all ranks or the launcher, with SIGKILL, at an operation on the files of
# its checkpoints or at a random instant. After each kill the next start must go on from the newest checkpoint that was
# committed, none may be found damaged, and in the end, after as many steps, the state must be that of a run that was
# never disturbed, to the bit. Exits with 0 where all of that held.
set -u
ranks=$1 kills=$2
RANDOM=${3:-7}
: "${TESSERA:=build/tessera}" "${BUILD:=build}"
shim=$BUILD/tests/libfaults.so
[ -f "$shim" ] || { echo "there is no $shim"; exit 77; }
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-kills.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1

words=(train jobs/line.yaml run.threads=1 run.log=never run.evaluate=never "checkpoint.every=2 steps"
    checkpoint.keep.latest=2 backbone.layers=1 backbone.width=32 backbone.context=16 backbone.dropout=0.1
    tasks.lm.data.length=16 tasks.lm.data.batch=4)

# start DIR STEPS [VARIABLE=VALUE…]: trains up to that step; what it says is in $top/out.
start() {
    local dir=$1 steps=$2 set=() word
    shift 2
    for word in "$@"; do set+=(-x "$word"); done
    timeout -k 5 60 mpirun --oversubscribe --bind-to none -n "$ranks" "${set[@]}" \
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

# How many operations a start has that makes two saves.
start "$top/counted" 4 "LD_PRELOAD=$shim" "FAULT_LOG=$top/operations" FAULT_RANK=0 || fail "it does not train"
operations=$(wc -l <"$top/operations")
[ "$operations" -ge 20 ] || fail "only $operations operations on files were counted"

step=0
for ((kill = 0; kill < kills; kill++)); do
    whom=(kill kill-all kill-launcher)
    fault=${whom[kill % 3]}
    began=$(committed)
    if ((kill % 5 == 4)); then # at a random instant
        start "$top/run" 1000000 & job=$!
        sleep "0.$((RANDOM % 900 + 100))"
        sleep "$((RANDOM % 2))"
        launcher=$(pgrep -P "$job" -x timeout || echo "$job")
        launcher=$(pgrep -P "$launcher" -x mpirun)
        victims=$(pgrep -P "$launcher" -x tessera)
        case $fault in
        kill) kill -9 $(echo "$victims" | tail -1) 2>/dev/null ;;
        kill-all) kill -9 $victims 2>/dev/null ;;
        kill-launcher) kill -9 "$launcher" 2>/dev/null ;;
        esac
        wait "$job"
        code=$?
        what="$fault at an instant"
    else
        # evenly over the operations of rank 0; another rank has fewer, and then it is killed in a later save
        rank=$((kill % 4 == 3 ? ranks - 1 : 0))
        at=$((1 + (kill * operations / kills + RANDOM % 3) % operations))
        start "$top/run" 1000000 "LD_PRELOAD=$shim" "FAULT=$fault" "FAULT_AT=$at" "FAULT_RANK=$rank"
        code=$?
        what="$fault of rank $rank at operation $at"
    fi
    for ((i = 0; i < 600; i++)); do # ranks that outlive their launcher see that it is gone
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

timeout 60 "$TESSERA" ckpt verify "$top"/run/checkpoints/step_* >"$top/out" 2>&1 || fail "a committed checkpoint is damaged"
end=$((step + 3))
start "$top/run" $end || fail "the last start failed"
grep -aq "going on after step $step\$" "$top/out" || fail "the last start did not go on from step $step"
[ "$(ls "$top/run/checkpoints" | grep -c .)" = 2 ] || fail "something is left over"
start "$top/whole" $end || fail "the undisturbed run failed"
timeout 60 "$TESSERA" ckpt diff "$top/run" "$top/whole" >"$top/out" 2>&1 || fail "the state is not that of an undisturbed run"
echo "$kills kills of $ranks ranks up to step $step, $operations operations in two saves: nothing was lost"
