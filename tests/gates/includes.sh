#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The rule between floors: base < comm < tensor < {model, data, ckpt} < task < cli, and each outside library on the floor
# that owns it. Prints every line that breaks it; fails if there is one.
cd "$(dirname "$0")/../.." || exit 1
find src -name '*.[ch]' -exec awk '
    BEGIN {
        below["base"] = "base"
        below["comm"] = "base comm"
        below["tensor"] = "base comm tensor"
        below["model"] = "base comm tensor model"
        below["data"] = "base comm tensor data"
        below["ckpt"] = "base comm tensor ckpt"
        below["task"] = "base comm tensor model data ckpt task"
        below["cli"] = "base comm tensor model data ckpt task cli"
        # which floors, or which file, may include what is not ours
        owner["^mpi(-ext)?\\.h$"] = "^src/comm/"
        owner["^comm/native\\.h$"] = "^src/(comm/|tensor/dist_linalg)"
        owner["^hdf5"] = "^src/(ckpt|data)/"
        owner["^(cblas|openblas_config|lapacke)\\.h$"] = "^src/tensor/"
        owner["dnnl"] = "^src/tensor/"
        owner["^(yaml|pcre2)\\.h$"] = "^src/base/"
        owner["^utf8proc\\.h$"] = "^src/data/"
        owner["^assert\\.h$"] = "^$"
    }
    /^[ \t]*#[ \t]*include/ {
        split(FILENAME, part, "/")
        name = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*[<"]/, "", name)
        sub(/[>"].*/, "", name)
        floor = name
        sub(/\/.*/, "", floor)
        bad = 0
        if ((floor in below) && floor != name && index(" " below[part[2]] " ", " " floor " ") == 0)
            bad = 1
        for (library in owner)
            if (name ~ library && FILENAME !~ owner[library])
                bad = 1
        if (bad) {
            print FILENAME ":" FNR ": " part[2] " must not include " name
            broken = 1
        }
    }
    END { exit broken }' {} +
