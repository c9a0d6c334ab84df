#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: virtual hosts: collectives across three, and the scripts that bring hosts up (needs root)
# default: yes
# packages: cluster
# limit: 600
. tests/suites/lib.sh
hosts=tests/cluster/hosts.sh

[ "$(id -u)" = 0 ] || cannot_run 'virtual hosts need root'
command -v mpirun >/dev/null || cannot_run 'there is no mpirun in PATH'
why=$($hosts up 3 2>&1) || cannot_run "$why"
trap '$hosts down' EXIT

# ---- every contract suite of collectives, on three hosts, even and uneven

export OMP_NUM_THREADS=1
for program in "$BUILD"/tests/comm-test_collectives*; do
    [ -x "$program" ] && [[ $program != *_layout ]] || continue # that one takes one machine for several
    for ranks in 3 8; do # one a host; 3, 3 and 2
        check "$(basename "$program") with $ranks ranks on 3 hosts" $hosts run --limit 200 -n $ranks "$program"
    done
done

$hosts down
run_ctest -L '^cluster$'
bash tests/cluster/check_hosts.sh
