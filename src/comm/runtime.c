/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/runtime.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/label.h"
#include "comm/neighbour.h"
#include "comm/request.h"
#include "comm/watch_internal.h"

enum {
    ABORT_GRACE_S = 10,       /* how long MPI_Abort may take before the process ends by itself */
    DEFAULT_WATCHDOG_S = 300, /* of one standing still */
};

static MPI_Comm job = MPI_COMM_NULL; /* all ranks */
static TsGroup *world;
static _Atomic int64_t live[TS_RESOURCES];
static volatile sig_atomic_t abort_code;
static atomic_bool aborting;

void ts_resource_count(TsResource resource, int change)
{
    atomic_fetch_add(&live[resource], change);
}

static void end_by_alarm(int signal_number)
{
    (void)signal_number;
    _exit(abort_code);
}

static void end_within(int exit_code, unsigned seconds)
{
    abort_code = exit_code;
    struct sigaction action = {.sa_handler = end_by_alarm};
    sigaction(SIGALRM, &action, NULL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    alarm(seconds);
}

void ts_runtime_end_within(int exit_code, unsigned seconds)
{
    if (!atomic_load(&aborting)) /* whose alarm nobody calls off */
        end_within(exit_code, seconds);
}

/* MPI_Abort may hang where a host is out of reach: an alarm then ends this process, and the launcher the others. */
static void abort_job(int exit_code)
{
    atomic_store(&aborting, true);
    end_within(exit_code, ABORT_GRACE_S);
    int finished = 1;
    MPI_Finalized(&finished);
    if (!finished)
        MPI_Abort(job, exit_code);
    _exit(exit_code);
}

/* The ranks that share this rank's memory, and how many different cores they may run on. */
typedef struct Host {
    int first_rank, ranks, cores;
} Host;

static Host find_host(int rank)
{
    Host host;
    MPI_Comm comm;
    TS_MPI(MPI_Comm_split_type(job, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &comm));
    TS_MPI(MPI_Allreduce(&rank, &host.first_rank, 1, MPI_INT, MPI_MIN, comm));
    TS_MPI(MPI_Comm_size(comm, &host.ranks));
    cpu_set_t set;
    int unknown = sched_getaffinity(0, sizeof set, &set) != 0, any_unknown = 0;
    TS_MPI(MPI_Allreduce(&unknown, &any_unknown, 1, MPI_INT, MPI_MAX, comm));
    TS_MPI(MPI_Allreduce(MPI_IN_PLACE, &set, (int)sizeof set, MPI_BYTE, MPI_BOR, comm));
    host.cores = any_unknown ? (int)sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT(&set);
    TS_MPI(MPI_Comm_free(&comm));
    return host;
}

/* Which node each rank is on: its host, or, for tests of layouts that this machine has not, TESSERA_NODE_RANKS=k
 * consecutive ranks a node. */
static void set_layout(int rank, int size, Host host)
{
    const char *pretend = getenv("TESSERA_NODE_RANKS");
    int node = pretend && atoi(pretend) > 0 ? rank / atoi(pretend) : host.first_rank;
    int *node_of = ts_alloc((size_t)size * sizeof *node_of);
    TS_MPI(MPI_Allgather(&node, 1, MPI_INT, node_of, 1, MPI_INT, job));
    ts_group_set_layout(node_of, size);
    ts_free(node_of);
}

/* Whether waiting must give the core away at once: there are more ranks than cores, or whoever started the job knows of
 * more that wants these cores (`mpirun --mca mpi_yield_when_idle 1`), as other hosts do that are virtual. */
static bool is_crowded(Host host)
{
    const char *yield = getenv("OMPI_MCA_mpi_yield_when_idle");
    return host.ranks > host.cores || (yield && strcmp(yield, "1") == 0);
}

/* Says so once, of the host that has the most ranks beyond its cores. */
static void warn_oversubscribed(int rank, Host host)
{
    struct {
        int too_many, rank;
    } mine = {host.ranks - host.cores, rank}, worst;
    TS_MPI(MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, job));
    if (worst.too_many <= 0)
        return;
    int told[2] = {host.ranks, host.cores};
    TS_MPI(MPI_Bcast(told, 2, MPI_INT, worst.rank, job));
    ts_log(TS_LOG_INFO, "more ranks than cores (%d on %d): speed is not meaningful", told[0], told[1]);
}

/* What must be in the environment before MPI starts; nothing that is there already is changed. */
static void prepare_environment(void)
{
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    if (!local)
        local = getenv("MPI_LOCALNRANKS");
    if (!local && !getenv("PMIX_RANK") && !getenv("PMI_RANK")) /* no launcher */
        setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);     /* else it starts a daemon, which needs a network */
    if (local && atol(local) > sysconf(_SC_NPROCESSORS_ONLN))
        setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0); /* else a waiting rank keeps the core from the others */
    /* Data sieving reads what lies between the blocks of a rank and writes it back, over what another rank has written
     * there meanwhile. */
    setenv("OMPI_MCA_fbtl_posix_write_datasieving", "0", 0);
    /* Pointers into a file that ranks share are not used here; but to be able to offer them, opening a file makes files
     * beside it, which stay there where a process is killed. This one makes none. */
    setenv("OMPI_MCA_sharedfp", "individual", 0);
    setenv("OMPI_MCA_io", "ompio", 0); /* also on Lustre, where the other one is the default */
}

/* In seconds, the same on all ranks; <= 0: off. The environment of the lowest rank goes before the options. */
static double watchdog_limit(TsRuntimeOptions options)
{
    double limit_s = options.watchdog_s == 0 ? DEFAULT_WATCHDOG_S : options.watchdog_s;
    const char *text = getenv("TESSERA_WATCHDOG_S");
    if (text) {
        char *end;
        double given_s = strtod(text, &end);
        if (end != text && !*end && isfinite(given_s))
            limit_s = given_s;
        else
            ts_log(TS_LOG_INFO, "TESSERA_WATCHDOG_S=%s is not a number of seconds: it stays at %g s", text, limit_s);
    }
    TS_MPI(MPI_Bcast(&limit_s, 1, MPI_DOUBLE, 0, world->comm));
    return limit_s;
}

TsGroup *ts_runtime_start(TsRuntimeOptions options)
{
    TS_CHECK(job == MPI_COMM_NULL, "the runtime is started once a process");
    prepare_environment();
    int provided = 0, rank = 0, size = 1;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
    TS_CHECK(code == MPI_SUCCESS, "MPI does not start (code %d)", code);
    job = MPI_COMM_WORLD;
    ts_fatal_set_abort(abort_job);
    TS_MPI(MPI_Comm_rank(job, &rank));
    TS_MPI(MPI_Comm_size(job, &size));
    ts_log_set_rank(rank);
    TS_CHECK(provided == MPI_THREAD_MULTIPLE, "this MPI library has no MPI_THREAD_MULTIPLE (it offers level %d)",
             provided);
    MPI_Comm_set_errhandler(job, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    Host host = find_host(rank);
    set_layout(rank, size, host);
    ts_request_set_crowded(is_crowded(host));
    MPI_Comm comm;
    TS_MPI(MPI_Comm_dup(job, &comm));
    world = ts_group_adopt(comm, "world", 0);
    ts_neighbours_meet(world);
    warn_oversubscribed(rank, host);
    ts_watch_thread_start(world, watchdog_limit(options));
    return world;
}

/* What was not given back is a bug of the caller, whichever rank has it. */
static void expect_none_live(void)
{
    static const char *const names[TS_RESOURCES] = {"group", "mesh", "shared buffer"};
    for (int i = 0; i < TS_RESOURCES; i++) {
        long long count = (long long)atomic_load(&live[i]);
        TS_CHECK(count == 0, "%lld %s%s not freed before ts_runtime_end", count, names[i],
                 count == 1 ? " was" : "s were");
    }
    ts_memory_expect_none();
}

int ts_runtime_end(int exit_code)
{
    TS_CHECK(world, "the runtime was not started");
    int agreed = exit_code < 0 || exit_code > 125 ? 125 : exit_code;
    TsWatch watch = ts_request_meet(world, TS_COMM_BARRIER, "end of the program");
    TS_MPI(MPI_Allreduce(MPI_IN_PLACE, &agreed, 1, MPI_INT, MPI_MAX, world->comm));
    ts_watch_end(&watch);
    ts_watch_thread_stop();
    if (agreed == 0) { /* a program that failed may have left things where they were, also what hangs off the world */
        ts_group_free(&world);
        ts_neighbours_leave();
        ts_group_set_layout(NULL, 0);
        ts_account_reset();
        ts_label_free_all();
        expect_none_live();
    }
    MPI_Finalize();
    return agreed;
}

const char *ts_runtime_library(void)
{
    static char name[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    TS_MPI(MPI_Get_library_version(name, &length));
    name[strcspn(name, ",\n")] = 0;
    return name;
}
