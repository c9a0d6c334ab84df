#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: h5py and h5dump read checkpoints, TensorBoard summaries (installs both into a folder of its own); transformers loads exported models (of INTEROP_PYTHON)
# default: no
# packages: interop
# limit: 400
. tests/suites/lib.sh

command -v python3 >/dev/null || cannot_run 'there is no python3'
command -v mpirun >/dev/null || cannot_run 'there is no mpirun in PATH'
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" -q install h5py numpy || cannot_run 'h5py cannot be installed'

save() { # save DIR FILES
    timeout 60 mpirun --oversubscribe --bind-to none -n 4 "$BUILD/tessera" train jobs/line.yaml run.dir="$1" run.steps=3 \
        run.threads=1 run.evaluate=never checkpoint.files="$2" backbone.layers=2 mesh.model=2
}
dumps() { # every dataset, by a program that knows nothing of ours
    local name count=0
    for name in $(h5ls -r "$1/state.h5" | awk '/Dataset/ { print $1 }'); do
        h5dump -d "$name" "$1/state.h5" >"$work/dump" 2>&1 || { cat "$work/dump"; return 1; }
        grep -q '(0' "$work/dump" || grep -q 'H5S_SCALAR' "$work/dump" || { echo "$name: no data"; head -20 "$work/dump"; return 1; }
        count=$((count + 1))
    done
    [ "$count" -ge 20 ] || { echo "$count datasets"; return 1; }
}
for files in 0 2 1; do
    check "a run of 4 ranks, files: $files" save "$work/run$files" $files
    dir=$work/run$files/checkpoints/step_00000003
    check "h5py reads every array with its checksums, files: $files" "$work/venv/bin/python" tests/support/read_checkpoint.py "$dir"
    if command -v h5dump >/dev/null; then check "h5dump reads every array, files: $files" dumps "$dir"; else skip "h5dump, files: $files" 'it is not installed'; fi
done
same() { "$work/venv/bin/python" tests/support/read_checkpoint.py "$work"/run*/checkpoints/step_00000003; }
check 'the same values whatever the files' same

# ---- TensorBoard's own reader

"$work/venv/bin/pip" -q install tensorboard 'setuptools<81' || skip TensorBoard 'it cannot be installed'
summarise() {
    timeout 60 mpirun --oversubscribe --bind-to none -n 2 "$BUILD/tessera" train jobs/line.yaml run.dir="$work/board" run.steps=6 \
        run.threads=1 run.log='2 steps' run.evaluate='3 steps' run.histograms='2 steps' run.decode_every='3 steps' \
        'decode.prompts=[Alice, the]' decode.max_decode_steps=4
}
if "$work/venv/bin/python" -c 'import tensorboard' 2>/dev/null; then
    check 'a run with summaries' summarise
    check 'TensorBoard reads them' "$work/venv/bin/python" tests/support/read_summaries.py "$work/board"
fi

# Exported models, in a Python that has transformers: each family as it was imported; imported from several files and
# exported by two ranks; a run that was trained here, with a tokenizer that was; what LoRA learned on it.
python=${INTEROP_PYTHON:-python3}
load() { "$python" tests/support/load_models.py "$@"; }
ranks() { timeout 100 mpirun --oversubscribe --bind-to none -n "$@"; }
if ! "$python" -c 'import torch, transformers' 2>/dev/null; then
    skip 'exported models' "$python has no transformers: INTEROP_PYTHON names one that has (transformers 4.49, torch)"
    exit 0
fi
around() { # around FAMILY
    local from=tests/golden/families/$1 to=$work/$1
    "$BUILD/tessera" ckpt import "$from" "$to/run" && "$BUILD/tessera" ckpt export "$to/run" "$to/out" &&
        load golden "$to/out" "$from/golden.json"
}
sharded() { # sharded FAMILY
    local from=tests/golden/families/$1 to=$work/$1-sharded
    load shards "$from" "$to/in" && [ "$(ls "$to"/in/*.safetensors | wc -l)" -ge 2 ] && [ -e "$to/in/model.safetensors.index.json" ] &&
        ranks 2 "$BUILD/tessera" ckpt import "$to/in" "$to/run" && ranks 2 "$BUILD/tessera" ckpt export "$to/run" "$to/out" &&
        load golden "$to/out" "$from/golden.json"
}
for family in gpt2 llama llama-linear llama3 bert roberta esm; do
    check "$family, exported" around $family
    check "$family, imported from several files, on 2 ranks" sharded $family
done
own() { # own NAME WORDS…: trains, exports, and compares what both predict
    local to=$work/own-$1
    shift
    mkdir -p "$to"
    printf '{"text": "%s"}\n' 'Alice was beginning' 'to get very tired of sitting' 'by her sister — naïve 😀' >"$to/texts.jsonl"
    local data="data: {files: [$to/texts.jsonl], columns: {text: text}, split: {type: fraction, validation: 0, test: 0}, batch: 2, length: 32, tokenizer: {type: pretrained, path: $work/tokenizer}}"
    printf 'tasks: {lm: {type: language_model, %s}}\n' "$data" >"$to/lm.yaml"
    printf 'tasks: {lm: null, look: {type: inference, %s}}\n' "$data" >"$to/look.yaml"
    "$BUILD/tessera" train "$to/lm.yaml" run.dir="$to/run" run.steps=5 run.threads=1 backbone.layers=2 backbone.heads=4 \
        backbone.width=64 backbone.context=64 learner.optimizer.rate=0.01 "$@" &&
        "$BUILD/tessera" ckpt export "$to/run" "$to/out" && [ -e "$to/out/tokenizer.json" ] &&
        "$BUILD/tessera" predict "$to/run/config.yaml" "$to/look.yaml" --task look --part train --out "$to/predicted.jsonl" &&
        load predicted "$to/out" "$to/predicted.jsonl" "$to/texts.jsonl"
}
check 'a tokenizer is trained' "$BUILD/tessera" data tokenizer tests/data/alice.txt --vocab-size 600 --output "$work/tokenizer"
check 'a GPT-2 that was trained here' own gpt2 backbone.activation=gelu_tanh
check 'a Llama that was trained here' own llama backbone.activation=swiglu backbone.norm=rms backbone.positions=rotary \
    backbone.biases=false backbone.tied=false backbone.key_value_heads=2
check 'what LoRA learned on it' own lora backbone.activation=gelu_tanh init_from.path="$work/own-gpt2/run" fine_tune.mode=lora
