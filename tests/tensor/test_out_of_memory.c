/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out, at every single allocation of a small training step: building, compiling, binding and running.
 * It ends with words that say how much was asked for and where, with the exit code of a lack of memory, or with a
 * Status and nothing lost; never by a signal.
 */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/ops.h"
#include "tensor/program.h"
#include "test.h"

enum { LOST = 3, REFUSED = 4, MOST = 5000 };

static TsGraph *trace_step(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(5, 4), ts_replicated), d[2];
    TsTensor w[2] = {ts_parameter(graph, "layer/kernel", TS_F32, ts_shape(4, 3), ts_replicated),
                     ts_parameter(graph, "layer/bias", TS_F32, ts_shape(3), ts_replicated)};
    ts_graph_set_path(graph, "layer_00");
    TsTensor h = ts_gelu(ts_add(ts_dot(x, w[0], (TsDot){0}), w[1]));
    TsTensor loss = ts_mean(ts_mul(h, h), -1, false);
    ts_gradients(d, loss, w, 2);
    for (int i = 0; i < 2; i++)
        ts_assign(w[i], ts_sub(w[i], ts_scale(d[i], 0.1)));
    ts_output("loss", loss, ts_replicated);
    return graph;
}

/* All of it, and everything given back. */
static TsStatus run_step(void)
{
    TsProgram *program = NULL;
    TsArray *array[8];
    TS_TRY(ts_program_compile(&program, trace_step(),
                              (TsCompileOptions){.threads = 1, .memory = {.recompute = TS_RECOMPUTE_BLOCK}}));
    int count = ts_program_bindings(program);
    for (int b = 0; b < count; b++) {
        TsBinding binding = ts_program_binding(program, b);
        array[b] = ts_array_create(NULL, binding.dtype, binding.shape, ts_replicated, (TsArrayOptions){0});
        ts_program_bind(program, binding.name, array[b]);
    }
    ts_program_run(program);
    ts_program_free(&program);
    for (int b = 0; b < count; b++)
        ts_array_free(&array[b]);
    return TS_OK;
}

/* Runs it in a process of its own in which the n-th allocation fails. Gives how that ended and what it said. */
static int run_failing(int64_t n, char *words, size_t words_bytes)
{
    int ends[2], status = 0;
    size_t length = 0;
    ssize_t more;
    CU_ASSERT_EQUAL(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        ts_fatal_set_abort(NULL); /* ends this process, not the job */
        int64_t blocks = ts_memory_usage().live_blocks;
        ts_memory_fail_at(n);
        TsStatus failed = run_step();
        ts_memory_fail_at(0);
        if (failed)
            fprintf(stderr, "%s\n", ts_status_message(failed));
        bool refused = failed != TS_OK;
        ts_status_free(&failed);
        fflush(NULL);
        _exit(ts_memory_usage().live_blocks != blocks ? LOST : refused ? REFUSED : 0);
    }
    close(ends[1]);
    while ((more = read(ends[0], words + length, words_bytes - 1 - length)) > 0)
        length += (size_t)more;
    words[length] = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    CU_ASSERT(WIFEXITED(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void every_allocation_may_fail(void)
{
    char words[4096];
    int64_t n = 1;
    int refused = 0, code;
    for (; n < MOST && (code = run_failing(n, words, sizeof words)) != 0; n++) {
        bool said =
            strstr(words, "bytes") &&
            (code == REFUSED || (strstr(words, "out of memory") && strstr(words, ".c:") && strstr(words, "rank")));
        if (!said || (code != TS_EXIT_FATAL && code != REFUSED))
            fprintf(stderr, "allocation %lld: code %d, %s\n", (long long)n, code, words);
        CU_ASSERT(said);
        CU_ASSERT(code == TS_EXIT_FATAL || code == REFUSED);
        refused += code == REFUSED;
    }
    CU_ASSERT(n > 50 && n < MOST); /* the last one failed nothing */
    CU_ASSERT(refused >= 2);       /* the arena, and the constants */
}

TEST_MAIN("out of memory", {"every allocation may fail", every_allocation_may_fail})
