#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: the unit tests, and those on 2 ranks, in a build with AddressSanitizer and UndefinedBehaviorSanitizer
# default: no
# limit: 3600
. tests/suites/lib.sh

build() { cmake --preset asan && cmake --build --preset asan --parallel "$(nproc)"; }
check "builds" build
[ -f build-asan/CTestTestfile.cmake ] || exit 1
BUILD=build-asan run_ctest -R '-[12]$' -LE cluster
