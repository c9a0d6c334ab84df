/* ranks: 2 3 4 5 8 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract where ranks lie on several nodes: this machine is taken for many, evenly and unevenly filled, with ranks
 * side by side and dealt round.
 */
#include "contract.h"

#include "comm/group_internal.h"

/* The group of all ranks as if rank r lay on node node_of[r]. */
static TsGroup *lay_out(const int *node_of)
{
    int size = ts_group_size(test_world);
    int *real = ts_calloc((size_t)size, sizeof *real);
    for (int r = 0; r < size; r++)
        real[r] = ts_group_node_of(test_world, r);
    ts_group_set_layout(node_of, size);
    TsGroup *group = ts_group_duplicate(test_world, "laid out");
    ts_group_set_layout(real, size);
    ts_free(real);
    return group;
}

static void contract_of(int (*node)(int rank, int size), Memory memory)
{
    int size = ts_group_size(test_world);
    int *node_of = ts_calloc((size_t)size, sizeof *node_of);
    for (int r = 0; r < size; r++)
        node_of[r] = node(r, size);
    TsGroup *group = lay_out(node_of);
    contract_on(group, memory);
    ts_algorithm_set_cuts(512);
    contract_on(group, memory);
    ts_algorithm_set_cuts(0);
    ts_group_free(&group);
    ts_free(node_of);
}

static int pairs(int rank, int size)
{
    (void)size;
    return rank / 2;
}

static int dealt(int rank, int size)
{
    return size - 1 - rank % 2; /* 2 nodes, numbered high to low */
}

static int one_apart(int rank, int size)
{
    return rank == size - 1;
}

static int three_uneven(int rank, int size)
{
    return rank == 0 ? size - 1 : rank % 3 == 1 ? 1 : 0;
}

static int all_apart(int rank, int size)
{
    (void)size;
    return rank;
}

static void in_pairs(void)
{
    contract_of(pairs, ORDINARY);
    contract_of(pairs, SHARED);
}

static void dealt_round(void)
{
    contract_of(dealt, ORDINARY);
}

static void unevenly(void)
{
    contract_of(one_apart, MIXED);
    contract_of(three_uneven, ORDINARY);
}

static void each_on_its_own(void)
{
    contract_of(all_apart, ORDINARY);
}

/* The tree's sums have the same bits whatever the layout. */
static void same_bits_by_tree(void)
{
    enum { COUNT = 2000 };
    int size = ts_group_size(test_world), rank = ts_group_rank(test_world);
    int *node_of = ts_calloc((size_t)size, sizeof *node_of);
    float in[COUNT], here[COUNT], there[COUNT];
    for (int i = 0; i < COUNT; i++)
        in[i] = 1.0f / (float)(1 + rank * 7 + i);
    TsTransfer transfer = {.in = in, .count_elems = COUNT, .dtype = TS_F32, .algorithm = TS_ALGORITHM_TREE};
    transfer.out = here;
    ts_all_reduce(test_world, transfer);
    for (int r = 0; r < size; r++)
        node_of[r] = r % 2;
    TsGroup *group = lay_out(node_of);
    transfer.out = there;
    ts_all_reduce(group, transfer);
    CU_ASSERT_EQUAL(memcmp(here, there, sizeof here), 0);
    int64_t *first = ts_calloc((size_t)size + 1, sizeof *first);
    for (int r = 0; r <= size; r++)
        first[r] = r == size ? COUNT : COUNT * r * r / size / size;
    transfer.first_elem = first;
    ts_reduce_scatter(group, transfer);
    CU_ASSERT_EQUAL(memcmp(here + first[rank], there, (size_t)(first[rank + 1] - first[rank]) * sizeof(float)), 0);
    ts_group_free(&group);
    ts_free(first);
    ts_free(node_of);
}

TEST_MAIN("collectives and layout", {"in pairs", in_pairs}, {"dealt round", dealt_round}, {"unevenly", unevenly},
          {"each on its own", each_on_its_own}, {"same bits by the tree", same_bits_by_tree})
