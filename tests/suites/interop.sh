#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: h5py and h5dump read every array of a checkpoint, in one file and in several (installs h5py into a folder of its own)
# default: no
# packages: interop
# limit: 300
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
