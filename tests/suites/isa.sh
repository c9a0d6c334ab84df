#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: the same binary on processors that have less: AVX2 alone, and what every x86-64 has
# default: yes
# limit: 300
. tests/suites/lib.sh

TESSERA=$BUILD/tessera
[ -x "$TESSERA" ] || cannot_run "there is no $TESSERA"
[ "$(uname -m)" = x86_64 ] || cannot_run "one instruction set is built here: $(uname -m)"
grep -q avx2 /proc/cpuinfo || cannot_run "this processor has no AVX2"
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-isa.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT

# Name, then what picks less: of our kernels, of oneDNN, of OpenBLAS; then the tests that are run so.
masks='avx2 v3 AVX2 Haswell base/philox tensor/matmul tensor/fuse tensor/op_attend tensor/op_golden tensor/op_matrix tensor/op_rows
baseline base SSE41 Nehalem base/philox tensor/real_math tensor/op_elementwise tensor/op_golden tensor/op_route tensor/op_rows'

# masked ISA DNNL BLAS COMMAND…: as on a processor that has no more than that.
masked() {
    TESSERA_ISA=$1 DNNL_MAX_CPU_ISA=$2 OPENBLAS_CORETYPE=$3 OMP_NUM_THREADS=1 timeout -k 5 60 "${@:4}"
}

# masks_libraries DNNL BLAS: the libraries say that they use what was asked for.
masks_libraries() {
    DNNL_VERBOSE=1 OPENBLAS_VERBOSE=2 masked base "$1" "$2" "$BUILD/tests/tensor-test_op_golden" >"$top/words" 2>&1
    grep -q "^Core: $2" "$top/words" || { echo "OpenBLAS does not say 'Core: $2'"; head -5 "$top/words"; return 1; }
    ! grep -q '^dnnl_verbose,info,cpu,isa' "$top/words" || ! grep '^dnnl_verbose,info,cpu,isa' "$top/words" | grep -q AVX-512 ||
        { grep '^dnnl_verbose,info,cpu' "$top/words"; return 1; }
}

# trained COMPUTE NAME [ISA DNNL BLAS]: the loss of step 30 of a small GPT.
trained() {
    local run=("$TESSERA" train jobs/line.yaml run.dir="$top/$2.$1" run.steps=30 run.log=30 run.evaluate="1000 steps" run.threads=1
        run.compute="$1" backbone.width=64 checkpoint.every="1000 steps")
    if [ $# -gt 2 ]; then masked "$3" "$4" "$5" "${run[@]}"; else "${run[@]}"; fi >"$top/$2.$1.log" 2>&1 </dev/null || { tail -3 "$top/$2.$1.log" >&2; return 1; }
    sed -n 's|.*"step":30,.*"lm/loss":\([-+.e0-9]*\).*|\1|p' "$top/$2.$1/metrics.jsonl" | tail -1
}

# near LOSS OF BOUND: alike by that part of it. f32 sums in another order; bf16 rounds at other places too.
near() {
    awk -v x="$1" -v y="$2" -v bound="$3" 'BEGIN { d = x / y - 1; exit !(x > 0 && y > 0 && d <= bound && d >= -bound) }'
}

widest_auto=$(trained auto widest) widest_bf16=$(trained bf16 widest)
while read -r name isa dnnl blas tests; do
    check "$name: libraries are masked" masks_libraries "$dnnl" "$blas"
    for test in $tests; do
        program=$BUILD/tests/${test/\//-test_}
        [ -x "$program" ] || { skip "$name: $test" "it is not built"; continue; }
        check "$name: $test" masked "$isa" "$dnnl" "$blas" "$program"
    done
    for compute in auto:1e-5 bf16:1e-3; do
        widest=widest_${compute%:*}
        loss=$(trained "${compute%:*}" "$name" "$isa" "$dnnl" "$blas")
        if near "$loss" "${!widest}" "${compute#*:}"; then ok "$name: compute ${compute%:*} learns alike ($loss, ${!widest})"
        else not_ok "$name: compute ${compute%:*} learns alike" "a loss of '$loss', not within ${compute#*:} of ${!widest}"; fi
    done
done <<<"$masks"
