/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/doctor.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "base/config.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/version.h"
#include "comm/collectives.h"
#include "comm/runtime.h"
#include "task/command/measure.h"
#include "tensor/matmul.h"

enum {
    VARIABLES = 2,
    CPUS = 1024,
    ROWS = 1024, /* of products that run at the full rate */
    FILE_BYTES = 128 << 20,
};

/* What a rank says of itself. A whole number of int32. */
typedef struct Rank {
    TsMachine machine;
    char host[64], core[32], set[VARIABLES][32]; /* set: values of the variables below, cut */
    uint32_t cpus[CPUS / 32];                    /* that it may run on */
    double flops, half_flops;
    int32_t threads, retries; /* retries: net.ipv4.tcp_retries2; 0: unknown */
} Rank;

static const char *const variables[VARIABLES] = {"OPENBLAS_L2_SIZE", "DNNL_MAX_CPU_ISA"};

typedef struct Doctor {
    TsText *page;
    TsText findings;
    int count;
    TsGroup *group;
    Rank *ranks; /* (size) */
    int size;
} Doctor;

__attribute__((format(printf, 2, 3))) static void find(Doctor *doctor, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ts_text_append(&doctor->findings, "  ! %s\n", text);
    doctor->count++;
}

/* ---- what ranks say ---- */

static void look_at_cpus(Rank *mine)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return;
    for (int cpu = 0; cpu < CPUS && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            mine->cpus[cpu / 32] |= 1u << cpu % 32;
}

static int read_number(const char *path)
{
    FILE *file = fopen(path, "r");
    int number = 0;
    if (file && fscanf(file, "%d", &number) != 1)
        number = 0;
    if (file)
        fclose(file);
    return number;
}

static Rank look(TsGroup *group)
{
    Rank mine;
    memset(&mine, 0, sizeof mine); /* gaps too: it is sent as it lies */
    mine.machine = ts_machine();
    snprintf(mine.host, sizeof mine.host, "%s", ts_log_host());
    snprintf(mine.core, sizeof mine.core, "%s", ts_matmul_openblas_core());
    for (int i = 0; i < VARIABLES; i++)
        snprintf(mine.set[i], sizeof mine.set[i], "%s", getenv(variables[i]) ? getenv(variables[i]) : "");
    look_at_cpus(&mine);
    mine.threads = ts_machine_threads(&mine.machine, TS_AUTO, ts_group_node_size(group), NULL);
    mine.retries = read_number("/proc/sys/net/ipv4/tcp_retries2");
    double flops = 2.0 * ROWS * ROWS * ROWS;
    mine.flops = flops / ts_measure_product(group, ROWS, TS_F32, mine.threads);
    mine.half_flops = flops / ts_measure_product(group, ROWS, TS_BF16, mine.threads);
    return mine;
}

static void gather(Doctor *doctor)
{
    Rank mine = look(doctor->group);
    int64_t words = (int64_t)(sizeof mine / sizeof(int32_t));
    int64_t *first = ts_calloc((size_t)doctor->size + 1, sizeof *first);
    for (int r = 0; r < doctor->size; r++)
        first[r + 1] = first[r] + words;
    doctor->ranks = ts_calloc((size_t)doctor->size, sizeof *doctor->ranks);
    ts_all_gather(
        doctor->group,
        (TsTransfer){.out = doctor->ranks, .in = &mine, .first_elem = first, .dtype = TS_I32, .label = "doctor"});
    ts_free(first);
}

static int count_cpus(const Rank *rank)
{
    int count = 0;
    for (int i = 0; i < CPUS / 32; i++)
        count += __builtin_popcount(rank->cpus[i]);
    return count;
}

/* The first cpu that both may run on; -1: none. */
static int common_cpu(const Rank *a, const Rank *b)
{
    for (int cpu = 0; cpu < CPUS; cpu++)
        if (a->cpus[cpu / 32] & b->cpus[cpu / 32] & 1u << cpu % 32)
            return cpu;
    return -1;
}

/* ---- the page ---- */

static const char *plural(int count)
{
    return count == 1 ? "" : "s";
}

static void print_versions(Doctor *doctor)
{
    const char *commit = ts_version_commit();
    ts_text_append(doctor->page, "tessera %s%s%s%s · %s · %s, taking this processor for %s · products by %s\n",
                   ts_version(), *commit ? " (" : "", commit, *commit ? ")" : "", ts_runtime_library(),
                   ts_matmul_openblas_version(), doctor->ranks[0].core, ts_matmul_backend());
}

/* A line for each host: its ranks, what it is, what they may use. */
static void print_hosts(Doctor *doctor)
{
    ts_text_append(doctor->page, "\n%-12s %6s %6s %8s %10s %10s  %s\n", "host", "ranks", "cores", "threads", "memory",
                   "free", "processor");
    for (int node = 0; node < ts_group_nodes(doctor->group); node++) {
        const Rank *first = &doctor->ranks[0]; /* of the host */
        int ranks = 0, threads = 0;
        for (int r = 0; r < doctor->size; r++) {
            if (ts_group_node_of(doctor->group, r) != node)
                continue;
            first = ranks ? first : &doctor->ranks[r];
            threads += doctor->ranks[r].threads;
            ranks++;
        }
        const double gib = 1 << 30;
        ts_text_append(doctor->page, "%-12s %6d %6d %8d %6.1f GiB %6.1f GiB  %s, %s\n", first->host, ranks,
                       first->machine.cores, threads, (double)first->machine.memory_bytes / gib,
                       (double)first->machine.available_bytes / gib, first->machine.cpu,
                       ts_machine_isa(&first->machine));
    }
}

static double mean_flops(const Doctor *doctor, bool half)
{
    double sum = 0;
    for (int r = 0; r < doctor->size; r++)
        sum += half ? doctor->ranks[r].half_flops : doctor->ranks[r].flops;
    return sum / doctor->size;
}

static void print_rates(Doctor *doctor, double memory, TsMeasuredLinks links)
{
    TsText *page = doctor->page;
    ts_text_append(page, "\nall ranks at the same time, each\n");
    ts_text_append(page, "  matrix products   %8.1f GFLOP/s in f32, %.1f in bf16\n", mean_flops(doctor, false) / 1e9,
                   mean_flops(doctor, true) / 1e9);
    ts_text_append(page, "  memory            %8.1f GB/s\n", memory / 1e9);
    if (links.within.bandwidth > 0)
        ts_text_append(page, "  within a host     %8.1f us, %.2f GB/s of all-reduce\n", links.within.latency_s * 1e6,
                       links.within.bandwidth / 1e9);
    if (links.between.bandwidth > 0)
        ts_text_append(page, "  between hosts     %8.1f us, %.3f GB/s a host\n", links.between.latency_s * 1e6,
                       links.between.bandwidth / 1e9);
}

/* ---- what is wrong ---- */

static void find_bindings(Doctor *doctor)
{
    int shared = 0, node_of_shared = 0;
    for (int r = 0; r < doctor->size; r++) {
        const Rank *rank = &doctor->ranks[r];
        bool whole = count_cpus(rank) >= rank->machine.cores;
        for (int other = r + 1; other < doctor->size && !whole && !shared; other++)
            if (ts_group_node_of(doctor->group, r) == ts_group_node_of(doctor->group, other) &&
                common_cpu(rank, &doctor->ranks[other]) >= 0) {
                find(doctor,
                     "ranks %d and %d on %s are bound to the same core %d: mpirun --map-by slot:PE=N gives each N of "
                     "its own, --bind-to none all to all",
                     r, other, rank->host, common_cpu(rank, &doctor->ranks[other]));
                shared++;
            }
    }
    for (int node = 0; node < ts_group_nodes(doctor->group) && !node_of_shared; node++) {
        Rank all = {0};
        const Rank *first = &doctor->ranks[0]; /* of the host */
        int ranks = 0;
        for (int r = 0; r < doctor->size; r++) {
            if (ts_group_node_of(doctor->group, r) != node)
                continue;
            first = ranks ? first : &doctor->ranks[r];
            ranks++;
            for (int i = 0; i < CPUS / 32; i++)
                all.cpus[i] |= doctor->ranks[r].cpus[i];
        }
        int used = count_cpus(&all);
        if (ranks > first->machine.cores)
            find(doctor, "%d ranks share the %d core%s of %s: times mean nothing, and each waits for the others", ranks,
                 first->machine.cores, plural(first->machine.cores), first->host);
        else if (used > 0 && used < first->machine.cores)
            find(doctor,
                 "%d of the %d cores of %s may be used by no rank: mpirun binds %s; --bind-to none or --map-by "
                 "slot:PE=N frees them",
                 first->machine.cores - used, first->machine.cores, first->host,
                 ranks == 1 ? "one rank to one core" : "each rank");
        else if (first->machine.cpus_quota > 0 && first->machine.cpus_quota < used)
            find(doctor, "a control group allows %d of the %d cores of %s", first->machine.cpus_quota, used,
                 first->host);
        else
            continue;
        node_of_shared = 1; /* hosts are alike: once is enough */
    }
}

static void find_environment(Doctor *doctor)
{
    for (int i = 0; i < VARIABLES; i++)
        for (int r = 0; r < doctor->size; r++)
            if (*doctor->ranks[r].set[i]) {
                find(doctor, "%s=%s is set on rank %d: it can halve the speed of matrix products: unset it",
                     variables[i], doctor->ranks[r].set[i], r);
                break;
            }
    for (int r = 0; r < doctor->size; r++) {
        const Rank *rank = &doctor->ranks[r];
        bool narrow = strcmp(rank->core, "Haswell") == 0 || strcmp(rank->core, "Zen") == 0 ||
                      strcmp(rank->core, "Sandybridge") == 0 || strcmp(rank->core, "Prescott") == 0;
        if (rank->machine.avx512 && narrow) {
            find(doctor, "OpenBLAS takes the %s of %s, which has AVX-512, for %s: %s", rank->machine.cpu, rank->host,
                 rank->core, getenv("OPENBLAS_CORETYPE") ? "unset OPENBLAS_CORETYPE" : "a newer OpenBLAS knows it");
            break;
        }
    }
    if (ts_group_nodes(doctor->group) > 1 && doctor->ranks[0].retries > 5)
        find(doctor,
             "net.ipv4.tcp_retries2 is %d: mpirun takes many minutes to notice that a host is gone; 4 is enough "
             "(docs/running.md)",
             doctor->ranks[0].retries);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void find_odd_ranks(Doctor *doctor)
{
    double *flops = ts_calloc((size_t)doctor->size, sizeof *flops);
    for (int r = 0; r < doctor->size; r++)
        flops[r] = doctor->ranks[r].flops;
    qsort(flops, (size_t)doctor->size, sizeof *flops, by_size);
    double median = flops[doctor->size / 2];
    ts_free(flops);
    for (int r = 0; r < doctor->size; r++) {
        const Rank *rank = &doctor->ranks[r], *first = &doctor->ranks[0];
        if (rank->flops < 0.75 * median)
            find(doctor, "rank %d on %s multiplies at %.2f of the median rank's rate: what else runs there?", r,
                 rank->host, rank->flops / median);
        if (strcmp(ts_machine_isa(&rank->machine), ts_machine_isa(&first->machine)) != 0) {
            find(doctor, "%s has %s, %s has %s: numerics: reproducible needs one instruction set", first->host,
                 ts_machine_isa(&first->machine), rank->host, ts_machine_isa(&rank->machine));
            break;
        }
    }
}

/* The kind of a file system, where a word for it is worth having. */
static const char *file_system(const char *directory)
{
    static const struct {
        long magic;
        const char *name;
    } known[] = {{0x01021994, "tmpfs"},  {0x6969, "NFS"},      {0x0bd00bd0, "Lustre"},  {0x58465342, "XFS"},
                 {0xef53, "ext4"},       {0x47504653, "GPFS"}, {0x794c7630, "overlay"}, {0x9123683e, "btrfs"},
                 {0x19830326, "BeeGFS"}, {0x2fc12fc1, "ZFS"},  {0xff534d42, "CIFS"},    {0x65735546, "FUSE"}};
    struct statfs found;
    if (statfs(directory, &found) != 0)
        return "unknown";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if ((long)(uint32_t)found.f_type == known[i].magic)
            return known[i].name;
    return "unknown";
}

static TsStatus print_files(Doctor *doctor, const char *directory)
{
    TsMeasuredFiles files;
    TS_TRY(ts_measure_files(&files, doctor->group, directory, FILE_BYTES));
    struct statvfs space;
    double free_bytes = statvfs(directory, &space) == 0 ? (double)space.f_bavail * (double)space.f_frsize : 0;
    const char *kind = file_system(directory);
    ts_text_append(doctor->page, "  files             %8.2f GB/s written and synced, %.2f read, all ranks together\n",
                   files.write / 1e9, files.read / 1e9);
    ts_text_append(doctor->page, "                    in %s: %s, %.1f GiB free\n", directory, kind,
                   free_bytes / (1 << 30));
    if (strcmp(kind, "tmpfs") == 0)
        find(doctor, "%s is in memory: checkpoints there are gone with the host", directory);
    if (free_bytes < 1 << 30)
        find(doctor, "%s has %.2f GiB left", directory, free_bytes / (1 << 30));
    return TS_OK;
}

TsStatus ts_doctor(TsText *page, int *findings, TsGroup *group, const char *directory)
{
    Doctor doctor = {.page = page, .group = group, .size = ts_group_size(group)};
    double memory = 0;
    gather(&doctor);
    TsStatus status = ts_measure_memory(&memory, group, doctor.ranks[ts_group_rank(group)].threads);
    print_versions(&doctor);
    print_hosts(&doctor);
    if (!status)
        print_rates(&doctor, memory, ts_measure_links(group));
    if (!status)
        status = print_files(&doctor, directory);
    find_bindings(&doctor);
    find_environment(&doctor);
    find_odd_ranks(&doctor);
    ts_text_append(page, "\n%s%s", doctor.count ? "to look at:\n" : "nothing is wrong that can be seen from here\n",
                   doctor.findings.data ? doctor.findings.data : "");
    if (findings)
        *findings = doctor.count;
    ts_text_free(&doctor.findings);
    ts_free(doctor.ranks);
    return status;
}
