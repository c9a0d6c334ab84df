#!/usr/bin/env bash
# ranks: 1
# SPDX-License-Identifier: Apache-2.0
#
# bench/targets.tsv: its rows are whole, every target that a bench names is in it, and bench/run judges by it.
set -u
failed=0
fail() { echo "$*"; failed=1; }

awk -F'\t' '!/^#/ && (NF != 5 || $1 !~ /^[a-z0-9]+\/[A-Za-z0-9-]+$/ || $2 !~ /^[0-9.]+$/ || $3 == "" || $4 !~ /^(higher|lower)$/ || seen[$1]++) \
    { print "bench/targets.tsv:" FNR ": " $0; bad = 1 } END { exit bad || NR < 50 }' bench/targets.tsv || fail "rows that are not right"

# A bench is bench/NAME.c, NAME.sh and NAME/*.c. It gives its targets by name to bench_target of bench/target.h, prints
# `target NAME/...`, or calls a function `target` of its script.
for bench in $(ls bench/*.c bench/*.sh | sed 's/.*\///; s/\.[a-z]*$//' | sort -u); do
    sources=$(ls "bench/$bench.c" "bench/$bench.sh" bench/"$bench"/*.c 2>/dev/null)
    names=$(grep -ohE "\"$bench/[A-Za-z0-9-]+\"|target $bench/[A-Za-z0-9-]+" $sources | sed 's/^target //; s/"//g'
        grep -ohE '(^ *|\|\| )target [a-z0-9-]+ ' $sources | sed "s/.*target /$bench\//; s/ //"
        # `row NAME DTYPE` has the targets NAME-DTYPE and NAME-DTYPE-peer, as far as the table has them.
        sed -nE "s/^ *row ([a-z0-9-]+) ([a-z0-9]+) .*/$bench\/\1-\2\n$bench\/\1-\2-peer/p" $sources | grep -xFf <(cut -f 1 bench/targets.tsv))
    [ -n "$names" ] || fail "bench/$bench names no target"
    for name in $names; do grep -q "^$name	" bench/targets.tsv || fail "bench/$bench: target $name is not in bench/targets.tsv"; done
    for name in $(awk -F'\t' -v bench="$bench" 'index($1, bench "/") == 1 { print $1 }' bench/targets.tsv); do
        grep -qx "$name" <<<"$names" || fail "bench/$bench does not measure $name"
    done
done

said=$(mktemp)
trap 'rm -f "$said"' EXIT
needed() { awk -F'\t' -v name="$1" '$1 == name { print $2 }' bench/targets.tsv; }
every() { # what a bench would print that measures $1 times the needed value in the better direction
    awk -F'\t' -v times="$1" '/^cluster\// { print "target " $1 " measured " ($4 == "higher" ? $2 * times : $2 / times) " needed " $2 " met" }' bench/targets.tsv
}
judge() { bench/run --judge cluster "$said" >"$said.out"; }
every 1.1 >"$said"
judge || fail "all met, and judged otherwise"
every 0.9 >"$said"
judge && fail "all short, and judged met"
[ "$(grep -c ' short$' "$said.out")" = "$(every 1 | wc -l)" ] || fail "all short, and not all said to be"
every 1.1 | tail -n +2 >"$said"
judge && fail "one not printed, and judged met"
grep -q 'measured - needed .* short$' "$said.out" || fail "one not printed, and not said to be short"
{ every 1.1; echo "target cluster/none measured 1 needed 1 met"; } >"$said"
judge && fail "one that is not in the table, and judged met"
every 1.1 | sed 's/needed [0-9.]*/needed 0.001/' >"$said"
judge && fail "another needed value than the table's, and judged met"
rm -f "$said.out"
[ -n "$(needed cluster/start)" ] || fail "no row cluster/start"
exit $failed
