#!/usr/bin/env bash
# ranks: 3
# SPDX-License-Identifier: Apache-2.0
#
# Ranks of which some have no region, or may have no files in memory: nobody's is used, and all results stay right.
set -u
code=0
run() { # NAME, then what mpirun is given
    local name=$1 status
    shift
    timeout -k 5 60 mpirun --oversubscribe --bind-to none "$@" >"$log" 2>&1
    status=$?
    if [ $status = 0 ]; then echo "ok $name"; else cat "$log"; echo "$name: code $status"; code=1; fi
}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
test=$BUILD/tests/comm-test_neighbour
run "on no rank" -n 3 -x TESSERA_REGION=0 "$test"
run "not on one rank" -n 2 "$test" : -n 1 -x TESSERA_REGION=0 "$test"
run "files are limited in length" -n 2 bash -c "ulimit -f 100000; exec $test"
grep -q '^TESSERA_SANITIZE.*=address' "$BUILD/CMakeCache.txt" || # which needs more addresses than any limit
    run "addresses are limited" -n 2 bash -c "ulimit -v 4000000; exec $test"
exit $code
