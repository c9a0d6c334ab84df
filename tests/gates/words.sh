#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What every source file has, and what none may have. Prints each breach; fails if there is one.
cd "$(dirname "$0")/../.." || exit 1
broken=0
say() { echo "$*"; broken=1; }

sources=$(git ls-files --cached --others --exclude-standard -- '*.[ch]' '*.sh' '*.cmake' '*CMakeLists.txt' '*.py' .ci/run bench/run)
for file in $sources; do
    [ -f "$file" ] || continue
    head -5 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || say "$file: no SPDX line among the first five"
    lines=$(wc -l <"$file")
    [ "$lines" -le 600 ] || say "$file: $lines lines; 600 is the most"
done
for file in tests/*/test_*.c; do
    head -1 "$file" | grep -qE '^/\* ranks:( [0-9]+)+ \*/$' || say "$file: the first line must be /* ranks: … */"
done

# none WHERE PATTERN WHY: no line of the C code there matches, comments aside
none() {
    local hits
    hits=$(git grep --untracked -nE "$2" -- $1 | grep -vE '^[^:]+:[0-9]+: *(/?\*|//)')
    [ -z "$hits" ] || say "$3:"$'\n'"$hits"
}
none 'src/*.[ch]' '(^|[^_a-z])(strcpy|strcat|sprintf|vsprintf|gets|strtok)\(' 'unbounded or hidden-state string calls'
none 'src/*.[ch]' '(^|[^_a-z])exit\(' 'exit: return a Status, or TS_CHECK'
none 'src/*.[ch] :!src/base/region.c' '(^|[^_a-z>.])(malloc|calloc|realloc)\(' 'memory not counted: ts_alloc of base/memory.h' 
none 'src/*.[ch] tests/*.[ch] bench/*.[ch]' 'TODO|FIXME|XXX' 'unfinished'
none 'src/*.[ch]' '(^|[^"A-Za-z_])(OMPI_|MPIX_|ompi_)' "Open MPI's own names"
exit $broken
