/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/label.h"

#include <pthread.h>
#include <string.h>

#include "comm/accounting.h"
#include "test.h"

enum { LABELS = 3000, THREADS = 4 };

static void *ask_for_all(void *argument)
{
    const char **label = argument;
    for (int i = 0; i < LABELS; i++) {
        char text[64];
        snprintf(text, sizeof text, "backbone/layer_%d/up", i);
        label[i] = ts_label(text);
    }
    return NULL;
}

static void one_text_is_one_label(void)
{
    static const char *label[THREADS][LABELS];
    pthread_t thread[THREADS];
    int wrong = 0;
    for (int t = 0; t < THREADS; t++)
        CU_ASSERT_EQUAL(pthread_create(&thread[t], NULL, ask_for_all, label[t]), 0);
    for (int t = 0; t < THREADS; t++)
        pthread_join(thread[t], NULL);
    for (int i = 0; i < LABELS; i++) {
        char text[64];
        snprintf(text, sizeof text, "backbone/layer_%d/up", i);
        for (int t = 0; t < THREADS; t++)
            wrong += label[t][i] != label[0][i];
        wrong += strcmp(label[0][i], text) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_STRING_EQUAL(ts_label(""), "");
}

/* The text that the label was made of may go. */
static void labels_outlive_their_texts(void)
{
    char text[] = "decoder/out";
    ts_account_reset();
    ts_account(test_world, TS_COMM_ALL_REDUCE, ts_label(text), 8, 1, 0);
    memset(text, '?', sizeof text - 1);
    TsAccountRow row = {.label = ""};
    CU_ASSERT_EQUAL(ts_account_rows(&row, 1), 1);
    CU_ASSERT_STRING_EQUAL(row.label, "decoder/out");
    ts_account_reset();
}

TEST_MAIN("labels", {"one text is one label", one_text_is_one_label},
          {"labels outlive their texts", labels_outlive_their_texts})
