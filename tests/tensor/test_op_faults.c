/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What a Program does with ids, labels and places that are not there: it ends with words that name the op, the position
 * and the value, and never reads beyond a buffer.
 */
#include "test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "tensor/ops.h"
#include "tensor/program.h"

/* Runs the program in a process of its own and gives what that said if it ended badly; "" where it did not. */
static const char *last_words(TsProgram *program)
{
    static char words[4096];
    int ends[2];
    size_t length = 0;
    ssize_t more;
    CU_ASSERT_EQUAL(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        ts_fatal_set_abort(NULL); /* ends this process, not the job */
        ts_program_run(program);
        _exit(0);
    }
    close(ends[1]);
    while ((more = read(ends[0], words + length, sizeof words - 1 - length)) > 0)
        length += (size_t)more;
    words[length] = 0;
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == (length ? TS_EXIT_FATAL : 0));
    return words;
}

/* A program of f32 `x` (2, 2, 3), i32 `ids` (2, 2), i64 `first`, of which `build` makes an output. */
typedef struct Fault {
    TsProgram *program;
    TsArray *x, *ids, *first, *out;
} Fault;

static Fault fault_create(TsTensor (*build)(TsTensor x, TsTensor ids, TsTensor first))
{
    Fault fault = {.program = NULL};
    TsGraph *graph = ts_graph_create();
    TsTensor out = build(ts_input(graph, "x", TS_F32, ts_shape(2, 2, 3), ts_replicated),
                         ts_input(graph, "ids", TS_I32, ts_shape(2, 2), ts_replicated),
                         ts_input(graph, "first", TS_I64, ts_scalar, ts_replicated));
    TsArrayOptions plain = {.shared = false};
    fault.x = ts_array_create(NULL, TS_F32, ts_shape(2, 2, 3), ts_replicated, plain);
    fault.ids = ts_array_create(NULL, TS_I32, ts_shape(2, 2), ts_replicated, plain);
    fault.first = ts_array_create(NULL, TS_I64, ts_scalar, ts_replicated, plain);
    fault.out = ts_array_create(NULL, ts_dtype_of(out), ts_shape_of_tensor(out), ts_replicated, plain);
    ts_output("out", out, ts_replicated);
    TEST_OK(ts_program_compile(&fault.program, graph, (TsCompileOptions){.threads = 1}));
    ts_program_bind(fault.program, "out", fault.out);
    return fault;
}

static void fault_bind(const Fault *fault)
{
    TsArray *array[] = {fault->x, fault->ids, fault->first};
    static const char *const names[] = {"x", "ids", "first"};
    for (int i = 0; i < ts_program_bindings(fault->program); i++)
        for (int j = 0; j < 3; j++)
            if (strcmp(ts_program_binding(fault->program, i).name, names[j]) == 0)
                ts_program_bind(fault->program, names[j], array[j]);
}

static void fault_free(Fault *fault)
{
    ts_program_free(&fault->program);
    ts_array_free(&fault->x);
    ts_array_free(&fault->ids);
    ts_array_free(&fault->first);
    ts_array_free(&fault->out);
}

static TsTensor take(TsTensor x, TsTensor ids, TsTensor first)
{
    (void)first;
    return ts_take(ts_reshape(x, ts_shape(4, 3)), ids);
}

static TsTensor cross_entropy(TsTensor x, TsTensor ids, TsTensor first)
{
    (void)first;
    return ts_cross_entropy(x, ids, (TsCrossEntropy){.ignore = -100});
}

/* The gradient alone: nothing needs the loss. */
static TsTensor d_cross_entropy(TsTensor x, TsTensor ids, TsTensor first)
{
    TsTensor d;
    ts_gradients(&d, ts_sum(cross_entropy(x, ids, first), -1, false), &x, 1);
    return d;
}

static TsTensor update(TsTensor x, TsTensor ids, TsTensor first)
{
    (void)ids;
    return ts_update(x, ts_slice(x, 1, 0, 1), first, 1);
}

static void says(const char *words, const char *wanted)
{
    if (!strstr(words, wanted))
        fprintf(stderr, "expected \"%s\", got: %s\n", wanted, words);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, wanted));
}

static void ids_beyond_the_table(void)
{
    static const int32_t bad[] = {4, -1, INT32_MAX, INT32_MIN};
    Fault fault = fault_create(take);
    fault_bind(&fault);
    CU_ASSERT_STRING_EQUAL(last_words(fault.program), "");
    for (int i = 0; i < 4; i++) {
        char wanted[96];
        snprintf(wanted, sizeof wanted, "take: id %d at (1, 0) is not in a table of 4 rows", bad[i]);
        ((int32_t *)fault.ids->data)[2] = bad[i];
        says(last_words(fault.program), wanted);
    }
    fault_free(&fault);
}

static void labels_that_are_no_class(void)
{
    Fault fault = fault_create(cross_entropy);
    fault_bind(&fault);
    ((int32_t *)fault.ids->data)[1] = -100;
    ts_program_run(fault.program);
    CU_ASSERT_EQUAL(((float *)fault.out->data)[1], 0);
    ((int32_t *)fault.ids->data)[3] = 3;
    says(last_words(fault.program),
         "cross_entropy: label 3 at (1, 1) is neither one of 3 classes nor -100, which is ignored");
    ((int32_t *)fault.ids->data)[3] = -1;
    says(last_words(fault.program), "label -1 at (1, 1)");
    fault_free(&fault);
}

static void labels_of_a_gradient_alone(void)
{
    Fault fault = fault_create(d_cross_entropy);
    fault_bind(&fault);
    CU_ASSERT_STRING_EQUAL(last_words(fault.program), "");
    ((int32_t *)fault.ids->data)[2] = 3000;
    says(last_words(fault.program), "cross_entropy: label 3000 at (1, 0) is neither one of 3 classes");
    fault_free(&fault);
}

static void updates_beyond_the_end(void)
{
    Fault fault = fault_create(update);
    fault_bind(&fault);
    *(int64_t *)fault.first->data = 1;
    CU_ASSERT_STRING_EQUAL(last_words(fault.program), "");
    *(int64_t *)fault.first->data = 2;
    says(last_words(fault.program), "update: [2, 3) is not in a dim of 2");
    *(int64_t *)fault.first->data = -1;
    says(last_words(fault.program), "update: [-1, 0) is not in a dim of 2");
    *(int64_t *)fault.first->data = INT64_MAX;
    says(last_words(fault.program), "is not in a dim of 2");
    fault_free(&fault);
}

TEST_MAIN("faults of ops", {"ids beyond the table", ids_beyond_the_table},
          {"labels that are no class", labels_that_are_no_class},
          {"labels of a gradient alone", labels_of_a_gradient_alone},
          {"updates beyond the end", updates_beyond_the_end})
