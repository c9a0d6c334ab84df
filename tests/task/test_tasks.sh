#!/usr/bin/env bash
# ranks: 3
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# Tasks on one trunk, from files of examples: they learn; each example is evaluated and predicted once, on any number of
# ranks; what is wrong is said before the first step.
set -u
. tests/program.sh

# Words of two kinds: the class is whether there is a z, the number how many a there are, labels say v or c of a letter.
awk 'BEGIN {
    srand(3)
    print "id\ttext\tclass\ttags\tcount\tletters" > "'"$top"'/d.tsv"
    for (i = 0; i < 203; i++) {
        word = ""; letters = ""; n = 0; z = 0
        for (k = 0; k < 4 + i % 9; k++) {
            c = substr("abcdez", int(rand() * 6) + 1, 1)
            word = word c; letters = letters (index("ae", c) ? "v" : "c"); n += c == "a"; z += c == "z"
        }
        tags = (z ? "z" : "") (n ? (z ? ";a" : "a") : "") # none at all is fine
        print i "\t" word "\t" (z ? "with" : "without") "\t" tags "\t" n "\t" letters > "'"$top"'/d.tsv"
    }
}'
data="data: {files: [$top/d.tsv], batch: 16, lengths: [8], tokenizer: {type: characters, alphabet: abcdez}, split: {type: fraction, validation: 0.3, test: 0.05}"
cat >"$top/job.yaml" <<YAML
run: {dir: $top/run, steps: 180, log: 90 steps, evaluate: never, threads: 1}
backbone: {layers: 2, heads: 2, width: 32, context: 16, causal: false}
learner: {optimizer: {type: adamw, rate: 5e-3}, schedule: {type: constant, warmup: 10}}
tasks:
  class: {type: sequence_classification, $data, columns: {label: class}}, adapter: {type: mlp_pool, hidden: [16], pooling: max}}
  tags: {type: sequence_classification, multi_label: true, $data, columns: {label: tags}}, adapter: {type: mlp_pool, pooling: attention}}
  count: {type: sequence_regression, $data, columns: {label: count}}, adapter: linear_cls, weight: 2}
  letters: {type: token_classification, $data, columns: {labels: letters}}, adapter: {type: mlp, hidden: [16]}}
  guess: {type: mlm, $data}}
  states: {type: embed, $data}, weight: 0}
YAML

# ---- they learn, and beat trivial guesses

if ranks 2 train "$top/job.yaml" >"$top/out" 2>&1; then ok "six tasks train on one trunk"; else fail "six tasks train on one trunk"; fi
ranks 1 eval "$top/job.yaml" --baselines --confusion >"$top/eval1" 2>"$top/out" || fail "evaluates on 1 rank"
score() { awk -F'\t' -v task="$1" -v name="$2" '$1 == task && $2 == name { print $3 }' "${3:-$top/eval1}"; }
for pair in class:majority/accuracy letters:majority/accuracy; do
    task=${pair%%:*} base=${pair#*:}
    if awk -v a="$(score $task accuracy)" -v b="$(score $task $base)" 'BEGIN { exit !(a != "" && b != "" && a > b) }'; then
        ok "$task: accuracy $(score $task accuracy) above $(score $task $base)"
    else
        fail "$task: accuracy '$(score $task accuracy)' not above '$(score $task $base)'"
    fi
done
if awk -v a="$(score count mae)" -v b="$(score count mean/mae)" 'BEGIN { exit !(a != "" && b != "" && a < b) }'; then
    ok "count: error $(score count mae) below the mean's $(score count mean/mae)"
else
    fail "count: error '$(score count mae)' not below '$(score count mean/mae)'"
fi
[ "$(grep -c confusion "$top/eval1")" = 4 ] && ok "confusion of 2 and 2 classes" || fail "confusion of 2 and 2 classes"

# ---- what their heads say of prompts is what they predict of examples, on any number of ranks

awk -F'\t' 'NR > 1 && NR < 9 { print $2 }' "$top/d.tsv" >"$top/prompts.txt"
awk -F'\t' 'NR == 1 || NR < 9' "$top/d.tsv" >"$top/few.tsv"
column() { # TASK KEY FILE: of JSON lines
    sed -E 's/.*"'"$2"'": ?("([^"]*)"|([-0-9.e]+)).*/\2\3/' "$3" | { [ "$1" = count ] && xargs printf '%.4g\n' || cat; }
}
for pair in class:class count:value letters:labels; do
    task=${pair%%:*}
    ranks 1 predict "$top/job.yaml" --task "$task" --file "$top/few.tsv" --out "$top/few.jsonl" >"$top/out" 2>&1 || fail "predicts $task of a file"
    for count in 1 2; do
        ranks $count decode "$top/job.yaml" --task "$task" --input "$top/prompts.txt" --output "$top/said.jsonl" decode.batch=3 >"$top/out" 2>&1 ||
            fail "decodes $task on $count ranks"
        column "$task" "${pair#*:}" "$top/few.jsonl" >"$top/one"
        column "$task" text "$top/said.jsonl" >"$top/two"
        if [ "$(wc -l <"$top/two")" = 7 ] && cmp "$top/one" "$top/two"; then
            ok "$task on $count ranks: decoded as predicted"
        else
            fail "$task on $count ranks: decoded otherwise than predicted"
        fi
    done
done
ranks 1 decode "$top/job.yaml" --task class --prompt abz --prompt abc >"$top/said" 2>"$top/out" || fail "decodes a class"
[ "$(cut -f1 "$top/said" | xargs)" = 'abz abc' ] && [ "$(cut -f2 "$top/said" | grep -cE '^with(out)?$')" = 2 ] &&
    ok "a class is printed behind its prompt" || { fail "a class is printed behind its prompt"; cat "$top/said"; }
ranks 1 decode "$top/job.yaml" --task guess --prompt 'ab<mask>de' >"$top/said" 2>"$top/out" || fail "fills a mask"
grep -qE '^ab[abcdez]de$' "$top/said" && ok "a mask is filled" || { fail "a mask is filled"; cat "$top/said"; }
if ranks 2 decode "$top/job.yaml" --task class --prompt abcdeabcdeabcdeabcde >"$top/out" 2>&1; then
    fail "a prompt beyond the context is refused"
elif grep -q 'prompt 0 has 2[0-9] tokens, more than the context of 16' "$top/out"; then
    ok "a prompt beyond the context is refused"
else
    fail "a prompt beyond the context is refused"
fi
ranks 1 decode "$top/job.yaml" --task states --prompt ab >"$top/out" 2>&1 || grep -q 'tasks.states does not decode' "$top/out" &&
    ok "states are not decoded" || fail "states are not decoded"

if ranks 2 eval "$top/job.yaml" --task count --histograms 2>"$top/out" |
    awk -F'\t' '$2 ~ /^histogram (value|error) 0$/ { n++; all = 0; for (i = 7; i <= 26; i++) all += $i; if (all != $3 || $3 != 60 || $4 > $6 || $6 > $5) wrong = 1 }
        END { exit wrong || n != 2 }'; then
    ok "histograms of values and errors hold every example"
else
    fail "histograms of values and errors hold every example"
fi

# ---- the same on any number of ranks, each example once

for count in 2 3 5; do
    ranks $count eval "$top/job.yaml" --baselines >"$top/eval$count" 2>"$top/out" || fail "evaluates on $count ranks"
    if grep -v confusion "$top/eval1" | paste - "$top/eval$count" | awk -F'\t' '
        $1 != $5 || $2 != $6 || $4 != $8 { wrong = 1 }
        { d = $3 - $7; if (d > 2e-4 || d < -2e-4) wrong = 1 }
        END { exit wrong || NR < 40 }'; then
        ok "the scores of $count ranks are those of 1"
    else
        fail "the scores of $count ranks are those of 1"
        grep -v confusion "$top/eval1" | paste - "$top/eval$count" | head -60
    fi
done
for count in 1 2 3 5; do
    ranks $count predict "$top/job.yaml" --task letters --out "$top/p$count.tsv" >"$top/out" 2>&1 || fail "predicts on $count ranks"
    ranks $count predict "$top/job.yaml" --task class --part test --out "$top/c$count.jsonl" >"$top/out" 2>&1 || fail "predicts on $count ranks"
    if cmp -s "$top/p1.tsv" "$top/p$count.tsv" && [ "$(wc -l <"$top/p$count.tsv")" = 61 ] &&
        [ "$(wc -l <"$top/c$count.jsonl")" = 10 ] &&
        awk -F'[:,]' '{ if ($2 != NR - 1) wrong = 1 } END { exit wrong }' "$top/c$count.jsonl"; then
        ok "$count ranks predict each example once, in order"
    else
        fail "$count ranks predict each example once, in order"
    fi
done
for task in tags count guess states; do
    if ranks 2 predict "$top/job.yaml" --task $task 2>"$top/out" | awk 'END { exit NR != 60 }'; then ok "predicts $task"; else fail "predicts $task"; fi
done

# ---- other files, without labels: classes and scales are the checkpoint's

cut -f2 "$top/d.tsv" >"$top/texts.tsv"
for part in train validation test; do
    ranks 2 predict "$top/job.yaml" --task count --part $part --out "$top/$part.tsv" >"$top/out" 2>&1 || fail "predicts counts of $part"
done
ranks 3 predict "$top/job.yaml" --task count --file "$top/texts.tsv" --out "$top/all.tsv" >"$top/out" 2>&1 || fail "predicts counts of a file"
tail -qn +2 "$top"/{train,validation,test}.tsv | cut -f2 | sort -g >"$top/parts"
if tail -n +2 "$top/all.tsv" | cut -f2 | sort -g | paste - "$top/parts" | awk '{ d = $1 - $2; if (d > 1e-4 || d < -1e-4) wrong = 1 } END { exit wrong || NR != 203 }'; then
    ok "a file of texts is predicted as the parts of the data are"
else
    fail "a file of texts is predicted as the parts of the data are"
fi
printf 'text\nabcde\nzzz\n' >"$top/new.tsv"
if ranks 2 predict "$top/job.yaml" --task class --file "$top/new.tsv" 2>"$top/out" >"$top/new.jsonl" &&
    [ "$(grep -cE '"class":"(with|without)"' "$top/new.jsonl")" = 2 ]; then
    ok "names of classes come from the checkpoint"
else
    fail "names of classes come from the checkpoint"
fi
cat >"$top/again.yaml" <<YAML
run: {dir: $top/again, threads: 1}
backbone: {layers: 1, heads: 2, width: 32, context: 16}
tasks:
  again:
    type: sequence_regression
    data: {files: [$top/p.h5], columns: {text: class, label: probabilities}, split: {type: fraction, validation: 0}, tokenizer: bytes}
YAML
if ranks 2 predict "$top/job.yaml" --task class --out "$top/p.h5" >"$top/out" 2>&1 &&
    ranks 1 data show "$top/again.yaml" --count 60 >"$top/shown" 2>"$top/out" && [ "$(grep -c 'text  *"with' "$top/shown")" = 60 ]; then
    ok "predictions in HDF5 are examples again"
else
    fail "predictions in HDF5 are examples again"
fi

# ---- what is wrong is said

# expect WORDS OVERRIDE...: training with these ends with an error that says WORDS, on one line, before the first step.
expect() {
    local words=$1
    shift
    ranks "$count" train "$top/job.yaml" run.dir="$top/wrong" "$@" >"$top/out" 2>&1
    local code=$?
    if [ $code != 0 ] && [ $code -lt 124 ] && [ "$(grep -cF -- "$words" "$top/out")" = 1 ] && ! grep -q '^step' "$top/out"; then
        ok "$words"
    else
        fail "$words (code $code)"
    fi
}
count=2
expect 'has no column "klass"; it has id, text, class, tags, count, letters' tasks.class.data.columns.label=klass
expect 'd.tsv:2: column class: expected a finite number' tasks.count.data.columns.label=class
count=1
expect 'no metric mae for this task' tasks.class.metrics='[mae]'
expect 'no metric acuracy for this task; did you mean accuracy?' tasks.class.metrics='[acuracy]'
expect 'linear gives one output a token; sequence_classification takes linear_cls, mlp_pool' tasks.class.adapter=linear
expect 'the first token sees no other where backbone.causal is true' backbone.causal=true tasks.guess=null tasks.class.adapter=linear_cls
expect 'guesses a token from those on both sides' backbone.causal=true tasks.count.adapter=mlp_pool
expect 'have 11 and 34 tokens' tasks.guess.data.tokenizer=residues
expect 'bytes has no mask token' tasks.guess.data.tokenizer=bytes tasks.tags=null tasks.class=null tasks.count=null tasks.letters=null tasks.states=null
expect 'is none of the 1 classes' 'tasks.class.classes=[with]'
expect 'has nothing to learn' tasks.states.weight=1
expect 'more than the backbone' tasks.class.data.length=17
expect 'none is left to learn from' 'tasks.class.data.split={type: column, column: class, train: [never]}'
expect 'run.steps' run.steps=0
expect 'with multi_label it may have several' tasks.tags.class_weights=balanced
[ $failures = 0 ]
