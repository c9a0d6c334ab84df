#!/usr/bin/env bash
# ranks: 1
# SPDX-License-Identifier: Apache-2.0
#
# Walks the table of ops: each has a golden value, is differentiated and compared with differences, is cut over ranks
# and compared with one rank, is compared with f64 in bf16, and all that with dims of size 0, of size 1, and odd ones.
# The tests themselves say what they test (op_audit.h); what is left out is named below, with the reason.
set -u
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
: >"$work/said"
for program in "${BUILD:-build}"/tests/tensor-test_op_*; do
    OP_AUDIT=$work/said timeout 60 "$program" >"$work/log" 2>&1 ||
        { tail -20 "$work/log"; echo "$program does not say what it tests"; exit 1; }
done

# WHAT OP...: reason
cat >"$work/without" <<'WITHOUT'
gradient argmax equal above compare assign: their results do not change by a little
gradient uniform normal gumbel: they depend on no float
gradient adamw clip_factor sum_squares_parts: they stand behind all gradients, and refuse to have any
gradient cross_entropy_rows: a pass makes it, when all gradients are there
gradient sgd momentum adam lion adam_update velocity descend average: behind all gradients, and they refuse too
golden d_take_added: a pass makes it of an addition and take's gradient; tests/tensor/test_join_tables.c
bf16 sgd momentum adam lion adam_update velocity descend average: masters and moments are f32
gradient d_attend d_attend_bias: attention has no second derivative, and says so
bf16 adamw clip_factor: masters, moments and norms are f32
bf16 uniform normal gumbel: noise is f32
bf16 assign: choices and slots are i32
cut clip_factor: it takes and gives a scalar
empty clip_factor: it takes and gives a scalar
odd clip_factor: it takes and gives a scalar
WITHOUT

sort -u "$work/said" | awk -v without="$work/without" '
    BEGIN {
        while ((getline line < without) > 0) {
            sub(/:.*/, "", line)
            for (i = split(line, word, " "); i > 1; i--)
                excused[word[1] " " word[i]] = 1
        }
        kinds = split("golden gradient cut bf16 empty one odd", kind, " ")
    }
    $1 == "op" { ops++; op[ops] = $2; next }
    { said[$0] = 1 }
    END {
        for (o = 1; o <= ops; o++)
            for (k = 1; k <= kinds; k++) {
                name = kind[k] " " op[o]
                if (!said[name] && !excused[name]) { print "no test: " name; bad++ }
                if (said[name] && excused[name]) { print "tested, and on the list of what is not: " name; bad++ }
                delete excused[name]
            }
        for (name in excused) { print "on the list, and not in the table: " name; bad++ }
        print ops " ops"
        if (ops < 40 || bad) exit 1
    }'
