#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 120 s
#
# A student that learns from a teacher: which stays as it was; of which a copy has nothing to learn from it; and without
# which the student decodes.
set -u
. tests/program.sh
norm() { norm_of "$1" "parameters/$2"; }
words=(jobs/line.yaml run.threads=1 run.log="1 step" run.evaluate=never run.steps=3 backbone.layers=2 backbone.heads=2
    backbone.width=32 backbone.context=16 tasks.lm.data.length=16 learner.schedule.warmup=0)
teacher=(tasks.lm.teacher.backbone.type=transformer tasks.lm.teacher.backbone.layers=2 tasks.lm.teacher.backbone.heads=2
    tasks.lm.teacher.backbone.width=32 tasks.lm.teacher.backbone.context=16)

runs 2 train "${words[@]}" "run.dir=$top/teacher" || { cat "$top/out"; exit 1; }

# A smaller student, on 2 ranks: it learns, the teacher does not.
runs 2 train "${words[@]}" "${teacher[@]}" backbone.layers=1 backbone.width=16 "run.dir=$top/student" \
    "init_from.path=$top/teacher" 'init_from.rules=[["teacher/(.*)$","backbone/$1"]]' 'init_from.ignore=["^backbone/"]' ||
    fail "the student does not train"
for name in tokens/table layer_01/attention/query/kernel norm/scale; do
    [ -n "$(norm "$top/teacher" "backbone/$name")" ] &&
        [ "$(norm "$top/teacher" "backbone/$name")" = "$(norm "$top/student" "teacher/$name")" ] ||
        fail "the teacher's $name is '$(norm "$top/student" "teacher/$name")' after training"
done
runs 2 decode "${words[@]}" "${teacher[@]}" backbone.layers=1 backbone.width=16 "run.dir=$top/student" \
    decode.max_decode_steps=4 --prompt "Alice" || fail "the student does not decode"

# A copy of the teacher has nothing to learn from it alone: its loss is 0.
runs 1 train "${words[@]}" "${teacher[@]}" tasks.lm.teacher.weight=1 learner.optimizer.rate=1e-9 "run.dir=$top/copy" \
    "init_from.path=$top/teacher" 'init_from.rules=[["teacher/(.*)$","backbone/$1"],["(.*)","$1"]]' || fail "the copy does not train"
grep -qE '^step +1/3 +loss +-?0\.000' "$top/out" || fail "a copy of the teacher has something to learn"

runs 1 train "${words[@]}" "${teacher[@]}" tasks.lm.teacher.backbone.context=8 "run.dir=$top/none" &&
    fail "a teacher with a shorter context was taken"
grep -q 'the teacher reads fewer tokens' "$top/out" || fail "no such error"

[ $failures = 0 ]
