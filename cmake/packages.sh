# SPDX-License-Identifier: Apache-2.0
#
# Installs what cmake/packages.tsv lists. Sourced from the top of the tree by scripts that begin with nothing: tests/run.sh,
# jobs/quickstart.sh.

told=no      # how to install it
sudo_asks=no # for a password, of whom sits at the terminal

# Rows of cmake/packages.tsv (name, need, Debian, Fedora, Spack) whose need is among the arguments.
rows() { awk -F'\t' -v OFS='\t' -v needs=" $* " '/^[^#]/ && index(needs, " " $2 " ")' cmake/packages.tsv; }

# The lines that install the rows on standard input.
install_lines() {
    awk -F'\t' '
        { debian = debian " " $3; if ($4 != "-") fedora = fedora " " $4; if ($5 != "-") spack = spack " " $5 }
        END {
            print "    Debian, Ubuntu:  sudo apt-get install" debian
            print "    Fedora:          sudo dnf install" fedora (fedora ~ /openmpi/ ? "   (then: module load mpi)" : "")
            print "    Spack:           spack install" spack " && spack load" spack
        }'
}

# Installs the Debian packages of the rows whose need is among the arguments, as far as there are rights to; without apt
# it says so.
install_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "no apt here: going on with what is found (cmake names what is missing, and how to install it)"
        return
    fi
    local missing=() known=() lacking='' row name package packages sudo=() log
    while IFS= read -r row; do
        IFS=$'\t' read -r _ _ packages _ <<<"$row"
        name=
        for package in $packages; do
            [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = 'install ok installed' ] && continue
            missing+=("$package"); name=yes
        done
        [ -z "$name" ] || lacking+=$row$'\n'
    done < <(rows "$@")
    [ ${#missing[@]} = 0 ] && return
    echo "packages that are not installed: ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        if sudo -n true 2>/dev/null; then sudo=(sudo -n)
        elif [ $sudo_asks = yes ] && [ -t 0 ] && command -v sudo >/dev/null; then sudo=(sudo)
        else
            echo "no rights to install them (neither root nor sudo without a password); going on with what is found. To install:"
            printf %s "$lacking" | install_lines
            told=yes
            return
        fi
    fi
    "${sudo[@]}" apt-get -q update >/dev/null || echo "apt-get update failed; trying with the lists there are"
    for name in "${missing[@]}"; do
        if apt-cache show "$name" >/dev/null 2>&1; then known+=("$name"); else echo "this release has no package $name"; fi
    done
    [ ${#known[@]} = 0 ] && return
    log=$(mktemp)
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${known[@]}" \
        >"$log" 2>&1 || { tail -5 "$log"; echo "apt-get install failed; going on with what is found"; }
    rm -f "$log"
}
