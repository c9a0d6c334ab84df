#!/usr/bin/env bash
# ranks: 1
# SPDX-License-Identifier: Apache-2.0
#
# Every block of C in docs/engine.md stands in test_guide.c, which is compiled and run, letter by letter.
set -u
awk -v page=docs/engine.md -v code=tests/tensor/test_guide.c '
    BEGIN {
        while ((getline line < code) > 0)
            whole = whole line "\n"
        while ((getline line < page) > 0) {
            number++
            if (line == "```c") { inside = 1; block = ""; begins = number; continue }
            if (line == "```" && inside) {
                inside = 0; blocks++
                if (!index(whole, block)) { print page ":" begins ": this is not in " code ":\n" block; bad = 1 }
                continue
            }
            if (inside)
                block = block line "\n"
        }
        print blocks " blocks"
        exit bad || blocks < 3
    }'
