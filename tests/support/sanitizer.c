/* SPDX-License-Identifier: Apache-2.0
 *
 * Linked into every program of a build with AddressSanitizer, so that it reports leaks of ours alone: MPI's plug-ins
 * stay loaded (their frames keep names), and what MPI and its parts never give back is not counted.
 */
#include <dlfcn.h>

const char *__asan_default_options(void);
const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void);

/* Whole call stacks, through libraries without frame pointers too, so that the suppressions find their names. Not
 * detect_stack_use_after_return: in its frames GCC 12 aligns to 32 bytes what it then takes for vectors of 64 (its bug
 * 110027). */
const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

/* What a program prints is what it prints elsewhere. */
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}

const char *__lsan_default_suppressions(void)
{
    return "leak:libopen-pal\nleak:libopen-rte\nleak:libmpi\nleak:libpmix\nleak:libhwloc\nleak:libevent\nleak:mca_\n"
           "leak:libucs\nleak:libfabric\nleak:libibverbs\nleak:libnuma\nleak:libpsm\n";
}

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
