#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# What the program says about its commands, and to commands that it does not have: one line, and an exit code.
set -u
failures=0

# check CODE WORDS COMMAND...: the command ends with this code, and its output has this regular expression in a line.
check() {
    local code=$1 words=$2 output got
    shift 2
    output=$(timeout 60 "$@" 2>&1 </dev/null)
    got=$?
    if [ "$got" != "$code" ] || ! grep -qE -- "$words" <<<"$output"; then
        printf '%s\n  expected code %s and /%s/, got code %s and:\n%s\n' "$*" "$code" "$words" "$got" "$output"
        failures=$((failures + 1))
    fi
}

# once WORDS COMMAND...: exactly one line of the output has them.
once() {
    local words=$1 lines
    shift
    lines=$(timeout 60 "$@" 2>&1 </dev/null | grep -cE -- "$words")
    if [ "$lines" != 1 ]; then
        printf '%s\n  expected /%s/ in one line, found it in %s\n' "$*" "$words" "$lines"
        failures=$((failures + 1))
    fi
}

two=(mpirun --oversubscribe --bind-to none -n 2 "$TESSERA")

check 0 '^  help  ' "$TESSERA" help
check 0 '^  help  ' "$TESSERA" --help
check 0 '^tessera version' "$TESSERA" help version
check 0 '^tessera version' "$TESSERA" version --help
check 0 '^tessera [0-9]+\.[0-9]+\.[0-9]+' "$TESSERA" version
check 0 '^tessera [0-9]+\.[0-9]+\.[0-9]+' "$TESSERA" --version
check 2 'tessera: error: which command\? tessera help lists them' "$TESSERA"
check 2 'tessera: error: there is no command "vresion"; did you mean version\?' "$TESSERA" vresion
check 2 'tessera: error: there is no command "zebra"; tessera help lists them' "$TESSERA" zebra
check 2 'tessera: error: there is no command "hepl"; did you mean help\?' "$TESSERA" help hepl
check 2 'tessera: error: version: expected nothing' "$TESSERA" version now
once 'there is no command' "${two[@]}" zebra
check 2 'there is no command' "${two[@]}" zebra
once '^tessera [0-9]' "${two[@]}" version
check 3 'could not be printed|cannot be printed' bash -c '"$0" version >/dev/full; code=$?; [ $code != 0 ] && exit 3' "$TESSERA"

[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
