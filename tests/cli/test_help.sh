#!/usr/bin/env bash
# ranks: 1
# SPDX-License-Identifier: Apache-2.0
#
# The help on keys comes from the tables that read them, and so does docs/config.md: it must be what they say now.
set -u
. tests/program.sh

# help CODE WORDS ARGUMENTS...: `tessera help config ARGUMENTS` ends with this code and says these words.
help() {
    local code=$1 words=$2 got
    shift 2
    runs 1 help config "$@"
    got=$?
    [ $got = "$code" ] && grep -qF -- "$words" "$top/out" || fail "help config $*: expected code $code and \"$words\", got code $got"
}

help 0 'run.seed' # all keys
help 0 'mesh.model' mesh.model
help 0 'ranks along heads and widths' mesh.model
help 0 'tasks.NAME.weight' tasks.any_name.weight
help 0 'learner.optimizer.rate' rate
help 3 'there is no key mesh.modeel; did you mean model?' mesh.modeel
help 3 'there is no key xyzzy; `tessera help config` lists all' xyzzy
help 2 'help config: expected at most one key' mesh.model mesh.data

if ! diff <(timeout 60 "$TESSERA" help config --markdown) docs/config.md; then
    fail 'docs/config.md is not what the tables say: build/tessera help config --markdown > docs/config.md'
fi

[ $failures = 0 ]
