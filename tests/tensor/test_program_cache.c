/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/program_cache.h"

#include <string.h>

#include "base/memory.h"
#include "tensor/ops.h"
#include "test.h"

typedef struct Signature {
    int64_t rows, columns;
} Signature;

static void trace_twice(TsGraph *graph, const void *context)
{
    const Signature *signature = context;
    TsShape shape = ts_shape(signature->rows, signature->columns);
    ts_output("y", ts_scale(ts_input(graph, "x", TS_F32, shape, ts_replicated), 2), ts_replicated);
}

static void trace_square(TsGraph *graph, const void *context)
{
    const Signature *signature = context;
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(signature->rows, signature->columns), ts_replicated);
    ts_output("y", ts_mul(x, x), ts_replicated);
}

static void trace_wrong(TsGraph *graph, const void *context)
{
    (void)context;
    ts_output("y",
              ts_add(ts_input(graph, "a", TS_F32, ts_shape(2), ts_replicated),
                     ts_input(graph, "b", TS_F32, ts_shape(3), ts_replicated)),
              ts_replicated);
}

static const int twice, square; /* their addresses stand for the functions */

static TsProgram *get(TsProgramCache *cache, const void *function, int64_t rows, int64_t columns)
{
    Signature signature = {rows, columns};
    TsProgram *program = NULL;
    TEST_OK(ts_program_cache_get(cache, &program, (TsProgramKey){function, &signature, sizeof signature},
                                 function == &twice ? trace_twice : trace_square, &signature, (TsCompileOptions){0}));
    return program;
}

static float run(TsProgram *program, int64_t rows, int64_t columns, float value)
{
    TsArray *x = ts_array_create(NULL, TS_F32, ts_shape(rows, columns), ts_replicated, (TsArrayOptions){0});
    TsArray *y = ts_array_create(NULL, TS_F32, ts_shape(rows, columns), ts_replicated, (TsArrayOptions){0});
    int64_t last = rows * columns - 1;
    ((float *)x->data)[last] = value;
    ts_program_bind(program, "x", x);
    ts_program_bind(program, "y", y);
    ts_program_run(program);
    float result = ((float *)y->data)[last];
    ts_array_free(&x);
    ts_array_free(&y);
    return result;
}

static void expect_use(const TsProgramCache *cache, int64_t found, int64_t compiled, int64_t dropped, int kept)
{
    TsProgramCacheUse use = ts_program_cache_use(cache);
    CU_ASSERT_EQUAL(use.found, found);
    CU_ASSERT_EQUAL(use.compiled, compiled);
    CU_ASSERT_EQUAL(use.dropped, dropped);
    CU_ASSERT_EQUAL(use.kept, kept);
}

static void finds_by_function_and_shapes(void)
{
    TsProgramCache *cache = ts_program_cache_create(4);
    TsProgram *program = get(cache, &twice, 2, 3);
    CU_ASSERT_EQUAL(run(program, 2, 3, 5), 10);
    CU_ASSERT_EQUAL(run(get(cache, &square, 2, 3), 2, 3, 5), 25);
    CU_ASSERT_EQUAL(run(get(cache, &twice, 3, 2), 3, 2, 5), 10);
    expect_use(cache, 0, 3, 0, 3);
    int64_t allocations = ts_memory_usage().allocations;
    CU_ASSERT_PTR_EQUAL(get(cache, &twice, 2, 3), program);
    CU_ASSERT_EQUAL(ts_memory_usage().allocations, allocations); /* nothing is made for what is there */
    CU_ASSERT_EQUAL(run(program, 2, 3, 7), 14);                  /* with arrays of its own each time */
    expect_use(cache, 1, 3, 0, 3);
    ts_program_cache_free(&cache);
    CU_ASSERT_PTR_NULL(cache);
    ts_program_cache_free(&cache);
}

/* Of three in a room for two, the one that was not asked for for longest goes. */
static void keeps_what_was_asked_for_last(void)
{
    int64_t blocks = ts_memory_usage().live_blocks;
    TsProgramCache *cache = ts_program_cache_create(2);
    TsProgram *first = get(cache, &twice, 1, 1);
    (void)get(cache, &twice, 1, 2);
    CU_ASSERT_PTR_EQUAL(get(cache, &twice, 1, 1), first);
    (void)get(cache, &twice, 1, 3);
    expect_use(cache, 1, 3, 1, 2);
    CU_ASSERT_PTR_EQUAL(get(cache, &twice, 1, 1), first);
    expect_use(cache, 2, 3, 1, 2);
    (void)get(cache, &twice, 1, 2);
    expect_use(cache, 2, 4, 2, 2);
    ts_program_cache_free(&cache);
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, blocks);
}

static void keeps_nothing_that_does_not_compile(void)
{
    int64_t blocks = ts_memory_usage().live_blocks;
    TsProgramCache *cache = ts_program_cache_create(2);
    TsProgram *program = NULL;
    Signature signature = {1, 1};
    for (int i = 0; i < 2; i++)
        TEST_ERROR(ts_program_cache_get(cache, &program, (TsProgramKey){&twice, &signature, sizeof signature},
                                        trace_wrong, NULL, (TsCompileOptions){0}),
                   "add: (2) does not go with (3)");
    CU_ASSERT_PTR_NULL(program);
    expect_use(cache, 0, 0, 0, 0);
    ts_program_cache_free(&cache);
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, blocks);
}

TEST_MAIN("program cache", {"finds by function and shapes", finds_by_function_and_shapes},
          {"keeps what was asked for last", keeps_what_was_asked_for_last},
          {"keeps nothing that does not compile", keeps_nothing_that_does_not_compile})
