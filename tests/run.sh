#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, configures, builds, and runs suites of tests. tests/run.sh --help lists them.
#
# A suite is tests/suites/NAME.sh: its header says what it is, whether it is a default, which packages it wants beyond
# those of the build, and its time limit. It prints a line a test, as tests/suites/lib.sh does, and exits with 77 and a
# reason where it cannot run at all.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/suites/lib.sh

usage() {
    cat <<'USAGE'
usage: tests/run.sh [--no-install] [--build DIR] [SUITE…]

Installs what is missing (apt), configures, builds, and runs the named suites, or the default ones.
A suite that is named and cannot run fails; a default one that cannot run is skipped, with the reason.

USAGE
    printf '%-12s %-8s %s\n' suite default 'what it is'
    for suite in $(all_suites); do
        printf '%-12s %-8s %s\n' "$suite" "$(header "$suite" default)" "$(header "$suite" about)"
    done
}

all_suites() { ls tests/suites | sed -n 's/\.sh$//p' | grep -v '^lib$'; }
header() { sed -n "s/^# $2: *//p" "tests/suites/$1.sh" | head -1; } # the value of a header line of a suite
say() { printf '\n==== %s\n' "$*"; }

# ---- what is asked

install=yes
named=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --no-install) install=no ;;
    --build) [ $# -gt 1 ] || { echo "tests/run.sh: --build needs a directory" >&2; exit 2; }; BUILD=$2; shift ;;
    -*) echo "tests/run.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    *) [[ $1 =~ ^[a-z]+$ && $1 != lib && -f tests/suites/$1.sh ]] ||
        { echo "tests/run.sh: no suite '$1'; there are: $(all_suites | xargs)" >&2; exit 2; }
       named+=("$1") ;;
    esac
    shift
done
suites=("${named[@]}")
if [ ${#named[@]} = 0 ]; then
    for suite in $(all_suites); do [ "$(header "$suite" default)" = yes ] && suites+=("$suite"); done
fi
started=$SECONDS

# ---- what is missing

. cmake/packages.sh

# Ends here if there is nothing to configure and build with; CMake names whatever else is missing.
expect_tools() {
    local absent=()
    command -v cmake >/dev/null || absent+=(cmake)
    command -v "${CC:-cc}" >/dev/null || absent+=("a C compiler (${CC:-cc})")
    command -v ninja >/dev/null || command -v make >/dev/null || absent+=("ninja or make")
    [ ${#absent[@]} = 0 ] && return
    echo "tests/run.sh: not found: $(printf '%s, ' "${absent[@]}" | sed 's/, $//')"
    if [ $told = no ]; then
        echo "To install all that the build and the tests need:"
        rows build option test | install_lines
    fi
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
}

LOGS=$(mktemp -d "${TMPDIR:-/tmp}/tessera-tests.XXXXXX") || exit 1
trap 'rm -rf "$LOGS"' EXIT
if [ $install = yes ]; then
    needs=(build option test)
    for suite in "${suites[@]}"; do needs+=($(header "$suite" packages)); done
    install_packages "${needs[@]}"
fi

# ---- build

expect_tools
say "configure and build in $BUILD"
configure_and_build "$BUILD" >"$LOGS/build.log" 2>&1
status=$?
if [ $status != 0 ]; then
    grep -E 'error|FAILED|undefined' "$LOGS/build.log" | head -40
    tail -40 "$LOGS/build.log"
    echo "tests/run.sh: the build failed; no test was run"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
grep -E '^-- Tessera' "$LOGS/build.log"
echo "built in $((SECONDS - started)) s"

# ---- run

passed=0 failed=0 skipped=0 failures=()
for suite in "${suites[@]}"; do
    say "$suite: $(header "$suite" about)"
    limit=$(header "$suite" limit)
    began=$SECONDS
    timeout -k 10 "$limit" bash "tests/suites/$suite.sh" </dev/null 2>&1 | tee "$LOGS/$suite.log"
    status=${PIPESTATUS[0]}
    ok=$(grep -c '^ok ' "$LOGS/$suite.log")
    bad=$(grep -c '^not ok ' "$LOGS/$suite.log")
    left=$(grep -c '^skip ' "$LOGS/$suite.log")
    while IFS= read -r line; do failures+=("$suite: ${line#not ok }"); done < <(grep '^not ok ' "$LOGS/$suite.log")
    if [ "$status" = 77 ] && [ ${#named[@]} = 0 ]; then
        left=$((left + 1))
    elif [ "$status" = 77 ]; then
        bad=$((bad + 1)); failures+=("$suite: cannot run: $(tail -1 "$LOGS/$suite.log")")
    elif [ "$status" = 124 ] || [ "$status" = 137 ]; then
        bad=$((bad + 1)); failures+=("$suite: stopped at its limit of $limit s")
    elif [ "$status" != 0 ] && [ "$bad" = 0 ]; then
        bad=1; failures+=("$suite: ended with code $status")
    elif [ $((ok + bad + left)) = 0 ]; then
        bad=1; failures+=("$suite: ran no test")
    fi
    echo "---- $suite: $ok passed, $bad failed, $left skipped in $((SECONDS - began)) s"
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + left))
done

say "all in $((SECONDS - started)) s"
for line in "${failures[@]}"; do echo "FAILED $line"; done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
