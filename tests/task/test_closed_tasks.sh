#!/usr/bin/env bash
# ranks: 3
# SPDX-License-Identifier: Apache-2.0
#
# limit: 120 s
#
# Tasks that are solved and not trained: they are solved alike on any number of ranks, evaluate and predict from the
# checkpoint as others do, stand beside tasks that are trained, find their embeddings again; and what cannot be solved is
# said.
set -u
. tests/program.sh

# Words of six letters: the number is what its letters are worth, the class whether there are more of abc than of def.
awk 'BEGIN {
    srand(5)
    print "text\tclass\tcount\todd\tsame\tpart" > "'"$top"'/d.tsv"
    for (i = 0; i < 180; i++) {
        word = ""; n = 0; first = 0; odd = i % 12 == 0
        for (k = 0; k < 6; k++) {
            at = int(rand() * 6); word = word (odd ? "e" : substr("abcdef", at + 1, 1)); n += at * (k + 1); first += at < 3
        }
        print word "\t" (odd || first < 3 ? "late" : "early") "\t" (odd ? 84 : n) + rand() / 4 "\t" odd "\tx\t" (i % 4 == 0 ? "validation" : i % 20 == 1 ? "test" : "train") > "'"$top"'/d.tsv"
    }
}'
data="data: {files: [$top/d.tsv], batch: 16, length: 8, tokenizer: {type: characters, alphabet: abcdef}, split: {type: column, column: part, train: [train], validation: [validation], test: [test]}"
cat >"$top/job.yaml" <<YAML
run: {dir: $top/run, steps: 4, threads: 1, precision: f64}
backbone: {type: onehot, context: 8}
tasks:
  count: {type: ridge, features: flatten, alpha: [1e-3, 0.1, 10], $data, columns: {label: count}}}
  class: {type: logistic, features: flatten, l2: 0.1, $data, columns: {label: class}}}
  parts: {type: pca, features: flatten, components: 3, whiten: true, $data}}
  groups: {type: kmeans, clusters: 3, restarts: 3, $data, columns: {label: class}}}
  batches: {type: kmeans, clusters: 3, minibatch: 40, iterations: 20, $data}}
  odd: {type: anomaly, $data, columns: {label: odd}}}
  far: {type: anomaly, method: neighbours, neighbours: 5, $data, columns: {label: odd}}}
checkpoint: {keep: {latest: 1}}
YAML
score() { awk -F'\t' -v task="$2" -v name="$3" '$1 == task && $2 == "validation" && $3 == name { print $4 }' "$1"; }
above() {
    if awk -v a="$(score "$top/probe1" "$1" "$2")" -v b="$3" 'BEGIN { exit !(a != "" && a > b) }'; then ok "$1: $2 above $3"; else
        fail "$1: $2 is '$(score "$top/probe1" "$1" "$2")', not above $3"; fi
}

# ---- solved alike on any number of ranks

for count in 1 2 3; do
    ranks $count probe "$top/job.yaml" run.dir="$top/run$count" >"$top/probe$count" 2>"$top/out" || fail "probes on $count ranks"
done
above count r2 0.99
above class accuracy 0.85
above class auroc 0.9
above groups silhouette 0.1
above odd auroc 0.95
above far average_precision 0.9
for count in 2 3; do
    if paste "$top/probe1" "$top/probe$count" | awk -F'\t' '
        $1 != $6 || $2 != $7 || $3 != $8 || $5 != $10 { wrong = 1 }
        { d = $4 - $9; if (d > 1e-6 || d < -1e-6) wrong = 1 }
        END { exit wrong || NR < 40 }'; then ok "$count ranks find what 1 finds"; else
        fail "$count ranks find what 1 finds"; paste "$top/probe1" "$top/probe$count"; fi
done
grep -q '"left_out_errors"' "$top/run1/solutions/count.json" && grep -q '"explained_variance_ratio"' "$top/run1/solutions/parts.json" &&
    ok "what was found is told" || fail "what was found is told"

# ---- evaluation and prediction from the checkpoint

for count in 1 3; do
    ranks $count eval "$top/job.yaml" run.dir="$top/run2" >"$top/eval$count" 2>"$top/out" || fail "evaluates on $count ranks"
    awk -F'\t' '$2 == "validation" { print $1 "\t" $3 "\t" $4 "\t" $5 }' "$top/probe1" >"$top/probed"
    if awk -F'\t' '$1 != "average" && $4 > 0' "$top/eval$count" | paste "$top/probed" - | awk -F'\t' '
        $1 != $5 || $2 != $6 { wrong = 1 } { d = $3 - $7; if (d > 1e-6 || d < -1e-6) wrong = 1 } END { exit wrong || NR < 20 }'; then
        ok "the checkpoint evaluates on $count ranks as it was probed"
    else
        fail "the checkpoint evaluates on $count ranks as it was probed"
    fi
done
printf 'text\nabcdef\neeeeee\n' >"$top/new.tsv"
for pair in count:value class:class parts:components groups:cluster odd:score far:score; do
    if ranks 2 predict "$top/job.yaml" run.dir="$top/run3" --task "${pair%:*}" --file "$top/new.tsv" 2>"$top/out" >"$top/new.jsonl" &&
        [ "$(grep -c "\"${pair#*:}\":" "$top/new.jsonl")" = 2 ]; then ok "predicts ${pair%:*}"; else fail "predicts ${pair%:*}"; fi
done

# ---- embeddings are kept; another alpha is another solution

runs 1 probe "$top/job.yaml" run.dir="$top/run1" --task count --force 'tasks.count.alpha=[10]'
grep -q 'tasks.count: 126 examples of 88 columns, found in' "$top/out" && ok "embeddings are found again" || fail "embeddings are found again"
runs 1 probe "$top/job.yaml" run.dir="$top/run1" --task count --force tasks.count.features=mean
grep -q 'tasks.count: 126 examples of 11 columns, computed in' "$top/out" && ok "others are computed" || fail "others are computed"

# ---- beside a task that is trained

cat >"$top/mixed.yaml" <<YAML
run: {dir: $top/mixed, steps: 20, threads: 1, evaluate: 10 steps}
backbone: {layers: 1, heads: 2, width: 16, context: 8, causal: false}
learner: {optimizer: {type: adamw, rate: 5e-3}}
tasks:
  trained: {type: sequence_regression, $data, columns: {label: count}}, adapter: {type: mlp_pool, hidden: [16]}}
  count: {type: ridge, features: flatten, weight: 0, $data, columns: {label: count}}}
checkpoint: {keep: {latest: 1}}
YAML
works 2 train "$top/mixed.yaml"
first=$(grep -E 'count.*r2' "$top/mixed/log.txt" | head -1)
ranks 1 eval "$top/mixed.yaml" --task count >"$top/eval" 2>"$top/out" || fail "evaluates what was solved in training"
if awk -F'\t' '$2 == "r2" { found = $3 > 0.5 } END { exit !found }' "$top/eval" && [ -n "$first" ]; then
    ok "training solves, and evaluates, what is solved"
else
    fail "training solves, and evaluates, what is solved: $(cat "$top/eval")"
fi

# ---- what cannot be is said

run="run.dir=$top/wrong"
says 'tasks.class: all training data are of the class "x"' 2 probe "$top/job.yaml" $run --force --task class tasks.class.data.columns.label=same
says '200 clusters are asked for, but there are 126 examples' 3 probe "$top/job.yaml" $run --force --task groups tasks.groups.clusters=200
says 'only [0-9]+ examples differ' 2 probe "$top/job.yaml" $run --force --task groups tasks.groups.clusters=126
says '200 directions are asked for' 1 probe "$top/job.yaml" $run --force --task parts tasks.parts.components=200
says 'not positive definite at row [0-9]+.*: add ridge' 2 probe "$top/job.yaml" $run --force --task count 'tasks.count.alpha=[0]'
says '127 neighbours of 126 examples' 1 probe "$top/job.yaml" $run tasks.far.neighbours=127
says 'shrinkage must be above 0' 2 probe "$top/job.yaml" $run --force --task odd tasks.odd.shrinkage=0
says 'flatten takes sequences of one length' 1 probe "$top/job.yaml" $run 'tasks.count.data.lengths=[4]'
says 'no metric accuracy for this task' 1 probe "$top/job.yaml" $run 'tasks.count.metrics=[accuracy]'
says 'there is no task cuont; did you mean count' 1 probe "$top/job.yaml" $run --task cuont
says 'tasks.trained is trained, not solved' 1 probe "$top/mixed.yaml" $run --task trained
says 'another configuration|was' 1 probe "$top/job.yaml" run.dir="$top/run1" 'tasks.count.alpha=[3]'
[ $failures = 0 ]
