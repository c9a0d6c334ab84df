#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Decoding GPT-2 124 M beside what memory and matrix products allow, and beside PyTorch with transformers, run by
# PEER_PYTHON (python3 by default); where that has them not, the targets beside the peer are short. limit: 300 s
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
case ${BUILD:=build} in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
peers=$(mktemp) || exit 1
trap 'rm -f "$peers"' EXIT
timeout -k 5 200 "${PEER_PYTHON:-python3}" bench/peers/decode_torch.py >"$peers" || echo "the peer does not run" >&2
cat "$peers"
"$BUILD/bench/decode" "$peers"
