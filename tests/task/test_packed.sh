#!/usr/bin/env bash
# ranks: 3
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# Documents packed into rows: each token once, in the order of the part; the same batches on any ranks and after a stop;
# kept apart, a document costs what it costs alone. And text with tokens that are not bytes, gzipped too.
set -u
. tests/program.sh

documents() { awk -v count="$1" 'BEGIN { print "text"; for (i = 0; i < count; i++) print substr("the quick brown fox jumps over", 1 + i % 7, 3 + i * 5 % 19) i }'; }
documents 50 >"$top/train.tsv"
documents 8 >"$top/validation.tsv"
job() { # job NAME KEYS-OF-BACKBONE KEYS-OF-DATA
    cat >"$top/$1.yaml" <<YAML
run: {dir: $top/$1, steps: 9, log: 1 steps, threads: 1}
backbone: {layers: 1, heads: 2, width: 16, context: 256$2}
learner: {optimizer: {type: adamw, rate: 0.01}}
tasks: {lm: {type: language_model, data: {batch: 4, $3}}}
YAML
}
bytes='tokenizer: {type: bytes, specials: true}'
files="files: [$top/train.tsv], split: {type: files, validation: [$top/validation.tsv]}, $bytes"

# rows of 24 hold the file, with an end (257) behind each line
job joined "" "$files, pack: joined, length: 24"
works 1 data show "$top/joined.yaml" --count 999
awk '$1 == "tokens" { for (i = 2; i <= NF; i++) print $i }' "$top/out" >"$top/stream"
sed 1d "$top/train.tsv" | od -An -v -tu1 -w1 | awk '{ print $1 == 10 ? 258 : $1 }' >"$top/expected"
total=$(wc -l <"$top/expected")
check "rows hold each token once" cmp <(head -n "$total" "$top/stream") "$top/expected"
[ "$(awk '$1 == "labels" { for (i = 2; i <= NF; i++) n += $i != -100 } END { print n }' "$top/out")" = $((total - 1)) ] ||
    fail "not all $total tokens but the first are labels"

# the same losses on 1 and 3 ranks, and where it was stopped: an epoch has 9 batches
losses() { sed -nE 's#^step +([0-9]+)/[0-9]+ +loss ([0-9.]+).*#\1 \2#p' "$top/out"; }
near() { # near FILE FILE: as many numbers, and none that differs by more than rounding makes
    [ "$(wc -w <"$1")" -gt 0 ] && [ "$(wc -l <"$1")" = "$(wc -l <"$2")" ] &&
        paste "$1" "$2" | awk '{ for (i = 1; i <= NF / 2; i++) { d = $i - $(i + NF / 2); if (d > 0.002 * $i || d < -0.002 * $i) exit 1 } }'
}
works 1 train "$top/joined.yaml"
losses >"$top/one"
[ "$(wc -l <"$top/one")" = 9 ] || fail "no 9 losses"
works 3 train "$top/joined.yaml" run.dir="$top/three"
losses >"$top/found"
check "3 ranks learn the same rows" near "$top/one" "$top/found"
works 1 train "$top/joined.yaml" run.dir="$top/stopped" run.steps=4
works 3 train "$top/joined.yaml" run.dir="$top/stopped"
losses >"$top/found"
tail -n 5 "$top/one" >"$top/last"
check "a run that was stopped learns the same rows" near "$top/last" "$top/found"
works 1 predict "$top/joined.yaml" --part validation --out "$top/predicted.jsonl"
[ "$(wc -l <"$top/predicted.jsonl")" = 8 ] || fail "predictions are not by example"

# apart, a document costs what it costs alone, wherever it stands
evaluated() { sed -nE 's/^step +3 +validation +lm: loss ([0-9.]+), bits_a_byte ([0-9.]+), perplexity ([0-9.]+)$/\1 \2 \3/p; s/^step +3 +validation +lm: loss ([0-9.]+), perplexity ([0-9.]+), bits_a_byte ([0-9.]+)$/\1 \3 \2/p' "$top/out"; }
scores() { awk -F'\t' '$1 == "lm" { printf "%s ", $3 } END { print "" }' "$top/out"; }
for positions in learned rotary sinusoidal alibi relative; do
    job "$positions" ", positions: $positions" "$files"
    works 1 train "$top/$positions.yaml" run.steps=3
    evaluated >"$top/alone"
    works 2 eval "$top/$positions.yaml" run.steps=3 tasks.lm.data.pack=apart
    scores >"$top/found"
    check "$positions: documents of a row are apart" near "$top/alone" "$top/found"
done
works 1 eval "$top/learned.yaml" run.steps=3 tasks.lm.data.pack=joined
scores >"$top/found"
near "$top/alone" "$top/found" && fail "joined documents see nothing of one another"

# text of other tokens than bytes, gzipped too
cp tests/data/alice.txt "$top/alice.txt"
gzip -k "$top/alice.txt"
for tokenizer in "{type: pretrained, path: tests/golden/tokenizers/bert-uncased}" characters "{type: pretrained, path: tests/golden/tokenizers/gpt2}" bytes; do
    job text "" "text: $top/alice.txt, tokenizer: $tokenizer, length: 32"
    rm -rf "$top/text" "$top/zipped"
    works 2 train "$top/text.yaml" run.steps=3
    evaluated >"$top/plain"
    check "$tokenizer: it learns" [ -s "$top/plain" ]
done
works 1 train "$top/text.yaml" run.steps=3 run.dir="$top/zipped" tasks.lm.data.text="$top/alice.txt.gz"
evaluated >"$top/found"
check "gzipped is the same" near "$top/plain" "$top/found"

# what cannot be
job bad "" "files: [$top/train.tsv], pack: joined"
says 'bytes has no end token' 1 train "$top/bad.yaml"
says 'pack: of files' 1 train "$top/text.yaml" tasks.lm.data.pack=joined
says 'packed are all of one length' 1 train "$top/joined.yaml" tasks.lm.data.lengths='[8]'
printf 'good\nb\xffd\n' >"$top/broken.txt"
says 'broken.txt:2: expected UTF-8' 2 train "$top/text.yaml" run.dir="$top/broken" tasks.lm.data.text="$top/broken.txt" tasks.lm.data.tokenizer=characters
head -c 900 "$top/alice.txt.gz" >"$top/short.gz"
says 'short.gz' 2 train "$top/text.yaml" run.dir="$top/short" tasks.lm.data.text="$top/short.gz"
[ $failures = 0 ]
