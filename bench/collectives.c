/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast collectives are, against the MPI library's own. Run by bench/collectives.sh, which lays out ranks and links:
 *
 *     collectives node       2 ranks of one node: all-reduce against MPI_Allreduce, in buffers of every kind
 *     collectives hosts      4 hosts at 400 Mbit/s: all-reduce, reduce-scatter, all-gather against their bounds
 *     collectives overlap    2 hosts: a reduction and a matrix product at the same time
 */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "comm/native.h"
#include "comm/runtime.h"
#include "comm/shared.h"
#include "tensor/matmul.h"
#include "target.h"

enum { PAIRS = 11 };

static TsGroup *world;
static MPI_Comm comm;

/* ---- samples */

typedef void Action(void *context);

/* Seconds of one call, the slowest rank's mean of `calls`. Collective. */
static double seconds_of(Action *action, void *context, int calls)
{
    MPI_Barrier(comm);
    double start = MPI_Wtime();
    for (int i = 0; i < calls; i++)
        action(context);
    double seconds = (MPI_Wtime() - start) / calls;
    MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, comm);
    return seconds;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *samples)
{
    double sorted[PAIRS];
    memcpy(sorted, samples, sizeof sorted);
    qsort(sorted, PAIRS, sizeof *sorted, by_size);
    return sorted[PAIRS / 2];
}

static void print_samples(const char *name, const double *samples)
{
    printf("  %-28s", name);
    for (int i = 0; i < PAIRS; i++)
        printf(" %.4g", samples[i] * 1e6);
    printf("  us, median %.4g\n", median(samples) * 1e6);
}

/* Times ours and the baseline in turn, prints all samples, and returns the baseline's median over ours. */
static double compare(const char *name, Action *ours, Action *baseline, void *context, int calls)
{
    double own[PAIRS], others[PAIRS];
    seconds_of(ours, context, calls);
    seconds_of(baseline, context, calls);
    for (int i = 0; i < PAIRS; i++) {
        own[i] = seconds_of(ours, context, calls);
        others[i] = seconds_of(baseline, context, calls);
    }
    double ratio = median(others) / median(own);
    if (ts_group_rank(world) == 0) {
        printf("%s: %.3g times\n", name, ratio);
        print_samples("ours", own);
        print_samples("baseline", others);
        fflush(stdout);
    }
    return ratio;
}

/* ---- 2 ranks of one node */

typedef struct Sum {
    float *in, *out;             /* ours */
    float *library_in, *library; /* the baseline's */
    int64_t count;
    TsAlgorithm algorithm;
} Sum;

static void own_sum(void *context)
{
    Sum *sum = context;
    ts_all_reduce(world, (TsTransfer){.out = sum->out,
                                      .in = sum->in,
                                      .count_elems = sum->count,
                                      .dtype = TS_F32,
                                      .algorithm = sum->algorithm,
                                      .label = "bench"});
}

static void library_sum(void *context)
{
    Sum *sum = context;
    MPI_Allreduce(sum->library_in, sum->library, (int)sum->count, MPI_FLOAT, MPI_SUM, comm);
}

/* Sums of small integers, which are exact: ours must equal what they come to. */
static void check_sum(Sum *sum)
{
    int rank = ts_group_rank(world), size = ts_group_size(world);
    for (int64_t i = 0; i < sum->count; i++)
        sum->in[i] = (float)(i % 1000 + rank);
    own_sum(sum);
    for (int64_t i = 0; i < sum->count; i++) {
        float wanted = (float)(i % 1000 * size + size * (size - 1) / 2);
        TS_CHECK(sum->out[i] == wanted, "element %lld of the sum is %g, not %g", (long long)i, (double)sum->out[i],
                 (double)wanted);
    }
}

/* Where our buffers lie. */
typedef enum Memory {
    SHARED_IN_PLACE, /* of ts_shared_alloc, in and out the same */
    SHARED,          /* of ts_shared_alloc */
    ORDINARY,        /* of ts_alloc, as programs have theirs: large blocks are seen by the neighbours */
    FOREIGN,         /* of malloc: never seen, copied through slots */
} Memory;

static const char *const memory_names[] = {"shared buffers, in place", "shared buffers, separate",
                                           "ordinary buffers (ts_alloc), separate",
                                           "foreign buffers (malloc), separate"};

/* Zeros: what is summed in place again and again stays what it is. Collective for the shared ones. */
static float *take(Memory memory, size_t bytes)
{
    float *buffer = memory <= SHARED     ? ts_shared_alloc(world, bytes)
                    : memory == ORDINARY ? ts_alloc(bytes)
                                         : malloc(bytes);
    TS_CHECK(buffer, "no memory for %zu bytes", bytes);
    return memset(buffer, 0, bytes);
}

static void give_back(Memory memory, float *buffer)
{
    if (memory <= SHARED)
        ts_shared_free(buffer);
    else if (memory == ORDINARY)
        ts_free(buffer);
    else
        free(buffer);
}

/* How much faster ours is for one size and kind of memory. The baseline has ordinary buffers, or foreign ones too. */
static double time_sum(int64_t bytes, Memory memory)
{
    size_t room = bytes < 4096 ? 4096 : (size_t)bytes;
    Memory library = memory == FOREIGN ? FOREIGN : ORDINARY;
    Sum sum = {.count = bytes / 4, .in = take(memory, room)};
    sum.out = memory == SHARED_IN_PLACE ? sum.in : take(memory, room);
    sum.library_in = take(library, room);
    sum.library = take(library, room);
    int calls = bytes <= 4096 ? 2000 : bytes <= 1 << 20 ? 40 : bytes <= 16 << 20 ? 4 : 1;
    char name[96];
    snprintf(name, sizeof name, "%lld bytes, %s", (long long)bytes, memory_names[memory]);
    double ratio = compare(name, own_sum, library_sum, &sum, calls);
    check_sum(&sum);
    give_back(library, sum.library);
    give_back(library, sum.library_in);
    if (sum.out != sum.in)
        give_back(memory, sum.out);
    give_back(memory, sum.in);
    return ratio;
}

static double lowest(const int64_t *sizes, int count, Memory memory)
{
    double ratio = INFINITY;
    for (int i = 0; i < count; i++)
        ratio = fmin(ratio, time_sum(sizes[i], memory));
    return ratio;
}

/* What memory gives: every rank copies at once. */
static void copy(void *context)
{
    Sum *sum = context;
    memcpy(sum->out, sum->in, (size_t)sum->count * 4);
}

static void print_copy_rate(int64_t bytes)
{
    Sum sum = {.count = bytes / 4};
    sum.in = ts_calloc((size_t)bytes, 1);
    sum.out = ts_calloc((size_t)bytes, 1);
    memset(sum.in, 1, (size_t)bytes);
    seconds_of(copy, &sum, 1);
    double best = INFINITY;
    for (int i = 0; i < 10; i++)
        best = fmin(best, seconds_of(copy, &sum, 1));
    if (ts_group_rank(world) == 0)
        printf("memcpy of %lld bytes on every rank at once: %.4g us, %.3g GB/s read and written a rank\n",
               (long long)bytes, best * 1e6, 2 * (double)bytes / best / 1e9);
    ts_free(sum.in);
    ts_free(sum.out);
}

static void bench_node(void)
{
    static const int64_t large[] = {64 << 20}, middle[] = {1 << 20, 4 << 20, 16 << 20}, small[] = {4, 64, 1024, 4096};
    bool first = ts_group_rank(world) == 0;
    if (first)
        printf("baseline: MPI_Allreduce(in, out, count, MPI_FLOAT, MPI_SUM, comm), ordinary buffers (ts_alloc), but of "
               "malloc where ours are\n");
    print_copy_rate(64 << 20);
    print_copy_rate(1 << 20);
    double in_place[] = {lowest(large, 1, SHARED_IN_PLACE), lowest(middle, 3, SHARED_IN_PLACE),
                         lowest(small, 4, SHARED_IN_PLACE)};
    double ordinary[] = {lowest(large, 1, ORDINARY), lowest(middle, 3, ORDINARY), lowest(small, 4, ORDINARY)};
    if (first)
        printf("without targets:\n");
    lowest(large, 1, SHARED);
    lowest(middle, 3, SHARED);
    lowest(large, 1, FOREIGN);
    lowest(middle, 3, FOREIGN);
    if (!first)
        return;
    bench_target("collectives/allreduce-shared-64MiB", in_place[0]);
    bench_target("collectives/allreduce-shared-1-16MiB", in_place[1]);
    bench_target("collectives/allreduce-shared-to-4KiB", in_place[2]);
    bench_target("collectives/allreduce-separate-64MiB", ordinary[0]);
    bench_target("collectives/allreduce-separate-1-16MiB", ordinary[1]);
    bench_target("collectives/allreduce-separate-to-4KiB", ordinary[2]);
}

/* ---- hosts, one rank each */

static const int64_t hosts_count = 1 << 20; /* 4 MiB of f32 */
static int64_t *even_first;                 /* (size + 1) */
static int *even_count;                     /* (size) */

static void own_reduce_scatter(void *context)
{
    Sum *sum = context;
    ts_reduce_scatter(
        world,
        (TsTransfer){.out = sum->out, .in = sum->in, .first_elem = even_first, .dtype = TS_F32, .label = "bench"});
}

static void library_reduce_scatter(void *context)
{
    Sum *sum = context;
    MPI_Reduce_scatter(sum->library_in, sum->library, even_count, MPI_FLOAT, MPI_SUM, comm);
}

static void own_all_gather(void *context)
{
    Sum *sum = context;
    ts_all_gather(
        world,
        (TsTransfer){.out = sum->out, .in = sum->in, .first_elem = even_first, .dtype = TS_F32, .label = "bench"});
}

static void library_all_gather(void *context)
{
    Sum *sum = context;
    MPI_Allgather(sum->library_in, even_count[0], MPI_FLOAT, sum->library, even_count[0], MPI_FLOAT, comm);
}

static void check_blocks(Sum *sum)
{
    int rank = ts_group_rank(world), size = ts_group_size(world);
    for (int64_t i = 0; i < sum->count; i++)
        sum->in[i] = (float)(i % 1000 + rank);
    own_reduce_scatter(sum);
    for (int64_t i = even_first[rank]; i < even_first[rank + 1]; i++) {
        float wanted = (float)(i % 1000 * size + size * (size - 1) / 2), found = sum->out[i - even_first[rank]];
        TS_CHECK(found == wanted, "reduce-scatter: element %lld is %g, not %g", (long long)i, (double)found,
                 (double)wanted);
    }
    own_all_gather(sum);
    for (int r = 0; r < size; r++)
        for (int64_t i = 0; i < even_count[r]; i++)
            TS_CHECK(sum->out[even_first[r] + i] == (float)(i % 1000 + r), "all-gather: element %lld of rank %d",
                     (long long)i, r);
}

static Sum hosts_buffers(void)
{
    size_t bytes = (size_t)hosts_count * sizeof(float);
    int size = ts_group_size(world);
    even_first = ts_calloc((size_t)size + 1, sizeof *even_first);
    even_count = ts_calloc((size_t)size, sizeof *even_count);
    for (int r = 0; r < size; r++) {
        even_first[r + 1] = hosts_count * (r + 1) / size;
        even_count[r] = (int)(even_first[r + 1] - even_first[r]);
    }
    return (Sum){.in = ts_calloc(bytes, 1),
                 .out = ts_calloc(bytes, 1),
                 .library_in = ts_calloc(bytes, 1),
                 .library = ts_calloc(bytes, 1),
                 .count = hosts_count};
}

static void free_buffers(Sum *sum)
{
    ts_free(sum->in);
    ts_free(sum->out);
    ts_free(sum->library_in);
    ts_free(sum->library);
    ts_free(even_first);
    ts_free(even_count);
}

/* The median of ours, compared with the library's for the record. */
static double time_on_hosts(const char *name, Action *ours, Action *library, Sum *sum)
{
    double own[PAIRS], others[PAIRS];
    seconds_of(ours, sum, 1);
    seconds_of(library, sum, 1);
    for (int i = 0; i < PAIRS; i++) {
        own[i] = seconds_of(ours, sum, 1);
        others[i] = seconds_of(library, sum, 1);
    }
    if (ts_group_rank(world) == 0) {
        printf("%s\n", name);
        print_samples("ours", own);
        print_samples("baseline", others);
        fflush(stdout);
    }
    return median(own);
}

/* The bounds: 2 (n - 1) / n of 4 MiB over 400 Mbit/s for an all-reduce, half of that for its halves. */
static void bench_hosts(void)
{
    const double all_reduce_s = 0.126, half_s = 0.063;
    Sum sum = hosts_buffers();
    double all_reduce =
        time_on_hosts("all-reduce of 4 MiB; baseline MPI_Allreduce(in, out, 1048576, MPI_FLOAT, MPI_SUM)", own_sum,
                      library_sum, &sum);
    double reduce_scatter =
        time_on_hosts("reduce-scatter of 4 MiB; baseline MPI_Reduce_scatter(in, out, counts, MPI_FLOAT, MPI_SUM)",
                      own_reduce_scatter, library_reduce_scatter, &sum);
    double all_gather = time_on_hosts("all-gather of 4 MiB; baseline MPI_Allgather(in, 262144, MPI_FLOAT, out, …)",
                                      own_all_gather, library_all_gather, &sum);
    check_sum(&sum);
    check_blocks(&sum);
    free_buffers(&sum);
    if (ts_group_rank(world) != 0)
        return;
    bench_target("collectives/hosts-allreduce", all_reduce / all_reduce_s);
    bench_target("collectives/hosts-reduce-scatter", reduce_scatter / half_s);
    bench_target("collectives/hosts-allgather", all_gather / half_s);
}

/* ---- a reduction beside a matrix product */

enum { WIDTH = 256 }; /* of a piece of the product */

typedef struct Both {
    Sum sum;
    float *a, *b, *c; /* (WIDTH, WIDTH) */
    int pieces;       /* of the product: as many as take the time of the reduction */
} Both;

static void piece_of_product(const Both *both)
{
    ts_matmul(
        &(TsMatmul){.c = both->c, .a = both->a, .b = both->b, .m = WIDTH, .n = WIDTH, .k = WIDTH, .dtype = TS_F32});
}

static void product_alone(void *context)
{
    const Both *both = context;
    for (int i = 0; i < both->pieces; i++)
        piece_of_product(both);
}

static void reduction_alone(void *context)
{
    own_sum(&((Both *)context)->sum);
}

static void together(void *context)
{
    Both *both = context;
    TsRequest *request = ts_all_reduce_begin(world, (TsTransfer){.out = both->sum.out,
                                                                 .in = both->sum.in,
                                                                 .count_elems = both->sum.count,
                                                                 .dtype = TS_F32,
                                                                 .label = "bench"});
    for (int i = 0; i < both->pieces; i++) {
        piece_of_product(both);
        ts_request_poll(request);
    }
    ts_request_end(&request);
}

/* As many pieces as take the time of a reduction. */
static void make_equal(Both *both)
{
    both->pieces = 200;
    product_alone(both);
    double piece = seconds_of(product_alone, both, 3) / both->pieces, reduction = 0;
    reduction_alone(both);
    reduction = seconds_of(reduction_alone, both, 5);
    both->pieces = (int)(reduction / piece);
    MPI_Bcast(&both->pieces, 1, MPI_INT, 0, comm);
}

static void bench_overlap(void)
{
    double product[PAIRS], reduction[PAIRS], both_s[PAIRS];
    Both both = {.sum = hosts_buffers(), .pieces = 0};
    float **matrices[] = {&both.a, &both.b, &both.c};
    for (int m = 0; m < 3; m++)
        *matrices[m] = ts_calloc(WIDTH * WIDTH, sizeof(float));
    for (int i = 0; i < WIDTH * WIDTH; i++) {
        both.a[i] = (float)(i % 7);
        both.b[i] = i / WIDTH == i % WIDTH ? 2.0f : 0.0f;
    }
    make_equal(&both);
    for (int i = 0; i < PAIRS; i++) {
        product[i] = seconds_of(product_alone, &both, 1);
        reduction[i] = seconds_of(reduction_alone, &both, 1);
        both_s[i] = seconds_of(together, &both, 1);
    }
    check_sum(&both.sum);
    for (int i = 0; i < WIDTH * WIDTH; i++)
        TS_CHECK(both.c[i] == 2 * both.a[i], "element %d of the product is %g, not %g", i, (double)both.c[i],
                 (double)(2 * both.a[i]));
    if (ts_group_rank(world) == 0) {
        printf("all-reduce of 4 MiB and %d products of (%d, %d) by (%d, %d), polled after each\n", both.pieces, WIDTH,
               WIDTH, WIDTH, WIDTH);
        print_samples("product alone", product);
        print_samples("reduction alone", reduction);
        print_samples("both", both_s);
        bench_target("collectives/hosts-overlap", median(both_s) / fmax(median(product), median(reduction)));
    }
    for (int m = 0; m < 3; m++)
        ts_free(*matrices[m]);
    free_buffers(&both.sum);
}

int main(int argc, char **argv)
{
    ts_matmul_settle(argv);
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv("OPENBLAS_L2_SIZE");
    world = ts_runtime_start((TsRuntimeOptions){.watchdog_s = 60});
    comm = ts_group_native(world);
    const char *what = argc > 1 ? argv[1] : "node";
    int size = ts_group_size(world), nodes = ts_group_nodes(world);
    if (strcmp(what, "node") == 0 && size == 2 && nodes == 1)
        bench_node();
    else if (strcmp(what, "hosts") == 0 && size == 4 && nodes == 4)
        bench_hosts();
    else if (strcmp(what, "overlap") == 0 && size == 2 && nodes == 2)
        bench_overlap();
    else
        TS_CHECK(false, "collectives %s with %d ranks on %d nodes: see bench/collectives.sh", what, size, nodes);
    return ts_runtime_end(0);
}
