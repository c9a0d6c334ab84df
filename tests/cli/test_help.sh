#!/usr/bin/env bash
# ranks: 1
# SPDX-License-Identifier: Apache-2.0
#
# The help on keys comes from the tables that read them, and so does docs/config.md: it must be what they say now.
set -u
failures=0

# says CODE WORDS ARGUMENTS...: `tessera help config ARGUMENTS` ends with this code and says these words.
says() {
    local code=$1 words=$2 output got
    shift 2
    output=$(timeout 60 "$TESSERA" help config "$@" 2>&1 </dev/null)
    got=$?
    if [ "$got" != "$code" ] || ! grep -qF -- "$words" <<<"$output"; then
        printf 'help config %s\n  expected code %s and "%s", got code %s and:\n%s\n' "$*" "$code" "$words" "$got" "$output"
        failures=$((failures + 1))
    fi
}

says 0 'run.seed' # all keys
says 0 'mesh.model' mesh.model
says 0 'ranks along heads and widths' mesh.model
says 0 'tasks.NAME.weight' tasks.any_name.weight
says 0 'learner.optimizer.rate' rate
says 3 'there is no key mesh.modeel; did you mean model?' mesh.modeel
says 3 'there is no key xyzzy; `tessera help config` lists all' xyzzy
says 2 'help config: expected at most one key' mesh.model mesh.data

if ! diff <(timeout 60 "$TESSERA" help config --markdown) docs/config.md; then
    echo 'docs/config.md is not what the tables say: build/tessera help config --markdown > docs/config.md'
    failures=$((failures + 1))
fi

[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
