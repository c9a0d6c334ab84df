#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 120 s
#
# `tessera doctor`: its page on 1 and 2 ranks, what it finds where something is wrong, and a directory that cannot be.
set -u
. tests/program.sh
cores=$(getconf _NPROCESSORS_ONLN)

# doctor CODE REGEX LAUNCHER-WORDS... -- WORDS...: ends with this code, and has this on exactly one line.
doctor() {
    local code=$1 words=$2 launch=()
    shift 2
    while [ "$1" != -- ]; do
        launch+=("$1")
        shift
    done
    shift
    timeout -k 5 60 mpirun --oversubscribe "${launch[@]}" "$TESSERA" doctor "$@" </dev/null >"$top/out" 2>&1
    ended $? "$code" "$words" "doctor $*"
}

doctor 0 'matrix products +[0-9.]+ GFLOP/s in f32, [0-9.]+ in bf16$' -n 1 --bind-to none -- "$top/run"
also '^tessera .* OpenBLAS .* products by '
also 'files +[0-9.]+ GB/s written and synced'
also "in $top/run: .* GiB free"
[ -z "$(ls "$top/run")" ] || fail "files are left behind"

doctor 0 'within a host +[0-9.]+ us, [0-9.]+ GB/s of all-reduce$' -n 2 --bind-to none -- "$top/run"
doctor 0 'between hosts +[0-9.]+ us' -n 2 --bind-to none -x TESSERA_NODE_RANKS=1 -- "$top/run"
if [ "$cores" -gt 1 ]; then
    doctor 0 '! [0-9]+ of the [0-9]+ cores of .* may be used by no rank' -n 1 --bind-to core -- "$top/run"
    doctor 0 '! ranks 0 and 1 on .* are bound to the same core' -n 2 --bind-to core:overload-allowed --cpu-set 0 -- "$top/run"
fi
doctor 0 '! OPENBLAS_L2_SIZE=512 is set on rank 0' -n 2 --bind-to none -x OPENBLAS_L2_SIZE=512 -- "$top/run"
doctor 0 'matrix products' -n $((cores + 1)) --bind-to none -- "$top/run"
also '! [0-9]+ ranks share the [0-9]+ cores? of'

: >"$top/file"
doctor 4 "^tessera: error: .*$top/file" -n 2 --bind-to none -- "$top/file"
doctor 2 'expected a directory or nothing behind it, got b' -n 2 --bind-to none -- a b

[ $failures = 0 ]
