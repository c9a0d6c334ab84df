#!/usr/bin/env bash
# ranks: 3
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# `tessera ckpt` on the checkpoints of two short runs: what it lists, shows, verifies, compares and averages, on other
# numbers of ranks than saved them; and what it says of what is damaged, unfinished, foreign or not there.
set -u
. tests/program.sh

# ---- two runs of 4 steps

for seed in 1 2; do
    runs 2 train jobs/line.yaml "run.dir=$top/run$seed" "run.seed=$seed" run.steps=4 run.threads=1 run.evaluate=never \
        "checkpoint.every=2 steps" backbone.layers=1 backbone.width=32 backbone.context=16 tasks.lm.data.length=16 ||
        { cat "$top/out"; exit 1; }
done
one=$top/run1/checkpoints two=$top/run2/checkpoints
before=$(cd "$top" && find run1 run2 -type f -exec cksum {} + | sort)

ends 0 '^ +2 +[0-9.]+ [KM]iB +[0-9]+ s +committed' 1 ckpt ls "$top/run1"
also '^ +4 +[0-9.]+ [KM]iB +[0-9]+ s +committed'
ends 0 '^step +4$' 1 ckpt show "$top/run1"
also '^mesh +.*"data":2'
also '^files +1$'
also '^config_hash +[0-9a-f]{8}$'
also '^parameters/.* f32 +\([0-9]+, [0-9]+\) +[0-9.e+-]+ +1$'
also '^optimizer/.* f32 +\([0-9]+, [0-9]+\) +[0-9.e+-]+ +2, by 0: data$'
cp "$top/out" "$top/shown"
ends 0 '^step +4$' 3 ckpt show "$one/step_00000004"
diff <(grep / "$top/shown") <(grep / "$top/out") || fail "norms depend on the number of ranks"
ends 0 'step_00000002: good: step 2, [0-9]+ arrays, ' 3 ckpt verify "$one/step_00000002" "$one/step_00000004"
also 'step_00000004: good: step 4'
ends 0 '^no array differs, of [0-9]+$' 2 ckpt diff "$top/run1" "$one/step_00000004"
ends 2 'error: .*step_00000002 and .*step_00000004 differ in [0-9]+ arrays' 2 ckpt diff "$one/step_00000002" "$one/step_00000004"
also '^parameters/.*: [0-9]+ of [0-9]+ elements differ, by [0-9.e-]+ at most, [0-9.e-]+ of the largest'
also '^state: step differs'

# ---- the mean: of a checkpoint and itself, the same bits; between two, half as far from each as they are apart

ends 0 '^the mean of 2 checkpoints is in .*/same, as of step 4' 3 ckpt average "$top/run1" "$top/run1" --out "$top/same"
runs 1 ckpt diff "$top/same" "$top/run1"
grep -q '^parameters/' "$top/out" && fail "the mean of a checkpoint and itself is another"
ends 0 '^the mean of 2 checkpoints' 2 ckpt average "$one/step_00000002" "$two/step_00000004" --out "$top/mean"
ends 0 'good: step 4' 1 ckpt verify "$top/mean"
apart() { # the largest difference of each parameter, "NAME VALUE"
    runs 1 ckpt diff "$1" "$2"
    sed -nE 's/^(parameters[^:]*): [0-9]+ of .* by ([0-9.e+-]+) at most.*/\1 \2/p' "$top/out"
}
apart "$one/step_00000002" "$two/step_00000004" >"$top/whole"
apart "$top/mean" "$one/step_00000002" >"$top/half"
join "$top/whole" "$top/half" >"$top/halves"
awk '{ n++; if ($3 < 0.499 * $2 || $3 > 0.501 * $2) { print "not half way:", $0; bad = 1 } } END { exit bad || n < 5 }' "$top/halves" ||
    fail "the mean of two is not half way: $(cat "$top/halves")"
ends 0 '^hello' 1 decode jobs/line.yaml "run.dir=$top/mean" run.threads=1 backbone.layers=1 backbone.width=32 \
    backbone.context=16 tasks.lm.data.length=16 decode.max_decode_steps=3 --prompt hello
ends 2 'error: .*/mean/checkpoints: has a directory of step 4 already' 2 ckpt average "$top/run1" "$top/run2" --out "$top/mean"
runs 1 train jobs/line.yaml "run.dir=$top/wide" run.steps=1 run.threads=1 run.evaluate=never backbone.layers=2 \
    backbone.width=16 backbone.context=16 tasks.lm.data.length=16 || { cat "$top/out"; exit 1; }
ends 2 'error: .*it lacks parameters/|error: .*which .* lacks: they cannot be averaged' 2 ckpt average "$top/run1" "$top/wide" --out "$top/none"
ends 2 'differ in [0-9]+ arrays' 2 ckpt diff "$top/run1" "$top/wide"
also '^parameters/.*: f32 \(.*\) in the first, f32 \(.*\) in the second'
also '^parameters/.*: only in the second'

# ---- nothing was changed by all of this

[ "$before" = "$(cd "$top" && find run1 run2 -type f -exec cksum {} + | sort)" ] ||
    fail "looking at checkpoints changed them"

# ---- what is wrong is said once

bad=$two/step_00000004
size=$(stat -c %s "$bad/state.h5")
head -c 64 /dev/zero | tr '\0' '\377' | dd of="$bad/state.h5" bs=1 seek=$((size / 2)) conv=notrunc status=none
ends 5 'error: .*state.h5: .*are not what was saved' 2 ckpt verify "$bad" "$two/step_00000002"
also 'step_00000002: good'
ends 5 'error: .*state.h5: .*are not what was saved' 3 ckpt show "$bad"
truncate -s 100 "$bad/state.h5"
ends 0 '^ +4 .*DAMAGED .*state.h5: has 100 bytes' 2 ckpt ls "$top/run2"
ends 5 'error: .*has 100 bytes, should have' 2 ckpt verify "$bad"
mkdir "$two/step_00000009.tmp"
rm "$two/step_00000002/COMMIT"
ends 0 '^ +9 .*unfinished' 1 ckpt ls "$top/run2"
also '^ +2 .*not committed'
ends 3 'error: .*step_00000002: not committed' 2 ckpt verify "$two/step_00000002"
ends 3 'error: .*/none/checkpoints: no checkpoints: No such file' 2 ckpt ls "$top/none"
ends 3 'error: .*/none: no checkpoint: No such file' 2 ckpt show "$top/none"
ends 2 'error: .*COMMIT: it is a file, not a directory|error: .*no checkpoint: it is a file' 2 ckpt show "$one/step_00000004/COMMIT"
mkdir -p "$top/empty/checkpoints"
ends 3 'error: .*/empty/checkpoints: holds no checkpoint that is committed' 2 ckpt show "$top/empty"
sed -i 's/checkpoint 1/checkpoint 9/' "$one/step_00000002/COMMIT"
ends 6 'error: .*of layout 9, newer than this program' 2 ckpt verify "$one/step_00000002"
ends 2 'error: ckpt: which of ls, show' 2 ckpt
ends 2 'error: ckpt: there is no "shwo"; did you mean show\?' 2 ckpt shwo
ends 2 'error: ckpt diff: expected A B' 2 ckpt diff "$top/run1"
ends 2 'error: ckpt ls: unknown option --all' 2 ckpt ls --all
ends 2 'error: ckpt average: expected two checkpoints or more, and --out DIR' 2 ckpt average "$top/run1" "$top/run2"
ends 2 'error: ckpt average: --out is followed by one directory' 2 ckpt average "$top/run1" "$top/run2" --out

[ $failures = 0 ]
