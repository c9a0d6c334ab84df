#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: FLIP=ZIPS jobs/flip-ridge.sh [RANKS]
#
# Ridge regression with alpha 1 on one-hot residues of GB1's four splits (jobs/flip-ridge.yaml), from the gb1_splits.zip in
# ZIPS: Spearman's correlation on the test parts must be that of scikit-learn, within 0.002. TESSERA names the program,
# build/tessera by default.
set -euo pipefail
[ -n "${FLIP:-}" ] && [ $# -le 1 ] || { sed -n '4,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
ranks=${1:-1} tessera=${TESSERA:-build/tessera}
[ -r "$FLIP/gb1_splits.zip" ] || { echo "jobs/flip-ridge.sh: there is no $FLIP/gb1_splits.zip" >&2; exit 3; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unzip -q -o -j "$FLIP/gb1_splits.zip" 'splits/*' -d "$work"

run() {
    if [ "$ranks" = 1 ]; then "$@"; else mpirun --oversubscribe --bind-to none -n "$ranks" "$@"; fi
}

wrong=0
for expected in one_vs_rest:0.279 two_vs_rest:0.594 three_vs_rest:0.755 low_vs_high:0.343; do
    split=${expected%:*}
    found=$(run "$tessera" probe jobs/flip-ridge.yaml "run.dir=$work/$split" "tasks.fitness.data.files=[$work/$split.csv]" \
        2>"$work/log" | awk -F'\t' '$2 == "test" && $3 == "spearman" {print $4}') || { cat "$work/log" >&2; exit 1; }
    awk -v part="$split" -v found="$found" -v expected="${expected#*:}" 'BEGIN {
        off = found - expected; if (off < 0) off = -off
        good = found != "" && off <= 0.002
        printf "%s\tspearman %s\tscikit-learn %s\t%s\n", part, found, expected, good ? "as expected" : "WRONG"
        exit !good }' || wrong=1
done
exit $wrong
