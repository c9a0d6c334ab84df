/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * A limit of memory is met with little more recomputation than the least there is, found by trying all subsets.
 */
#include <stdint.h>

#include "base/memory.h"
#include "tensor/ops.h"
#include "tensor/passes/passes.h"
#include "test.h"

/* Three layers of unlike widths, and what their backward passes need: each subset of activations is worth trying. */
static TsGraph *trace(void)
{
    static const int64_t widths[] = {48, 16, 64};
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(64, 16), ts_replicated), w[6], d[6];
    for (int layer = 0; layer < 3; layer++) {
        char name[32];
        snprintf(name, sizeof name, "layer_%d", layer);
        ts_graph_set_path(graph, name);
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "w%d%d", layer, k);
            TsShape shape = k ? ts_shape(widths[layer], 16) : ts_shape(16, widths[layer]);
            w[2 * layer + k] = ts_parameter(graph, name, TS_F32, shape, ts_replicated);
        }
        TsTensor h = ts_normalize(x, TS_NONE, TS_NONE, (TsNormalize){.epsilon = 1e-5});
        h = ts_tanh(ts_dot(h, w[2 * layer], (TsDot){0}));
        x = ts_add(x, ts_dot(ts_exp(h), w[2 * layer + 1], (TsDot){0}));
    }
    ts_graph_set_path(graph, "loss");
    ts_gradients(d, ts_mean(ts_mul(x, x), -1, false), w, 6);
    for (int i = 0; i < 6; i++)
        ts_assign(w[i], ts_sub(w[i], ts_scale(d[i], 0.1)));
    TEST_OK(ts_graph_status(graph));
    graph = ts_pass_prune(graph);
    TEST_OK(ts_pass_place(&graph, (TsMeshShape){.size = {0}}, TS_SUMS_ONCE));
    return ts_pass_prune(graph);
}

static size_t arena_of(const void *context, TsGraph *graph)
{
    (void)context;
    graph = ts_pass_fuse(graph);
    TsMesh *none = NULL;
    TsPieces pieces = ts_pass_pieces(graph, (TsMeshShape){.size = {0}});
    TsProgramSchedule schedule =
        ts_pass_schedule(graph, &pieces, (TsMeshShape){.size = {0}}, (TsScheduleOptions){.plain = false});
    TsLayout layout = ts_pass_allocate(graph, &schedule, &none, 1, false, false);
    size_t bytes = layout.arena_bytes;
    ts_layout_free(&layout);
    ts_schedule_free(&schedule);
    ts_pieces_free(&pieces);
    ts_graph_free(&graph);
    return bytes;
}

typedef struct Way {
    size_t bytes;
    double work; /* flops, and bytes that are moved: what recomputation costs */
} Way;

static double work_of(const TsGraph *graph)
{
    TsCost cost = ts_graph_cost(graph);
    return cost.flops + cost.bytes;
}

static double least_work(const Way *way, int ways, size_t limit_bytes)
{
    double least = -1;
    for (int i = 0; i < ways; i++)
        if (way[i].bytes <= limit_bytes && (least < 0 || way[i].work < least))
            least = way[i].work;
    return least;
}

static void meets_limits_with_little_more_than_the_least(void)
{
    TsGraph *graph = trace();
    int offers = ts_rematerialize_offers(graph);
    CU_ASSERT(offers >= 8 && offers <= 12);
    int ways = 1 << (offers < 13 ? offers : 12);
    Way *way = ts_calloc((size_t)ways, sizeof *way);
    size_t least_bytes = SIZE_MAX;
    for (int i = 0; i < ways; i++) {
        TsGraph *chosen = ts_rematerialize_chosen(graph, (uint64_t)i);
        way[i].work = work_of(chosen);
        way[i].bytes = arena_of(NULL, chosen);
        least_bytes = way[i].bytes < least_bytes ? way[i].bytes : least_bytes;
    }
    enum { LIMITS = 16 };
    double all = way[ways - 1].work - way[0].work, sum = 0;
    for (int k = 0; k <= LIMITS; k++) {
        size_t limit_bytes = way[0].bytes - (way[0].bytes - way[ways - 1].bytes) / LIMITS * (size_t)k;
        double least = least_work(way, ways, limit_bytes) - way[0].work;
        TsGraph *met = trace();
        TEST_OK(ts_pass_rematerialize(&met, (TsMemoryPolicy){TS_RECOMPUTE_AUTO, limit_bytes}, arena_of, NULL));
        double more = work_of(met) - way[0].work;
        size_t bytes = arena_of(NULL, met);
        CU_ASSERT(bytes <= limit_bytes);
        CU_ASSERT(more >= least - 1e-6);
        if (!(more <= least + 0.25 * all))
            fprintf(stderr, "limit %zu: %.0f more, the least is %.0f, everything %.0f\n", limit_bytes, more, least,
                    all);
        CU_ASSERT(more <= least + 0.25 * all);
        sum += (more - least) / all / (LIMITS + 1);
    }
    if (!(sum <= 0.06))
        fprintf(stderr, "on the mean %.3f of everything above the least\n", sum);
    CU_ASSERT(sum <= 0.06);
    ts_free(way);
    ts_graph_free(&graph);
}

TEST_MAIN("rematerialize",
          {"meets limits with little more than the least", meets_limits_with_little_more_than_the_least})
