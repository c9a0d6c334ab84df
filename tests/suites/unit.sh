#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: the CUnit programs and scripts that need one rank
# default: yes
# limit: 600
. tests/suites/lib.sh
run_ctest -L '^unit$'
