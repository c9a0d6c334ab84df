#!/usr/bin/env bash
# ranks: 8
# limit: 200 s
# SPDX-License-Identifier: Apache-2.0
#
# A host whose link is cut while four hosts train: the watchdog names its ranks, and no process is left, on either side.
set -u

hosts=tests/cluster/hosts.sh
program=$(find "$BUILD" -name comm-test_watchdog -type f -perm -u+x | head -1)
[ -n "$program" ] || { echo "comm-test_watchdog is not built"; exit 1; }

if [ "${1:-}" != inside ]; then
    why=$(bash $hosts with 1 - - true 2>&1) || { echo "no virtual hosts here: $why"; exit 77; }
    exec bash $hosts with 4 - - bash "$0" inside
fi

failed=0
check() { # check NAME CONDITION…
    local name=$1
    shift
    if "$@"; then echo "ok     $name"; else echo "FAILED $name"; failed=1; fi
}
says() { grep -qF -- "$1" "$said"; }
left() { # how many of the program's processes are on the network of host 3
    bash $hosts on 3 sh -c 'net=$(readlink /proc/self/ns/net); for p in /proc/[0-9]*; do
        [ "$(readlink $p/ns/net 2>/dev/null)" = "$net" ] && [ "$(readlink $p/exe 2>/dev/null)" = "$0" ] && echo; done' \
        "$program" | wc -l
}

said=$(mktemp)
trap 'rm -f "$said"' EXIT
bash $hosts run -n 8 --limit 90 --from 1 env TESSERA_WATCHDOG_S=3 "$program" steps >"$said" 2>&1 &
job=$!
for _ in $(seq 150); do
    says "ten steps done" && break
    sleep 0.2
done
check "eight ranks on four hosts train" says "ten steps done"
check "two of them on host 3" [ "$(left)" = 2 ]
bash $hosts cut 3
began=$SECONDS
wait $job
code=$?
took=$((SECONDS - began))
check "the job ends with the watchdog's code ($code)" [ $code = 71 ]
check "within 40 s ($took s)" [ $took -le 40 ]
# Some may have had all that they need of the call in which others wait, and wait in the next.
check "the collective in which ranks wait is named" says 'in all-reduce "layer_03/grad" (call '
for rank in 4 5; do
    check "rank $rank is named" says "rank $rank on host3 did not arrive: it does not answer; nor does any rank on its host"
done
check "no other rank is" [ "$(grep -cE 'rank [0-9]+ on ' "$said")" = 2 ]
for _ in $(seq 80); do
    [ "$(left)" = 0 ] && break
    sleep 0.5
done
check "the ranks behind the cut end too, $((SECONDS - began)) s after it" [ "$(left)" = 0 ]
[ $failed = 0 ] || sed 's/^/    /' "$said"
exit $failed
