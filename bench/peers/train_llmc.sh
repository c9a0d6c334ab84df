#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What bench/train measures, by llm.c's trainer for CPUs, whose directory LLMC names, train_gpt2 being built in it: GPT-2
# 124 M at T 64 and B 4, as it is written there. Weights and tokens are zeros: it does the same work on any. Prints
# `seconds S`: the median of STEPS steps behind the first.
#
#     LLMC=DIR train_llmc.sh STEPS
set -u
program=$(realpath "$LLMC/train_gpt2") && [ -x "$program" ] || { echo "LLMC: no train_gpt2 in $LLMC: make train_gpt2" >&2; exit 1; }
work=$(mktemp -d) || exit 1
trap '[ -z "${trainer:-}" ] || kill "$trainer" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1

# header WORD…: 256 words of 32 bits, little-endian.
header() {
    local word i
    for ((i = 0; i < 256; i++)); do
        word=${1:-0}
        [ $# = 0 ] || shift
        printf "\\x$(printf %02x $((word & 255)))\\x$(printf %02x $((word >> 8 & 255)))\\x$(printf %02x $((word >> 16 & 255)))\\x$(printf %02x $((word >> 24)))"
    done
}
tokens=32768
mkdir -p dev/data/tinyshakespeare
{ header 20240326 3 1024 50257 12 12 768 50304 && head -c $((124475904 * 4)) /dev/zero; } >gpt2_124M.bin
{ header 20240520 1 $tokens && head -c $((tokens * 2)) /dev/zero; } | tee dev/data/tinyshakespeare/tiny_shakespeare_{train,val}.bin >/dev/null

stdbuf -oL "$program" >log 2>&1 &
trainer=$!
until [ "$(grep -c '^step .*(took' log)" -gt "$1" ]; do
    kill -0 "$trainer" 2>/dev/null || { tail -3 log >&2; exit 1; }
    sleep 0.2
done
sed -n 's/^step [1-9].*(took \([0-9.]*\) ms.*/\1/p' log | sort -n |
    awk '{ ms[NR] = $1 } END { printf "seconds %.6g\n", ms[int((NR + 1) / 2)] / 1e3 }'
