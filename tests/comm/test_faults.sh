#!/usr/bin/env bash
# ranks: 4
# limit: 300 s
# SPDX-License-Identifier: Apache-2.0
#
# Ranks that do not come, on one host: the watchdog names exactly them, and the job ends with its code, in time.
set -u

program=$(find "$BUILD" -name comm-test_watchdog -type f -perm -u+x | head -1)
[ -n "$program" ] || { echo "comm-test_watchdog is not built"; exit 1; }
failed=0
export TESSERA_WATCHDOG_S=2

# run RANKS FAULT [RANK]: leaves the output in $out, the exit code in $code, the seconds it took in $took.
run() {
    local ranks=$1 began=$SECONDS
    shift
    out=$(timeout -k 5 40 mpirun --oversubscribe --bind-to none -n "$ranks" "$program" "$@" 2>&1)
    code=$?
    took=$((SECONDS - began))
}

# expect NAME CODE [WORDS…]: the last run ended with CODE within 20 s and said all WORDS.
expect() {
    local name=$1 wanted=$2 words bad=
    shift 2
    [ $code = "$wanted" ] || bad="code $code, not $wanted"
    [ $took -le 20 ] || bad="$bad; took $took s"
    for words in "$@"; do
        grep -qF -- "$words" <<<"$out" || bad="$bad; did not say: $words"
    done
    verdict "$name" "$bad"
}

# silent WORDS: the last run did not say it.
silent() {
    local bad=
    grep -qE -- "$1" <<<"$out" && bad="said: $1"
    verdict "  and not: $1" "$bad"
}

# once WORDS: the last run said it in one line. (With a sanitizer ranks do not see one another: each says it.)
once() {
    local bad= lines
    lines=$(grep -cE -- "$1" <<<"$out")
    [ "$lines" = 1 ] || grep -q '^TESSERA_SANITIZE.*=address' "$BUILD/CMakeCache.txt" || bad="said in $lines lines: $1"
    verdict "  and once: $1" "$bad"
}

verdict() {
    if [ -n "$2" ]; then
        echo "FAILED $1: $2"
        sed 's/^/    /' <<<"$out"
        failed=1
    else
        echo "ok     $1"
    fi
}

run 4 none
expect "no fault" 0
silent watchdog

run 4 stop 2
expect "a stopped rank" 71 'rank 2 on' 'does not answer; its process is stopped or gone' \
    'ranks 0-1, 3 in agree "agree" (call ' 'nothing moved for 2 s'
silent 'rank [013] on .*(did not arrive|called|began)'

run 4 stop 0
expect "rank 0 stopped: another inquires" 71 'rank 0 on' 'does not answer; its process is stopped or gone'
silent 'rank [123] on .*(did not arrive|called|began)'

run 4 loop 1
expect "an endless loop" 71 'rank 1 on' 'did not arrive: it is in no collective; its last was agree "agree"' \
    'ranks 0, 2-3 in agree'
silent 'rank [023] on .*(did not arrive|called|began)'

run 4 late 3
expect "late for an all-reduce, with its label" 71 'ranks 0-2 in all-reduce "layer_03/grad" (call ' 'rank 3 on' \
    'did not arrive: it is in no collective'
silent 'rank [012] on .*(did not arrive|called|began)'

run 3 differ 1
expect "different collectives" 71 'ranks 0, 2 in all-reduce "grad"' 'rank 1 in barrier "save"' \
    'rank 1 on' 'called barrier "save" in its place: ranks are in different collectives'

run 2 alive 1
expect "long work that says so" 0
silent watchdog

TESSERA_WATCHDOG_S=nonsense run 2 none
expect "a limit that is no number" 0 'TESSERA_WATCHDOG_S=nonsense is not a number of seconds'

run 3 exit 1
expect "a rank that leaves" 3

run 3 code 2
expect "one rank's code is the job's" 7

run 2 check 1
expect "a failed check" 70 'fatal: rank 1 on' 'rank 1 has it'

run 4 "check all"
expect "a check that fails on all ranks" 70 'has it, as all'
once 'fatal: rank'

run 3 mpi 2
expect "a call of MPI that fails" 70 'fatal: rank 2 on' 'MPI failed: MPI_ERR_RANK' '(MPI_Send)'

run 2 leak
expect "a group that was not freed" 70 '1 group was not freed before ts_runtime_end'
once 'fatal: rank'

out=$(cd / && timeout 20 "$program" none 2>&1)
code=$? took=0
expect "no launcher: one rank" 0

if unshare --net true 2>/dev/null; then
    out=$(timeout 20 unshare --net "$program" none 2>&1)
    code=$?
    expect "no launcher, no network: one rank" 0
fi

exit $failed
