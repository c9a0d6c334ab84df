#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# tessera plan: what it says about meshes that are not there, searches, errors; and train's trace=FILE.
set -u
. tests/program.sh

# plan FILE WORDS...: the plan, in $top/FILE; its exit code.
plan() {
    local file=$1
    shift
    timeout 60 "$TESSERA" plan jobs/line.yaml "$@" >"$top/$file" 2>&1 </dev/null
}

# value FILE KEY: the first number behind KEY at the start of a line.
value() { sed -n "s/^$2  *\([0-9.e+-]*\).*/\1/p" "$top/$1" | head -1; }

plan one --ranks 1 || { fail 'no plan for 1 rank:'; cat "$top/one"; }
plan many --ranks 32768 cluster.ranks_per_node=64 tasks.lm.data.batch=32768 mesh.model=4 || { fail 'no plan for 32768 ranks:'; cat "$top/many"; }
grep -q '^mesh  *{data: 8192, model: 4}: 32768 ranks, 64 a node, 512 nodes$' "$top/many" || fail "which mesh? $(head -1 "$top/many")"
[ "$(value one parameters)" = "$(value many parameters)" ] || fail 'the number of parameters depends on the mesh'
grep -q 'sent by a rank' "$top/one" && fail 'one rank sends something'
grep -q 'all_gather  *data .*of links$' "$top/many" || fail 'parameters are not gathered between nodes'
grep -q 'all_reduce  *model .*inside nodes$' "$top/many" || fail 'model does not lie within a node'

# Twice the cores, half the time of kernels; what is known of one op counts for that op alone.
plan fast --ranks 1 cluster.flops=1e30 cluster.half_flops=0 cluster.memory_bandwidth=1e30 cluster.op='1 ms' || fail 'no plan'
plan faster --ranks 1 cluster.flops=1e30 cluster.half_flops=0 cluster.memory_bandwidth=1e30 cluster.op='0.5 ms' || fail 'no plan'
awk -v a="$(value fast step)" -v b="$(value faster step)" 'BEGIN { exit !(a > 0 && a / b > 1.99 && a / b < 2.01) }' || fail "half the time of every kernel: $(value fast step) s, then $(value faster step) s"

plan small --ranks 1 cluster.memory='1 MiB'
grep -q 'of 1.0 MiB: does not fit$' "$top/small" || fail 'a model larger than the memory fits'

plan search --search --ranks 4 || fail 'no search'
[ "$(grep -c '^{' "$top/search")" = 5 ] || { fail 'a search of 4 ranks has not 5 meshes:'; cat "$top/search"; }
awk '/^{/ { s = $0; sub(/^{[^}]*}(, shard: data)? */, "", s); split(s, f, " "); if (f[1] + 0 < last) bad = 1; last = f[1] + 0 } END { exit bad }' "$top/search" || { fail 'not the fastest first:'; cat "$top/search"; }

plan experts --search --ranks 4 backbone.experts=4 || { fail 'no search with experts'; cat "$top/experts"; }
[ "$(grep -c '^{' "$top/experts")" = 11 ] || { fail 'a search of 4 ranks with experts has not 11 meshes:'; cat "$top/experts"; }
for mesh in '{data: 2, expert: 2}' '{expert: 4}, shard: data' '{expert: 2, model: 2}'; do grep -qF "$mesh" "$top/experts" || { fail "no mesh $mesh"; cat "$top/experts"; }; done

plan wrong --ranks 3 mesh.model=2 && fail '3 ranks are laid out as 2 along model'
grep -q 'error: .*mesh: .*do not divide the 3 of this job' "$top/wrong" || { fail 'no error about the mesh:'; cat "$top/wrong"; }
plan none --ranks none && fail '--ranks none is taken'
grep -q 'plan: --ranks takes a number' "$top/none" || fail 'no error about --ranks'

# What was compiled: every Program, with what each step is, takes and sends; and a drawing of the training step.
plan programs --ranks 4 mesh.model=2 --program "$top/program.txt" --graphviz "$top/program.dot" || { fail 'no programs:'; cat "$top/programs"; }
for words in '^program   task lm, learning$' '^program   task lm, training on (' '^program   task lm, evaluating (' \
    '^parameter backbone/' '  0: data; 2: model' ' flops' ' bytes moved' ', steps [0-9]' '  over model  sends [1-9]' '^total     arena [1-9]'; do
    grep -q -- "$words" "$top/program.txt" || fail "no \"$words\" in what was compiled"
done
[ "$(grep -c '^digraph' "$top/program.dot")" = 1 ] || fail 'not one drawing'
grep -q 'backbone/layer_00/' "$top/program.dot" || fail 'no layer in the drawing'
if command -v dot >/dev/null; then dot -Tplain "$top/program.dot" >/dev/null || fail 'Graphviz does not take it'; fi
plan wrong --ranks 1 --program && fail '--program without a file is taken'
grep -q 'plan: --program takes the name of a file' "$top/wrong" || fail 'no error about --program'
plan wrong --ranks 1 --graphviz "$top/nowhere/x.dot" && fail 'a file in no directory is written'
grep -q 'nowhere/x.dot: No such file or directory' "$top/wrong" || { fail 'no error about the file:'; cat "$top/wrong"; }
plan wrong --search --ranks 4 --program "$top/program.txt" && fail 'a search writes programs'

# Two ranks, one plan.
timeout 60 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" plan jobs/line.yaml --ranks 1 >"$top/two" 2>/dev/null </dev/null || fail 'no plan under mpirun'
cmp -s "$top/one" "$top/two" || { fail 'two ranks plan otherwise than one:'; diff "$top/one" "$top/two"; }

# The cluster that a measurement describes is one that a plan takes.
timeout 60 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" plan jobs/line.yaml run.threads=1 --measure >"$top/cluster.yaml" 2>"$top/log" </dev/null || { fail 'no measurement:'; cat "$top/log"; }
timeout 60 "$TESSERA" plan jobs/line.yaml "$top/cluster.yaml" --ranks 2 >"$top/measured" 2>&1 </dev/null || { fail 'its cluster is not taken:'; cat "$top/measured" "$top/cluster.yaml"; }
grep -q 'efficiency: {.*attend: ' "$top/cluster.yaml" || fail 'attention was not measured'

# A timeline of two ranks, of the steps that were asked for.
timeout 60 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" train jobs/line.yaml run.dir="$top/run" run.steps=4 run.evaluate=never \
    run.threads=1 trace="$top/trace.json" trace.steps=2 >"$top/log" 2>&1 </dev/null || { fail 'no run:'; cat "$top/log"; }
grep -q 'a timeline of steps 2 to 3 is in' "$top/log" || fail 'which steps are recorded?'
[ "$(grep -c '"name":"learn"' "$top/trace.json")" = 4 ] || fail 'not two steps of two ranks in the timeline'
if command -v python3 >/dev/null; then python3 -m json.tool "$top/trace.json" >/dev/null || fail 'the timeline is no JSON'; fi
[ $failures = 0 ]
