#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checkpoints of GPT-2 124 M with AdamW (1.5 GB) on 2 ranks, each bound to a core, against dd in the same directory,
# which is $BENCH_DIR or a temporary one. What cannot run is short. limit: 600 s
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
bench=$PWD/${BUILD:-build}/bench/checkpoint
case ${BUILD:-} in /*) bench=$BUILD/bench/checkpoint ;; esac
code=0
for part in ${BENCH_PARTS:-save verify asynchronous memory restore}; do
    dir=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/tessera-bench.XXXXXX") || exit 1
    echo "mpirun -n 2 --bind-to core bench/checkpoint DIR $part"
    timeout -k 5 280 mpirun -n 2 --bind-to core "$bench" "$dir" "$part" || code=1
    rm -rf "$dir"
done
exit $code
