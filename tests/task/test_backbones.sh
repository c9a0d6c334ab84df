#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 100 s
#
# Backbones that are no transformers, through the whole program: words of one half of the alphabet and of the other are
# told apart; the same losses on 1 and 2 ranks; what decodes refuses them.
set -u
. tests/program.sh
printf 'word\tkind\n' >"$top/words.tsv"
for a in a b c d e f g h; do for b in a b c d; do
    printf '%s%s%s\tlow\n%s%s\thigh\n' $a $b $a "$(tr a-h s-z <<<$a)" "$(tr a-h s-z <<<$b)"
done; done >>"$top/words.tsv"
cat >"$top/job.yaml" <<JOB
run: {seed: 1, steps: 60, threads: 1, evaluate: never, log: 60 steps}
backbone: {type: onehot, context: 8}
learner: {optimizer: {type: adamw, rate: 2e-2}}
tasks:
  kind:
    type: sequence_classification
    data:
      files: [$top/words.tsv]
      columns: {text: word, label: kind}
      split: {type: fraction, validation: 0.2}
      tokenizer: {type: bytes, specials: true}
      length: 8
      batch: 16
    adapter: {type: mlp_pool, pooling: mean}
JOB
conv1d='backbone={type: conv1d, layers: 2, width: 16, kernel: 3, context: 8}'
for backbone in 'backbone.context=8' "$conv1d"; do
    for n in 1 2; do
        runs $n train "$top/job.yaml" "$backbone" run.dir="$top/run$n" || fail "$backbone on $n ranks does not train"
        grep -oE 'loss +[0-9.]+' "$top/out" | tail -1 >"$top/loss$n"
    done
    cmp "$top/loss1" "$top/loss2" || fail "$backbone: other losses on 2 ranks: $(cat "$top"/loss[12] | xargs)"
    runs 1 eval "$top/job.yaml" "$backbone" run.dir="$top/run1" || fail "$backbone is not evaluated"
    grep -qE 'accuracy[[:space:]]+1[[:space:]]' "$top/out" || fail "$backbone does not tell them apart"
    rm -rf "$top"/run[12]
done
sed 's/sequence_classification/language_model/; s/, label: kind//; /adapter/d' "$top/job.yaml" >"$top/language.yaml"
runs 1 train "$top/language.yaml" run.dir="$top/none" && fail "a language model of one-hot rows"
grep -q 'onehot: tasks.kind decodes, which takes a transformer' "$top/out" || fail "no such error"

[ $failures = 0 ]
