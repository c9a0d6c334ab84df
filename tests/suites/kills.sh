#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: 200 kills while checkpoints are written, of one rank, all ranks and the launcher; disks that fail; power cuts
# default: no
# limit: 3000
. tests/suites/lib.sh
command -v mpirun >/dev/null || cannot_run 'there is no mpirun in PATH'
export TESSERA=$BUILD/tessera
case $BUILD in /*) ;; *) export BUILD=$PWD/$BUILD TESSERA=$PWD/$BUILD/tessera ;; esac
check "disks that fail, power cuts" bash tests/ckpt/faults.sh
for ranks in 1 2 3 4; do check "50 kills of $ranks ranks" bash tests/ckpt/kills.sh $ranks 50 $((7 * ranks)); done
