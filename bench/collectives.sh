#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Collectives against the MPI library's: 2 ranks on this machine, each bound to a core, then 4 and 2 virtual hosts with
# links of 400 Mbit/s (which need root). What cannot run prints no target, and is short. limit: 300 s
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
bench=$PWD/${BUILD:-build}/bench/collectives
case ${BUILD:-} in /*) bench=$BUILD/bench/collectives ;; esac
hosts=tests/cluster/hosts.sh
code=0

echo "mpirun -n 2 --bind-to core bench/collectives node"
timeout -k 5 120 mpirun -n 2 --bind-to core "$bench" node || code=1
echo "4 hosts, 400mbit, one rank each: bench/collectives hosts"
timeout -k 5 80 $hosts with 4 400mbit 0.1ms $hosts run -n 4 --per-host 1 --limit 60 "$bench" hosts || code=1
echo "2 hosts, 400mbit, one rank each: bench/collectives overlap"
timeout -k 5 80 $hosts with 2 400mbit 0.1ms $hosts run -n 2 --per-host 1 --limit 60 "$bench" overlap || code=1
exit $code
