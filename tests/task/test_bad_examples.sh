#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# Examples that are wrong: one line that says file, line and what was expected, before the first step, on all ranks; or
# with bad_rows: skip the rows are counted and left out.
set -u
. tests/program.sh

cat >"$top/class.yaml" <<YAML
run: {dir: $top/run, steps: 2, log: 1 step, evaluate: never, threads: 1}
backbone: {layers: 1, heads: 2, width: 16, context: 16}
checkpoint: {every: never, last: false}
tasks:
  t: {type: sequence_classification, data: {files: [$top/d.csv], tokenizer: bytes, batch: 4, split: {type: fraction, validation: 0}}}
YAML
sed 's/sequence_classification/sequence_regression/' "$top/class.yaml" >"$top/values.yaml"
sed 's/sequence_classification/token_classification/; s/d\.csv/d.fasta/' "$top/class.yaml" >"$top/tokens.yaml"

count=2
# run CONFIG [override...]: trains on $count ranks.
run() {
    rm -rf "$top/run"
    runs $count train "$top/$1.yaml" "${@:2}"
}
# refused NAME WORDS CONFIG [override...]: ends with one error of these words before the first step.
refused() {
    local name=$1 words=$2 code
    shift 2
    run "$@"
    code=$?
    one_error $code -F "$words" && ! grep -qa '^step' "$top/out"
    check "$name ($words)" [ $? = 0 ]
}
# works NAME WORDS CONFIG [override...]: trains, and says these words.
works() {
    local name=$1 words=$2
    shift 2
    run "$@"
    [ $? = 0 ] && grep -qaF -- "$words" "$top/out"
    check "$name" [ $? = 0 ]
}

printf 'text,label\none,1\ntwo,2\nthree,1\nfour,2\n' >"$top/d.csv"
works "good examples" "step     2/2" class
refused "a column that is not there" 'd.csv: has no column "gloss"; it has text, label' class tasks.t.data.columns.text=gloss
count=1
refused "a role that is none" 'sequence_classification has no column lable; did you mean label?' class tasks.t.data.columns.lable=label
refused "a label out of range" 'd.csv:3: the label "2" is none of the 1 classes' class 'tasks.t.classes=["1"]'
refused "a label that is no number" 'd.csv:2: column text: expected a finite number, found "one"' values tasks.t.data.columns.label=text
printf 'text,label\none,1\ntwo,2,3\nthree,1\n' >"$top/d.csv"
refused "a ragged CSV" 'd.csv:3: 3 fields, but the header has 2' class
works "a ragged row is skipped" '1 rows could not be read and are left out' class tasks.t.data.bad_rows=skip
count=2
printf 'text,label\none,1\n"two,2\nthree,1\n' >"$top/d.csv"
refused "a quote that does not end" 'd.csv:3: the file ends inside quotes' class
printf 'text,label\none,1\ntwo,nan\nthree,inf\nfour,\n' >"$top/d.csv"
refused "a target that is NaN" 'd.csv:3: column label: expected a finite number, found "nan"' values
works "rows without a number are skipped" '3 rows could not be read and are left out' values tasks.t.data.bad_rows=skip
count=1
printf 'text,label\none,1\n\xff\xfe,2\n' >"$top/d.csv"
refused "an encoding that is not UTF-8" 'd.csv:3: column text is not UTF-8 (encoding: any takes it as it is)' class
works "any encoding, if asked for" 'step     2/2' class tasks.t.data.encoding=any
printf '\xff\xfet\0e\0x\0t\0' >"$top/d.csv"
refused "UTF-16" 'd.csv: has no column "text"' class
: >"$top/d.csv"
refused "an empty file" 'd.csv: is empty: expected examples' class
printf 'text,label\n' >"$top/d.csv"
refused "a header alone" 'd.csv: has no example' class
printf 'text,label\none,1\n' >"$top/d.csv"
works "one example" 'step     2/2' class
works "one example, as a number" 'step     2/2' values
refused "one example, that is not learned from" 'split: of 1 example none is left to learn from' class \
    'tasks.t.data.split={type: column, column: label, train: ["0"]}'
awk 'BEGIN { printf "text,label\none,1\n"; for (i = 0; i < 1250000; i++) printf "01234567"; printf ",2\ntwo,2\n" }' >"$top/d.csv"
works "a line of 10 MB is cut to the context" 'step     2/2' class
awk 'BEGIN { printf "text,label\none,1\n"; for (i = 0; i < 1250000; i++) printf "01234567"; printf "\ntwo,2\n" }' >"$top/d.csv"
refused "a ragged line of 10 MB" 'd.csv:3: 1 field, but the header has 2' class
printf '{"text": "a", "label": 1}\n{"text": "b"}\n{"text": 7, "label": [1, 2]}\n' >"$top/d.jsonl"
refused "JSON without a label" 'd.jsonl:2: has no "label"' values "tasks.t.data.files=[$top/d.jsonl]"
printf '{"text": "a", "label": 1}\n{"text": 7, "label": [1, 2]}\n' >"$top/d.jsonl"
refused "other numbers of numbers" 'd.jsonl:2: 2 numbers, but the first example has 1' values "tasks.t.data.files=[$top/d.jsonl]"
printf '{"text": "a", "label": 1}\n{"text": "b",\n' >"$top/d.jsonl"
refused "JSON that is cut off" 'd.jsonl:2: is not JSON' values "tasks.t.data.files=[$top/d.jsonl]"

printf '>p\nMKV\n>q\nAA\n' >"$top/d.fasta"
printf '>p\nHHC\n' >"$top/l.fasta"
refused "FASTA without labels" 'd.fasta:1: p has no column "labels": FASTA has id, description, text' tokens
refused "a sequence without labels" "d.fasta:3: q has no labels in $top/l.fasta" tokens "tasks.t.data.labels=$top/l.fasta"
works "a sequence without labels is skipped" '1 rows could not be read' tokens "tasks.t.data.labels=$top/l.fasta" tasks.t.data.bad_rows=skip
printf '>p\nHHC\n>q\nH\n' >"$top/l.fasta"
refused "fewer labels than residues" 'd.fasta:3: 1 labels for 2 tokens' tokens "tasks.t.data.labels=$top/l.fasta"
printf '>p\nHHC\n>q\nHH\n>p\nHHH\n' >"$top/l.fasta"
refused "labels given twice" 'l.fasta: has the id p twice' tokens "tasks.t.data.labels=$top/l.fasta"
printf '>p\nHHC\n>q\nHH\n' >"$top/l.fasta"
printf 'MKV\n>q\nAA\n' >"$top/d.fasta"
refused "FASTA that begins without >" 'd.fasta:1: expected a line that begins with >' tokens "tasks.t.data.labels=$top/l.fasta"

printf 'text,label\none,1\ntwo,2\nthree,1\nfour,2\n' >"$top/d.csv"
refused "no steps" 'run.steps' class run.steps=0
refused "a metric that is none, for the best checkpoint" 't/acuracy' values checkpoint.keep.best=1 checkpoint.keep.by=t/acuracy \
    tasks.t.data.split.validation=0.5
printf 'not HDF5' >"$top/d.h5"
refused "HDF5 that is none" 'd.h5: cannot be opened as HDF5' class "tasks.t.data.files=[$top/d.h5]"
refused "a file whose name says nothing" 'its name does not say what it is' class "tasks.t.data.files=[$top/class.yaml]"
refused "a file that is not there" 'none.csv: cannot be read' class "tasks.t.data.files=[$top/none.csv]"
gzip -c "$top/d.csv" | head -c 40 >"$top/cut.csv.gz"
refused "a gzipped file that is cut off" 'cut.csv.gz: cannot be read beyond byte' class "tasks.t.data.files=[$top/cut.csv.gz]"
[ $failures = 0 ]
