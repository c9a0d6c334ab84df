#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: losses, gradients and parameters on every mesh of 1 to 8 ranks against those of one rank (20 min)
# default: no
# limit: 3600
. tests/suites/lib.sh
command -v mpirun >/dev/null || cannot_run 'there is no mpirun in PATH'
export OMP_NUM_THREADS=1
models=('everything at once' 'odd sizes' 'grouped heads, untied' 'experts' 'gated experts, accumulation')
for ranks in 1 2 3 4 6 8; do
    for model in "${!models[@]}"; do
        TESSERA_ALL_MESHES=$model check "${models[model]}: every mesh of $ranks rank(s)" \
            timeout 900 mpirun --oversubscribe --bind-to none -n $ranks "$BUILD/tests/task-test_meshes"
    done
done
