/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Training with `compute: bf16`: parameters, gradients and losses are f32, and a GPT learns as it does in f32, with
 * every instruction set and library of matrix products that there is, in ZeRO-1 and ZeRO-3.
 */
#include "mesh_run.h"

#include "tensor/kernels/isa.h"
#include "tensor/matmul.h"

enum { STEPS = 500, LAST = 50 };

#define MODEL "backbone.width=32 backbone.context=32 learner.optimizer.rate=3e-3 "

/* The mean loss of the last of `steps` steps; NaN where the run cannot be made. */
static double trained_loss(const char *words, int64_t steps)
{
    MeshRun run;
    TsWeightedScalar loss = {NAN, 0};
    TsStatus status = mesh_run_create(&run, test_world, words);
    TEST_OK(status);
    for (int64_t step = 1; step <= steps; step++) {
        mesh_run_pass(&run, step);
        mesh_run_learn(&run, step, steps);
        if (step == steps - LAST || step == steps)
            mesh_run_losses(&run, &loss);
    }
    mesh_run_free(&run);
    return loss.value;
}

static void learns_alike(void)
{
    double f32 = trained_loss(MODEL, STEPS), bf16 = trained_loss(MODEL "run.compute=bf16", STEPS);
    if (!(fabs(bf16 / f32 - 1) <= 0.01))
        fprintf(stderr, "%d steps: f32 %.5f, bf16 %.5f\n", STEPS, f32, bf16);
    CU_ASSERT(f32 < 3);
    CU_ASSERT(fabs(bf16 / f32 - 1) <= 0.01);
    CU_ASSERT(bf16 != f32);
}

static void whole_numbers_stay_f32(void)
{
    MeshRun run;
    TEST_OK(mesh_run_create(&run, test_world, MODEL "run.compute=bf16"));
    for (int i = 0; i < ts_parameters_count(run.job->parameters); i++)
        CU_ASSERT_EQUAL(ts_parameters_at(run.job->parameters, i)->dtype, TS_F32);
    TsBatch *gradients = ts_learner_gradients(run.learner);
    for (int i = 0; i < ts_batch_count(gradients); i++)
        CU_ASSERT_EQUAL(ts_batch_array(gradients, i)->dtype, TS_F32);
    mesh_run_pass(&run, 1);

    /* Sums that went through bf16 would have the lower halves of their bits empty. */
    int64_t elems = 0, fine = 0;
    for (int i = 0; i < ts_batch_count(gradients); i++) {
        const TsArray *array = ts_batch_array(gradients, i);
        int64_t own = 0, own_fine = 0;
        for (int64_t e = 0; e < ts_array_local_elems(array); e++) {
            uint32_t bits;
            memcpy(&bits, (const float *)array->data + e, sizeof bits);
            own += (bits & 0x7fffffffu) != 0;
            own_fine += (bits & 0xffffu) != 0;
        }
        if (own > 100 && own_fine < own / 2)
            fprintf(stderr, "%s: %lld of %lld elements are finer than bf16\n", ts_batch_name(gradients, i),
                    (long long)own_fine, (long long)own);
        CU_ASSERT(own <= 100 || own_fine >= own / 2);
        elems += own;
        fine += own_fine;
    }
    CU_ASSERT(elems > 1000 && fine > elems / 2);
    mesh_run_free(&run);
}

static void everywhere(void)
{
    enum { FEW = 100 };
    double wanted = trained_loss(MODEL, FEW);
    TsIsa widest = ts_isa();
    const char *backend = ts_matmul_backend();
    for (TsIsa isa = TS_ISA_BASE; isa <= widest; isa++)
        for (int blas = 0; blas < 2; blas++) {
            CU_ASSERT(ts_isa_use(isa));
            CU_ASSERT(ts_matmul_use(blas ? "openblas" : backend));
            double loss = trained_loss(MODEL "run.compute=bf16", FEW);
            if (!(fabs(loss / wanted - 1) <= 0.02))
                fprintf(stderr, "%s, %s: %.5f, f32 %.5f\n", ts_isa_name(isa), ts_matmul_backend(), loss, wanted);
            CU_ASSERT(fabs(loss / wanted - 1) <= 0.02);
        }
    CU_ASSERT(ts_isa_use(widest));
    CU_ASSERT(ts_matmul_use(backend));
    double sharded = trained_loss(MODEL "run.compute=bf16 parameters.shard=data", FEW);
    CU_ASSERT(fabs(sharded / wanted - 1) <= 0.02);
}

static void refuses_f64(void)
{
    MeshRun run;
    TsStatus status = mesh_run_create(&run, test_world, "run.compute=bf16 run.precision=f64");
    CU_ASSERT_PTR_NOT_NULL_FATAL(status);
    CU_ASSERT_PTR_NOT_NULL(strstr(ts_status_message(status), "compute: bf16 goes with precision f32"));
    ts_status_free(&status);
    mesh_run_free(&run);
}

TEST_MAIN("mixed precision", {"learns as in f32", learns_alike}, {"f32 where it counts", whole_numbers_stay_f32},
          {"every instruction set and library", everywhere}, {"not with f64", refuses_f64})
