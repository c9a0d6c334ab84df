/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "model/language_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "test.h"
#include "tiny.h"

/* Central differences of the loss in f64, a few elements of each parameter. */
static void gradient_is_that_of_the_loss(void)
{
    TsMesh *mesh = tiny_mesh(test_world, 1);
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, mesh, &tiny_model, TS_F64));
    const double h = 1e-6;
    int checked = 0;
    for (int i = 0; tiny.program && i < ts_parameters_count(tiny.parameters); i++) {
        const char *path = ts_parameters_at(tiny.parameters, i)->path;
        char name[200];
        snprintf(name, sizeof name, "gradient/%s", path);
        TsArray *array = ts_batch_find(tiny.arrays, path);
        int64_t elems = ts_array_local_elems(array);
        for (int64_t e = i % 3; e < elems; e += 1 + elems / 4) {
            double *value = &((double *)array->data)[e], was = *value;
            ts_program_run(tiny.program);
            double gradient = tiny_value(tiny.outputs, name, e);
            *value = was + h;
            ts_program_run(tiny.program);
            double above = tiny_value(tiny.outputs, "loss", 0);
            *value = was - h;
            ts_program_run(tiny.program);
            double below = tiny_value(tiny.outputs, "loss", 0);
            *value = was;
            double numeric = (above - below) / (2 * h);
            bool near = fabs(numeric - gradient) <= 1e-8 + 1e-6 * fabs(gradient);
            if (!near)
                fprintf(stderr, "%s[%lld]: gradient %.12g, by differences %.12g\n", path, (long long)e, gradient,
                        numeric);
            CU_ASSERT(near);
            checked++;
        }
    }
    CU_ASSERT(checked > 60);
    tiny_free(&tiny);
    ts_mesh_free(&mesh);
}

/* The loss at the beginning is that of a guess, and only labels that count have weight. */
static void untrained_loss_is_a_guess(void)
{
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &tiny_model, TS_F32));
    if (tiny.program) {
        ts_program_run(tiny.program);
        CU_ASSERT_DOUBLE_EQUAL(tiny_value(tiny.outputs, "loss", 0), log(TINY_VOCAB), 0.1);
        CU_ASSERT_EQUAL(tiny_value(tiny.outputs, "weight", 0), TINY_BATCH * TINY_LENGTH - 1);
    }
    tiny_free(&tiny);
}

/* Loss and every gradient over all ranks, along data and model in every way, are those of one rank with the whole
 * batch; dropout included. */
static void every_mesh_equals_one_rank(void)
{
    TsLanguageModel model = tiny_model;
    model.backbone.dropout = 0.2;
    Tiny one;
    TEST_OK(tiny_create(&one, NULL, &model, TS_F64));
    ts_program_run(one.program);
    for (int along_model = 1; along_model <= ts_group_size(test_world); along_model *= 2) {
        TsMesh *mesh = tiny_mesh(test_world, along_model);
        Tiny all;
        TEST_OK(tiny_create(&all, mesh, &model, TS_F64));
        ts_program_run(all.program);
        CU_ASSERT_DOUBLE_EQUAL(tiny_value(one.outputs, "loss", 0), tiny_value(all.outputs, "loss", 0), 1e-13);
        for (int i = 0; i < ts_batch_count(one.outputs); i++) {
            const char *name = ts_batch_name(one.outputs, i);
            for (int64_t e = 0; e < ts_array_local_elems(ts_batch_array(one.outputs, i)); e++)
                CU_ASSERT_DOUBLE_EQUAL(tiny_value(one.outputs, name, e), tiny_value(all.outputs, name, e), 1e-13);
        }
        tiny_free(&all);
        ts_mesh_free(&mesh);
    }
    tiny_free(&one);
}

static void dropout_changes_with_the_step(void)
{
    TsLanguageModel model = tiny_model;
    model.backbone.dropout = 0.5;
    Tiny tiny;
    TEST_OK(tiny_create(&tiny, NULL, &model, TS_F64));
    if (tiny.program) {
        double loss[3];
        for (int step = 0; step < 3; step++) {
            *(int64_t *)ts_batch_find(tiny.batch, "step")->data = step % 2;
            ts_program_run(tiny.program);
            loss[step] = tiny_value(tiny.outputs, "loss", 0);
        }
        CU_ASSERT(loss[0] != loss[1]);
        CU_ASSERT_EQUAL(loss[0], loss[2]);
    }
    tiny_free(&tiny);
}

static void errors_name_the_layer(void)
{
    TsLanguageModel model = tiny_model;
    model.backbone.heads = 3;
    Tiny tiny;
    TEST_ERROR(tiny_create(&tiny, NULL, &model, TS_F32), "backbone/layer_00/attention: 3 heads do not divide");
    tiny_free(&tiny);
    model = tiny_model;
    model.backbone.context = TINY_LENGTH - 1;
    TEST_ERROR(tiny_create(&tiny, NULL, &model, TS_F32), "a sequence of 6 tokens is longer than the context of 5");
    tiny_free(&tiny);
}

TEST_MAIN("language_model", {"gradient is that of the loss", gradient_is_that_of_the_loss},
          {"untrained loss is a guess", untrained_loss_is_a_guess},
          {"every mesh equals one rank", every_mesh_equals_one_rank},
          {"dropout changes with the step", dropout_changes_with_the_step},
          {"errors name the layer", errors_name_the_layer})
