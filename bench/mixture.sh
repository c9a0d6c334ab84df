#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What mixtures cost, bench/mixture.c: eight tasks, switching and the Gram matrix of 124 M parameters on one core, two
# unequal tasks on two. limit: 400 s
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
case ${BUILD:=build} in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
code=0
timeout -k 5 120 mpirun -n 1 --bind-to core "$BUILD/bench/mixture" tasks || code=1
timeout -k 5 90 mpirun -n 2 --bind-to core "$BUILD/bench/mixture" concurrent || code=1
timeout -k 5 200 mpirun -n 1 --bind-to core "$BUILD/bench/mixture" gram || code=1
exit $code
