# SPDX-License-Identifier: Apache-2.0
#
# What the suites share. A suite is run from the top of the tree, with BUILD set, and prints, for each test, one of
#     ok NAME             not ok NAME: reason             skip NAME: reason
# at the start of a line; tests/run.sh counts them.

export BUILD=${BUILD:-build}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE # a wrong core type halves OpenBLAS

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1: $2"; }
skip() { echo "skip $1: $2"; }

# The whole suite cannot run here: says why, last, and ends it.
cannot_run() { echo "$*"; exit 77; }

# Runs a command silently; `ok NAME`, or its last lines and `not ok NAME`.
check() {
    local name=$1 log began=$SECONDS
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then ok "$name ($((SECONDS - began)) s)"; else local code=$?; tail -25 "$log"; not_ok "$name" "code $code from: $*"; fi
    rm -f "$log"
}

# Configures and builds into a directory: configure_and_build DIR [cmake arguments…]
configure_and_build() {
    local dir=$1 generator=()
    shift
    [ -f "$dir/CMakeCache.txt" ] || ! command -v ninja >/dev/null || generator=(-G Ninja)
    cmake -S . -B "$dir" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release "$@" && cmake --build "$dir" --parallel "$(nproc)"
}

# Runs the tests of a build that ctest selects: run_ctest [ctest arguments…]. One line a test, a failed one with its output.
# Half as many again as there are cores: most of a short test is waiting for its ranks to start and to end.
run_ctest() {
    ctest --test-dir "$BUILD" --no-tests=error --output-on-failure --parallel $(($(nproc) * 3 / 2)) "$@" 2>&1 | awk '
        /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / {
            line = $0; sub(/^.*Test +#[0-9]+: /, "", line)
            name = line; sub(/ .*/, "", name)
            seconds = line; sub(/ sec.*/, "", seconds); sub(/.* /, "", seconds)
            if (line ~ /   Passed/) print "ok " name " (" seconds " s)"
            else if (line ~ /\*\*\*Skipped/) print "skip " name ": as it said"
            else if (line ~ /\*\*\*Timeout/) print "not ok " name ": timed out after " seconds " s"
            else { why = line; sub(/^[^*]*\*\*\*/, "", why); sub(/ +[0-9.]+ sec.*/, "", why); print "not ok " name ": " why }
            fflush(); next
        }
        /^ *Start +[0-9]+: / || /^Internal ctest/ || /^Test project/ || /^$/ { next }
        /^[0-9]+% tests passed/ || /^Total Test time/ || /^Label Time/ || /^(unit|mpi|cluster) += / { next }
        /^The following tests FAILED/ || /^\t *[0-9]+ - / || /^Errors while running CTest/ || /^Output from these/ || /^Use "--rerun/ { next }
        { print; fflush() }'
    [ "${PIPESTATUS[0]}" = 0 ]
}
