#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The virtual hosts themselves: names, folders and network of their own, links that can be cut, nothing left behind.
# Prints a line a test; leaves no hosts up.
. tests/suites/lib.sh
hosts=tests/cluster/hosts.sh
trap '$hosts down' EXIT

nothing_left() { ! { ip netns list; ip -br link; ls /dev/shm /run/tessera-hosts; } 2>/dev/null | grep -E "(^|-)(ts)?$1"; }
answers() { timeout 2 $hosts on "$1" bash -c "exec 3<>/dev/tcp/$2/9" 2>&1 | grep -q refused; } # a host refuses: it is there

separate() {
    $hosts on 1 sh -c 'echo one >/tmp/mark; echo one >/dev/shm/mark' || return 1
    $hosts on 2 sh -c 'test ! -e /tmp/mark && test ! -e /dev/shm/mark && test "$(uname -n)" = host2 && test -f tests/run.sh' &&
        [ "$($hosts on 1 cat /tmp/mark)" = one ] && [ ! -e /tmp/mark ]
}
reach() { answers 1 host2 && answers 3 host1; }
cut() { $hosts cut 2 && ! answers 1 host2 && answers 1 host3 && $hosts mend 2 && answers 1 host2; }
refuses() { # each with its reason
    ! $hosts run -n 0 true && ! $hosts run -n 9 --per-host 2 true && ! $hosts cut 4 && ! $hosts on 0 true && ! $hosts up none
}
again() { $hosts up 2 && $hosts on 2 true && ! $hosts on 3 true; }
with() { # taken down when its program ends, and when it is interrupted
    $hosts with 2 - - sh -c "$hosts on 1 true; exit 3"
    [ $? = 3 ] || return 1
    $hosts with 2 - - sleep 30 &
    sleep 1
    kill $!
    wait $! 2>/dev/null
    ! $hosts on 1 true
}

$hosts up 3 100mbit || { not_ok 'hosts come up' 'see above'; exit 1; }
id=$(basename "$(grep -lx "$PWD" /run/tessera-hosts/*/tree | xargs dirname)")
check 'hosts have names, /tmp and /dev/shm of their own, and this tree' separate
check 'hosts reach one another' reach
check 'a link is cut and mended' cut
check 'what cannot be is refused' refuses
check 'up takes down what was up before' again
check 'down leaves nothing' eval "$hosts down && nothing_left $id && $hosts down"
check 'with takes down, also when interrupted' with
check 'nothing is left' nothing_left "$id"
