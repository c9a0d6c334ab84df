#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# 33 kills while checkpoints are written, at every stage of a save and at random instants: nothing that was committed is
# lost. In three runs side by side, as launchers mostly wait for what they have killed.
set -u
out=$(mktemp -d "${TMPDIR:-/tmp}/tessera-test-kills.XXXXXX") || exit 1
trap 'rm -rf "$out"' EXIT
jobs=()
for first in 0 1 2; do
    bash tests/ckpt/kills.sh 2 11 $first 3 >"$out/$first" 2>&1 &
    jobs+=($!)
done
code=0
for first in 0 1 2; do
    wait "${jobs[first]}"
    got=$?
    [ $got = 0 ] || code=$got
    grep -v ' Killed  ' "$out/$first" # the shell's word for it
done
exit $code
