#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# How training scales: GPT-2 124 M on 1 and 2 ranks of this machine, each bound to a core, then a GPT of 10.8 M parameters
# on 4 virtual hosts (which need root) whose links make communication alone take 60 % of the compute of a step. What is
# compared runs one after the other, in three rounds, and the middle ratio counts: a machine that others use too changes
# its speed by more than what is measured. What cannot run is short. limit: 540 s
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

# middle NUMBER…: the one in the middle.
middle() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }

data='tasks.lm.data.batch=8'
weak=() zero3=() strong=() reproducible=() copies=()
for round in 1 2 3; do
    one=$(node step 1 1)
    two=$(node step 2 1 $data)
    weak+=($(ratio "$one" "$two"))
    zero3+=($(ratio "$one" "$(node step 2 1 $data parameters.shard=data)"))
    reproducible+=($(ratio "$(node step 2 1 $data run.numerics=reproducible)" "$two"))
    copies+=($(ratio "$one" "$(node alone 2 1)"))
    strong+=($(ratio "$one" "$(node step 2 2 mesh.model=2 mesh.data=1 mesh.sequence_parallel=true)" 0.5))
done
target weak-data "$(middle "${weak[@]}")"
target weak-zero3 "$(middle "${zero3[@]}")"
target strong-tensor-sequence "$(middle "${strong[@]}")"
target reproducible "$(middle "${reproducible[@]}")"
# What two ranks reach that send nothing: they share the memory's bandwidth, and what the machine shares otherwise.
echo "information: rounds: weak-data ${weak[*]}, weak-zero3 ${zero3[*]}, strong ${strong[*]}, reproducible ${reproducible[*]}"
echo "information: two independent copies have an efficiency of $(middle "${copies[@]}") (${copies[*]})"

began=$(date +%s.%N)
timeout -k 5 60 "$BUILD/tessera" plan $gpt2 tasks.lm.data.batch=262144 mesh.model=4 parameters.shard=data \
    cluster.ranks_per_node=64 --ranks 65536 >"$BUILD/scaling.plan" 2>&1 &&
    planned=$(awk -v began="$began" -v now="$(date +%s.%N)" 'BEGIN { printf "%.3g", now - began }')
tail -3 "$BUILD/scaling.plan"
target plan "${planned:-}"

# ---- 4 hosts

small=($gpt2 backbone.layers=6 backbone.heads=6 backbone.width=384 backbone.vocab=256 parameters.optimizer_shard=none)
run() { $hosts run -n 4 --per-host 1 --limit 60 "$bench" "$@"; }
# field NAME: the number behind NAME in a line of the program.
field() { awk -v name="$1" '{ for (i = 1; i < NF; i++) if ($i == name) print $(i + 1) }'; }
overlap() {
    $hosts up 4 || return 1
    trap '$hosts down' EXIT
    local compute bytes elems mbit round alone messages step larger ratios=()
    compute=$(run alone 2 "${small[@]}" | field seconds)
    [ -n "$compute" ] || return 1
    bytes=$(run step 1 "${small[@]}" tasks.lm.data.batch=16 | field bytes)
    [ -n "$bytes" ] || return 1
    elems=$(awk -v b="$bytes" 'BEGIN { printf "%.0f", b / 4 / 1.5 }') # 2 (n - 1) / n are sent of each
    mbit=$(awk -v b="$bytes" -v s="$compute" 'BEGIN { printf "%.0f", b * 8 / (0.6 * s) / 1e6 * 1.06 }') # and headers
    $hosts up 4 "${mbit}mbit" || return 1
    for round in 1 2 3; do
        alone=$(run alone 2 "${small[@]}")
        messages=$(run messages "$elems")
        step=$(run step 2 "${small[@]}" tasks.lm.data.batch=16)
        larger=$(printf '%s\n' "$alone" "$messages" | field seconds | sort -g | tail -1)
        ratios+=($(ratio "$(field seconds <<<"$step")" "$larger"))
        echo "4 hosts at $mbit Mbit/s: compute: $alone; messages: $messages; step: $step" >&2
    done
    # The hosts share the cores of this machine: what the processor does for messages is taken from the compute.
    awk -v a="$(field cpu <<<"$alone")" -v s="$(field cpu <<<"$step")" -v cores="$(nproc --all)" 'BEGIN {
        if (a > 0) printf "information: the processor works %.3g times as long for a step as for its compute, on %d cores for 4 hosts\n", s / a, cores }'
    echo "information: rounds: hosts-overlap ${ratios[*]}"
    target hosts-overlap "$(middle "${ratios[@]}")"
}
overlap || target hosts-overlap ''
exit $code
