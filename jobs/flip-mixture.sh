#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: jobs/flip-mixture.sh STEPS SEED [METHOD...]
#
# Learns jobs/flip-mixture.yaml's four tasks with equal examples a task, STEPS batches of each, in each way of METHOD:
# alone, interleaved, joint:BALANCE, concurrent:BALANCE (on two ranks); all of them by default. Prints a line a score of
# the test parts: method, seed, task, metric and value between tabs. Data by jobs/flip.sh; TESSERA names the program,
# build/tessera by default, CONFIG the configuration.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '4,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
steps=$1 seed=$2
shift 2
[ $# -gt 0 ] || set -- alone interleaved {joint,concurrent}:{fixed,uncertainty,pcgrad}
tessera=${TESSERA:-build/tessera} config=${CONFIG:-jobs/flip-mixture.yaml}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# learn RANKS METHOD TASKS WORD...: trains by the words, and prints the scores of the tasks.
learn() {
    local ranks=$1 method=$2 tasks=$3 launch=() task
    shift 3
    [ "$ranks" = 1 ] || launch=(mpirun --oversubscribe --bind-to none -n "$ranks")
    set -- "$config" run.dir="$work/run" run.seed="$seed" run.log=never run.threads=1 "$@"
    "${launch[@]}" "$tessera" train "$@" >"$work/log" 2>&1 </dev/null || { cat "$work/log" >&2; exit 1; }
    for task in $tasks; do
        "${launch[@]}" "$tessera" eval "$@" --task "$task" --part test 2>"$work/log" </dev/null |
            awk -F'\t' -v method="$method" -v seed="$seed" -v OFS='\t' '
                $2 ~ /^(loss|accuracy|masked_accuracy|spearman|mae)$/ {print method, seed, $1, $2, $3}' ||
            { cat "$work/log" >&2; exit 1; }
    done
    rm -rf "$work/run"
}

all="masked structure conservation fitness"
for method; do
    balance=${method#*:}
    case $method in
    alone)
        for task in $all; do learn 1 alone "$task" run.steps="$steps" mixture.of."$task"=1; done ;;
    interleaved) learn 1 "$method" "$all" run.steps=$((4 * steps)) mixture.sampler=round_robin ;;
    joint:*) learn 1 "$method" "$all" run.steps="$steps" mixture.mode=joint mixture.balance="$balance" ;;
    concurrent:*) learn 2 "$method" "$all" run.steps="$steps" mixture.mode=concurrent mixture.balance="$balance" ;;
    *) echo "jobs/flip-mixture.sh: there is no method $method" >&2; exit 2 ;;
    esac
done
