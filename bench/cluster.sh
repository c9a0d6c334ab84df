#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A cluster of virtual hosts (which need root): a GPT of 10.8 M parameters, 16 sequences of 256 a host, data parallel on 4
# hosts at 1 Gbit/s, against the same 4 ranks that send nothing; and how long a run takes on 3 hosts from its command to the end of its
# first step, and from its last step to its end. Links have 0.1 ms of delay where the kernel has netem. What cannot run is
# short. limit: 240 s
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
case ${BUILD:=build} in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
bench=$BUILD/bench/scaling hosts=tests/cluster/hosts.sh
work=$(mktemp -d "$BUILD/cluster.XXXXXX") || exit 1
trap '$hosts down; rm -rf "$work"' EXIT
code=0

# target NAME VALUE: met or short by bench/targets.tsv; short, and an error, without a value.
target() {
    awk -F'\t' -v name="cluster/$1" -v value="${2:-}" '$1 == name {
        met = value != "" && ($4 == "higher" ? value + 0 >= $2 + 0 : value + 0 <= $2 + 0)
        print "target " name " measured " (value == "" ? "-" : value) " needed " $2 " " (met ? "met" : "short")
    }' bench/targets.tsv
    [ -n "${2:-}" ] || code=1
}
ratio() { awk -v a="${1:-}" -v b="${2:-}" 'BEGIN { if (a > 0 && b > 0) printf "%.4g", a / b }'; }
up() { # N hosts at 1 Gbit/s
    $hosts up "$1" 1gbit 0.1ms 2>/dev/null || { echo "information: no delay of links here"; $hosts up "$1" 1gbit; }
}

small=(bench/scaling.yaml backbone.layers=6 backbone.heads=6 backbone.width=384 backbone.vocab=256)

# What the ranks do without messages is measured before and after, as machines change.
efficiency() {
    local run="$hosts run -n 4 --per-host 1 --limit 60 $bench" before after step
    up 4 || return 1
    before=$($run alone 4 "${small[@]}" tasks.lm.data.batch=16 | awk '{ print $2 }')
    step=$($run step 5 "${small[@]}" tasks.lm.data.batch=64 | awk '{ print $2 }')
    after=$($run alone 4 "${small[@]}" tasks.lm.data.batch=16 | awk '{ print $2 }')
    [ -n "$before" ] && [ -n "$step" ] && [ -n "$after" ] || return 1
    echo "4 hosts at 1 Gbit/s: a step without messages $before s and $after s, with them $step s"
    efficient=$(ratio "$(awk -v a="$before" -v b="$after" 'BEGIN { print (a + b) / 2 }')" "$step")
}

# The times of a run's lines, in seconds since its command.
start_and_end() {
    local try began line now first= last='' starts=() ends=()
    up 3 || return 1
    for try in 1 2 3; do
        began=$(date +%s.%N) first=
        while IFS= read -r line; do
            case $line in "step "*left) last=$(date +%s.%N); first=${first:-$last} ;; esac
        done < <($hosts run -n 3 --per-host 1 --limit 60 "$BUILD/tessera" train "${small[@]}" tasks.lm.data.batch=6 run.dir="$work/$try" \
            run.steps=3 run.log='1 step' run.evaluate=never checkpoint.last=true 2>&1 | tee "$work/log")
        now=$(date +%s.%N)
        [ -n "$first" ] || { tail -3 "$work/log"; return 1; }
        starts+=("$(awk -v a="$began" -v b="$first" 'BEGIN { printf "%.3f", b - a }')")
        ends+=("$(awk -v a="$last" -v b="$now" 'BEGIN { printf "%.3f", b - a }')")
    done
    middle() { printf '%s\n' "$@" | sort -n | sed -n 2p; }
    echo "3 hosts: to the end of the first step ${starts[*]} s, from the end of the last to the end ${ends[*]} s, with a checkpoint"
    start=$(middle "${starts[@]}") end=$(middle "${ends[@]}")
}

efficiency
target data-parallel "${efficient:-}"
start_and_end
target start "${start:-}"
target end "${end:-}"
exit $code
