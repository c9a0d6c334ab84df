/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/accounting.h"

#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "test.h"

static const TsAccountRow *find(const TsAccountRow *rows, int count, const char *group, TsCommKind kind,
                                const char *label)
{
    for (int i = 0; i < count; i++)
        if (rows[i].kind == kind && strcmp(rows[i].group, group) == 0 && strcmp(rows[i].label, label) == 0)
            return &rows[i];
    return NULL;
}

static void calls_add_up_by_key(void)
{
    ts_account_reset();
    char same_text[] = "grad", other_text[] = "grad"; /* one label at two addresses is one label */
    ts_account(test_world, TS_COMM_ALL_REDUCE, same_text, 100, 2, 0.5);
    ts_account(test_world, TS_COMM_ALL_REDUCE, other_text, 11, 1, 0.25);
    ts_account(test_world, TS_COMM_ALL_REDUCE, "loss", 4, 1, 0.125);
    ts_account(test_world, TS_COMM_BROADCAST, same_text, 7, 1, 0);
    TsAccountRow rows[8];
    CU_ASSERT_EQUAL(ts_account_rows(rows, 8), 3);
    CU_ASSERT_EQUAL(rows[0].bytes, 111); /* the most bytes first */
    CU_ASSERT_EQUAL(rows[0].messages, 3);
    CU_ASSERT_EQUAL(rows[0].calls, 2);
    CU_ASSERT_DOUBLE_EQUAL(rows[0].seconds, 0.75, 0);
    CU_ASSERT_EQUAL(rows[0].kind, TS_COMM_ALL_REDUCE);
    CU_ASSERT_STRING_EQUAL(rows[0].group, "world");
    CU_ASSERT_PTR_NOT_NULL(find(rows, 3, "world", TS_COMM_BROADCAST, "grad"));
    CU_ASSERT_EQUAL(ts_account_rows(rows, 1), 3); /* how many there are, not how many fit */
    TsAccountRow total = ts_account_total(0, TS_COMM_ALL_REDUCE);
    CU_ASSERT_EQUAL(total.bytes, 115);
    CU_ASSERT_EQUAL(ts_account_total(0, TS_COMM_KINDS).bytes, 122);
    ts_account_reset();
    CU_ASSERT_EQUAL(ts_account_rows(rows, 8), 0);
    CU_ASSERT_EQUAL(ts_account_total(0, TS_COMM_KINDS).calls, 0);
}

/* Groups with long names are told apart as far as their names are kept, and no further. */
static void long_names(void)
{
    ts_account_reset();
    const char *const names[3] = {"a_name_of_thirty_one_characters", "a_name_of_thirty_one_characters_and_more",
                                  "a_name"};
    for (int i = 0; i < 3; i++) {
        TsGroup *group = ts_group_split(test_world, names[i], 0, 0);
        ts_account(group, TS_COMM_SEND, "x", 1 + i, 1, 0);
        ts_group_free(&group);
    }
    TsAccountRow rows[4];
    CU_ASSERT_EQUAL(ts_account_rows(rows, 4), 2);
    CU_ASSERT_EQUAL(rows[0].bytes + rows[1].bytes, 6);
    CU_ASSERT_EQUAL(strlen(rows[0].group) + strlen(rows[1].group), 31 + 6);
    ts_account_reset();
}

/* The table grows, and loses nothing. */
static void many_labels(void)
{
    enum { LABELS = 3000 };
    ts_account_reset();
    char **label = ts_alloc(LABELS * sizeof *label);
    for (int i = 0; i < LABELS; i++) {
        label[i] = ts_format("layer_%04d", i);
        ts_account(test_world, TS_COMM_SEND, label[i], i, 1, 0);
    }
    for (int i = 0; i < LABELS; i++)
        ts_account(test_world, TS_COMM_SEND, label[i], 1, 1, 0);
    TsAccountRow *rows = ts_alloc(LABELS * sizeof *rows);
    CU_ASSERT_EQUAL(ts_account_rows(rows, LABELS), LABELS);
    CU_ASSERT_EQUAL(rows[0].bytes, LABELS);
    CU_ASSERT_STRING_EQUAL(rows[0].label, "layer_2999");
    CU_ASSERT_EQUAL(rows[LABELS - 1].bytes, 1);
    CU_ASSERT_EQUAL(ts_account_total(0, TS_COMM_SEND).messages, 2 * LABELS);
    ts_account_reset();
    for (int i = 0; i < LABELS; i++)
        ts_free(label[i]);
    ts_free(label);
    ts_free(rows);
}

static void *account_often(void *label)
{
    for (int i = 0; i < 20000; i++)
        ts_account(test_world, TS_COMM_SEND, label, 3, 1, 0);
    return NULL;
}

static void threads_do_not_lose_counts(void)
{
    ts_account_reset();
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, account_often, i % 2 ? "odd" : "even");
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    CU_ASSERT_EQUAL(ts_account_total(0, TS_COMM_SEND).calls, 80000);
    CU_ASSERT_EQUAL(ts_account_total(0, TS_COMM_SEND).bytes, 240000);
    ts_account_reset();
}

/* Rows of a mesh's groups carry its axes; a ring's bytes are those of the formula: 2 n (p - 1) / p, half of it for
 * each half. */
static void rings_send_what_the_formula_says(void)
{
    int size = ts_group_size(test_world);
    TsMesh *mesh;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = size}}));
    TsAxisSet data = TS_AXIS_BIT(TS_AXIS_DATA);
    TsGroup *group = ts_mesh_group(mesh, data);
    int64_t block_elems = 1 << 14, count_elems = block_elems * size, first_elem[5];
    for (int r = 0; r <= size; r++)
        first_elem[r] = r * block_elems;
    float *whole = ts_calloc((size_t)count_elems, sizeof *whole),
          *block = ts_calloc((size_t)block_elems, sizeof *block);
    ts_account_reset();
    TsTransfer transfer = {.out = whole,
                           .in = whole,
                           .count_elems = count_elems,
                           .first_elem = first_elem,
                           .dtype = TS_F32,
                           .algorithm = TS_ALGORITHM_RING,
                           .label = "test/ring"};
    ts_all_reduce(group, transfer);
    transfer.out = block;
    ts_reduce_scatter(group, transfer);
    transfer.out = whole;
    transfer.in = block;
    ts_all_gather(group, transfer);
    int64_t half_bytes = 4 * block_elems * (size - 1);
    TsAxisSet axes = size > 1 ? data : 0; /* a mesh of one rank has no axis to speak of */
    CU_ASSERT_EQUAL(ts_account_total(axes, TS_COMM_ALL_REDUCE).bytes, 2 * half_bytes);
    CU_ASSERT_EQUAL(ts_account_total(axes, TS_COMM_REDUCE_SCATTER).bytes, half_bytes);
    CU_ASSERT_EQUAL(ts_account_total(axes, TS_COMM_ALL_GATHER).bytes, half_bytes);
    CU_ASSERT_EQUAL(ts_account_total(axes, TS_COMM_ALL_GATHER).calls, 1);
    TsAccountRow rows[4];
    CU_ASSERT_EQUAL(ts_account_rows(rows, 4), 3);
    CU_ASSERT_EQUAL(rows[0].axes, axes);
    CU_ASSERT_STRING_EQUAL(rows[0].group, size > 1 ? "data" : "self");
    CU_ASSERT_TRUE(rows[0].seconds >= 0);
    ts_account_reset();
    ts_mesh_free(&mesh);
    ts_free(whole);
    ts_free(block);
}

static void the_table_is_for_people(void)
{
    ts_account_reset();
    ts_account(test_world, TS_COMM_ALL_REDUCE, "layer_03/grad", 2500000, 12, 0.5);
    ts_account(test_world, TS_COMM_AGREE, "agree", 4, 1, 0);
    char text[2000] = "";
    FILE *file = tmpfile();
    ts_account_print(file);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "MB sent"));
    const char *grad = strstr(text, "layer_03/grad"), *agree = strstr(text, "agree"), *total = strstr(text, "total");
    CU_ASSERT_TRUE(grad && agree && total && grad < agree && agree < total);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "2.500"));
    ts_account_reset();
}

TEST_MAIN("accounting", {"calls add up by key", calls_add_up_by_key}, {"long names", long_names},
          {"many labels", many_labels}, {"threads do not lose counts", threads_do_not_lose_counts},
          {"rings send what the formula says", rings_send_what_the_formula_says},
          {"the table is for people", the_table_is_for_people})
