#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 120 s
#
# sequence_to_sequence through the whole program: three letters are learned backwards, decoded greedily and by beams, on
# 1 and 2 ranks, and evaluated; what such a task does not go with is said.
set -u
. tests/program.sh

letters=(a b c d e f)
printf 'there\tback\n' >"$top/pairs.tsv"
for x in "${letters[@]}"; do for y in "${letters[@]}"; do for z in "${letters[@]}"; do
    printf '%s%s%s\t%s%s%s\n' "$x" "$y" "$z" "$z" "$y" "$x"
done; done; done >>"$top/pairs.tsv"
cat >"$top/job.yaml" <<JOB
run: {dir: $top/run, seed: 2, steps: 240, threads: 1, evaluate: never, log: 240 steps}
backbone: {type: transformer, layers: 1, heads: 4, width: 64, hidden: 128, context: 8, causal: false, positions: relative, norm: rms}
learner: {optimizer: {type: adamw, rate: 4e-3}, schedule: {type: cosine, warmup: 20, final: 0.05}, clip: 1}
tasks:
  reverse:
    type: sequence_to_sequence
    data:
      files: [$top/pairs.tsv]
      columns: {source: there, target: back}
      split: {type: fraction, validation: 0.1}
      tokenizer: {type: bytes, specials: true}
      length: 6
      batch: 32
decode: {max_decode_steps: 6, temperature: 0}
JOB
runs 1 train "$top/job.yaml" || { cat "$top/out"; exit 1; }
runs 2 eval "$top/job.yaml" || fail "eval ended with an error"
grep -q loss "$top/out" || fail "eval says no loss"

printf 'abc\nfed\nbad\ncab\nfee\n' >"$top/in.txt"
for how in decode.beams=0 decode.beams=3; do
    for n in 1 2; do
        runs $n decode "$top/job.yaml" --input "$top/in.txt" --output "$top/out$n.jsonl" decode.batch=3 $how ||
            fail "decode $how on $n ranks ended with an error"
        sed -E 's/("(log_probability|score)": -?[0-9]+\.[0-9]{2})[0-9e-]*/\1/g' -i "$top/out$n.jsonl"
    done
    [ "$how" = decode.beams=3 ] || cmp "$top/out1.jsonl" "$top/out2.jsonl" || fail "2 ranks decode otherwise than 1"
    right=0
    for pair in abc:cba fed:def bad:dab cab:bac fee:eef; do
        grep -q "\"prompt\": \"${pair%:*}\", .*\"text\": \"${pair#*:}\"" "$top/out1.jsonl" && right=$((right + 1))
    done
    [ $right -ge 4 ] || { cat "$top/out1.jsonl"; fail "$how: $right of 5 are written backwards"; }
done

runs 1 decode "$top/job.yaml" --prompt "abcabcabc" && fail "a source beyond the context was taken"
grep -q 'prompt 0 has 11 tokens, more than the context of 8' "$top/out" || fail "no such error"
runs 1 train "$top/job.yaml" backbone.causal=true run.dir="$top/other" && fail "a causal encoder was taken"
grep -q 'reverse reads its source in both directions: causal: false' "$top/out" || fail "no such error"

[ $failures = 0 ]
