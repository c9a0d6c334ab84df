/* SPDX-License-Identifier: Apache-2.0
 *
 * Which instruction set the kernels use: the widest that this processor and this build both have.
 *
 * The sources under kernels/variants are compiled once for each element type and instruction set; each gives one table
 * of functions a family. TESSERA_ISA=base, v3 or v4 asks for less than there is.
 */
#pragma once

#include "base/check.h"
#include "base/dtype.h"

typedef enum TsIsa {
    TS_ISA_BASE, /* what the compiler takes for granted */
    TS_ISA_V3,   /* x86-64-v3: AVX2, FMA */
    TS_ISA_V4,   /* x86-64-v4: AVX-512 F, BW, CD, DQ, VL */
    TS_ISAS
} TsIsa;

TsIsa ts_isa(void);
const char *ts_isa_name(TsIsa isa);

/* What ts_isa gives from now on, where the machine has it; false otherwise. For tests: not while kernels run. */
bool ts_isa_use(TsIsa isa);

/* Declares the tables of a family of type Type, and `name(dtype)`, which picks the one to use. f64 is for gradient
 * checks and mesh-equality tests: plain, and compiled once. */
#ifdef TESSERA_X86_VARIANTS
#define TS_KERNEL_TABLES(Type, name)                                                                                   \
    extern const Type name##_f32_base, name##_f32_v3, name##_f32_v4;                                                   \
    extern const Type name##_bf16_base, name##_bf16_v3, name##_bf16_v4, name##_f64_base;                               \
    static inline const Type *name(TsDtype dtype)                                                                      \
    {                                                                                                                  \
        static const Type *const f32[] = {&name##_f32_base, &name##_f32_v3, &name##_f32_v4};                           \
        static const Type *const bf16[] = {&name##_bf16_base, &name##_bf16_v3, &name##_bf16_v4};                       \
        return dtype == TS_F64 ? &name##_f64_base : dtype == TS_BF16 ? bf16[ts_isa()] : f32[ts_isa()];                 \
    }
#else
#define TS_KERNEL_TABLES(Type, name)                                                                                   \
    extern const Type name##_f32_base, name##_bf16_base, name##_f64_base;                                              \
    static inline const Type *name(TsDtype dtype)                                                                      \
    {                                                                                                                  \
        return dtype == TS_F64 ? &name##_f64_base : dtype == TS_BF16 ? &name##_bf16_base : &name##_f32_base;           \
    }
#endif
