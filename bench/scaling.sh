#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# How training scales: GPT-2 124 M on 1 and 2 ranks of this machine, each bound to a core, then a GPT of 10.8 M parameters
# on 4 virtual hosts (which need root) whose links make communication alone take 60 % of the compute of a step. What
# cannot run is short. limit: 360 s
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
case ${BUILD:=build} in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
bench=$BUILD/bench/scaling hosts=tests/cluster/hosts.sh gpt2=bench/scaling.yaml
code=0

# target NAME VALUE: met or short by bench/targets.tsv; short, and an error, without a value.
target() {
    awk -F'\t' -v name="scaling/$1" -v value="${2:-}" '$1 == name {
        met = value != "" && ($4 == "higher" ? value + 0 >= $2 + 0 : value + 0 <= $2 + 0)
        print "target " name " measured " (value == "" ? "-" : value) " needed " $2 " " (met ? "met" : "short")
    }' bench/targets.tsv
    [ -n "${2:-}" ] || code=1
}
ratio() { awk -v a="${1:-}" -v b="${2:-}" -v factor="${3:-1}" 'BEGIN { if (a > 0 && b > 0) printf "%.4g", a / b * factor }'; }

# node step|alone RANKS STEPS key=value…: the median step of GPT-2 in seconds, or nothing.
node() {
    local how=$1 ranks=$2 steps=$3 line
    shift 3
    line=$(timeout -k 5 60 mpirun -n "$ranks" --bind-to core "$bench" "$how" "$steps" $gpt2 "$@") ||
        { echo "mpirun -n $ranks scaling $how $steps $*: failed" >&2; return; }
    echo "$ranks ranks, $how $*: $line" >&2
    awk '{ print $2 }' <<<"$line"
}

data='tasks.lm.data.batch=8'
one=$(node step 1 3)
two=$(node step 2 3 $data)
target weak-data "$(ratio "$one" "$two")"
target weak-zero3 "$(ratio "$one" "$(node step 2 3 $data parameters.shard=data)")"
target strong-tensor-sequence "$(ratio "$one" "$(node step 2 5 mesh.model=2 mesh.data=1 mesh.sequence_parallel=true)" 0.5)"
target reproducible "$(ratio "$(node step 2 3 $data run.numerics=reproducible)" "$two")"
# What two ranks reach that send nothing: they share the memory's bandwidth, and what the machine shares otherwise.
echo "information: two independent copies have an efficiency of $(ratio "$one" "$(node alone 2 3)")"

began=$(date +%s.%N)
timeout -k 5 60 "$BUILD/tessera" plan $gpt2 tasks.lm.data.batch=262144 mesh.model=4 parameters.shard=data \
    cluster.ranks_per_node=64 --ranks 65536 >"$BUILD/scaling.plan" 2>&1 &&
    planned=$(awk -v began="$began" -v now="$(date +%s.%N)" 'BEGIN { printf "%.3g", now - began }')
tail -3 "$BUILD/scaling.plan"
target plan "${planned:-}"

# ---- 4 hosts

small=($gpt2 backbone.layers=6 backbone.heads=6 backbone.width=384 backbone.vocab=256 parameters.optimizer_shard=none)
run() { $hosts run -n 4 --per-host 1 --limit 60 "$bench" "$@"; }
overlap() {
    $hosts up 4 || return 1
    trap '$hosts down' EXIT
    local compute bytes elems mbit messages step
    compute=$(run alone 2 "${small[@]}" | awk '{ print $2 }')
    [ -n "$compute" ] || return 1
    bytes=$(run step 1 "${small[@]}" tasks.lm.data.batch=16 | awk '{ print $4 }')
    [ -n "$bytes" ] || return 1
    elems=$(awk -v b="$bytes" 'BEGIN { printf "%.0f", b / 4 / 1.5 }') # 2 (n - 1) / n are sent of each
    mbit=$(awk -v b="$bytes" -v s="$compute" 'BEGIN { printf "%.0f", b * 8 / (0.6 * s) / 1e6 * 1.06 }') # and headers
    $hosts up 4 "${mbit}mbit" || return 1
    messages=$(run messages "$elems" | awk '{ print $2 }')
    step=$(run step 2 "${small[@]}" tasks.lm.data.batch=16 | awk '{ print $2 }')
    echo "4 hosts at $mbit Mbit/s: compute $compute s, communication $messages s for $bytes bytes, step $step s"
    larger=$(awk -v a="$compute" -v b="$messages" 'BEGIN { print (a > b ? a : b) }')
    target hosts-overlap "$(ratio "$step" "$larger")"
}
overlap || target hosts-overlap ''
exit $code
