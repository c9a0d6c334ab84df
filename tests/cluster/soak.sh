#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A soak: a mixture learns on three virtual hosts while ranks, launchers and hosts are killed, links are cut, for an instant
# or for good, ranks are stopped, and the job is told to end; each time it starts again, on one to three hosts, on 1, 2, 4
# or 8 ranks. After each fault nothing that was committed may be lost, and no process left; at the end, in reproducible
# numerics, parameters, optimizer and places in the data have the same bits as those of a run that nobody disturbed.
#
#     tests/cluster/soak.sh SECONDS FAULTS [SEED]      at least so long, and at least so many faults
#
# Prints a line a fault, and a line a check. Needs root; leaves no hosts up.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/suites/lib.sh
hosts=tests/cluster/hosts.sh
seconds=${1:-3600} faults=${2:-60} seed=${3:-1}
TESSERA=$(realpath "${TESSERA:-$BUILD/tessera}") && [ -x "$TESSERA" ] || { echo "there is no $TESSERA"; exit 77; }
[ "$(id -u)" = 0 ] || { echo 'virtual hosts need root'; exit 77; }
RANDOM=$seed
why=$($hosts up 3 1gbit 2>&1) || { echo "$why"; exit 77; }
top=$(mktemp -d "$(realpath "$BUILD")/soak.XXXXXX") || exit 1
trap '$hosts down; rm -rf "$top"' EXIT
export OMP_NUM_THREADS=1 TESSERA_WATCHDOG_S=6

data="files: [$top/words.tsv], batch: 16, length: 12, tokenizer: {type: characters, alphabet: abcd}, split: {type: fraction, validation: 0.1}"
awk 'BEGIN { srand(3); print "text\tcount"; for (i = 0; i < 700; i++) { word = ""; a = 0
    for (k = 0; k < 11; k++) { c = substr("abcd", 1 + int(4 * rand()), 1); word = word c; a += c == "a" }
    print word "\t" a } }' >"$top/words.tsv"
cat >"$top/job.yaml" <<YAML
run: {seed: 9, threads: 1, log: 5 steps, evaluate: never, numerics: reproducible, steps: 1000000000}
backbone: {type: transformer, layers: 2, heads: 2, width: 32, context: 16, causal: false, dropout: 0.1}
learner: {optimizer: {type: adamw, rate: 1e-3}, ema: {decay: 0.99}}
guard: {check_replicas: every 50 steps}
tasks:
  guess: {type: mlm, data: {$data}}
  count: {type: sequence_regression, adapter: linear_cls, weight: 0.5, data: {$data, columns: {label: count}}}
checkpoint: {every: 20 steps, keep: {latest: 3}}
YAML

run=$top/run
failed=0
wrong() { echo "wrong: $*"; failed=$((failed + 1)); grep -aE "error|fatal|watchdog" "$top/go" | head -5; tail -3 "$top/go"; }
# The newest step that is committed; 0: none.
committed() {
    local newest
    newest=$(ls -d "$run"/checkpoints/step_????????/COMMIT 2>/dev/null | tail -1 | grep -o 'step_[0-9]*' | sed 's/step_0*//')
    echo "${newest:-0}"
}
on_hosts() { for host in 1 2 3; do $hosts pids $host; done; }
ranks_on_hosts() { for pid in $(on_hosts); do [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = tessera ] && echo "$pid"; done; }
pick() { shift $((RANDOM % $#)); echo "$1"; }

# Starts the job in the background, by the same number each time, as a scheduler does that queues it again, on so many hosts and ranks as chance has it: $launcher.
places=('1 1:1' '2 1:1,2' '2 1:2,3' '4 2:1,3' '4 2:2,3' '8 3:1,2,3' '8 3:1,2,3' '1 1:3')
go() {
    local place ranks per use
    place=${places[RANDOM % ${#places[@]}]}
    ranks=${place%% *} per=${place#* }
    use=${per#*:} per=${per%:*}
    before=$(committed) shape="$ranks ranks on hosts $use"
    $hosts run -n "$ranks" --per-host "$per" --hosts "$use" --limit 600 env SLURM_JOB_ID=1 "$TESSERA" train "$top/job.yaml" run.dir="$run" "$@" </dev/null >"$top/go" 2>&1 &
    launcher=$!
}
# Waits for steps, 120 s at most; fails where the job ends before.
learns() {
    local i
    for ((i = 0; i < 600; i++)); do
        grep -q '^step .*left' "$top/go" && return
        kill -0 "$launcher" 2>/dev/null || break
        sleep 0.2
    done
    grep -q '^step .*left' "$top/go" || { echo "    $shape: it did not begin"; grep -aE 'error: ' "$top/go" | head -2; return 1; }
}
# Waits for the end of the job, and of all that ran on the hosts.
ended() {
    local i
    for ((i = 0; i < 600; i++)); do
        kill -0 "$launcher" 2>/dev/null || break
        sleep 0.2
    done
    kill -0 "$launcher" 2>/dev/null && wrong "$shape: the job does not end within 120 s" && pkill -KILL -P "$launcher"
    wait "$launcher" 2>/dev/null
    code=$?
    for ((i = 0; i < 100; i++)); do
        [ -n "$(ranks_on_hosts)" ] || return
        sleep 0.2
    done
    wrong "$shape: processes are left 20 s after its end: $(ranks_on_hosts | xargs)"
    for host in 1 2 3; do $hosts kill $host; done
}
# What was committed before is there, and was gone on from.
nothing_lost() {
    local from
    from=$(sed -n 's/^going on after step //p' "$top/go" | head -1)
    grep -q '^step\|^tessera 0' "$top/go" || return # it was hit before it said anything
    [ "$before" -le "${from:-$before}" ] && { [ "$before" = 0 ] || [ -n "$from" ] || ! grep -q '^step' "$top/go"; } || wrong "$shape: committed was step $before, and it went on from ${from:-nothing}"
    [ "$(committed)" -ge "$before" ] || wrong "$shape: step $before was committed, and is gone"
}

# ---- faults: each leaves the job to its end, or running

hit() {
    local pid='' victim=$((1 + RANDOM % 3)) i
    for ((i = 0; i < 50; i++)); do # a job that has just begun may have no rank yet
        pid=$(ranks_on_hosts | shuf -n 1 --random-source=<(yes $RANDOM))
        [ -z "$pid" ] && kill -0 "$launcher" 2>/dev/null || break
        sleep 0.2
    done
    case $1 in
    rank) [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null ;;
    host) $hosts kill $victim ;;
    launcher) pkill -KILL -P "$launcher" -x mpirun || kill -KILL "$launcher" ;;
    told) [ -z "$pid" ] || kill -USR1 "$pid" 2>/dev/null ;;
    term) pkill -TERM -P "$launcher" -x mpirun || kill -TERM "$launcher" ;;
    stopped) [ -z "$pid" ] || { kill -STOP "$pid" 2>/dev/null; sleep 9; kill -CONT "$pid" 2>/dev/null; } ;;
    cut) $hosts cut $victim; sleep 12; $hosts mend $victim ;;
    blink) $hosts cut $victim; sleep 0.4; $hosts mend $victim ;;
    esac
    echo "fault $count: $1, $shape, at step $(sed -n 's/^step *\([0-9]*\).*/\1/p' "$top/go" | tail -1)"
}
# After a fault that a job may outlive, another, so that it starts again.
outlives() { case $1 in blink | stopped | cut | host) kill -0 "$launcher" 2>/dev/null ;; *) false ;; esac; }

kinds=(rank host blink told launcher cut rank stopped term host)
count=0 failures=0 began=$SECONDS
while [ $count -lt "$faults" ] || [ $((SECONDS - began)) -lt "$seconds" ]; do
    go
    if ! learns; then
        pkill -KILL -P "$launcher"
        ended
        [ $((failures += 1)) -le "$faults" ] || { wrong 'it does not begin'; break; }
        continue
    fi
    sleep "0.$((RANDOM % 10))"
    kind=${kinds[count % ${#kinds[@]}]}
    count=$((count + 1))
    hit "$kind"
    if outlives "$kind"; then
        sleep 1
        count=$((count + 1))
        hit rank
    fi
    ended
    nothing_lost
    echo "    it ended with $code, and step $(committed) is committed"
done
echo "$count faults in $((SECONDS - began)) s, $(committed) steps are committed"

# ---- the end: so many steps more, and beside it a run that nobody disturbs

steps=$(($(committed) + 20))
export TESSERA_WATCHDOG_S=60
for try in 1 2 3 4 5; do
    go run.steps=$steps
    ended
    [ "$(committed)" -lt $steps ] || break
done
[ "$(committed)" = $steps ] || wrong "it does not end with step $steps"
timeout 1500 mpirun --oversubscribe --bind-to none -n 2 "$TESSERA" train "$top/job.yaml" run.dir="$top/alone" run.steps=$steps >"$top/go" 2>&1 ||
    wrong 'the undisturbed run fails'
"$TESSERA" ckpt diff "$run" "$top/alone" >"$top/go" 2>&1
# Scores and statistics of labels are sums over ranks, and differ in their last bits.
grep -q '^no array differs' "$top/go" && ! grep -E '^state: ' "$top/go" | grep -qvE '^state: (metrics|kept|evaluated_step) ' || wrong "after $steps steps not the bits of a run that nobody disturbed"
"$TESSERA" ckpt verify "$run" >"$top/go" 2>&1 || wrong 'a checkpoint does not verify'
[ -z "$(on_hosts)" ] || wrong "processes are left: $(on_hosts | xargs)"
if [ $failed = 0 ]; then ok "$count faults: no checkpoint lost, no process left, the same bits"; else not_ok "a soak of $count faults (seed $seed)" "$failed things are wrong"; fi
[ $failed = 0 ]
