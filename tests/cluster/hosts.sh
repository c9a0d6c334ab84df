#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A cluster of virtual hosts on one machine: network namespaces with addresses, names, /tmp and /dev/shm of their own,
# joined by a bridge over links of a given speed, and mpirun across them. Needs root, and `ip` and `tc` of iproute2.
# Files are shared as by a network file system, but for /tmp (this tree stays visible there too).
#
# Each tree has one cluster, with names and a network of its own, so that two trees do not meet; `up` first takes down
# what an earlier run of the same tree, or of a tree that is gone, has left.
set -u

usage() {
    cat <<'USAGE'
usage: tests/cluster/hosts.sh COMMAND
    up N [BANDWIDTH] [DELAY]   starts N hosts; links as tc knows them, 400mbit and 0.1ms for example; - or none: not shaped
    run [-n RANKS] [--per-host K] [--limit SECONDS] [--from HOST] [--hosts I,J…] PROGRAM [ARGUMENT…]
                               mpirun across the hosts, filling one after the other; without -n, one rank a host;
                               without --per-host, RANKS over the hosts, rounded up; ended after 120 s or --limit;
                               mpirun itself runs outside, or on the network of host --from; --hosts: on these alone
    on HOST PROGRAM …          runs something on one host, named by its number
    cut HOST, mend HOST        takes the link of a host down, and up again
    kill HOST                  ends all that runs on a host, as a power cut does
    pids HOST                  prints the processes that run on a host
    about                      prints the folder of this cluster, the first three numbers of its addresses, and its hosts
    down                       takes everything down; nothing to take down is fine
    with N BANDWIDTH DELAY PROGRAM …
                               up, PROGRAM (which may use the other commands), and down, whatever happens
USAGE
}

fail() { echo "hosts.sh: $*" >&2; exit 1; }

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
id=$(printf %s "$tree" | cksum | awk '{ printf "%05x", $1 % 1048576 }') # names this tree's cluster
all=/run/tessera-hosts # a folder a cluster: tree, net, count, hosts, agent, and for host I its hI/tmp

# The names of things. An interface's name has at most 15 letters.
bridge() { echo "ts$1br"; }
link() { echo "ts$1v$2"; }
space() { echo "ts$1h$2"; }
net() { cat "$all/$id/net"; }     # the first three numbers of the addresses
count() { cat "$all/$id/count"; } # of hosts

need_rights() {
    [ "$(id -u)" = 0 ] || fail "needs root, for network namespaces"
    command -v ip >/dev/null && command -v tc >/dev/null || fail "there is no ip or no tc here: apt-get install iproute2"
    command -v nsenter >/dev/null && command -v unshare >/dev/null || fail "there is no nsenter or no unshare here (util-linux)"
}
need_up() { [ -f "$all/$id/count" ] || fail "no hosts are up: hosts.sh up N"; }
need_host() { [[ $1 =~ ^[0-9]+$ ]] && [ "$1" -ge 1 ] && [ "$1" -le "$(count)" ] || fail "no host '$1': there are 1 to $(count)"; }

# Ends what runs on the hosts of cluster $1, and removes them. Safe at any point of a half-done `up`.
take_down() {
    local name try pid
    for pid in $(grep -laF "$all/$1/agent" /proc/[0-9]*/cmdline 2>/dev/null | sed 's/[^0-9]//g'); do
        { tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qx plm_rsh_agent && kill -KILL "$pid"; } 2>/dev/null # its mpirun
    done
    for pid in $(grep -laF "$all/$1/slurm/" /proc/[0-9]*/cmdline 2>/dev/null | sed 's/[^0-9]//g'); do
        [ "$pid" = $$ ] || kill -KILL "$pid" 2>/dev/null # daemons of slurm.sh outside the hosts
    done
    for try in 1 2 3; do
        for name in $(ip netns list | awk -v start="ts$1h" 'index($1, start) == 1 { print $1 }'); do
            local pids
            pids=$(ip netns pids "$name" 2>/dev/null)
            [ -n "$pids" ] && kill -KILL $pids 2>/dev/null && sleep 0.2
            ip netns del "$name" 2>/dev/null
        done
    done
    for name in $(ip -o link show | awk -F'[ :@]+' -v start="ts$1v" 'index($2, start) == 1 { print $2 }'); do
        ip link del "$name" 2>/dev/null
    done
    ip link del "$(bridge "$1")" 2>/dev/null
    rm -rf "${all:?}/$1" "/dev/shm/tessera-hosts-$1"
}

down_leftovers() {
    local dir
    for dir in "$all"/*/; do
        [ -d "$dir" ] || continue
        dir=$(basename "$dir")
        [ "$dir" != "$id" ] && [ -d "$(cat "$all/$dir/tree" 2>/dev/null)" ] || take_down "$dir"
    done
}

# The first 10.77.X that no route uses, from a start of this tree's own.
free_net() {
    local start=$((16#$id % 250)) i
    for ((i = 0; i < 250; i++)); do
        local candidate=10.77.$(((start + i) % 250 + 1))
        ip -o route show | grep -qE "(^| )${candidate//./\\.}\.[0-9]" || { echo "$candidate"; return; }
    done
    return 1
}

# Shapes one end of a link: shape BANDWIDTH DELAY tc-prefix… dev NAME
shape() {
    local bandwidth=$1 delay=$2 dev=${!#} parent=(root)
    shift 2
    set -- "${@:1:$#-2}"
    if [ "$delay" != - ]; then
        "$@" tc qdisc add dev "$dev" root handle 1: netem delay "$delay" limit 20000 || { echo "this kernel has no netem, so no delay" >&2; return 1; }
        parent=(parent 1:1 handle 10:)
    fi
    [ "$bandwidth" = - ] || "$@" \
        tc qdisc add dev "$dev" "${parent[@]}" tbf rate "$bandwidth" burst 256k latency 50ms ||
        { echo "tc takes no rate $bandwidth, or this kernel has no tbf" >&2; return 1; }
}

up() {
    [[ ${1:-} =~ ^[0-9]+$ ]] && [ "$1" -ge 1 ] && [ "$1" -le 64 ] || fail "up needs a number of hosts, 1 to 64, not '${1:-}'"
    local n=$1 bandwidth=${2:--} delay=${3:--} dir=$all/$id i
    need_rights
    mkdir -p "$all" || fail "cannot write to $all"
    down_leftovers
    mkdir -p "$dir"
    echo "$tree" >"$dir/tree"
    trap 'take_down "$id"; fail "up was interrupted"' INT TERM HUP
    local net
    net=$(free_net) || fail "every network 10.77.X is in use"
    echo "$net" >"$dir/net"
    build_hosts "$n" "$bandwidth" "$delay" "$net" 2>"$dir/error" || {
        local why
        why=$(tail -1 "$dir/error")
        take_down "$id"
        fail "cannot set up $n hosts: $why"
    }
    cat >"$dir/agent" <<AGENT
#!/bin/sh
# What mpirun calls in place of ssh: drops the options, enters the host.
while [ "\${1#-}" != "\$1" ]; do shift; done
host=\${1##*.}
shift
exec "$tree/tests/cluster/hosts.sh" on "\$host" sh -c "\$*"
AGENT
    chmod +x "$dir/agent"
    trap - INT TERM HUP
    echo "$n" >"$dir/count"
}

build_hosts() {
    local n=$1 bandwidth=$2 delay=$3 net=$4 dir=$all/$id i name at
    ip link add "$(bridge "$id")" type bridge || return 1
    ip link set "$(bridge "$id")" type bridge nf_call_iptables 0 2>/dev/null
    ip addr add "$net.254/24" dev "$(bridge "$id")" && ip link set "$(bridge "$id")" up || return 1
    printf '127.0.0.1 localhost\n' >"$dir/hosts"
    for ((i = 1; i <= n; i++)); do
        name=$(space "$id" "$i") at=$(link "$id" "$i")
        mkdir -p -m 1777 "$dir/h$i/tmp" "/dev/shm/tessera-hosts-$id/h$i" || return 1
        printf '%s.%d host%d\n' "$net" "$i" "$i" >>"$dir/hosts"
        ip netns add "$name" &&
            ip link add "$at" type veth peer name e0 netns "$name" &&
            ip link set "$at" master "$(bridge "$id")" up &&
            ip -n "$name" addr add "$net.$i/24" dev e0 &&
            ip -n "$name" link set lo up &&
            ip -n "$name" link set e0 up || return 1
        # A peer that is gone is given up after seconds, as on clusters that are set up for it; else after 15 minutes.
        nsenter --net="/var/run/netns/$name" sh -c 'echo 4 >/proc/sys/net/ipv4/tcp_retries2' 2>/dev/null
        shape "$bandwidth" "$delay" ip netns exec "$name" dev e0 && shape "$bandwidth" - dev "$at" || return 1
    done
}

# Runs a program on a host: its network, name, /tmp, /dev/shm and /etc/hosts. Replaces this shell.
on() {
    need_rights
    need_up
    need_host "$1"
    local host=$1 dir=$all/$id
    shift
    [ $# -gt 0 ] || fail "on HOST needs a program"
    export TMPDIR=/tmp
    exec nsenter --net="/var/run/netns/$(space "$id" "$host")" unshare --uts --mount bash -c '
        name=$1 dir=$2 shm=$3 tree=$4; shift 4
        fail() { echo "hosts.sh: $name: cannot set up its $1" >&2; exit 1; }
        hostname "$name" 2>/dev/null || echo "$name" >/proc/sys/kernel/hostname || fail name
        here=$PWD
        case $tree in /tmp/*) mkdir -p "$dir/tmp${tree#/tmp}" && mount --bind "$tree" "$dir/tmp${tree#/tmp}" || fail tree ;; esac
        mount --rbind "$dir/tmp" /tmp && mount --bind "$shm" /dev/shm && mount --bind "${dir%/*}/hosts" /etc/hosts || fail folders
        cd "$here" 2>/dev/null || cd "$tree" || fail folder
        exec "$@"' host "host$host" "$dir/h$host" "/dev/shm/tessera-hosts-$id/h$host" "$tree" "$@"
}

run() {
    local ranks='' per_host='' limit=120 from=() i use=''
    while [ $# -gt 0 ]; do
        case $1 in
        -n) ranks=${2:-}; shift 2 ;;
        --per-host) per_host=${2:-}; shift 2 ;;
        --limit) limit=${2:-}; shift 2 ;;
        --from) from=("${2:-}"); shift 2 ;;
        --hosts) use=${2//,/ }; shift 2 ;;
        -*) fail "run: unknown option $1" ;;
        *) break ;;
        esac
    done
    [ $# -gt 0 ] || fail "run needs a program"
    need_rights
    need_up
    command -v mpirun >/dev/null || fail "there is no mpirun in PATH"
    local n hosts=
    use=${use:-$(seq -s ' ' "$(count)")}
    for i in $use; do need_host "$i"; done
    n=$(wc -w <<<"$use")
    ranks=${ranks:-$n}
    [[ $ranks =~ ^[1-9][0-9]*$ ]] || fail "run: '$ranks' is not a number of ranks"
    per_host=${per_host:-$(((ranks + n - 1) / n))}
    [[ $per_host =~ ^[1-9][0-9]*$ ]] && [ $((per_host * n)) -ge "$ranks" ] || fail "run: $n hosts of $per_host ranks do not take $ranks ranks"
    for i in $use; do hosts+=,$(net).$i:$per_host; done
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    if [ ${#from[@]} -gt 0 ]; then
        need_host "${from[0]}"
        from=(nsenter --net="/var/run/netns/$(space "$id" "${from[0]}")" unshare --uts
            sh -c 'hostname "$0" 2>/dev/null || echo "$0" >/proc/sys/kernel/hostname; exec "$@"' "host${from[0]}")
    fi
    exec timeout -k 10 "$limit" "${from[@]}" mpirun --mca plm_rsh_agent "$all/$id/agent" --mca plm_rsh_no_tree_spawn 1 \
        --mca pml ob1 --mca btl vader,self,tcp --mca btl_tcp_if_include "$(net).0/24" --mca oob_tcp_if_include "$(net).0/24" \
        --mca mpi_yield_when_idle 1 --bind-to none -H "${hosts#,}" -n "$ranks" "$@"
}

cut() { need_rights; need_up; need_host "${1:-}"; ip link set "$(link "$id" "$1")" down; }
mend() { need_rights; need_up; need_host "${1:-}"; ip link set "$(link "$id" "$1")" up; }

kill_host() {
    need_rights; need_up; need_host "${1:-}"
    local pids
    pids=$(ip netns pids "$(space "$id" "$1")")
    [ -z "$pids" ] || kill -KILL $pids
}

list_pids() { need_rights; need_up; need_host "${1:-}"; ip netns pids "$(space "$id" "$1")"; }

about() { need_up; echo "$all/$id $(net) $(count)"; }

with() {
    [ $# -ge 4 ] || fail "with needs N BANDWIDTH DELAY PROGRAM"
    up "$1" "$2" "$3"
    shift 3
    "$@" &
    child=$! # global: the trap outlives this function
    trap 'kill "$child" 2>/dev/null; take_down "$id"' EXIT
    trap 'exit 130' INT TERM HUP
    wait "$child"
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
up | run | on | cut | mend | with | about) "$command" "$@" ;;
kill) kill_host "$@" ;;
pids) list_pids "$@" ;;
down) need_rights; take_down "$id" ;;
-h | --help | help) usage ;;
*) usage >&2; exit 2 ;;
esac
