# SPDX-License-Identifier: Apache-2.0
#
# What scripts that test the program share. A script sources it at its beginning, from the top of the tree, and ends with
# `[ $failures = 0 ]`.
#
#     $TESSERA               the program, by its whole path; a script cannot run (77) where there is none
#     $top                   a directory of the script's own, which goes when the script ends
#     ranks N WORD…          the program on N ranks, on 1 without a launcher, which is sooner there; 60 s at most
#     runs N WORD…           the same; what it prints is in $top/out
#     works N WORD…          the same; it must end with 0
#     says REGEX N WORD…     the same; it must end with an error of one line that has REGEX, and not by a signal
#     ends CODE REGEX N WORD…    the same; it must end with CODE and have REGEX on exactly one line
#     also REGEX             what the last of these printed must have REGEX, too
#     norm_of RUN ARRAY      the norm of an array of the newest checkpoint, as ckpt show prints it
#     ok NAME, fail NAME     a check that holds, or does not: with the end of $top/out, and counted
#     check NAME COMMAND…    a check that holds where the command ends with 0

: "${TESSERA:=build/tessera}"
TESSERA=$(realpath "$TESSERA") && [ -x "$TESSERA" ] || { echo "there is no $TESSERA"; exit 77; }
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-test.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
: >"$top/out"
failures=0

ok() { echo "good: $1"; }
fail() {
    echo "bad: $*"
    tail -20 "$top/out" | cut -c 1-400
    failures=$((failures + 1))
}
check() {
    local name=$1
    shift
    if "$@"; then ok "$name"; else fail "$name"; fi
}

ranks() {
    local launch=(mpirun --oversubscribe --bind-to none -n "$1")
    [ "$1" != 1 ] || launch=()
    shift
    timeout -k 5 60 "${launch[@]}" "$TESSERA" "$@" </dev/null
}
runs() { ranks "$@" >"$top/out" 2>&1; }
works() { runs "$@" || fail "it ends with code $?: ${*:2}"; }
# one_error CODE OPTION PATTERN: the last run ended with CODE, no signal's, and one line of error, on which grep OPTION finds it.
one_error() {
    [ "$1" -ge 1 ] && [ "$1" -le 123 ] && [ "$(grep -ac "$2" -- "$3" "$top/out")" = 1 ] &&
        [ "$(grep -acE 'tessera: (\[rank [0-9]+\] )?(error|fatal)' "$top/out")" = 1 ]
}
says() {
    local regex=$1 code
    shift
    runs "$@"
    code=$?
    one_error $code -E "error: .*$regex" || fail "expected one error and /$regex/, got code $code: ${*:2}"
}
# ended GOT CODE REGEX NAME: the last run ended with CODE, and has REGEX on exactly one line.
ended() {
    local lines
    lines=$(grep -acE -- "$3" "$top/out")
    [ "$1" = "$2" ] && [ "$lines" = 1 ] || fail "expected code $2 and /$3/ on one line, got code $1 and $lines lines: $4"
}
ends() {
    runs "${@:3}"
    ended $? "$1" "$2" "${*:4}"
}
also() { grep -qaE -- "$1" "$top/out" || fail "expected also /$1/"; }
norm_of() { "$TESSERA" ckpt show "$1" | awk -v name="$2" '$1 == name { sub(/^[^)]*\) +/, ""); print $1 }'; }
