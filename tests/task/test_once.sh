#!/usr/bin/env bash
# ranks: 5
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# Every example is predicted, and every prompt decoded, exactly once, in its order, on 1, 2, 3 and 5 ranks, whatever their
# number: one alone, for ranks that have nothing to do, and no multiple of ranks or batch. (Evaluation: test_tasks.sh.)
set -u
. tests/program.sh

examples() { # examples FILE COUNT
    awk -v count="$2" 'BEGIN { print "name\ttext\tclass"; for (i = 0; i < count; i++) print "n" i "\t" substr("abcdefghijklmnop", 1 + i % 11, 2 + i % 4) "\t" (i % 3 ? "x" : "y") }' >"$1"
}
examples "$top/d.tsv" 24
data="data: {files: [$top/d.tsv], batch: 4, lengths: [8, 16], tokenizer: bytes, split: {type: fraction, validation: 0.55, test: 0}"
cat >"$top/job.yaml" <<YAML
run: {dir: $top/run, steps: 2, log: never, evaluate: never, threads: 1}
backbone: {layers: 1, heads: 2, width: 16, context: 32}
tasks:
  class: {type: sequence_classification, $data, columns: {text: text, label: class}}}
  lm: {type: language_model, $data, columns: {prompt: name, text: text}}}
decode: {max_decode_steps: 3, temperature: 0, batch: 4}
YAML
works 1 train "$top/job.yaml"
for count in 1 2 3 5; do
    for many in 1 13; do
        examples "$top/few.tsv" $many
        runs $count predict "$top/job.yaml" --task class --file "$top/few.tsv" --out "$top/class.$count.$many.jsonl" ||
            fail "$count ranks do not predict $many"
        [ "$(wc -l <"$top/class.$count.$many.jsonl")" = $many ] ||
            fail "$count ranks predict $(wc -l <"$top/class.$count.$many.jsonl") examples, should be $many"
        sed -E 's/([0-9]\.[0-9]{3})[0-9]*(e-?[0-9]+)?/\1/g' "$top/class.$count.$many.jsonl" >"$top/rounded.$count.$many"
        cmp "$top/rounded.1.$many" "$top/rounded.$count.$many" || fail "$count ranks predict $many examples otherwise, or in another order"
        awk -F'\t' 'NR > 1 { print $1 }' "$top/few.tsv" >"$top/prompts"
        runs $count decode "$top/job.yaml" --task lm --input "$top/prompts" --output "$top/decoded" || fail "$count ranks do not decode $many"
        [ "$(sed -E 's/.*"index": ?([0-9]+).*"prompt": ?"([^"]*)".*/\1 \2/' "$top/decoded")" = "$(awk -v n=$many 'BEGIN { for (i = 0; i < n; i++) print i, "n" i }')" ] ||
            fail "$count ranks decode other prompts than $many, each once: $(cat "$top/decoded")"
    done
done
[ $failures = 0 ]
