/* ranks: 1 2 4 5 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests: several under way, ended in other orders than begun and in other orders on other ranks, polled by other
 * threads; send and receive; nothing allocated once warm.
 */
#include "test.h"

#include <pthread.h>

#include "base/memory.h"
#include "comm/algorithm.h"
#include "comm/collectives.h"
#include "comm/group_internal.h"
#include "comm/shared.h"

enum { REQUESTS = 6, COUNT = 20011 };

static TsTransfer transfer_of(int32_t *data, TsAlgorithm algorithm)
{
    return (TsTransfer){
        .out = data, .in = data, .count_elems = COUNT, .dtype = TS_I32, .algorithm = algorithm, .label = "several"};
}

/* Six sums under way; ranks end them in orders of their own. Returns how many elements are wrong. */
static int several(TsGroup *group, TsAlgorithm algorithm, bool polled)
{
    int rank = ts_group_rank(group), size = ts_group_size(group), wrong = 0;
    TsRequest *requests[REQUESTS];
    int32_t *data[REQUESTS];
    for (int q = 0; q < REQUESTS; q++) {
        data[q] = ts_alloc(COUNT * sizeof **data);
        for (int i = 0; i < COUNT; i++)
            data[q][i] = i * (q + 1) + rank;
        requests[q] = ts_all_reduce_begin(group, transfer_of(data[q], algorithm));
    }
    for (int turn = 0; polled && turn < 10; turn++)
        for (int q = REQUESTS; q-- > 0;)
            ts_request_poll(requests[q]);
    for (int turn = 0; turn < REQUESTS; turn++) {
        int q = rank % 2 ? turn : REQUESTS - 1 - turn;
        ts_request_end(&requests[q]);
        CU_ASSERT_PTR_NULL(requests[q]);
    }
    for (int q = 0; q < REQUESTS; q++) {
        for (int i = 0; i < COUNT; i++)
            wrong += data[q][i] != i * (q + 1) * size + size * (size - 1) / 2;
        ts_free(data[q]);
    }
    return wrong;
}

static void in_any_order(void)
{
    int none = 0;
    for (int algorithm = 0; algorithm < TS_ALGORITHMS; algorithm++)
        for (int polled = 0; polled < 2; polled++)
            none += several(test_world, (TsAlgorithm)algorithm, polled);
    CU_ASSERT_EQUAL(none, 0);
}

static void over_nodes_in_any_order(void)
{
    int size = ts_group_size(test_world), wrong = 0;
    int *nodes = ts_calloc((size_t)size, sizeof *nodes), *pretended = ts_calloc((size_t)size, sizeof *pretended);
    for (int r = 0; r < size; r++) {
        nodes[r] = ts_group_node_of(test_world, r);
        pretended[r] = r / 2;
    }
    ts_group_set_layout(pretended, size);
    TsGroup *group = ts_group_duplicate(test_world, "pairs");
    ts_group_set_layout(nodes, size);
    for (int polled = 0; polled < 2; polled++)
        wrong += several(group, TS_ALGORITHM_HIERARCHICAL, polled);
    CU_ASSERT_EQUAL(wrong, 0);
    ts_group_free(&group);
    ts_free(nodes);
    ts_free(pretended);
}

/* Two groups of the same ranks; even ranks end the one first, odd ranks the other. */
static void on_two_groups(void)
{
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world), wrong = 0;
    TsGroup *other = ts_group_duplicate(test_world, "other");
    for (int algorithm = 0; algorithm < TS_ALGORITHMS; algorithm++) {
        int32_t *data[2];
        TsRequest *requests[2];
        for (int g = 0; g < 2; g++) {
            data[g] = ts_alloc(COUNT * sizeof **data);
            for (int i = 0; i < COUNT; i++)
                data[g][i] = i;
            requests[g] = ts_all_reduce_begin(g ? other : test_world, transfer_of(data[g], (TsAlgorithm)algorithm));
        }
        ts_request_end(&requests[rank % 2]);
        ts_request_end(&requests[1 - rank % 2]);
        for (int g = 0; g < 2; g++) {
            for (int i = 0; i < COUNT; i++)
                wrong += data[g][i] != i * size;
            ts_free(data[g]);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    ts_group_free(&other);
}

typedef struct Helper {
    TsRequest *request;
    atomic_bool stop;
} Helper;

static void *keep_polling(void *argument)
{
    Helper *helper = argument;
    while (!atomic_load(&helper->stop))
        ts_request_poll(helper->request);
    return NULL;
}

/* A helper thread drives the request; the caller only ends it. */
static void polled_by_a_helper(void)
{
    int size = ts_group_size(test_world), wrong = 0;
    int32_t *data = ts_alloc(COUNT * sizeof *data);
    for (int algorithm = 0; algorithm < TS_ALGORITHMS; algorithm++) {
        for (int i = 0; i < COUNT; i++)
            data[i] = i;
        Helper helper = {.request = ts_all_reduce_begin(test_world, transfer_of(data, (TsAlgorithm)algorithm))};
        pthread_t thread;
        CU_ASSERT_EQUAL(pthread_create(&thread, NULL, keep_polling, &helper), 0);
        while (!ts_request_poll(helper.request))
            ;
        atomic_store(&helper.stop, true);
        pthread_join(thread, NULL);
        ts_request_end(&helper.request);
        for (int i = 0; i < COUNT; i++)
            wrong += data[i] != i * size;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    ts_free(data);
}

/* Round a ring, two labels, sent in one order and received in the other; beyond one piece. */
static void send_and_receive(void)
{
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world), wrong = 0;
    int to = (rank + 1) % size, from = (rank + size - 1) % size;
    double *sent = ts_alloc(2 * COUNT * sizeof *sent), *received = ts_calloc(2 * COUNT, sizeof *received);
    for (int i = 0; i < 2 * COUNT; i++)
        sent[i] = rank * 1e6 + i;
    ts_algorithm_set_cuts(4096);
    static const char *const labels[] = {"first", "second"};
    TsRequest *requests[4];
    for (int m = 0; m < 2; m++)
        requests[m] = ts_send_begin(
            test_world, (TsTransfer){.in = sent + m * COUNT, .count_elems = COUNT, .dtype = TS_F64, .label = labels[m]},
            to);
    for (int m = 1; m >= 0; m--)
        requests[2 + m] = ts_receive_begin(
            test_world,
            (TsTransfer){.out = received + m * COUNT, .count_elems = COUNT, .dtype = TS_F64, .label = labels[m]}, from);
    for (int q = 3; q >= 0; q--)
        ts_request_end(&requests[q]);
    ts_algorithm_set_cuts(0);
    for (int i = 0; i < 2 * COUNT; i++)
        wrong += received[i] != from * 1e6 + i;
    CU_ASSERT_EQUAL(wrong, 0);
    if (size > 1 && rank < 2) { /* blocking, between the first two */
        TsTransfer message = {.in = sent, .out = received, .count_elems = 3, .dtype = TS_F64, .label = "blocking"};
        if (rank == 0)
            ts_send(test_world, message, 1);
        else
            ts_receive(test_world, message, 0);
        CU_ASSERT_EQUAL(received[2], rank == 0 ? from * 1e6 + 2 : 2);
    }
    ts_free(sent);
    ts_free(received);
}

/* No rank leaves a barrier before the last has come: each looks at the arrivals of those whose memory it sees. */
static void barriers_hold(void)
{
    int wrong = 0;
    _Atomic int *arrived = ts_shared_alloc(test_world, sizeof *arrived);
    for (int round = 1; round <= 50; round++) {
        atomic_store(arrived, round);
        ts_barrier(test_world, "barrier");
        for (int r = 0; r < ts_group_node_size(test_world); r++) {
            TsPlace place = ts_window_place(test_world, (const void *)arrived, sizeof *arrived);
            place.owner = r;
            wrong += atomic_load((_Atomic int *)ts_window_at(place)) < round;
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    ts_shared_free((void *)arrived);
}

static void nothing_allocated_once_warm(void)
{
    int64_t before = 0;
    int32_t *data = ts_calloc(COUNT, sizeof *data);
    for (int round = 0; round < 4; round++) {
        if (round == 2)
            before = ts_memory_usage().allocations;
        for (int algorithm = 0; algorithm < TS_ALGORITHMS; algorithm++)
            ts_all_reduce(test_world, transfer_of(data, (TsAlgorithm)algorithm));
    }
    CU_ASSERT_EQUAL(ts_memory_usage().allocations, before);
    ts_free(data);
}

static void accounted_by_the_formulas(void)
{
    int64_t size = ts_group_size(test_world), count = 64 * size;
    float *data = ts_calloc((size_t)count, sizeof *data);
    for (int algorithm = 0; algorithm < TS_ALGORITHMS; algorithm++) {
        ts_account_reset();
        TsTransfer transfer = {.out = data, .in = data, .count_elems = count, .dtype = TS_F32, .label = "counted"};
        transfer.algorithm = (TsAlgorithm)algorithm;
        ts_all_reduce(test_world, transfer);
        TsAccountRow row = ts_account_total(0, TS_COMM_ALL_REDUCE);
        CU_ASSERT_EQUAL(row.calls, 1);
        CU_ASSERT_EQUAL(row.bytes, 2 * count * (size - 1) / size * 4);
    }
    ts_free(data);
}

TEST_MAIN("requests", {"several, ended in any order", in_any_order}, {"the same over nodes", over_nodes_in_any_order},
          {"on two groups", on_two_groups}, {"polled by a helper thread", polled_by_a_helper},
          {"send and receive", send_and_receive}, {"barriers hold", barriers_hold},
          {"nothing allocated once warm", nothing_allocated_once_warm},
          {"accounted by the formulas", accounted_by_the_formulas})
