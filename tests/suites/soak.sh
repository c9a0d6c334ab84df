#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: an hour (SOAK_S seconds) of faults, at least 60, on three virtual hosts; the same bits at the end (needs root)
# default: no
# packages: cluster
# limit: 7200
. tests/suites/lib.sh
[ "$(id -u)" = 0 ] || cannot_run 'virtual hosts need root'
bash tests/cluster/soak.sh "${SOAK_S:-3600}" "${SOAK_FAULTS:-60}" "${SOAK_SEED:-$(date +%s)}"
