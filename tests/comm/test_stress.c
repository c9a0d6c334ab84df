/* ranks: 2 4 8 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * All collectives at once: random kinds, sizes, algorithms, memory and groups, several under way, ended in an order of
 * each rank's own, with computing and other collectives between. What a round does follows from the seed, the same on
 * all ranks; when it does it is each rank's own. TESSERA_STRESS_S says for how long (1.5 s), TESSERA_STRESS_SEED from
 * which seed on.
 */
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "comm/algorithm.h"
#include "comm/collectives.h"
#include "comm/group_internal.h"
#include "comm/shared.h"

enum { OPEN = 7, GROUPS = 3, MOST = 40000 };

/* A sequence of numbers (splitmix64). */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int below(uint64_t *state, int limit)
{
    return (int)(next(state) % (uint64_t)limit);
}

/* One collective under way, and its memory. */
typedef struct Flight {
    TsGroup *group;
    TsCommKind kind;
    int64_t count;
    int seed;
    int32_t *in, *out;                /* whichever of these it uses: */
    int32_t *memory[2][2];            /* [of the world's window, ordinary][in, out] (MOST) */
    int64_t *first_elem, *first_from; /* (size + 1) */
    TsRequest *request;
} Flight;

/* What rank `rank` brings at element `i`. */
static int32_t value(const Flight *flight, int rank, int64_t i)
{
    return (int32_t)((i * 31 + rank * 17 + flight->seed) % 1009);
}

/* How much goes from one rank to another in an exchange. */
static int64_t between(const Flight *flight, int from, int to)
{
    return (flight->count / 16 * ((from + 2 * to + flight->seed) % 4)) / ts_group_size(flight->group);
}

static void cut(Flight *flight, uint64_t *state)
{
    int size = ts_group_size(flight->group);
    int64_t left = flight->count;
    for (int r = 0; r < size; r++) {
        int64_t block = below(state, 3) == 0 ? 0 : below(state, (int)left + 1);
        flight->first_elem[r + 1] = flight->first_elem[r] + (r == size - 1 ? left : block);
        left -= block;
    }
}

static void cut_exchange(Flight *flight)
{
    int rank = ts_group_rank(flight->group);
    for (int r = 0; r < ts_group_size(flight->group); r++) {
        flight->first_elem[r + 1] = flight->first_elem[r] + between(flight, rank, r);
        flight->first_from[r + 1] = flight->first_from[r] + between(flight, r, rank);
    }
}

static void fill(Flight *flight)
{
    int rank = ts_group_rank(flight->group);
    int64_t begin = 0, count = flight->count;
    if (flight->kind == TS_COMM_ALL_GATHER) {
        begin = flight->first_elem[rank];
        count = flight->first_elem[rank + 1] - begin;
    } else if (flight->kind == TS_COMM_ALL_TO_ALL) {
        count = flight->first_elem[ts_group_size(flight->group)];
    }
    for (int64_t i = 0; i < count; i++)
        flight->in[i] = value(flight, rank, begin + i);
}

/* Begins one; `round` moves on by the same steps on all ranks, whatever the size of their group. */
static void launch(Flight *flight, TsGroup *const *groups, uint64_t *round, int rank)
{
    static const TsCommKind kinds[] = {TS_COMM_ALL_REDUCE, TS_COMM_REDUCE_SCATTER, TS_COMM_ALL_GATHER,
                                       TS_COMM_ALL_TO_ALL};
    static const int sizes[] = {1, 50, 3000, MOST};
    uint64_t seed = next(round), *state = &seed;
    flight->group = groups[below(state, GROUPS)];
    flight->kind = kinds[below(state, 4)];
    flight->count = below(state, sizes[below(state, 4)] + 1);
    flight->seed = below(state, 1000);
    TsAlgorithm algorithm = (TsAlgorithm)below(state, TS_ALGORITHMS);
    if (flight->kind == TS_COMM_ALL_TO_ALL)
        cut_exchange(flight);
    else
        cut(flight, state);
    int place = below(state, 3) == 2 ? rank % 2 : below(state, 2); /* on all alike, or on each its own */
    flight->in = flight->memory[place][0];
    flight->out = flight->memory[place][1];
    fill(flight);
    TsTransfer transfer = {.out = flight->out,
                           .in = flight->in,
                           .count_elems = flight->count,
                           .first_elem = flight->first_elem,
                           .dtype = TS_I32,
                           .algorithm = algorithm,
                           .label = "stress"};
    if (flight->kind == TS_COMM_ALL_REDUCE)
        flight->request = ts_all_reduce_begin(flight->group, transfer);
    else if (flight->kind == TS_COMM_REDUCE_SCATTER)
        flight->request = ts_reduce_scatter_begin(flight->group, transfer);
    else if (flight->kind == TS_COMM_ALL_GATHER)
        flight->request = ts_all_gather_begin(flight->group, transfer);
    else
        flight->request = ts_all_to_all_begin(flight->group, (TsExchange){.out = flight->out,
                                                                          .in = flight->in,
                                                                          .send_first = flight->first_elem,
                                                                          .receive_first = flight->first_from,
                                                                          .dtype = TS_I32,
                                                                          .algorithm = algorithm,
                                                                          .label = "stress"});
}

static int64_t sum(const Flight *flight, int64_t i)
{
    int64_t total = 0;
    for (int r = 0; r < ts_group_size(flight->group); r++)
        total += value(flight, r, i);
    return total;
}

/* How many elements of the result are not as they should be. */
static int64_t land(Flight *flight)
{
    int rank = ts_group_rank(flight->group), size = ts_group_size(flight->group);
    const int64_t *first = flight->first_elem;
    int64_t wrong = 0;
    ts_request_end(&flight->request);
    switch (flight->kind) {
    case TS_COMM_ALL_REDUCE:
        for (int64_t i = 0; i < flight->count; i++)
            wrong += flight->out[i] != sum(flight, i);
        break;
    case TS_COMM_REDUCE_SCATTER:
        for (int64_t i = first[rank]; i < first[rank + 1]; i++)
            wrong += flight->out[i - first[rank]] != sum(flight, i);
        break;
    case TS_COMM_ALL_GATHER:
        for (int r = 0; r < size; r++)
            for (int64_t i = first[r]; i < first[r + 1]; i++)
                wrong += flight->out[i] != value(flight, r, i);
        break;
    default: /* of what rank r sent, the stretch for this rank */
        for (int r = 0; r < size; r++) {
            int64_t begin = 0;
            for (int to = 0; to < rank; to++)
                begin += between(flight, r, to);
            for (int64_t i = 0; i < between(flight, r, rank); i++)
                wrong += flight->out[flight->first_from[r] + i] != value(flight, r, begin + i);
        }
    }
    return wrong;
}

/* Work of up to a quarter of a millisecond, each rank its own. */
static void compute(uint64_t *own)
{
    volatile int64_t work = below(own, 3) ? 0 : below(own, 200000);
    while (work > 0)
        work = work - 1;
}

/* Small collectives among those that are under way. */
static int between_them(TsGroup *group, uint64_t *state)
{
    int size = ts_group_size(group), rank = ts_group_rank(group), root = below(state, size), failing = below(state, 9);
    int32_t number = rank == root ? failing : -1;
    switch (below(state, 6)) {
    case 0:
        ts_barrier(group, "stress");
        return 0;
    case 1:
        ts_broadcast(group, (TsTransfer){.out = &number, .in = &number, .count_elems = 1, .dtype = TS_I32}, root);
        return number != failing;
    case 2: {
        TsStatus status = rank == failing ? ts_status_error(TS_CODE_INVALID, "as it should be") : TS_OK;
        status = ts_comm_agree(group, status);
        int wrong = (status != TS_OK) != (failing < size);
        ts_status_free(&status);
        return wrong;
    }
    case 3: {
        TsGroup *half = failing == 0 ? ts_group_split(group, "half", rank % 2, rank) : NULL;
        ts_group_free(&half);
        return 0;
    }
    default:
        return 0;
    }
}

/* A round: several collectives begun, polled now and then, and ended in an order of this rank's own. */
static int64_t one_round(Flight *flights, TsGroup *const *groups, uint64_t seed)
{
    int rank = ts_group_rank(groups[0]), order[OPEN];
    uint64_t state = seed, own = seed * 1000 + (uint64_t)rank;
    int open = 1 + below(&state, OPEN);
    int64_t wrong = 0;
    for (int f = 0; f < open; f++) {
        launch(&flights[f], groups, &state, rank);
        compute(&own);
        ts_request_poll(flights[below(&own, f + 1)].request);
        order[f] = f;
    }
    int middle = below(&state, open + 1); /* how many end before what is between */
    for (int f = 0; f < open; f++) {
        if (f == middle)
            wrong += between_them(groups[below(&state, GROUPS)], &state);
        int chosen = f + below(&own, open - f), flight = order[chosen];
        order[chosen] = order[f];
        wrong += land(&flights[flight]);
        compute(&own);
    }
    return wrong;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double number_from(const char *name, double otherwise)
{
    const char *text = getenv(name);
    return text ? strtod(text, NULL) : otherwise;
}

/* Whether the time is over, by rank 0's clock. */
static bool time_is_over(double until_s)
{
    int32_t over = now_s() > until_s;
    ts_broadcast(test_world, (TsTransfer){.out = &over, .in = &over, .count_elems = 1, .dtype = TS_I32}, 0);
    return over;
}

static void stress(TsGroup *const *groups, double seconds)
{
    int size = ts_group_size(groups[0]);
    Flight flights[OPEN] = {0};
    for (int f = 0; f < OPEN; f++) {
        for (int b = 0; b < 2; b++) {
            flights[f].memory[0][b] = ts_shared_alloc(groups[0], MOST * sizeof(int32_t));
            flights[f].memory[1][b] = ts_calloc(MOST, sizeof(int32_t));
        }
        flights[f].first_elem = ts_calloc((size_t)size + 1, sizeof(int64_t));
        flights[f].first_from = ts_calloc((size_t)size + 1, sizeof(int64_t));
    }
    uint64_t seed = (uint64_t)number_from("TESSERA_STRESS_SEED", 1);
    double until_s = now_s() + seconds;
    int64_t wrong = 0;
    for (int rounds = 0; rounds % 8 || !time_is_over(until_s); rounds++, seed++) {
        int64_t more = one_round(flights, groups, seed);
        if (more && !wrong)
            fprintf(stderr, "rank %d: the first wrong round is that of seed %llu\n", ts_group_rank(groups[0]),
                    (unsigned long long)seed);
        wrong += more;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    for (int f = 0; f < OPEN; f++) {
        for (int b = 0; b < 2; b++) {
            ts_shared_free(flights[f].memory[0][b]);
            ts_free(flights[f].memory[1][b]);
        }
        ts_free(flights[f].first_elem);
        ts_free(flights[f].first_from);
    }
}

/* The groups of the test, made of `world`. */
static void stress_on(TsGroup *world)
{
    int rank = ts_group_rank(world), size = ts_group_size(world);
    TsGroup *part = ts_group_split(world, "part", rank < (size + 1) / 2, -rank);
    TsGroup *other = ts_group_duplicate(world, "other");
    double seconds = number_from("TESSERA_STRESS_S", 1.5);
    ts_algorithm_set_cuts(8192); /* pieces and lanes also where little is moved */
    stress((TsGroup *[GROUPS]){world, other, part}, seconds / 2);
    ts_algorithm_set_cuts(0);
    stress((TsGroup *[GROUPS]){world, other, part}, seconds / 2);
    ts_group_free(&other);
    ts_group_free(&part);
}

static void on_one_node(void)
{
    stress_on(test_world);
}

/* Two and more ranks a node, the last node not full. */
static void on_nodes(void)
{
    int size = ts_group_size(test_world);
    int *node_of = ts_calloc((size_t)size, sizeof *node_of), *real = ts_calloc((size_t)size, sizeof *real);
    for (int r = 0; r < size; r++) {
        real[r] = ts_group_node_of(test_world, r);
        node_of[r] = r * 2 / (size + 1);
    }
    ts_group_set_layout(node_of, size);
    TsGroup *world = ts_group_duplicate(test_world, "nodes");
    stress_on(world);
    ts_group_free(&world);
    ts_group_set_layout(real, size);
    ts_free(node_of);
    ts_free(real);
}

/* A thread with a group of its own, as one that writes checkpoints has. */
typedef struct Writer {
    TsGroup *group;
    int wrong;
} Writer;

static void *agree_on_and_on(void *argument)
{
    Writer *writer = argument;
    for (int i = 0; i < 300; i++) {
        int32_t number = i;
        ts_all_reduce(writer->group, (TsTransfer){.out = &number, .in = &number, .count_elems = 1, .dtype = TS_I32});
        TsStatus status = ts_comm_agree(writer->group, TS_OK);
        writer->wrong += number != i * ts_group_size(writer->group) || status;
        ts_status_free(&status);
    }
    return NULL;
}

static void beside_another_thread(void)
{
    Writer writer = {.group = ts_group_duplicate(test_world, "writer")};
    pthread_t thread;
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, agree_on_and_on, &writer), 0);
    stress_on(test_world);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(writer.wrong, 0);
    ts_group_free(&writer.group);
}

TEST_MAIN("stress", {"on one node", on_one_node}, {"on nodes", on_nodes},
          {"beside another thread", beside_another_thread})
