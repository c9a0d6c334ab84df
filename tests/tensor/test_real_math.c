/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * exp, ln, tanh and the erf in gelu, for each instruction set, against libm in double: the largest error in units in
 * the last place over a dense sample of all f32, and what comes of infinities, zeros, NaN and subnormals.
 */
#include "test.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/kernels/elementwise.h"

enum { STEP = 4099 }; /* every so many of the 2^32 bit patterns */
enum { PIECE = 8192 };

static double exact_gelu(double x)
{
    return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
}

/* In units of the last place of the exact value; subnormals count in the smallest unit. */
static double ulps(float value, double exact)
{
    if (exact != exact || value != value)
        return exact != exact && value != value ? 0 : INFINITY;
    if (fabs(exact) > (double)FLT_MAX * (1 + 1e-7))
        return isinf(value) && !signbit(value) == !signbit(exact) ? 0 : INFINITY;
    int exponent;
    frexp(exact, &exponent);
    return fabs((double)value - exact) / ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

typedef struct Function {
    const char *name;
    TsUnary op;
    double (*exact)(double);
    double bound_ulps;
    double absolute; /* errors below this count as none */
} Function;

static const Function functions[] = {
    {"exp", TS_UNARY_EXP, exp, 2, 0},
    {"ln", TS_UNARY_LOG, log, 2, 0},
    {"tanh", TS_UNARY_TANH, tanh, 3, 0},
    {"gelu", TS_UNARY_GELU, exact_gelu, 4, 3e-7},
};

static void check(const Function *function, TsIsa isa)
{
    float *x = ts_alloc(PIECE * sizeof *x), *y = ts_alloc(PIECE * sizeof *y);
    double worst = 0, worst_at = 0;
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32;) {
        int count = 0;
        for (; count < PIECE && bits < (uint64_t)1 << 32; bits += STEP) {
            uint32_t pattern = (uint32_t)bits;
            memcpy(&x[count++], &pattern, sizeof pattern);
        }
        ts_elementwise_kernels(TS_F32)->unary(function->op, y, x, count, 0, 1);
        for (int i = 0; i < count; i++) {
            double exact = function->exact((double)x[i]), error = ulps(y[i], exact);
            if (error > worst && !(fabs((double)y[i] - exact) < function->absolute)) {
                worst = error;
                worst_at = (double)x[i];
            }
        }
    }
    if (worst > function->bound_ulps)
        fprintf(stderr, "%s, %s: %g ulp at %.9g\n", function->name, ts_isa_name(isa), worst, worst_at);
    CU_ASSERT(worst <= function->bound_ulps);
    ts_free(x), ts_free(y);
}

static void keep_to_their_bounds(void)
{
    for (TsIsa isa = TS_ISA_BASE; isa < TS_ISAS && ts_isa_use(isa); isa++)
        for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++)
            check(&functions[f], isa);
}

static float one(TsUnary op, float x)
{
    float y;
    ts_elementwise_kernels(TS_F32)->unary(op, &y, &x, 1, 0, 1);
    return y;
}

static void have_the_right_ends(void)
{
    for (TsIsa isa = TS_ISA_BASE; isa < TS_ISAS && ts_isa_use(isa); isa++) {
        CU_ASSERT_EQUAL(one(TS_UNARY_EXP, -INFINITY), 0);
        CU_ASSERT_EQUAL(one(TS_UNARY_EXP, INFINITY), INFINITY);
        CU_ASSERT_EQUAL(one(TS_UNARY_EXP, 0), 1);
        CU_ASSERT_EQUAL(one(TS_UNARY_LOG, 0), -INFINITY);
        CU_ASSERT_EQUAL(one(TS_UNARY_LOG, 1), 0);
        CU_ASSERT_EQUAL(one(TS_UNARY_LOG, INFINITY), INFINITY);
        CU_ASSERT(isnan(one(TS_UNARY_LOG, -1)));
        CU_ASSERT_EQUAL(one(TS_UNARY_TANH, INFINITY), 1);
        CU_ASSERT_EQUAL(one(TS_UNARY_TANH, -INFINITY), -1);
        CU_ASSERT(isnan(one(TS_UNARY_EXP, NAN)));
        CU_ASSERT(isnan(one(TS_UNARY_LOG, NAN)));
        CU_ASSERT(isnan(one(TS_UNARY_TANH, NAN)));
        CU_ASSERT(isnan(one(TS_UNARY_GELU, NAN)));
        CU_ASSERT(isnan(one(TS_UNARY_RELU, NAN)));
    }
}

TEST_MAIN("real math", {"keep to their bounds", keep_to_their_bounds}, {"have the right ends", have_the_right_ends})
