#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: jobs/flip.sh ZIPS [DIR]
#
# Unpacks FLIP's splits (github.com/J-SNACKKB/FLIP: secondary_structure_splits.zip, conservation_splits.zip,
# gb1_splits.zip, found in ZIPS) into DIR, runs/data/flip by default, for jobs/flip-*.yaml.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '4,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
zips=$1 dir=${2:-runs/data/flip}
for task in secondary_structure conservation gb1; do
    zip=$zips/${task}_splits.zip
    [ -r "$zip" ] || { echo "jobs/flip.sh: there is no $zip" >&2; exit 3; }
    mkdir -p "$dir/$task"
    unzip -q -o -j "$zip" 'splits/*' -d "$dir/$task"
done
ls "$dir"/*
