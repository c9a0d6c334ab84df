#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: installation and programs built against it; packages missing, and under a prefix of their own; oneDNN off
# default: yes
# limit: 600
. tests/suites/lib.sh

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
cached() { sed -n "s/^$1:[A-Z]*=//p" "$BUILD/CMakeCache.txt"; } # a value that the build found

# ---- what is installed

check installs cmake --install "$BUILD" --prefix "$prefix"
libdir=$(dirname "$(find "$prefix" -name libtessera.a)")
export PKG_CONFIG_PATH=$libdir/pkgconfig

only_ts() { # the names that the given nm lines define, but for ts_ ones: there must be none, and there must be ts_ ones
    local names
    names=$(nm --defined-only "$@" | awk 'NF == 3 && $2 ~ /[A-Z]/ { print $3 }')
    grep -q '^ts_' <<<"$names" || { echo "no ts_ name at all"; return 1; }
    ! grep -v '^ts_' <<<"$names"
}
check 'shared library shows ts_ names alone' only_ts -D "$libdir/libtessera.so"
check 'static library has ts_ names alone' only_ts -g "$libdir/libtessera.a"

# Each installed header compiles by itself, as the user of a compiler without our definitions meets it; tessera.h, with all.
headers_alone() {
    local header headers failed=0
    headers=$(find "$prefix/include/tessera" -name '*.h' | sort)
    [ "$(wc -l <<<"$headers")" -ge 40 ] || { echo "few headers: $headers"; return 1; }
    for header in $headers; do
        echo "#include <${header#"$prefix/include/"}>" |
            "$1" -std=c17 -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" -I"$prefix/include/tessera" -x c - || failed=1
    done
    return $failed
}
strict_consumer() {
    # shellcheck disable=SC2046
    "$1" -std=c17 -Wall -Wextra -Wshadow -Werror -fsyntax-only -I"$prefix/include" -I"$prefix/include/tessera" tests/install/consumer.c
}
for compiler in gcc clang; do
    if command -v $compiler >/dev/null; then
        check "each installed header compiles alone, with $compiler" headers_alone $compiler
        check "a program that includes tessera.h has no warning from $compiler" strict_consumer $compiler
    else
        skip "each installed header compiles alone, with $compiler" 'it is not installed'
    fi
done
no_internals() { ! find "$prefix/include" -name '*_internal.h' -o -name native.h | grep .; }
check 'nothing internal is installed' no_internals

# ---- programs outside the tree

runs() { timeout 60 mpirun --oversubscribe --bind-to none -n 2 "$1" | tee /dev/stderr | grep -q 'on 2 ranks: right'; }
consumer=tests/install/consumer.c
by_pkg_config() {
    # shellcheck disable=SC2046
    cc -std=c17 $consumer -o "$work/by-pc" $(pkg-config --cflags --libs tessera) -Wl,-rpath,"$libdir" && ldd "$work/by-pc" | grep "$libdir/libtessera.so" &&
        runs "$work/by-pc"
}
by_pkg_config_static() {
    # shellcheck disable=SC2046
    cc -std=c17 $consumer -o "$work/by-pc-static" $(pkg-config --static --cflags --libs tessera | sed 's/-ltessera/-l:libtessera.a/') &&
        ! ldd "$work/by-pc-static" | grep libtessera && runs "$work/by-pc-static"
}
if command -v pkg-config >/dev/null; then
    check 'builds by pkg-config, shared' by_pkg_config
    check 'builds by pkg-config, static' by_pkg_config_static
else
    skip 'builds by pkg-config' 'there is no pkg-config'
fi
by_find_package() {
    cmake -S tests/install -B "$work/by-cmake" -DCMAKE_PREFIX_PATH="$prefix" && cmake --build "$work/by-cmake" &&
        runs "$work/by-cmake/consumer-tessera" && runs "$work/by-cmake/consumer-static"
}
check 'builds by find_package, shared and static' by_find_package
if [ -f "$prefix/bin/tessera" ]; then
    check 'the installed program runs' "$prefix/bin/tessera" --version
fi

# ---- packages missing; packages under a prefix of their own. The system's are hidden by their folder.

hidden=$(cached TESSERA_YAML_INCLUDE_DIR)
hide=(-DCMAKE_IGNORE_PATH="$hidden" -DTESSERA_TESTS=ON)
names_missing() { # a configuration that must fail, and say how to install what is missing
    cmake -S . -B "$work/missing" "${hide[@]}" >"$work/said" 2>&1 && { echo "it was configured"; return 1; }
    cat "$work/said"
    grep -q 'was not found: libyaml' "$work/said" && grep -q 'apt-get install libyaml-dev' "$work/said" &&
        grep -q 'dnf install libyaml-devel' "$work/said" && grep -q 'spack install libyaml' "$work/said"
}
check 'a missing package is named, with the lines that install it' names_missing

private=$work/private
own_prefix() { # copies of libyaml and jansson, and the rest by links, in a prefix; no pkg-config; no oneDNN
    mkdir -p "$private/include" "$private/lib" && local name include library header
    mkdir -p "$private/include/protobuf-c"
    for name in YAML:yaml JANSSON:jansson PCRE2:pcre2 UTF8PROC:utf8proc ZLIB:zlib PROTOBUFC:protobuf-c/protobuf-c; do
        include=$(cached "TESSERA_${name%:*}_INCLUDE_DIR") library=$(cached "TESSERA_${name%:*}_LIBRARY") header=${name#*:}
        cp -L "$library" "$private/lib/" && cp "$include/$header"*.h "$private/include/$(dirname "$header")/" || return 1
        header=$(readelf -d "$library" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
        ln -sf "$(basename "$library")" "$private/lib/$header"
    done
    PKG_CONFIG_PATH='' configure_and_build "$work/own" "${hide[@]}" -DPKG_CONFIG_EXECUTABLE=/nonexistent -DTESSERA_ONEDNN=OFF \
        -DCMAKE_PREFIX_PATH="$private" || return 1
    ldd "$work/own/libtessera.so" >"$work/linked"
    cat "$work/linked"
    grep "$private/lib/libyaml" "$work/linked" && ! grep libdnnl "$work/linked" &&
        grep "^TESSERA_JANSSON_LIBRARY:.*=$private/lib" "$work/own/CMakeCache.txt"
}
check 'builds against packages under a prefix of their own, without pkg-config and oneDNN' own_prefix
onednn_missing() { # hidden as well, and now asked for
    cmake -S . -B "$work/onednn" "${hide[@]}" -DCMAKE_PREFIX_PATH="$private" -DPKG_CONFIG_EXECUTABLE=/nonexistent -DTESSERA_ONEDNN=ON \
        >"$work/said" 2>&1 && { echo "it was configured"; return 1; }
    cat "$work/said"
    grep -q 'not found: oneDNN$' "$work/said" && grep -q 'asked for by TESSERA_ONEDNN=ON' "$work/said"
}
if [ "$(dirname "$(cached TESSERA_ONEDNN_INCLUDE_DIR)")" = "$(dirname "$hidden")" ]; then
    check 'oneDNN asked for and missing is said' onednn_missing
else
    skip 'oneDNN asked for and missing is said' 'there is none here, or it lies where it cannot be hidden'
fi
if [ -f "$work/own/CTestTestfile.cmake" ]; then
    BUILD=$work/own run_ctest -L '^unit$' -R '^(base|tensor)/' -E random
fi
