#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# What the program says about its commands, and to commands that it does not have: one line, and an exit code.
set -u
. tests/program.sh

# gives CODE REGEX COMMAND...: the command ends with this code, and its output has this regular expression in a line.
gives() {
    local code=$1 regex=$2 got
    shift 2
    timeout 60 "$@" </dev/null >"$top/out" 2>&1
    got=$?
    [ $got = "$code" ] && also "$regex" || fail "expected code $code, got $got: $*"
}

gives 0 '^  help  ' "$TESSERA" help
gives 0 '^  help  ' "$TESSERA" --help
gives 0 '^tessera version' "$TESSERA" help version
gives 0 '^tessera version' "$TESSERA" version --help
gives 0 '^tessera [0-9]+\.[0-9]+\.[0-9]+' "$TESSERA" version
gives 0 '^tessera [0-9]+\.[0-9]+\.[0-9]+' "$TESSERA" --version
gives 2 'tessera: error: which command\? tessera help lists them' "$TESSERA"
gives 2 'tessera: error: there is no command "vresion"; did you mean version\?' "$TESSERA" vresion
gives 2 'tessera: error: there is no command "zebra"; tessera help lists them' "$TESSERA" zebra
gives 2 'tessera: error: there is no command "hepl"; did you mean help\?' "$TESSERA" help hepl
gives 2 'tessera: error: version: expected nothing' "$TESSERA" version now
ends 2 'there is no command' 2 zebra
ends 0 '^tessera [0-9]' 2 version
gives 3 'could not be printed|cannot be printed' bash -c '"$0" version >/dev/full; code=$?; [ $code != 0 ] && exit 3' "$TESSERA"

[ $failures = 0 ]
