#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The batch scripts of jobs/ on a Slurm of three nodes, as users submit them: they train, evaluate, decode and sweep; a run
# that is told that its time ends saves and goes on by itself; one whose node disappears goes on without it. One line a
# check: ok or not ok. Run by the cluster suite. Needs root and Slurm's packages.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/suites/lib.sh
slurm=tests/cluster/slurm.sh

for program in munged slurmctld slurmd sbatch; do
    PATH=$PATH:/usr/sbin command -v $program >/dev/null || { skip 'batch scripts on Slurm' "there is no $program"; exit 0; }
done
why=$($slurm up 3 2>&1) || { not_ok 'Slurm on three hosts' "$(tail -1 <<<"$why")"; exit 0; }
work=$(realpath "$BUILD")/slurm
trap '$slurm down; rm -rf "$work"' EXIT
rm -rf "$work"
mkdir -p "$work"
TESSERA=$(realpath "$BUILD/tessera")
export TESSERA OMP_NUM_THREADS=1
small=(jobs/line.yaml run.threads=1 run.evaluate=never backbone.layers=1 backbone.width=32 backbone.context=16
    tasks.lm.data.length=16)

# job NAME WORD…: submits; $id is its number, $work/NAME.out what it prints.
job() {
    local name=$1
    shift
    id=$($slurm do sbatch --parsable --output "$work/$name.out" "$@")
}
# ends NAME STATE: it does so within 100 s.
ends() {
    local state
    state=$($slurm ended "$id" 100)
    [ "$state" = "$2" ] && return
    tail -20 "$work/$1.out"
    echo "the job ended as '$state', not as $2"
    return 1
}
# runs NAME REGEX WORD…: it completes and says REGEX.
runs() {
    local name=$1 regex=$2
    shift 2
    job "$name" "$@" && ends "$name" COMPLETED && { grep -qE -- "$regex" "$work/$name.out" || { cat "$work/$name.out"; return 1; }; }
}
# until_says NAME REGEX: waits for it, 40 s at most.
until_says() {
    for ((i = 0; i < 200; i++)); do
        grep -qsE -- "$2" "$work/$1.out" && return
        sleep 0.2
    done
    cat "$work/$1.out"
    return 1
}

# ---- each script

trains() { runs train '^step +20/20' -N 2 jobs/train.sbatch "${small[@]}" run.dir="$work/run" run.steps=20 && grep -q '4 ranks on 2 hosts' "$work/train.out"; }
goes_on() {
    runs srun '^step +40/40' -N 3 jobs/train-srun.sbatch "${small[@]}" run.dir="$work/run" run.steps=40 &&
        grep -q 'going on after step 20' "$work/srun.out" && grep -q '6 ranks on 3 hosts' "$work/srun.out"
}
partial() { runs partial '^step +60/60' -N 1 --ntasks-per-node=1 jobs/train.sbatch "${small[@]}" run.dir="$work/run" run.steps=60 && grep -q '1 rank on 1 host' "$work/partial.out"; }
evaluates() { runs eval $'^lm\tloss\t[0-9.]+' jobs/eval.sbatch "$work/run/config.yaml"; }
decodes() {
    printf 'Alice\nthe Queen\n' >"$work/prompts"
    job decode jobs/decode.sbatch "$work/run/config.yaml" --input "$work/prompts" --output "$work/texts" decode.max_decode_steps=4 && ends decode COMPLETED &&
        [ "$(grep -c '"prompt"' "$work/texts")" = 2 ]
}
sweeps() {
    printf 'learner.optimizer.rate=1e-3\nlearner.optimizer.rate=3e-3 run.seed=2\n' >"$work/lines"
    RUNS=$work job sweep --array=1-2 jobs/sweep.sbatch jobs/line.yaml "$work/lines" "${small[@]:1}" run.steps=20 && ends sweep COMPLETED || return 1
    grep -q 'rate: 0.001' "$work/1/config.yaml" && grep -q 'seed: 2' "$work/2/config.yaml" && [ -e "$work/2/checkpoints/step_00000020/COMMIT" ]
}
measures() { RUNS=$work runs benchmark '^step +20/20' -N 2 jobs/benchmark.sbatch "${small[@]}" && grep -q 'matrix products' "$work/benchmark.out"; }

check 'train.sbatch trains on two nodes' trains
check 'train-srun.sbatch goes on on three' goes_on
check 'train.sbatch takes a part of a node' partial
check 'eval.sbatch evaluates' evaluates
check 'decode.sbatch decodes' decodes
check 'sweep.sbatch runs each line of a file' sweeps
check 'benchmark.sbatch measures' measures

# ---- what happens to jobs

long=("${small[@]}" run.steps=400 run.log='20 steps' checkpoint.every=never)
# goes NAME COUNT: the run began COUNT times, the last time after the step at which it had stopped.
goes() {
    local stopped
    stopped=$(sed -n 's/.*stopped by .* after step \([0-9]*\);.*/\1/p' "$work/$1.out" | tail -1)
    [ "$(grep -c '^tessera 0' "$work/$1.out")" = "$2" ] && [ -n "$stopped" ] && grep -q "going on after step $stopped\$" "$work/$1.out"
}
preempted() {
    job preempted -N 2 --export=ALL,RANKS=1 jobs/train-requeue.sbatch "${long[@]}" run.dir="$work/preempted" && until_says preempted '^step +20/' || return 1
    $slurm do scancel --batch --signal=USR1 "$id" || return 1
    ends preempted COMPLETED && goes preempted 2 && grep -q 'stopped by signal 10' "$work/preempted.out" && grep -q '^step *400/400' "$work/preempted.out"
}
out_of_time() { # 20 s, of which the program keeps a quarter
    job time -N 1 --ntasks-per-node=2 --export=ALL,SLURM_JOB_END_TIME=$(($(date +%s) + 20)) jobs/train.sbatch "${small[@]}" \
        run.dir="$work/time" run.steps=100000000 checkpoint.every=never run.log='1000 steps' && ends time FAILED || return 1
    grep -q 'stopped by the end of its time, ' "$work/time.out" && ls "$work"/time/checkpoints/step_*/COMMIT
}
# A node is gone in the middle: the watchdog names it, and the run goes on on the two that are left, from the last checkpoint.
fails() {
    job failed -N 2-3 --export=ALL,RANKS=1,TESSERA_WATCHDOG_S=8 jobs/train-requeue.sbatch "${long[@]}" run.dir="$work/failed" checkpoint.every='20 steps' &&
        until_says failed '^step +40/' || return 1
    $slurm fail 2 || return 1
    ends failed COMPLETED || return 1
    $slurm return 2
    grep -q 'watchdog: .*host2' "$work/failed.out" && grep -q ' 2 ranks on 2 hosts' "$work/failed.out" && grep -q 'going on after step' "$work/failed.out" &&
        grep -q '^step *400/400' "$work/failed.out"
}
check 'a run that is preempted saves, is requeued, and goes on by itself' preempted
check 'a run saves and ends before its time does' out_of_time
check 'a run whose node disappears names it, and goes on on the others' fails
