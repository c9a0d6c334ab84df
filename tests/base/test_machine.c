/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/machine.h"

static void what_is_here(void)
{
    TsMachine machine = ts_machine();
    CU_ASSERT_EQUAL(machine.cores, sysconf(_SC_NPROCESSORS_ONLN));
    CU_ASSERT(machine.allowed_cores >= 1);
    CU_ASSERT(machine.cpu[0] != '\0');
    CU_ASSERT(machine.memory_bytes > (int64_t)64 << 20);
    CU_ASSERT(machine.memory_bytes <= (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    CU_ASSERT(machine.available_bytes > 0 && machine.available_bytes <= machine.memory_bytes);
    CU_ASSERT(strlen(ts_machine_isa(&machine)) > 0);
    CU_ASSERT(!machine.avx512_bf16 || machine.avx512);
    CU_ASSERT(!machine.avx512 || machine.avx2);
}

/* The affinity mask is that of the thread: one that was pinned to one core sees one. */
static void *count_when_pinned(void *cores)
{
    cpu_set_t all, one;
    CPU_ZERO(&one);
    sched_getaffinity(0, sizeof all, &all);
    for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&one) == 0; core++)
        if (CPU_ISSET(core, &all))
            CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one);
    *(int *)cores = ts_machine().allowed_cores;
    return NULL;
}

static void affinity(void)
{
    int cores = 0;
    pthread_t thread;
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, count_when_pinned, &cores), 0);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(cores, 1);
}

static void threads(void)
{
    bool narrower;
    TsMachine whole = {.cores = 16, .allowed_cores = 16}, bound = {.cores = 16, .allowed_cores = 4};
    CU_ASSERT_EQUAL(ts_machine_threads(&whole, TS_AUTO, 1, &narrower), 16);
    CU_ASSERT_EQUAL(ts_machine_threads(&whole, TS_AUTO, 4, &narrower), 4);
    CU_ASSERT_EQUAL(ts_machine_threads(&whole, TS_AUTO, 100, &narrower), 1);
    CU_ASSERT_FALSE(narrower);
    CU_ASSERT_EQUAL(ts_machine_threads(&bound, TS_AUTO, 4, &narrower), 4);
    CU_ASSERT_EQUAL(ts_machine_threads(&bound, 4, 4, &narrower), 4);
    CU_ASSERT_FALSE(narrower);
    CU_ASSERT_EQUAL(ts_machine_threads(&bound, 5, 4, &narrower), 5);
    CU_ASSERT_TRUE(narrower);
    CU_ASSERT_EQUAL(ts_machine_threads(&bound, 5, 4, NULL), 5);
    TsMachine limited = {.cores = 16, .allowed_cores = 16, .cpus_quota = 6};
    CU_ASSERT_EQUAL(ts_machine_threads(&limited, TS_AUTO, 1, NULL), 6);
    CU_ASSERT_EQUAL(ts_machine_threads(&limited, TS_AUTO, 4, NULL), 1);
    TsMachine unknown = {0};
    CU_ASSERT_EQUAL(ts_machine_threads(&unknown, TS_AUTO, 1, NULL), 1);
}

TEST_MAIN("machine", {"what is here", what_is_here}, {"affinity", affinity}, {"threads", threads})
