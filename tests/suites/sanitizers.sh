#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: the unit tests, and those on 2 ranks, in builds with AddressSanitizer and UndefinedBehaviorSanitizer
# default: no
# limit: 1800
. tests/suites/lib.sh

failed=0
for preset in asan ubsan; do
    build() { cmake --preset $preset && cmake --build --preset $preset --parallel "$(nproc)"; }
    check "$preset: builds" build
    [ -f "build-$preset/CTestTestfile.cmake" ] || continue
    BUILD=build-$preset run_ctest -R '-[12]$' -LE cluster | sed "s/^\(ok\|not ok\|skip\) /&$preset: /"
    [ "${PIPESTATUS[0]}" = 0 ] || failed=1
done
exit $failed
