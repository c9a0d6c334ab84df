#!/usr/bin/env bash
# ranks: 3
# SPDX-License-Identifier: Apache-2.0
#
# Debug builds find ranks that call different collectives, counts, types or labels, and print what each called.
set -u

program=$(find "$BUILD" -name comm-test_call_check -type f -perm -u+x | head -1)
[ -n "$program" ] || { echo "comm-test_call_check is not built"; exit 1; }
"$program" is-debug || { echo "skipped: calls are checked in debug builds only"; exit 77; }
failed=0

# finds MISTAKE OTHERS ONE: all but rank 1 call OTHERS, rank 1 calls ONE.
finds() {
    local out code words
    out=$(timeout -k 5 60 mpirun --oversubscribe --bind-to none -n 3 "$program" "$1" 2>&1)
    code=$?
    for words in "ranks 0, 2 (first on $(hostname -s)): $2, on group world" "rank 1 (first on $(hostname -s)): $3, on group world" \
        "the ranks of group world call different collectives"; do
        grep -qF -- "$words" <<<"$out" || { echo "FAILED $1: did not say: $words"; sed 's/^/    /' <<<"$out"; failed=1; return; }
    done
    [ $code = 70 ] || { echo "FAILED $1: code $code, not 70"; failed=1; return; }
    echo "ok     $1"
}

finds count 'all-reduce "test/sum" of 8 f32' 'all-reduce "test/sum" of 7 f32'
finds dtype 'all-reduce "test/sum" of 8 f32' 'all-reduce "test/sum" of 8 f64'
finds label 'all-reduce "test/sum" of 8 f32' 'all-reduce "test/other" of 8 f32'
finds kind 'all-reduce "test/sum" of 8 f32' 'barrier "test/barrier" of 0 f32'
finds end 'all-reduce "test/sum" of 8 f32' 'barrier "end of the program" of 0 i32'
exit $failed
