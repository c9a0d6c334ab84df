/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * The ops that optimizers are written from, by the contract of op_test.h: f32 against f64, threads, cuts. They stand
 * behind all gradients and refuse to have any; PyTorch's values are in test_op_golden.c.
 */
#include "op_test.h"
#include "tensor/optimizer_ops.h"

static TsOptimizerScalars scalars_of(const TsTensor *in, double factor)
{
    TsGraph *graph = in[0].graph;
    return (TsOptimizerScalars){.rate = ts_constant(graph, TS_F32, ts_scalar, 0.25),
                                .factor = ts_constant(graph, TS_F32, ts_scalar, factor),
                                .step = ts_constant(graph, TS_I64, ts_scalar, 3)};
}

/* in[i], a constant to differentiation, in f32 where it is bf16. */
static TsTensor of(const TsTensor *in, int i)
{
    return ts_stop_gradient(op_wide(in[i]));
}

/* Not negative, and far from 0, where f32 and f64 differ. */
static TsTensor variance(const TsTensor *in, int i)
{
    return ts_shift(ts_mul(of(in, i), of(in, i)), 0.125);
}

/* All that a rule gives, in one tensor. */
static TsTensor mixed(TsOptimizerOut out)
{
    TsTensor mix = ts_mul(out.first, ts_shift(out.second, 2));
    return out.third.graph ? ts_add(mix, out.third) : mix;
}

#define RULE(factor, ...)                                                                                              \
    scalars_of(in, factor), (TsOptimizerRuleOptions)                                                                   \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define ADAM .beta1 = 0.75, .beta2 = 0.875, .epsilon = 0.0625, .decay = 0.125
#define BUILD(NAME, EXPRESSION)                                                                                        \
    static TsTensor build_##NAME(const TsTensor *in)                                                                   \
    {                                                                                                                  \
        return EXPRESSION;                                                                                             \
    }
BUILD(sgd, ts_sgd(of(in, 0), of(in, 1), RULE(0.5, .decay = 0.125)))
BUILD(momentum, mixed(ts_momentum(of(in, 0), of(in, 1), of(in, 2), RULE(0.5, .beta1 = 0.75, .decay = 0.125))))
BUILD(nesterov, mixed(ts_momentum(of(in, 0), of(in, 1), of(in, 2), RULE(0.5, .beta1 = 0.75, .nesterov = true))))
BUILD(adam, mixed(ts_adam(of(in, 0), of(in, 1), variance(in, 2), of(in, 3), RULE(0.5, ADAM))))
BUILD(pax_adam,
      mixed(ts_adam(of(in, 0), of(in, 1), variance(in, 2), of(in, 3), RULE(0.5, ADAM, .corrected_betas = true))))
BUILD(adam_update, mixed(ts_adam_update(of(in, 1), variance(in, 2), of(in, 0), of(in, 3), RULE(0.5, ADAM))))
BUILD(velocity, mixed(ts_velocity(of(in, 0), of(in, 1), RULE(0.5, .beta1 = 0.75, .nesterov = true))))
BUILD(descend, ts_descend(of(in, 0), of(in, 1), ts_constant(in[0].graph, ts_dtype_of(of(in, 0)), ts_scalar, 0.5),
                          RULE(0.5, .decay = 0.125)))
BUILD(average, ts_average(of(in, 0), of(in, 1), RULE(1, .beta1 = 0.875)))
BUILD(skipped, mixed(ts_adam_update(of(in, 1), variance(in, 2), of(in, 0), of(in, 3), RULE(0, ADAM))))

/* What it takes the sign of is not near 0: f32, f64 and bf16 see the same. */
static TsTensor build_lion(const TsTensor *in)
{
    TsTensor size = ts_shift(ts_mul(of(in, 1), of(in, 1)), 0.25);
    TsTensor mean = ts_where(ts_less(of(in, 0), of(in, 2)), size, ts_scale(size, -1));
    return mixed(ts_lion(of(in, 0), mean, ts_scale(mean, 2), RULE(0.5, .beta1 = 0.75, .beta2 = 0.875, .decay = 0.125)));
}

static void contracts(void)
{
    static const struct {
        const char *name;
        TsTensor (*build)(const TsTensor *in);
    } rules[] = {
        {"sgd", build_sgd},           {"momentum", build_momentum},       {"nesterov", build_nesterov},
        {"adam", build_adam},         {"pax_adam", build_pax_adam},       {"lion", build_lion},
        {"velocity", build_velocity}, {"adam_update", build_adam_update}, {"descend", build_descend},
        {"average", build_average},   {"skipped", build_skipped},
    };
    static const TsShape shapes[] = {{2, {5, 7}}, {2, {1, 3}}, {2, {0, 3}}, {1, {9001}}};
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            OpCase test = {.name = rules[r].name, .build = rules[r].build, .inputs = 4, .no_gradient = 15};
            test.f32_error = shapes[s].size[0] > 1000 ? 1e-4 : 0; /* the loss is a long sum */
            for (int i = 0; i < test.inputs; i++)
                test.shape[i] = shapes[s];
            op_test_contract(&test);
        }
}

static TsTensor refused(TsTensor x)
{
    TsTensor d;
    TsTensor in[] = {x};
    ts_gradients(&d, ts_sum(ts_sgd(x, x, RULE(1, .decay = 0)), -1, false), &x, 1);
    return d;
}

static void mistakes(void)
{
    OP_TEST_ERROR(refused(OP_INPUT("x", 3)), "sgd");
    OP_TEST_ERROR(ts_sgd(OP_INPUT("x", 3), OP_INPUT("g", 4), scalars_of((TsTensor[]){OP_INPUT("y", 3)}, 1),
                         (TsOptimizerRuleOptions){.decay = 0}),
                  "f32 (4) does not go with f32 (3)");
    OP_TEST_ERROR(ts_sgd(ts_cast(OP_INPUT("x", 3), TS_BF16), OP_INPUT("g", 3),
                         scalars_of((TsTensor[]){OP_INPUT("y", 3)}, 1), (TsOptimizerRuleOptions){.decay = 0}),
                  "a parameter of bf16, expected f32 or f64");
}

TEST_MAIN("ops of optimizers", {"contracts", contracts}, {"mistakes", mistakes})
