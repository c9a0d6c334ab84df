#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# One run at a time in a directory: a second is refused and told whose it is; a lock is taken over once its process is
# gone, its lease has expired, or it is of the same Slurm job elsewhere; a run whose lock was taken over stops.
# A start that is refused waits for some seconds, and a lock is renewed and looked at every ten: what waits does so side by
# side, each in a directory of its own.
set -u
: "${TESSERA:=build/tessera}"
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-lock.XXXXXX") || exit 1
alive=()
trap '[ ${#alive[@]} = 0 ] || kill -9 "${alive[@]}" 2>/dev/null; rm -rf "$top"' EXIT
failures=0
unset SLURM_JOB_ID

fail() {
    printf "%s\n" "$*"
    failures=$((failures + 1))
}

words=(train jobs/line.yaml run.threads=1 run.evaluate=never "run.log=20 steps" "checkpoint.every=20 steps"
    backbone.layers=1 backbone.width=32 backbone.context=16 tasks.lm.data.length=16)

# train RUN STEPS OUT: trains on 2 ranks up to that step; what it says is in $top/OUT.out, its code in $top/OUT.code. To be waited for.
train() {
    timeout -k 5 60 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" "${words[@]}" run.dir="$top/$1" run.steps="$2" \
        </dev/null >"$top/$3.out" 2>&1
    echo $? >"$top/$3.code"
}

# begin RUN: starts a run without end, one process that is no child of a launcher; $process is its number.
begin() {
    TESSERA_WATCHDOG_S=0 "$TESSERA" "${words[@]}" run.dir="$top/$1" run.steps=100000000 </dev/null >"$top/$1.first.out" 2>&1 &
    process=$!
    alive+=("$process")
}

# settled RUN PROCESS: waits until that run has the lock and saves: then it changes nothing else beside its checkpoints
# and logs.
settled() {
    for _ in $(seq 300); do
        grep -qs "^process $2 " "$top/$1/lock" && grep -qs '^step' "$top/$1.first.out" && return
        sleep 0.1
    done
    fail "the run in $1 has no lock after 30 s: $(cat "$top/$1.first.out")"
}

# says OUT CODE REGEX: that run ended with this code and said this on exactly one line.
says() {
    local got lines
    got=$(cat "$top/$1.code")
    lines=$(grep -cE -- "$3" "$top/$1.out")
    if [ "$got" != "$2" ] || [ "$lines" != 1 ]; then
        fail "$1: expected code $2 and /$3/ on one line, got code $got and, on $lines lines: $(cat "$top/$1.out")"
    fi
}

# elsewhere RUN JOB AGE: the lock of a run on another host.
elsewhere() {
    mkdir -p "$top/$1"
    printf 'tessera run lock 1\nhost faraway\nprocess 77 started 5\nkernel other-pid:[1]\njob %s\ntoken 0123456789abcdef\n' \
        "$2" >"$top/$1/lock"
    touch -d "$3 seconds ago" "$top/$1/lock"
}

age() { echo $(($(date +%s) - $(stat -c %Y "$top/$1/lock"))); }

# ---- two runs side by side, and a third whose lock will be lost

export SLURM_JOB_ID=4711
begin held
held=$process
unset SLURM_JOB_ID
begin lost
lost=$process
settled held $held
settled lost $lost
elsewhere lost 5 0
touch -d '1000 seconds ago' "$top/held/lock" # of a process that is seen alive the age does not count
cat "$top/held/lock" "$top/held/config.yaml" | cksum >"$top/before"
waited=()
train held 10 refused & waited+=($!)
SLURM_JOB_ID=4711 train held 10 same-job & waited+=($!) # of the same job, but seen alive here

# ---- locks from elsewhere

elsewhere fresh 991 5
elsewhere other 991 5
elsewhere none - 5
mkdir "$top/nonsense"
echo nonsense >"$top/nonsense/lock"
train fresh 3 fresh & waited+=($!)
SLURM_JOB_ID=992 train other 3 other & waited+=($!)
SLURM_JOB_ID=- train none 3 none & waited+=($!)
train nonsense 3 nonsense & waited+=($!)
wait "${waited[@]}"
says refused 2 "error: .*/held: in use by a run on host $(hostname -s), process $held, Slurm job 4711, which renewed its lock [0-9]+ s ago"
says same-job 2 "in use by a run on host .*, process $held,"
cat "$top/held/lock" "$top/held/config.yaml" | cksum | cmp -s - "$top/before" || fail "runs that were refused changed the directory"
says fresh 2 'in use by a run on host faraway, process 77, Slurm job 991, which renewed its lock [0-9]+ s ago'
says other 2 'in use by a run on host faraway'
says none 2 'host faraway, process 77, Slurm job none'
says nonsense 2 '/nonsense/lock: cannot be read, and does not say who uses the directory'
elsewhere same 991 5
elsewhere expired - 61
SLURM_JOB_ID=991 train same 3 same & waited=($!)
train expired 3 expired & waited+=($!)
wait "${waited[@]}"
says same 0 'taken over from host faraway, process 77, Slurm job 991, which was an earlier start of this job'
says expired 0 'taken over from host faraway, process 77, Slurm job none, which has not renewed its lock in time'

# ---- the lease was renewed meanwhile; then the first is gone

for _ in $(seq 200); do
    [ "$(age held)" -lt 100 ] && break
    sleep 0.1
done
[ "$(age held)" -lt 100 ] || fail "the lease was not renewed within 20 s"
kill -9 "$held"
wait "$held" 2>/dev/null
[ -e "$top/held/lock" ] || fail "a killed run took its lock with it"
done_steps=$(ls "$top/held/checkpoints" | sed -n 's/^step_0*\([0-9]*\)$/\1/p' | sort -n | tail -1)
train held $((done_steps + 3)) gone
says gone 0 "lock: taken over from host .*, process $held, Slurm job 4711, which is gone"
grep -q "going on after step $done_steps" "$top/gone.out" || fail "it did not go on: $(cat "$top/gone.out")"
[ -z "$(ls "$top/held" | grep lock)" ] || fail "a run that ended left $(ls "$top/held" | grep lock)"

# ---- a lock that is lost

for _ in $(seq 300); do
    kill -0 "$lost" 2>/dev/null || break
    sleep 0.1
done
if kill -0 "$lost" 2>/dev/null; then fail "a run whose lock was lost goes on"; kill -9 "$lost"; fi
wait "$lost"
echo $? >"$top/lost.first.code"
says lost.first 8 'error: .*/lost: another run has taken the directory over; stopped after step [0-9]+; the last checkpoint'
grep -q 'host faraway' "$top/lost/lock" || fail "it removed a lock that was not its own"

[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
