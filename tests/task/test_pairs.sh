#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# Pairs of texts: which of two letters comes first in the alphabet is learned from "a" with "b" behind, told apart by the
# types of their tokens; the same on 1 and 2 ranks; rows that are cut keep both texts; what goes without a second text.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${TESSERA:=build/tessera}"
[ -x "$TESSERA" ] || { echo "there is no $TESSERA"; exit 77; }
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-pairs.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
failed=0
check() { # WHAT COMMAND…
    if "${@:2}"; then echo "good: $1"; else echo "bad: $1"; tail -5 "$top/out"; failed=1; fi
}
ranks() { # COUNT WORD…
    local count=$1
    shift
    [ "$count" != 1 ] || { timeout -k 5 60 "$TESSERA" "$@" </dev/null; return; }
    timeout -k 5 60 mpirun --oversubscribe --bind-to none -n "$count" "$TESSERA" "$@" </dev/null
}

# Without positions a text is a bag of letters: types alone say which of them are of the second.
awk 'BEGIN {
    srand(5)
    print "first\tsecond\torder"
    for (i = 0; i < 400; i++) {
        a = substr("abcdefgh", int(rand() * 8) + 1, 1); b = substr("abcdefgh", int(rand() * 8) + 1, 1)
        if (a != b) print a "\t" b "\t" (a < b ? "up" : "down")
    }
}' >"$top/d.tsv"
job() { # MORE: keys of the backbone
    cat <<YAML
run: {dir: $top/run$2, steps: 150, log: 150 steps, evaluate: never, threads: 1}
backbone: {layers: 1, heads: 2, width: 16, context: 8, causal: false, positions: none$1}
learner: {optimizer: {type: adamw, rate: 2e-2}, schedule: {type: constant, warmup: 10}}
tasks:
  order:
    type: sequence_classification
    adapter: {type: mlp_pool, hidden: [16]}
    data:
      files: [$top/d.tsv]
      columns: {text: first, pair: second, label: order}
      batch: 32
      tokenizer: {type: characters, alphabet: abcdefgh}
      split: {type: fraction, validation: 0.3}
YAML
}
job ', token_types: 2' 2 >"$top/typed.yaml"
job '' 0 >"$top/plain.yaml"
accuracy() { ranks "$1" eval "$2" 2>"$top/out" | awk -F'\t' '$2 == "accuracy" { print $3 }'; }
learns() { ranks 2 train "$top/typed.yaml" >"$top/out" 2>&1 && awk -v a="$(accuracy 1 "$top/typed.yaml")" 'BEGIN { exit !(a > 0.9) }'; }
cannot() { ranks 1 train "$top/plain.yaml" >"$top/out" 2>&1 && awk -v a="$(accuracy 1 "$top/plain.yaml")" 'BEGIN { exit !(a != "" && a < 0.75) }'; }
same() { [ -n "$(accuracy 1 "$top/typed.yaml")" ] && [ "$(accuracy 1 "$top/typed.yaml")" = "$(accuracy 2 "$top/typed.yaml")" ]; }
check 'the order of a pair is learned from types' learns
check 'the same on 1 and 2 ranks' same
check 'without types it is not known' cannot

# Texts that are too long: of each as much as there is room for, so that the first letters still decide.
sed -E '2,$s/^(.)\t(.)/\1\1\1\1\1\1\1\1\1\1\t\2/' "$top/d.tsv" >"$top/long.tsv"
cut_short() {
    ranks 1 predict "$top/typed.yaml" --file "$top/long.tsv" --out "$top/long.jsonl" >"$top/out" 2>&1 &&
        paste <(awk -F'\t' 'NR > 1 { print $3 }' "$top/d.tsv") <(sed -E 's/.*"class":"([a-z]*)".*/\1/' "$top/long.jsonl") |
            awk '{ n++; right += $1 == $2 } END { exit !(n > 300 && right > 0.8 * n) }'
}
check 'a text that is too long leaves room for its pair' cut_short

refuses() { # WORDS COMMAND…
    ! ranks 1 "${@:2}" >"$top/out" 2>&1 && grep -q "$1" "$top/out"
}
cut -f1,3 "$top/d.tsv" >"$top/alone.tsv"
check 'a file without the second texts' refuses 'second' predict "$top/typed.yaml" --file "$top/alone.tsv" --out "$top/x.jsonl"
check 'a prompt is no pair' refuses 'takes pairs of texts' decode "$top/typed.yaml" --prompt a
sed 's/sequence_classification/token_classification/; s/adapter: .*/adapter: linear/; s/label: order/labels: order/' "$top/typed.yaml" >"$top/tokens.yaml"
check 'labels of tokens have no pairs' refuses 'token_classification has no column pair' train "$top/tokens.yaml" run.dir="$top/other"
exit $failed
