#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: every mesh of 1 to 8 ranks against one rank; the same bits where numerics are reproducible; memory of ZeRO-3 (25 min)
# default: no
# limit: 3600
. tests/suites/lib.sh
command -v mpirun >/dev/null || cannot_run 'there is no mpirun in PATH'
export OMP_NUM_THREADS=1
models=('everything at once' 'odd sizes' 'grouped heads, untied' 'experts' 'gated experts, accumulation')
for ranks in 1 2 3 4 6 8; do
    for model in "${!models[@]}"; do
        TESSERA_ALL_MESHES=$model check "${models[model]}: every mesh of $ranks rank(s)" \
            timeout 900 mpirun --oversubscribe --bind-to none -n $ranks "$BUILD/tests/task-test_meshes"
    done
done

# ---- numerics: reproducible, by the whole program: the same bits after 50 steps, however many ranks and threads

top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-meshes.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
declare -A degree=([data]=parameters.optimizer_shard=none [zero1]=parameters.optimizer_shard=data
    [zero2]=parameters.gradient_shard=data [zero3]=parameters.shard=data)

# line NAME RANKS THREADS DEGREE: jobs/line.yaml for 50 steps.
line() {
    timeout -k 5 200 mpirun --oversubscribe --bind-to none -n "$2" "$BUILD/tessera" train jobs/line.yaml run.dir="$top/$1" \
        run.numerics=reproducible run.steps=50 run.threads="$3" run.evaluate=never checkpoint.every=never "${degree[$4]}"
}
same() { # RANKS THREADS DEGREE
    line other "$@" && "$BUILD/tessera" ckpt diff "$top/alone" "$top/other"
    local code=$?
    rm -rf "$top/other"
    return $code
}
check 'reproducible: 1 rank, 1 thread' line alone 1 1 data
for ranks in 1 2 4 8; do
    for kind in data zero1 zero2 zero3; do check "the same bits: $ranks rank(s), $kind, 1 thread" same $ranks 1 $kind; done
done
for threads in 2 3 5; do check "the same bits: 1 rank, $threads threads" same 1 $threads data; done
check 'the same bits: 2 ranks of 3 threads' same 2 3 zero3

# ---- ZeRO-3 of 124 M parameters: memory of a rank within 16 P / d bytes and two gathered layers, the table and a block.
# What is measured is all that the rank has allocated: the logits, which are none of that, are allowed beside it.

config=bench/scaling.yaml # GPT-2: 12 blocks, width 768, 50257 tokens, here of 16 positions each, activations computed again
# memory RANKS: MiB of a rank, as a run has allocated them before its first step.
memory() {
    local ranks=$1 log=$top/memory.log
    timeout -k 5 400 mpirun --oversubscribe --bind-to none -n "$ranks" "$BUILD/tessera" train $config run.dir="$top/memory" \
        run.steps=1 tasks.lm.data.length=16 tasks.lm.data.batch="$ranks" checkpoint.every=never checkpoint.last=false \
        parameters.shard=data memory.recompute=block >"$log" 2>&1 || { tail -5 "$log" >&2; return 1; }
    rm -rf "$top/memory"
    sed -n 's/.* parameters · \([0-9.]*\) \([MG]iB\) a rank.*/\1 \2/p' "$log" | awk '{ print $2 == "GiB" ? $1 * 1024 : $1 }'
}
within() { # RANKS
    local all
    all=$(memory "$1") && [ -n "$all" ] || return 1
    awk -v d="$1" -v all="$all" 'BEGIN {
        mib = 4 / 1048576; block = (12 * 768 * 768 + 13 * 768) * mib; table = 50257 * 768 * mib
        P = 12 * block + table + (256 + 2) * 768 * mib # MiB of the parameters
        logits = 16 * 50257 * mib
        print d " ranks: " all " MiB; " 4 * P / d ", " table + block " and " logits " are allowed"
        exit !(all <= 4 * P / d + table + block + logits && all >= 4 * P / d)
    }'
}
for ranks in 1 2 4; do check "ZeRO-3 on $ranks rank(s): 16 P / d bytes and two gathered layers" within $ranks; done
