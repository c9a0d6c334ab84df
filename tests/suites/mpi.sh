#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: the CUnit programs and scripts that need several ranks
# default: yes
# limit: 900
. tests/suites/lib.sh
command -v mpirun >/dev/null || cannot_run "there is no mpirun in PATH"
run_ctest -L '^mpi$'
