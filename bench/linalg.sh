#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Distributed linear algebra on 2 ranks of 1 thread, beside scikit-learn and LAPACK with 2 threads (PYTHON names a Python
# that has scikit-learn), and a step of Shampoo beside one of AdamW. What cannot run is short. limit: 600 s
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
build=${BUILD:-build} python=${PYTHON:-python3}
code=0

# A part that did not run to its end: its targets are short.
short() {
    code=1
    for name in "$@"; do
        awk -F'\t' -v name="$name" '$1 == name { print "target " name " measured - needed " $2 " short" }' bench/targets.tsv
    done
}
two() { timeout -k 5 200 mpirun --oversubscribe --bind-to none -n 2 "$build/bench/linalg" "$@"; }

peer=$(OPENBLAS_NUM_THREADS=2 OMP_NUM_THREADS=2 timeout 200 "$python" bench/peers/linalg.py ridge) || peer=nan
two ridge "$peer" || short linalg/ridge linalg/ridge-peer
lapack=$(OPENBLAS_NUM_THREADS=2 OMP_NUM_THREADS=2 timeout 200 "$python" bench/peers/linalg.py eigen) || lapack=nan
two eigen "$lapack" || short linalg/eigen
two memory || short linalg/memory

# Milliseconds of a step: 200 steps less 100, so that the beginning does not count.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seconds() {
    local begin=$(date +%s.%N)
    timeout 200 "$build/tessera" train jobs/tinyshakespeare.yaml run.dir="$work/$1-$2" run.steps="$2" run.threads=1 run.evaluate=never \
        tasks.lm.data.text=tests/data/alice.txt checkpoint.keep=null checkpoint.every=never learner.optimizer="{type: $1, rate: 1e-3}" \
        >/dev/null 2>&1 || return 1
    awk -v a="$begin" -v b="$(date +%s.%N)" 'BEGIN { print b - a }'
}
adamw=$(seconds adamw 100) && adamw2=$(seconds adamw 300) && shampoo=$(seconds shampoo 100) && shampoo2=$(seconds shampoo 300) &&
    awk -v a="$adamw" -v b="$adamw2" -v c="$shampoo" -v d="$shampoo2" -F'\t' '
        $1 == "linalg/shampoo-step" { ratio = (d - c) / (b - a)
            printf "a step: AdamW %.1f ms, Shampoo %.1f ms\n", (b - a) * 5, (d - c) * 5
            printf "target %s measured %.4g needed %s %s\n", $1, ratio, $2, ratio <= $2 ? "met" : "short" }' bench/targets.tsv ||
    short linalg/shampoo-step
exit $code
