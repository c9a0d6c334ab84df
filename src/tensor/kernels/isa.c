/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/isa.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static TsIsa chosen;
static pthread_once_t choose_once = PTHREAD_ONCE_INIT;

static TsIsa widest(void)
{
#ifdef TESSERA_X86_VARIANTS
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return v4 ? TS_ISA_V4 : v3 ? TS_ISA_V3 : TS_ISA_BASE;
#else
    return TS_ISA_BASE;
#endif
}

static void choose(void)
{
    chosen = widest();
    const char *name = getenv("TESSERA_ISA");
    if (!name || !*name)
        return;
    for (TsIsa isa = TS_ISA_BASE; isa < TS_ISAS; isa++)
        if (strcmp(name, ts_isa_name(isa)) == 0) {
            chosen = isa < chosen ? isa : chosen;
            return;
        }
    TS_CHECK(false, "TESSERA_ISA=%s: expected base, v3 or v4", name);
}

TsIsa ts_isa(void)
{
    pthread_once(&choose_once, choose);
    return chosen;
}

bool ts_isa_use(TsIsa isa)
{
    pthread_once(&choose_once, choose);
    if (isa > widest())
        return false;
    chosen = isa;
    return true;
}

const char *ts_isa_name(TsIsa isa)
{
    static const char *const names[TS_ISAS] = {"base", "v3", "v4"};
    return names[isa];
}
