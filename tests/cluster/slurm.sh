#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Slurm on the virtual hosts of hosts.sh: munged and slurmctld outside, a slurmd on each host, every one of them of this
# tree's own. Needs root, and the packages munge, slurmctld, slurmd and slurm-client. Jobs see a cluster as users do:
# `sbatch`, `srun --mpi=pmix`, `mpirun` within an allocation, requeueing, nodes that fail and come back.
set -u

usage() {
    cat <<'USAGE'
usage: tests/cluster/slurm.sh COMMAND
    up N [BANDWIDTH] [DELAY]    N nodes host1…hostN of 2 processors each; links as in hosts.sh up
    do PROGRAM …                runs sbatch, srun, squeue, scontrol… against this Slurm
    ended JOB [SECONDS]         waits until a job has ended for good, and prints how: COMPLETED, FAILED…; not in time: fails
    fail HOST, return HOST      a node disappears: its link is cut and all that runs on it killed; and comes back
    down                        takes everything down; nothing to take down is fine
    with N BANDWIDTH DELAY PROGRAM …
                                up, PROGRAM (in which Slurm's commands work as they are), and down, whatever happens
USAGE
}

fail() { echo "slurm.sh: $*" >&2; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
hosts=$here/hosts.sh
export PATH=$PATH:/usr/sbin:/sbin

# Where this Slurm keeps all it has: keys, sockets, configuration, logs, and a line a job that has ended.
find_it() { read -r dir net count < <("$hosts" about 2>/dev/null) && [ -f "$dir/slurm/slurm.conf" ] && export SLURM_CONF=$dir/slurm/slurm.conf; }
need_it() { find_it || fail "no Slurm is up: slurm.sh up N"; }

need_programs() {
    local program
    for program in munged slurmctld slurmd sbatch; do
        command -v $program >/dev/null || fail "there is no $program here: apt-get install munge slurmctld slurmd slurm-client"
    done
}

# The node's names, addresses and processors; what else a real cluster leaves to its kernel (cgroups, accounting) is off.
# A node is given up after 15 s of silence, and a job that is requeued starts again after about as long.
write_conf() {
    cat >"$dir/slurm/slurm.conf" <<CONF
ClusterName=tessera
SlurmctldHost=$(hostname -s)($net.254)
SlurmctldPort=$((20000 + $(cksum <<<"$here" | cut -d' ' -f1) % 20000))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/slurm/munge,cred_expire=10
StateSaveLocation=$dir/slurm/state
SlurmdSpoolDir=$dir/slurm/%n
SlurmctldPidFile=$dir/slurm/slurmctld.pid
SlurmdPidFile=$dir/slurm/%n.pid
SlurmctldLogFile=$dir/slurm/slurmctld.log
SlurmdLogFile=$dir/slurm/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=5
SlurmdTimeout=15
KillWait=10
ReturnToService=2
JobRequeue=1
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/slurm/ended
MailProg=/bin/true
NodeName=host[1-$count] NodeAddr=$net.[1-$count] CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
}

start_node() { "$hosts" on "$1" slurmd -f "$dir/slurm/slurm.conf" -N "host$1"; }

idle() { sinfo -h -o '%D %T' 2>/dev/null | awk '$2 == "idle" { n += $1 } END { print n + 0 }'; }

up() {
    [ "$(id -u)" = 0 ] || fail "needs root, for network namespaces"
    need_programs
    "$hosts" up "$@" || exit 1
    read -r dir net count < <("$hosts" about)
    mkdir -p "$dir/slurm/state" && chmod 755 "$dir/slurm" || fail "cannot write to $dir"
    write_conf
    export SLURM_CONF=$dir/slurm/slurm.conf
    (umask 077 && head -c 1024 /dev/urandom >"$dir/slurm/munge.key")
    munged --force --key-file="$dir/slurm/munge.key" --socket="$dir/slurm/munge" --pid-file="$dir/slurm/munge.pid" \
        --log-file="$dir/slurm/munge.log" --seed-file="$dir/slurm/munge.seed" 2>"$dir/slurm/error" || { show "$dir/slurm/error"; "$hosts" down; fail "munged does not start"; }
    slurmctld -f "$dir/slurm/slurm.conf" 2>"$dir/slurm/error" || { show "$dir/slurm/error"; "$hosts" down; fail "slurmctld does not start"; }
    local i
    for ((i = 1; i <= count; i++)); do
        start_node $i || { show "$dir/slurm/host$i.log"; "$hosts" down; fail "the slurmd of host$i does not start"; }
    done
    for ((i = 0; i < 150; i++)); do
        [ "$(idle)" = "$count" ] && return
        sleep 0.2
    done
    show "$dir/slurm/slurmctld.log"
    sinfo >&2
    "$hosts" down
    fail "the nodes are not idle after 30 s"
}
show() { tail -5 "$1" >&2; }

# Runs a program with the settings that this network asks of Open MPI, and root of Open MPI's mpirun.
with_it() {
    local settings=(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=vader,self,tcp
        OMPI_MCA_btl_tcp_if_include="$net.0/24" OMPI_MCA_oob_tcp_if_include="$net.0/24" OMPI_MCA_mpi_yield_when_idle=1)
    env "${settings[@]}" "$@"
}

ended() {
    local job=$1 limit=${2:-120} began=$SECONDS
    while [ $((SECONDS - began)) -lt "$limit" ]; do
        if [ -z "$(squeue -h -j "$job" -t all -o %T 2>/dev/null | grep -vE 'COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|BOOT_FAIL|OUT_OF_MEMORY')" ]; then
            sleep 1 # a job that is to be requeued ends for an instant
            local state
            state=$(squeue -h -j "$job" -t all -o %T 2>/dev/null | head -1)
            case $state in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL | OUT_OF_MEMORY) echo "$state"; return ;; esac
            [ -n "$state" ] || { sed -n "s/^JobId=$job .* JobState=\([A-Z_]*\) .*/\1/p" "$dir/slurm/ended" | tail -1; return; }
        fi
        sleep 0.3
    done
    squeue >&2
    return 1
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
up) up "$@" ;;
do) need_it; with_it "$@" ;;
ended) need_it; ended "$@" ;;
fail) need_it; "$hosts" cut "${1:-}" && "$hosts" kill "$1" ;;
return) need_it; "$hosts" mend "${1:-}" && start_node "$1" ;;
down) "$hosts" down ;;
with)
    [ $# -ge 4 ] || fail "with needs N BANDWIDTH DELAY PROGRAM"
    up "$1" "$2" "$3"
    shift 3
    trap '"$hosts" down' EXIT
    trap 'exit 130' INT TERM HUP
    with_it "$@" ;;
-h | --help | help) usage ;;
*) usage >&2; exit 2 ;;
esac
