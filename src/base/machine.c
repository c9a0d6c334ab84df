/* SPDX-License-Identifier: Apache-2.0 */
#include "base/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/check.h"
#include "base/config.h"

/* ---- the processor ---- */

/* The text behind "KEY : " of the first line of /proc/cpuinfo with this key. */
static bool cpuinfo_line(char *out, size_t out_bytes, const char *key)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[512];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, key, strlen(key)) != 0)
            continue;
        colon[1 + strcspn(colon + 1, "\n")] = '\0';
        snprintf(out, out_bytes, "%s", colon + 1 + strspn(colon + 1, " \t"));
        found = out[0] != '\0';
    }
    if (file)
        fclose(file);
    return found;
}

static void look_at_cpu(TsMachine *machine)
{
    if (!cpuinfo_line(machine->cpu, sizeof machine->cpu, "model name") &&
        !cpuinfo_line(machine->cpu, sizeof machine->cpu, "Model") &&
        !cpuinfo_line(machine->cpu, sizeof machine->cpu, "cpu"))
        snprintf(machine->cpu, sizeof machine->cpu, "unknown");
#if defined(__x86_64__)
    machine->sse42 = __builtin_cpu_supports("sse4.2");
    machine->avx2 = __builtin_cpu_supports("avx2");
    machine->fma = __builtin_cpu_supports("fma");
    machine->avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    unsigned a, b, c, d;
    if (machine->avx512 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        machine->avx512_bf16 = a >> 5 & 1;
    if (machine->avx512 && __get_cpuid_count(7, 0, &a, &b, &c, &d))
        machine->amx_bf16 = d >> 22 & 1;
#endif
}

const char *ts_machine_isa(const TsMachine *machine)
{
    return machine->avx512_bf16 ? "avx512_bf16"
           : machine->avx512    ? "avx512"
           : machine->avx2      ? "avx2"
           : machine->sse42     ? "sse4.2"
                                : "baseline";
}

/* ---- cores ---- */

/* Masks grow with the kernel's idea of how many cores there could be. */
static int cores_in_mask(void)
{
    for (int most = 1024; most <= 1 << 20; most *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)most);
        if (!set)
            return 0;
        size_t bytes = CPU_ALLOC_SIZE((size_t)most);
        int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return count;
    }
    return 0;
}

/* ---- control groups ---- */

/* Up to two numbers of a file such as memory.max or cpu.max; "max" counts as -1. Returns how many there were. */
static int read_numbers(const char *path, int64_t numbers[2])
{
    FILE *file = fopen(path, "re");
    char words[2][32];
    int count = file ? fscanf(file, "%31s %31s", words[0], words[1]) : 0;
    if (file)
        fclose(file);
    for (int i = 0; i < count; i++)
        numbers[i] = strcmp(words[i], "max") == 0 ? -1 : strtoll(words[i], NULL, 10);
    return count < 0 ? 0 : count;
}

typedef struct Limits {
    int64_t memory_bytes, left_bytes; /* -1: none */
    double cpus;                      /* 0: none */
} Limits;

static void limit_memory(Limits *limits, int64_t most, int64_t used)
{
    if (most < 0 || most > (int64_t)1 << 60) /* version 1 writes a huge number for no limit */
        return;
    int64_t left = most > used ? most - used : 0;
    limits->memory_bytes = limits->memory_bytes < 0 || most < limits->memory_bytes ? most : limits->memory_bytes;
    limits->left_bytes = limits->left_bytes < 0 || left < limits->left_bytes ? left : limits->left_bytes;
}

static void limit_cpus(Limits *limits, int64_t quota, int64_t period)
{
    if (quota <= 0 || period <= 0)
        return;
    double cpus = (double)quota / (double)period;
    limits->cpus = limits->cpus == 0 || cpus < limits->cpus ? cpus : limits->cpus;
}

/* The group at DIRECTORY and all above it, up to the root of the hierarchy, which is `root_bytes` long. */
static void look_at_groups(Limits *limits, char *directory, size_t root_bytes)
{
    for (;;) {
        char path[4200];
        int64_t most[2], used[2];
        snprintf(path, sizeof path, "%s/memory.current", directory);
        int64_t now = read_numbers(path, used) > 0 ? used[0] : 0;
        snprintf(path, sizeof path, "%s/memory.max", directory);
        if (read_numbers(path, most) > 0)
            limit_memory(limits, most[0], now);
        snprintf(path, sizeof path, "%s/memory.usage_in_bytes", directory);
        now = read_numbers(path, used) > 0 ? used[0] : 0;
        snprintf(path, sizeof path, "%s/memory.limit_in_bytes", directory);
        if (read_numbers(path, most) > 0)
            limit_memory(limits, most[0], now);
        snprintf(path, sizeof path, "%s/cpu.max", directory);
        if (read_numbers(path, most) == 2)
            limit_cpus(limits, most[0], most[1]);
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory);
        if (read_numbers(path, most) > 0) {
            snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
            if (read_numbers(path, used) > 0)
                limit_cpus(limits, most[0], used[0]);
        }
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < root_bytes)
            break;
        *slash = '\0';
    }
}

/* Each line of /proc/self/cgroup is ID:CONTROLLERS:PATH; version 2 has one, with ID 0 and no controllers. */
static Limits control_group_limits(void)
{
    Limits limits = {-1, -1, 0};
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4096];
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        controllers++;
        const char *root = !*controllers                                                       ? "/sys/fs/cgroup"
                           : strcmp(controllers, "memory") == 0                                ? "/sys/fs/cgroup/memory"
                           : strstr(controllers, "cpuacct") || strcmp(controllers, "cpu") == 0 ? "/sys/fs/cgroup/cpu"
                                                                                               : NULL;
        char directory[4160];
        if (!root)
            continue;
        snprintf(directory, sizeof directory, "%s%s", root, strcmp(path, "/") == 0 ? "" : path);
        look_at_groups(&limits, directory, strlen(root));
    }
    if (file)
        fclose(file);
    return limits;
}

/* ---- memory ---- */

/* A line of /proc/meminfo, in bytes; 0 if it is not there. */
static int64_t meminfo(const char *key)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[256];
    int64_t bytes = 0;
    while (file && !bytes && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
            bytes = strtoll(line + strlen(key) + 1, NULL, 10) * 1024;
    if (file)
        fclose(file);
    return bytes;
}

TsMachine ts_machine(void)
{
    TsMachine machine = {0};
    look_at_cpu(&machine);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    machine.cores = online > 0 ? (int)online : 0;
    machine.allowed_cores = cores_in_mask();
    machine.memory_bytes = meminfo("MemTotal");
    machine.available_bytes = meminfo("MemAvailable");
    Limits limits = control_group_limits();
    if (limits.cpus > 0)
        machine.cpus_quota = limits.cpus < 1 ? 1 : (int)limits.cpus;
    if (limits.memory_bytes >= 0 && limits.memory_bytes < machine.memory_bytes)
        machine.memory_bytes = limits.memory_bytes;
    if (limits.left_bytes >= 0 && limits.left_bytes < machine.available_bytes)
        machine.available_bytes = limits.left_bytes;
    return machine;
}

int ts_machine_threads(const TsMachine *machine, int64_t asked, int ranks_on_host, bool *narrower)
{
    TS_CHECK(asked == TS_AUTO || (asked > 0 && asked < 1 << 20), "%lld threads", (long long)asked);
    TS_CHECK(ranks_on_host > 0, "%d ranks on this host", ranks_on_host);
    int allowed = machine->allowed_cores > 0 ? machine->allowed_cores : 1;
    if (narrower)
        *narrower = asked > allowed;
    if (asked != TS_AUTO)
        return (int)asked;
    bool whole_host = allowed >= machine->cores; /* not bound: the other ranks here see the same cores */
    int threads = whole_host ? allowed / ranks_on_host : allowed;
    int quota = machine->cpus_quota / ranks_on_host;
    if (machine->cpus_quota > 0 && quota < threads)
        threads = quota;
    return threads < 1 ? 1 : threads;
}
