#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: losses, gradients and parameters on every mesh of 1 to 8 ranks against those of one rank (20 min)
# default: no
# limit: 3000
. tests/suites/lib.sh
command -v mpirun >/dev/null || cannot_run 'there is no mpirun in PATH'
export TESSERA_ALL_MESHES=1 OMP_NUM_THREADS=1
for ranks in 1 2 3 4 6 8; do
    check "every mesh of $ranks rank(s)" timeout 1400 mpirun --oversubscribe --bind-to none -n $ranks "$BUILD/tests/task-test_meshes"
done
