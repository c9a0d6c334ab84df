#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: jobs/quickstart.sh [--no-install] [STEPS]
#
# One command on a fresh machine: installs what is missing (Debian, Ubuntu), builds, makes examples of WordNet 3.0,
# trains three tasks on one Transformer on 2 ranks, evaluates them on synsets that were held out beside trivial guesses,
# restores the checkpoint on 1 rank, and lets it write definitions. Fails unless what was learned is worth it.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
run=${RUN:-runs/wordnet}
data=runs/data/wordnet
install=yes
steps=
while [ $# -gt 0 ]; do
    case $1 in
    --no-install) install=no ;;
    -h | --help) sed -n '4,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *[!0-9]* | '') echo "jobs/quickstart.sh: what is $1? See --help" >&2; exit 2 ;;
    *) steps=run.steps=$1 ;;
    esac
    shift
done
began=$SECONDS
say() { printf '\n==== %s  (%d s)\n' "$*" $((SECONDS - began)); }
die() { echo "jobs/quickstart.sh: $*" >&2; exit 1; }

# ---- 1. what it stands on

. cmake/packages.sh
sudo_asks=yes
[ $install = no ] || install_packages build option quickstart
wordnet=${WORDNET:-/usr/share/wordnet}
[ -r "$wordnet/data.noun" ] || die "there is no $wordnet: install Debian's wordnet-base, or say where WordNet 3.0 is: WORDNET=DIR"

say "building"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
generator=()
if command -v ninja >/dev/null && [ ! -e "$build/CMakeCache.txt" ]; then generator=(-G Ninja); fi
{ cmake -S . -B "$build" "${generator[@]}" -DTESSERA_TESTS=OFF && cmake --build "$build" --parallel --target tessera-program; } \
    >"$log" 2>&1 || { tail -30 "$log"; die "the build failed"; }
tessera=$build/tessera
"$tessera" version 2>/dev/null | head -1 || true

# ---- 2. examples

say "WordNet 3.0 as examples"
jobs/wordnet.sh "$data" "$wordnet"
awk 'END { print NR - 1, "synsets" }' "$data/synsets.tsv"
head -3 "$data/synsets.tsv" | tail -2

# ---- 3. three tasks on one Transformer, 2 ranks

export OMPI_ALLOW_RUN_AS_ROOT=${OMPI_ALLOW_RUN_AS_ROOT:-1} OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-1}
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
ranks() { local count=$1; shift; mpirun --oversubscribe --bind-to none -n "$count" "$tessera" "$@"; }
config=(jobs/wordnet.yaml "run.dir=$run" run.threads=1 $steps)
rm -rf "$run/checkpoints" "$run/config.yaml" "$run/metrics.jsonl" "$run/log.txt"
say "definitions, lexicographer classes and depths on one Transformer, 2 ranks, a task a step"
ranks 2 train "${config[@]}"

# ---- 4. held-out synsets, beside trivial guesses; on 1 rank, so the checkpoint of 2 is restored on another mesh

say "held-out synsets, with the checkpoint restored on 1 rank"
ranks 1 eval "${config[@]}" --baselines >"$log"
awk -F'\t' '
    { value[$1 "/" $2] = $3 }
    function verdict(good) { if (!good) failed = 1; return good ? "good" : "TOO WEAK" }
    END {
        printf "%-34s %10s %12s %10s\n", "", "Tessera", "trivial", "ratio"
        bits = value["definition/bits_a_byte"]; unigram = value["definition/unigram/bits_a_byte"]
        right = value["lexname/accuracy"]; majority = value["lexname/majority/accuracy"]
        error = value["depth/mae"]; mean = value["depth/mean/mae"]
        printf "%-34s %10.3f %12.3f %10.3f  (at most 0.75: %s)\n", "definition: bits a byte, unigram", bits, unigram, bits / unigram, verdict(bits > 0 && bits <= 0.75 * unigram)
        printf "%-34s %10.3f %12.3f %10.3f  (at least 2: %s)\n", "lexname: accuracy, majority", right, majority, right / majority, verdict(right >= 2 * majority && right > 0)
        printf "%-34s %10.3f %12.3f %10.3f  (at most 0.85: %s)\n", "depth: mean absolute error, mean", error, mean, error / mean, verdict(error > 0 && error <= 0.85 * mean)
        exit failed
    }' "$log" || die "what was learned is too weak"

# ---- 5. a few definitions

say "definitions that it writes"
"$tessera" decode "${config[@]}" --task definition --seed 3 --prompt "small dog: " --prompt "mathematician: " \
    --prompt "walk slowly: " --prompt "Norwegian city: " --prompt "joyful: "

say "done; the run is in $run: go on with it by the same command, or see docs/tasks.md"
