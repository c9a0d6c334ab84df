#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: virtual hosts: collectives across three, the scripts that bring hosts up, batch scripts on Slurm (needs root)
# default: yes
# packages: cluster
# limit: 900
. tests/suites/lib.sh
hosts=tests/cluster/hosts.sh

[ "$(id -u)" = 0 ] || cannot_run 'virtual hosts need root'
command -v mpirun >/dev/null || cannot_run 'there is no mpirun in PATH'
why=$($hosts up 3 2>&1) || cannot_run "$why"
trap '$hosts down' EXIT

# ---- every contract suite of collectives on three hosts, with all its rank counts: hosts left empty, even and uneven
# ones; where buffers lie in memory that ranks share, with up to 5, since more are alike and take a minute

export OMP_NUM_THREADS=1
for source in tests/comm/test_collectives*.c; do
    name=$(basename "$source" .c)
    [ "$name" != test_collectives_layout ] || continue # that one takes one machine for several
    for ranks in $(sed -n '1s/.*ranks: \([0-9 ]*\).*/\1/p' "$source"); do
        [ "$name" != test_collectives_memory ] || [ "$ranks" -le 5 ] || continue
        check "$name with $ranks ranks on 3 hosts" $hosts run --limit 200 -n "$ranks" "$BUILD/tests/comm-$name"
    done
done

# ---- what the accounting counts is what goes through the interfaces

traffic() {
    local log=$BUILD/traffic.log code
    $hosts up 3 && $hosts run -n 3 --per-host 1 --limit 60 "$BUILD/tests/comm-test_traffic" >"$log" 2>&1
    code=$?
    cat "$log"
    [ "$code" = 0 ] && [ "$(grep -c accounted "$log")" = 3 ] # and not none because there is no interface
}
check 'the accounting agrees with the interfaces of 3 hosts within 5 %' traffic

# ---- and so do steps of training, by each kind of parallelism

steps() {
    local log=$BUILD/step-traffic.log code
    $hosts up 2 && $hosts run -n 2 --per-host 1 --limit 100 "$BUILD/tests/task-test_step_bytes" >"$log" 2>&1
    code=$?
    cat "$log"
    [ "$code" = 0 ] && [ "$(grep -c 'went out' "$log")" = 20 ] # 10 kinds on 2 ranks: none left out
}
check 'steps of training send what is counted, within 5 %, by each kind of parallelism' steps

# ---- the line from config to checkpoint, a rank on each of 2 hosts: the losses of 2 ranks on one machine

line() {
    local options=(train jobs/line.yaml run.steps=20 run.log=1 run.threads=1 run.evaluate=20 checkpoint.every=20)
    local hosted=$BUILD/line-hosts alone=$BUILD/line-alone
    rm -rf "$hosted" "$alone"
    $hosts up 2 && $hosts run -n 2 --limit 100 "$BUILD/tessera" "${options[@]}" run.dir="$hosted" &&
        timeout 100 mpirun --oversubscribe --bind-to none -n 2 "$BUILD/tessera" "${options[@]}" run.dir="$alone" || return 1
    losses() { grep -o '"step":[0-9]*,\|"lm/loss":[0-9.e+-]*' "$1/metrics.jsonl"; }
    losses "$hosted" | head -40
    [ "$(losses "$hosted" | grep -c loss)" -ge 20 ] &&
        paste <(losses "$hosted" | sed -n 's/.*loss"://p') <(losses "$alone" | sed -n 's/.*loss"://p') |
        awk '{ d = $1 - $2; if (d > 1e-4 || d < -1e-4) { print "losses differ: " $0; bad = 1 } } END { exit bad }'
}
check 'the line across 2 hosts has the losses of one' line
rm -rf "$BUILD/line-hosts" "$BUILD/line-alone"

# ---- a host that gets a quarter of its time is named

slow() {
    local log=$BUILD/slow.log pid launcher i
    rm -rf "$BUILD/slow"
    $hosts up 3 || return 1
    $hosts run -n 3 --per-host 1 --limit 80 "$BUILD/tessera" train jobs/line.yaml run.dir="$BUILD/slow" run.steps=100000 run.log='1 s' \
        run.threads=1 run.evaluate=never checkpoint.every=never checkpoint.last=false >"$log" 2>&1 &
    launcher=$!
    for ((i = 0; i < 600; i++)); do
        for pid in $($hosts pids 2); do
            [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = tessera ] && kill -STOP "$pid" && sleep 0.15 && kill -CONT "$pid"
        done
        sleep 0.05
        grep -q 'host2 is slow: its ranks work' "$log" && break
        kill -0 "$launcher" || break
    done 2>/dev/null
    $hosts down
    wait "$launcher" 2>/dev/null
    tail -12 "$log"
    rm -rf "$BUILD/slow"
    grep -q 'host2 is slow: its ranks work' "$log"
}
check 'a slow host is named' slow
$hosts down
run_ctest -L '^cluster$'
bash tests/cluster/check_hosts.sh
bash tests/cluster/check_plan.sh
bash tests/cluster/check_slurm.sh
