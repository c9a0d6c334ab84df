#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Training beside what people use now, on the same model, batch, threads and precision, in turn: a table, for
# bench/README.md, and targets. A step is forward, backward, clip, AdamW. limit: 1800 s
#
#     bench/train.sh [--quick] [--only ROW] [--rounds N]     --quick: 5 minutes; --only: rows whose name begins so
#
#     PEER_PYTHON           a Python with PyTorch, python3 by default: the targets beside a peer are for 1.13
#     PEER_PYTHON_CURRENT   another one, with a current PyTorch: run as it is, and compiled
#     LLMC                  llm.c's directory, train_gpt2 built in it
#
# What is not there leaves its rows out, says so, and its targets are short.
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OMP_NUM_THREADS
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
case ${BUILD:=build} in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
rounds=3 only='' long=1
while [ $# -gt 0 ]; do
    case $1 in
    --quick) long='' rounds=1 ;;
    --only) only=${2:?--only ROW}; shift ;;
    --rounds) rounds=${2:?--rounds N}; shift ;;
    *) sed -n 's/^#     //p' "$0"; exit 2 ;;
    esac
    shift
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
samples=$work/samples # ROW DTYPE WHO SECONDS PARAMETERS PEAK_MIB, by tabs
touch "$samples"
threads=2
declare -A python=([peer]=${PEER_PYTHON:-python3} [current]=${PEER_PYTHON_CURRENT:-} [compiled]=${PEER_PYTHON_CURRENT:-})
declare -A version core best

say() { echo "$*" >&2; }

title() { # WHO, for people
    case $1 in
    tessera) echo Tessera ;;
    openblas) echo "Tessera, OpenBLAS alone" ;;
    ranks) echo "Tessera, 2 ranks of 1 thread" ;;
    peer) echo "PyTorch ${version[peer]:-}" ;;
    current) echo "PyTorch ${version[current]:-}" ;;
    compiled) echo "PyTorch ${version[current]:-}, compiled" ;;
    llmc) echo llm.c ;;
    esac
}

# target NAME VALUE: met or short by bench/targets.tsv; short without a value.
target() {
    awk -F'\t' -v name="train/$1" -v value="${2:-}" '$1 == name {
        met = value != "" && ($4 == "higher" ? value + 0 >= $2 + 0 : value + 0 <= $2 + 0)
        print "target " name " measured " (value == "" ? "-" : value) " needed " $2 " " (met ? "met" : "short")
    }' bench/targets.tsv
}

# ---- models: what a row trains, in Tessera's words and in the peer's

# shape ROW: sets layers heads width vocab length batch, and steps that a visit takes.
shape() {
    layers=12 heads=12 width=768 vocab=50257 context=1024 steps=2
    case $1 in
    gpt10m) layers=6 heads=6 width=384 vocab=256 context=256 length=256 batch=16 steps=4 ;;
    gpt2-t256) length=256 batch=4 context=256 ;;
    gpt2-t1024) length=1024 batch=2 ;;
    gpt2-t64) length=64 batch=4 steps=4 ;;
    bert) vocab=30522 context=512 length=128 batch=16 ;;
    esac
}
name_of() {
    case $1 in
    gpt10m) echo "GPT 6 x 384, T 256, B 16" ;;
    gpt2-t256) echo "GPT-2 124 M, T 256, B 4" ;;
    gpt2-t1024) echo "GPT-2 124 M, T 1024, B 2" ;;
    gpt2-t64) echo "GPT-2 124 M, T 64, B 4" ;;
    bert) echo "BERT-base masked, T 128, B 16" ;;
    esac
}

# words ROW: key=value… for build/bench/train.
words() {
    echo "backbone.layers=$layers backbone.heads=$heads backbone.width=$width backbone.vocab=$vocab" \
        "backbone.context=$context tasks.lm.data.batch=$batch tasks.lm.data.length=$length"
    [ "$1" = bert ] && echo "$work/bert.yaml"
}
tr -s '\n' ' ' <tests/data/alice.txt | tr -cd '[:print:]' | fold -w 128 | sed '$d' >"$work/lines.txt"
cat >"$work/bert.yaml" <<E
backbone: {post_norm: true, token_types: 2, head_transform: true, causal: false}
tasks:
  lm: {type: mlm, data: {files: [$work/lines.txt], tokenizer: {type: bytes, specials: true}, prepared: $work/prepared, batch: 16, length: 128}}
E

# ---- visits: each adds a line to the samples

add() { # ROW DTYPE WHO, and what was printed
    awk -v row="$1" -v dtype="$2" -v who="$3" -v OFS='\t' '
        $1 == "seconds" { print row, dtype, who, $2, $4, $6; found = 1 }
        END { exit !found }' <<<"$4" >>"$samples" || say "$1 $2 $3: failed"
    say "$1 $2 $3: $4"
}

rate() { # DTYPE: of products, as the row `rate`
    add rate "$1" tessera "$("$BUILD/bench/train" rate "$1" $threads | sed 's/gflops/seconds/')"
}

# tessera ROW DTYPE WHO RANKS [key=value…]; `visit`, steps, and TESSERA_MATMUL are the caller's
tessera() {
    local row=$1 dtype=$2 who=$3 ranks=$4 compute=auto how=(mpirun -n "$4" --bind-to core) model
    shift 4
    [ "$ranks" = 1 ] && how=(env)
    [ "$dtype" = bf16 ] && compute=bf16
    shape "$row"
    read -ra model <<<"$(words "$row" | xargs)"
    add "$row" "$dtype" "$who" "$(timeout -k 5 300 "${how[@]}" "$BUILD/bench/train" steps "${visit:-$steps}" \
        bench/train.yaml "${model[@]}" "run.compute=$compute" "run.threads=$((threads / ranks))" "$@" 2>&1 | tail -1)"
}

# torch KIND ROW DTYPE THREADS STEPS: prints what the peer does
torch() {
    shape "$2"
    local flags=()
    [ "$2" = bert ] && flags+=(--bert)
    [ "$1" = compiled ] && flags+=(--compile)
    env ${core[$1]:+OPENBLAS_CORETYPE=${core[$1]}} timeout -k 5 300 "${python[$1]}" bench/peers/train_torch.py \
        --layers "$layers" --heads "$heads" --width "$width" --vocab "$vocab" --context "$context" --length "$length" \
        --batch "$batch" --dtype "$3" --threads "$4" --steps "$5" ${flags[@]+"${flags[@]}"} 2>&1 | tail -1
}

# peer KIND ROW DTYPE: with the threads that are best for it in this precision, tried once on the small model
peer() {
    [ -n "${version[$1]:-}" ] || return
    if [ -z "${best[$1 $3]:-}" ]; then
        best[$1 $3]=$(for count in 1 $threads; do echo "$(torch "${1/compiled/current}" gpt10m "$3" "$count" 1) $count"; done |
            awk '$1 == "seconds"' | sort -g -k2 | awk '{ print $NF; exit }')
        say "$1 $3: best with ${best[$1 $3]:=$threads} threads"
    fi
    add "$2" "$3" "$1" "$(torch "$1" "$2" "$3" "${best[$1 $3]}" "$steps")"
}

# ---- what was found

# median ROW DTYPE WHO [FIELD]: of seconds, or of another field; nothing where there is none
median() {
    awk -F'\t' -v row="$1" -v dtype="$2" -v who="$3" -v field="${4:-4}" '
        $1 == row && $2 == dtype && $3 == who { print $field }' "$samples" | sort -g |
        awk '{ value[NR] = $1 } END { if (NR) printf "%.10g", (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2 }'
}
ratio() { awk -v a="${1:-}" -v b="${2:-}" 'BEGIN { if (a > 0 && b > 0) printf "%.4g", a / b }'; }
fastest_rate() {
    awk -F'\t' -v dtype="$1" '$1 == "rate" && $2 == dtype && $4 > best { best = $4 } END { print best }' "$samples"
}
# gflops ROW DTYPE WHO [FACTOR]: of attention: 12, or 6 where what lies above the diagonal does not count
gflops() {
    shape "$1"
    awk -v s="$(median "$1" "$2" "$3")" -v n="$(median "$1" "$2" tessera 5)" -v l="$layers" -v d="$width" -v t="$length" \
        -v b="$batch" -v factor="${4:-12}" '
        BEGIN { if (s > 0) printf "%.4g", (6 * n * b * t + factor * l * d * t * b * t) / s / 1e9 }'
}

# A line of the table: ROW DTYPE WHO.
line() {
    local once=6
    [ "$1" = bert ] && once=12
    if [ -z "$(median "$1" "$2" "$3")" ]; then
        echo "| $(name_of "$1") | $2 | $(title "$3") | not here | | | | | | |"
        return
    fi
    shape "$1"
    awk -v s="$(median "$1" "$2" "$3")" -v tokens=$((batch * length)) -v all="$(gflops "$1" "$2" "$3")" \
        -v once="$(gflops "$1" "$2" "$3" $once)" -v rate="$(fastest_rate "$2")" -v peak="$(median "$1" "$2" "$3" 6)" \
        -v ours="$(median "$1" "$2" tessera)" -v what="| $(name_of "$1") | $2 | $(title "$3")" 'BEGIN {
        printf "%s | %.0f | %.0f | %.0f | %.0f | %.3f | %s | %.2f |\n", what, s * 1e3, tokens / s, all, once, all / rate,
               (peak > 0 ? peak : ""), s / ours }'
}

is_asked_for() { case $1 in "$only"*) ;; *) return 1 ;; esac; }

# row ROW DTYPE ROUNDS WHO…: Tessera and those others in turn
row() {
    local row=$1 dtype=$2 count=$3 round who
    shift 3
    is_asked_for "$row-$dtype" || return
    for ((round = 0; round < count; round++)); do
        rate "$dtype"
        tessera "$row" "$dtype" tessera 1
        for who; do
            case $who in
            openblas) TESSERA_MATMUL=openblas tessera "$row" "$dtype" openblas 1 ;;
            ranks) tessera "$row" "$dtype" ranks 2 ;;
            llmc) [ -z "${LLMC:-}" ] || add "$row" "$dtype" llmc "$(bench/peers/train_llmc.sh 2)" ;;
            compiled) [ $round -gt 0 ] || peer compiled "$row" "$dtype" ;; # compiling takes a minute
            *) peer "$who" "$row" "$dtype" ;;
            esac
        done
    done
    for who in tessera "$@"; do line "$row" "$dtype" "$who" >>"$work/table"; done
    target "$row-$dtype" "$(ratio "$(gflops "$row" "$dtype" tessera)" "$(fastest_rate "$dtype")")"
    target "$row-$dtype-peer" "$(faster "$row" "$dtype" tessera peer)"
}

# faster ROW DTYPE WHO OTHER: how many times as fast WHO is as OTHER
faster() { ratio "$(median "$1" "$2" "$4")" "$(median "$1" "$2" "$3")"; }

# lowest WHO: how fast it is beside Tessera as it is, the lowest of the rows at f32 that have it
lowest() {
    for row in gpt10m gpt2-t256 bert; do
        faster $row f32 "$1" tessera | grep .
    done | sort -g | head -1
}

# memory KIND: the largest over the rows of Tessera's peak beside that peer's, both less 16 bytes a parameter
memory() {
    awk -F'\t' -v kind="$1" '
        $3 == "tessera" { ours[$1 " " $2] = $6; states[$1 " " $2] = 16 * $5 / 1048576 }
        $3 == kind { theirs[$1 " " $2] = $6 }
        END {
            for (row in theirs) {
                value = (ours[row] - states[row]) / (theirs[row] - states[row])
                if (value > most) most = value
                printf "memory beyond 16 bytes a parameter, %s: %.0f MiB, %s %.0f MiB\n", row, ours[row] - states[row],
                       kind, theirs[row] - states[row] > "/dev/stderr"
            }
            if (most) printf "%.4g", most
        }' "$samples"
}

for kind in peer current; do
    [ -n "${python[$kind]}" ] || continue
    version[$kind]=$("${python[$kind]}" -c 'import torch; print(torch.__version__)' 2>/dev/null)
    [ -n "${version[$kind]}" ] || continue
    core[$kind]=$("${python[$kind]}" bench/peers/train_torch.py --settle)
    say "PyTorch ${version[$kind]}, OPENBLAS_CORETYPE=${core[$kind]}"
done
version[compiled]=${version[current]:-} core[compiled]=${core[current]:-}
[ -n "${version[peer]:-}" ] || say "no PyTorch in ${python[peer]} (PEER_PYTHON)"
[ -n "${version[current]:-}" ] || say "no current PyTorch (PEER_PYTHON_CURRENT)"
[ -n "${LLMC:-}" ] || say "no llm.c (LLMC)"

row gpt10m f32 $rounds peer current ${long:+compiled openblas ranks}
row gpt10m bf16 $rounds peer current ${long:+compiled}
row gpt2-t256 f32 $rounds peer current ${long:+compiled openblas ranks}
row gpt2-t256 bf16 $rounds peer current ${long:+compiled}
if [ -n "$long" ]; then
    row gpt2-t1024 f32 1 peer current
    row gpt2-t1024 bf16 1 peer current
    row bert f32 1 peer current openblas
    row bert bf16 1 peer current
    row gpt2-t64 f32 2 llmc ranks
fi
target memory "$(memory peer)"
[ -z "${version[current]:-}" ] || echo "information: the same beside PyTorch ${version[current]}: $(memory current)"
if [ -n "$long" ]; then
    target gpt2-t64-llmc "$(faster gpt2-t64 f32 tessera llmc)"
    target ranks "$(lowest ranks)"
    target ranks-t64 "$(faster gpt2-t64 f32 ranks tessera)"
    target openblas "$(lowest openblas)"
fi
if [ -n "$long" ] && is_asked_for memory-recompute; then
    visit=1 tessera gpt2-t1024 f32 recompute 1 memory.recompute=block tasks.lm.data.batch=8
    target memory-recompute "$(median gpt2-t1024 f32 recompute 6 | awk '{ printf "%.4g", $1 * 1048576 / 1e9 }')"
fi
if [ -n "$long" ] && is_asked_for data-delay; then
    delay=$("$BUILD/bench/train" delay 32 bench/train.yaml | tail -1)
    say "$delay"
    target data-delay "$(awk '{ print $8 }' <<<"$delay")"
fi

[ -s "$work/table" ] || exit 0
echo
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //' |
    awk -v cores="$(nproc)" -v f32="$(fastest_rate f32)" -v bf16="$(fastest_rate bf16)" '
        { print $0 ", " cores " cores; products of matrices in GFLOP/s: f32 " f32 ", bf16 " bf16 }'
echo
echo "| model | | program | ms a step | tokens/s | GFLOP/s | causal once | of the product rate | peak MiB | Tessera is faster |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
cat "$work/table"
