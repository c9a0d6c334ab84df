#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: AUROC and Spearman of 10^7 scores on 4 ranks, of which none receives more than 1.2 of its share (2 min, 4 GB)
# default: no
# limit: 900
. tests/suites/lib.sh
command -v mpirun >/dev/null || cannot_run 'there is no mpirun in PATH'
export TESSERA_SCORES=10000000 OMP_NUM_THREADS=1
check "10^7 scores on 4 ranks" timeout 800 mpirun --oversubscribe --bind-to none -n 4 "$BUILD/tests/task-test_metric_large"
