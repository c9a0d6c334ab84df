/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/slow.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "test.h"

static char names[6][TS_HOST_BYTES] = {"a", "a", "b", "b", "c", "c"};
static const TsHosts hosts = {.ranks = 6, .name = names};

/* Whether something is said, and that it names the host. */
static bool says(TsSlow *slow, const TsHosts *of, const double *own_s, const char *host)
{
    char *text = ts_slow_note(slow, of, own_s, 10), start[TS_HOST_BYTES + 16];
    bool said = text != NULL;
    snprintf(start, sizeof start, "%s is slow: ", host);
    if (said)
        CU_ASSERT_EQUAL(strncmp(text, start, strlen(start)), 0);
    ts_free(text);
    return said;
}

static void names_the_slow_one(void)
{
    static const double even[] = {1, 1.1, 1, 1, 0.9, 1}, slow_b[] = {1, 1, 2, 1, 1, 1}, slow_c[] = {1, 1, 1, 1, 3, 3};
    TsSlow slow = {.rank = -1};
    int said = 0;
    for (int i = 0; i < 100; i++)
        said += says(&slow, &hosts, even, "nobody");
    CU_ASSERT_EQUAL(said, 0);
    for (int i = 1; i <= 30; i++) { /* the third time, the sixth, the twelfth */
        bool now = says(&slow, &hosts, slow_b, "b");
        CU_ASSERT_EQUAL(now, i == 3 || i == 6 || i == 12 || i == 24);
    }
    CU_ASSERT_FALSE(says(&slow, &hosts, slow_c, "c")); /* another: it counts anew */
    CU_ASSERT_FALSE(says(&slow, &hosts, slow_c, "c"));
    CU_ASSERT_TRUE(says(&slow, &hosts, slow_c, "c"));
    CU_ASSERT_FALSE(says(&slow, &hosts, even, "nobody"));
    CU_ASSERT_FALSE(says(&slow, &hosts, slow_c, "c"));
}

static void what_is_said(void)
{
    static const double times[] = {1, 1, 1, 1, 4, 2};
    TsSlow slow = {.rank = -1};
    ts_slow_note(&slow, &hosts, times, 10);
    ts_slow_note(&slow, &hosts, times, 10);
    char *text = ts_slow_note(&slow, &hosts, times, 10);
    CU_ASSERT_STRING_EQUAL(text,
                           "c is slow: its ranks work 0.3 s a step, those of the other hosts 0.1 s, and wait for it; 3 "
                           "times in a row now");
    ts_free(text);
}

/* One host is compared with nothing, whatever its ranks do; of two, with the other. */
static void few_hosts(void)
{
    static const double times[] = {1, 9, 9, 1};
    TsHosts one = {.ranks = 2, .name = names}, two = {.ranks = 2, .name = names + 1};
    TsSlow slow = {.rank = -1};
    for (int i = 0; i < 10; i++)
        CU_ASSERT_FALSE(says(&slow, &one, times, "a"));
    CU_ASSERT_FALSE(says(&slow, &two, times, "b"));
    CU_ASSERT_FALSE(says(&slow, &two, times, "b"));
    CU_ASSERT_TRUE(says(&slow, &two, times, "b"));
}

TEST_MAIN("slow", {"names the slow one", names_the_slow_one}, {"what is said", what_is_said}, {"few hosts", few_hosts})
