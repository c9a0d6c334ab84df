#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# One run at a time in a directory: a second is refused and told whose it is; a lock is taken over once its process is
# gone, its lease has expired, or it is of the same Slurm job elsewhere; a run whose lock was taken over stops.
set -u
: "${TESSERA:=build/tessera}"
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-lock.XXXXXX") || exit 1
run=$top/run
lock=$run/lock
first=
trap '[ -z "$first" ] || kill -9 "$first" 2>/dev/null; rm -rf "$top"' EXIT
failures=0
unset SLURM_JOB_ID

fail() {
    printf "%s\n" "$*" "the first run: $(tail -3 "$top/first")"
    failures=$((failures + 1))
}

words=(train jobs/line.yaml "run.dir=$run" run.threads=1 run.evaluate=never "run.log=20 steps" "checkpoint.every=20 steps"
    backbone.layers=1 backbone.width=32 backbone.context=16 tasks.lm.data.length=16)

# run_for STEPS: trains on 2 ranks up to that step; its output is in $top/out.
run_for() {
    timeout -k 5 60 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" "${words[@]}" run.steps="$1" \
        </dev/null >"$top/out" 2>&1
}

# begin: starts a run without end, one process that is no child of a launcher, and waits until it has the lock and
# saves: then it changes nothing else beside its checkpoints and logs.
begin() {
    TESSERA_WATCHDOG_S=0 "$TESSERA" "${words[@]}" run.steps=100000000 </dev/null >"$top/first" 2>&1 &
    first=$!
    for _ in $(seq 300); do
        grep -qs "^process $first " "$lock" && grep -qs '^step' "$top/first" && return
        sleep 0.1
    done
    fail "the first run has no lock after 30 s: $(cat "$top/first")"
}

# says GOT CODE REGEX: the last run ended with this code and said this on exactly one line.
says() {
    local got=$1 code=$2 regex=$3 lines
    lines=$(grep -cE -- "$regex" "$top/out")
    if [ "$got" != "$code" ] || [ "$lines" != 1 ]; then
        fail "expected code $code and /$regex/ on one line, got code $got and, on $lines lines: $(cat "$top/out")"
    fi
}

# elsewhere JOB AGE: the lock of a run on another host.
elsewhere() {
    printf 'tessera run lock 1\nhost faraway\nprocess 77 started 5\nkernel other-pid:[1]\njob %s\ntoken 0123456789abcdef\n' \
        "$1" >"$lock"
    touch -d "$2 seconds ago" "$lock"
}

# ---- two runs

export SLURM_JOB_ID=4711
begin
unset SLURM_JOB_ID
cksum "$run/config.yaml" "$run/lock" >"$top/before"
run_for 10
says $? 2 "error: .*/run: in use by a run on host $(hostname -s), process $first, Slurm job 4711, which renewed its lock [0-9]+ s ago"
cksum "$run/config.yaml" "$run/lock" | cmp -s - "$top/before" || fail "the run that was refused changed the directory"
SLURM_JOB_ID=4711 run_for 10
says $? 2 "in use by a run on host .*, process $first," # of the same job, but seen alive here
touch -d '1000 seconds ago' "$lock"
run_for 10
says $? 2 "in use by a run on host .*, process $first," # the same
for _ in $(seq 200); do # and it renews its lease
    [ $(($(date +%s) - $(stat -c %Y "$lock"))) -lt 100 ] && break
    sleep 0.1
done
[ $(($(date +%s) - $(stat -c %Y "$lock"))) -lt 100 ] || fail "the lease was not renewed within 20 s"

# ---- the first is gone

kill -9 "$first"
wait "$first" 2>/dev/null
[ -e "$lock" ] || fail "a killed run took its lock with it"
done_steps=$(ls "$run/checkpoints" | sed -n 's/^step_0*\([0-9]*\)$/\1/p' | sort -n | tail -1)
run_for $((done_steps + 3))
says $? 0 "lock: taken over from host .*, process $first, Slurm job 4711, which is gone"
grep -q "going on after step $done_steps" "$top/out" || fail "it did not go on: $(cat "$top/out")"
[ -z "$(ls "$run" | grep lock)" ] || fail "a run that ended left $(ls "$run" | grep lock)"

# ---- locks from elsewhere

next=$((done_steps + 4))
elsewhere 991 5
run_for $next
says $? 2 'in use by a run on host faraway, process 77, Slurm job 991, which renewed its lock [0-9]+ s ago'
SLURM_JOB_ID=992 run_for $next
says $? 2 'in use by a run on host faraway'
SLURM_JOB_ID=991 run_for $next
says $? 0 'taken over from host faraway, process 77, Slurm job 991, which was an earlier start of this job'
elsewhere - 5
SLURM_JOB_ID=- run_for $next
says $? 2 'host faraway, process 77, Slurm job none'
elsewhere - 61
run_for $((next + 1))
says $? 0 'taken over from host faraway, process 77, Slurm job none, which has not renewed its lock in time'
echo nonsense >"$lock"
run_for $((next + 1))
says $? 2 '/run/lock: cannot be read, and does not say who uses the directory'
rm "$lock"

# ---- a lock that is lost

begin
elsewhere 5 0
for _ in $(seq 300); do
    kill -0 "$first" 2>/dev/null || break
    sleep 0.1
done
wait "$first"
code=$?
cp "$top/first" "$top/out"
says $code 8 'error: .*/run: another run has taken the directory over; stopped after step [0-9]+; the last checkpoint'
first=
grep -q 'host faraway' "$lock" || fail "it removed a lock that was not its own"

[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
