#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# All folds in one job: each is trained in a directory of its own, every example validates once, scores stand beside
# their mean; the same command again goes on, and says the same.
set -u
. tests/program.sh

awk 'BEGIN { srand(5); for (i = 0; i < 47; i++) { w = ""; for (k = 0; k < 6; k++) w = w substr("abcd", int(rand() * 4) + 1, 1);
    printf "{\"text\": \"%s\", \"label\": %d}\n", w, gsub("a", "a", w) } }' >"$top/d.jsonl"
cat >"$top/job.yaml" <<YAML
run: {dir: $top/run, steps: 10, evaluate: never, threads: 1}
backbone: {layers: 1, heads: 2, width: 16, context: 16}
learner: {optimizer: {type: adamw, rate: 1e-2}}
tasks:
  count:
    type: sequence_regression
    data: {files: [$top/d.jsonl], split: {type: k_fold, folds: 3}, tokenizer: bytes, batch: 8}
    metrics: [mae, spearman]
YAML

ranks 2 train "$top/job.yaml" >"$top/table" 2>"$top/out"
check "three folds train in one job" [ $? = 0 ]
check "a line a score, each fold beside the mean" grep -qE $'^count\tmae\t[0-9.]+\t[0-9.e-]+\t[0-9.]+\t[0-9.]+\t[0-9.]+$' "$top/table"
check "the table is also a file" cmp -s "$top/table" "$top/run/folds.tsv"
mean_is_mean() {
    awk -F'\t' '$1 == "count" { n++; d = $3 - ($5 + $6 + $7) / 3; s = sqrt((($5 - $3) ^ 2 + ($6 - $3) ^ 2 + ($7 - $3) ^ 2) / 2)
        if (d > 1e-4 || d < -1e-4 || s - $4 > 1e-4 || $4 - s > 1e-4) wrong = 1 } END { exit wrong || n < 4 }' "$top/table"
}
check "mean and deviation are those of the folds" mean_is_mean
for fold in 0 1 2; do
    ranks 1 predict "$top/job.yaml" "run.dir=$top/run/fold_$fold" "tasks.count.data.split.fold=$fold" >"$top/p$fold" 2>"$top/out"
    check "fold $fold predicts its own examples" [ -s "$top/p$fold" ]
done
check "every example is in one fold" [ "$(cat "$top"/p[012] | wc -l)" = 47 ]
check "folds were learned by themselves" [ "$(cat "$top"/p[012] | cut -d: -f3 | sort -u | wc -l)" -gt 15 ]
ranks 1 train "$top/job.yaml" >"$top/again" 2>"$top/out"
check "the same command again goes on, on another number of ranks" [ $? = 0 ]
same() { paste "$1" "$2" | awk -F'\t' '{ for (i = 3; i <= 7; i++) { d = $i - $(i + 7); if (d > 1e-4 || d < -1e-4) wrong = 1 } } END { exit wrong || NR < 5 }'; }
check "and says the same" same "$top/table" "$top/again"
ranks 2 eval "$top/job.yaml" --baselines >"$top/evaluated" 2>"$top/out"
check "eval evaluates each fold" same "$top/table" "$top/evaluated"
ranks 1 train "$top/job.yaml" tasks.count.data.split.fold=1 "run.dir=$top/one" >"$top/out" 2>&1
check "one fold alone is a run" [ -d "$top/one/checkpoints" ]
ranks 1 train "$top/job.yaml" "run.dir=$top/wrong" 'tasks.other={type: embed, weight: 0, data: {files: ['"$top"'/d.jsonl], split: {type: k_fold, folds: 4}}}' >"$top/out" 2>&1
check "tasks with other numbers of folds are refused" grep -q 'has 4 folds, another task 3: all the same' "$top/out"
[ $failures = 0 ]
