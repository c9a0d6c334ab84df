#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: the rules of the house: format, floors, licence lines, file sizes, cppcheck, no warning from gcc and clang
# default: yes
# packages: gates
# limit: 600
. tests/suites/lib.sh

git rev-parse --git-dir >/dev/null 2>&1 || cannot_run 'needs a git clone, to know which files are ours'
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
c_files() { git ls-files --cached --others --exclude-standard -- '*.[ch]' | while read -r file; do [ -f "$file" ] && echo "$file"; done; }

check 'a floor includes only floors below' tests/gates/includes.sh
check 'licence lines, sizes, ranks, words' tests/gates/words.sh
presets() { cmake --list-presets | tee /dev/stderr | grep -c '"' | grep -qx 4; }
check 'the four presets can be read' presets

# Releases of clang-format differ in what they write: the style is that of 14.
formatter=$(command -v clang-format-14 || command -v clang-format)
if [ -n "$formatter" ] && "$formatter" --version | grep -q 'version 14\.'; then
    formatted() { c_files | xargs "$formatter" --dry-run -Werror; }
    check 'clang-format' formatted
else
    skip 'clang-format' 'there is no clang-format of version 14'
fi

if command -v cppcheck >/dev/null; then
    analysed() {
        cppcheck --quiet -j "$(nproc)" --enable=warning,performance,portability --std=c11 --inline-suppr --error-exitcode=1 \
            --suppressions-list=tests/gates/cppcheck.txt -D__GNUC__ -D__x86_64__ '-D_Noreturn=__attribute__((noreturn))' -I src --template=gcc src
    }
    check 'cppcheck' analysed
else
    skip 'cppcheck' 'it is not installed'
fi

warnings() { configure_and_build "$work/$1" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER="$1" -DTESSERA_WERROR=ON; }
for compiler in gcc clang; do
    if command -v $compiler >/dev/null; then check "no warning from $compiler" warnings $compiler; else skip "no warning from $compiler" 'it is not installed'; fi
done

# What only a debug build does: assertions, and calls of collectives that are compared between ranks.
[ -f "$work/gcc/CTestTestfile.cmake" ] || exit 0 # where it was not built, that was said above
BUILD=$work/gcc run_ctest -R '^(comm/test_(call_check|collectives|requests)|tensor/test_(program|allocate)|task/test_learner)(-[12])?$' |
    sed 's/^\(ok\|not ok\|skip\) /&debug: /'
exit "${PIPESTATUS[0]}"
