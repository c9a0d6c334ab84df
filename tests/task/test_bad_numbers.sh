#!/usr/bin/env bash
# ranks: 3
# SPDX-License-Identifier: Apache-2.0
#
# limit: 200 s
#
# Numbers that go bad in real runs: steps are skipped, counted and said; a run goes back to an older checkpoint, with the
# data where they are, and ends where that does not help. On one rank and on three, with ZeRO-3, in all three modes of a
# mixture; a run that is stopped between has the same bits as one that is not.
set -u
. tests/program.sh

# Every tenth of the labels is too large for the square of a float; some are far off.
awk 'BEGIN { srand(5); print "text\tgood\tbad\todd"; for (i = 0; i < 600; i++) { word = ""; a = 0
    for (k = 0; k < 7; k++) { c = substr("abcd", 1 + int(4 * rand()), 1); word = word c; a += c == "a" }
    print word "\t" a "\t" (rand() < 0.1 ? "1e25" : a) "\t" (i % 40 == 7 ? 500 : a) } }' >"$top/words.tsv"
task() { echo "{type: sequence_regression, scale: false, adapter: linear_cls, data: {files: [$top/words.tsv], columns: {label: $1}, batch: $2, length: 8, tokenizer: {type: characters, alphabet: abcd}, split: {type: fraction, validation: 0.1}}}"; }
cat >"$top/job.yaml" <<YAML
run: {seed: 5, threads: 1, log: 1 steps, evaluate: never, steps: 40}
backbone: {type: transformer, layers: 1, heads: 2, width: 16, context: 16, causal: false}
learner: {optimizer: {type: adamw, rate: 3e-3}, ema: {decay: 0.9}, skip_limit: 3}
checkpoint: {every: 2 steps, keep: {latest: 0}}
YAML
{ echo tasks:; echo "  odd: $(task odd 6)"; } >"$top/odd.yaml"
{ echo tasks:; echo "  bad: $(task bad 6)"; } >"$top/bad.yaml"
{ echo tasks:; echo "  good: $(task good 6)"; echo "  bad: $(task bad 6)"; } >"$top/both.yaml"
state() { python3 -c 'import json, sys; s = json.load(open(sys.argv[1]))["state"]; print(eval(sys.argv[2], {"s": s}))' "$top/$1/checkpoints/step_$(printf %08d "$2")/manifest.json" "$3"; }
said() { grep -ac "$1" "$top/out"; }

# ---- jumps: a loss far above its mean is skipped, and others are not

for n in 1 3; do
    works $n train "$top/job.yaml" "$top/odd.yaml" run.dir="$top/odd$n" guard.z_score=8 guard.after=8 learner.skip_limit=20 parameters.shard=data
    skipped=$(said 'is skipped: the loss of odd is .* deviations above its mean of')
    [ "$skipped" -ge 2 ] && [ "$(state odd$n 40 's["skipped_steps"]')" = "$(said 'is skipped: ')" ] || fail "$n ranks: jumps are skipped: $skipped"
    grep -aq '"step":40,.*"skipped_steps":'"$(said 'is skipped: ')"',"rollbacks":0' "$top/odd$n/metrics.jsonl" || fail "$n ranks: what was skipped is not in metrics.jsonl"
done
[ "$(state odd1 40 's["skipped_steps"]')" = "$(state odd3 40 's["skipped_steps"]')" ] || fail 'one rank and three skip other steps'

# ---- too many in a row: back, with the data where they are

rolled() { # rolled NAME RANKS CONFIG WORD…: it ends, and has read each step's data once
    local name=$1 n=$2 config=$3 back steps
    shift 3
    works "$n" train "$top/job.yaml" "$top/$config.yaml" run.dir="$top/$name" guard.rollbacks=50 guard.check_replicas='every 1 steps' "$@"
    back=$(said 'going back to step')
    [ "$back" -ge 1 ] && [ "$(state "$name" 40 's["rollbacks"]["count"]')" = "$back" ] || fail "$name: it never went back"
    steps=$(said '^step .*/40')
    [ "$steps" -gt 40 ] && [ "$(state "$name" 40 's["step"]')" = 40 ] || fail "$name: $steps steps"
    [ "$(state "$name" 40 "s['tasks']['bad']['place'] + s['tasks'].get('good', {'place': 0})['place']")" = $((steps * ${batch:-6})) ] ||
        fail "$name: data were read twice, or not at all"
}
rolled alone 1 bad
rolled three 3 bad parameters.shard=data
batch=12 rolled joint 3 both mixture.mode=joint
batch=12 rolled concurrent 3 both mixture.mode=concurrent

# ---- a run that is stopped between goes on as if it was not

works 2 train "$top/job.yaml" "$top/bad.yaml" run.dir="$top/whole" guard.rollbacks=50 guard.z_score=8 guard.after=4
for steps in 7 19 40; do
    works 2 train "$top/job.yaml" "$top/bad.yaml" run.dir="$top/parts" guard.rollbacks=50 guard.z_score=8 guard.after=4 run.steps=$steps
done
ends 0 '^no array differs' 1 ckpt diff "$top/whole" "$top/parts"
! grep -qa '^state' "$top/out" || fail 'a run that is stopped between has another state'

# ---- it ends where going back does not help, with the checkpoints from before

refused() { ends 2 "error: 3 steps in a row were skipped, at the last the (loss of bad|norm of the gradient) is (inf|nan|-nan); $1; the last checkpoint is of step" "${@:2}"; }
refused 'guard.rollbacks is 0' 2 train "$top/job.yaml" "$top/bad.yaml" run.dir="$top/none" guard.rollbacks=0
refused 'the run went back as often as guard.rollbacks allows' 2 train "$top/job.yaml" "$top/bad.yaml" run.dir="$top/once" guard.rollbacks=1
refused 'there is no checkpoint from before to go back to' 2 train "$top/job.yaml" "$top/bad.yaml" run.dir="$top/early" checkpoint.every=never
says 'check_replicas: give steps' 1 train "$top/job.yaml" "$top/bad.yaml" run.dir="$top/no" guard.check_replicas='2 h'
[ $failures = 0 ]
