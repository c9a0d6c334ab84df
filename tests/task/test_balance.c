/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Balancing methods against automatic differentiation, from tests/golden/balance.txt (make_balance.py beside it writes
 * it); PCGrad against the plain algorithm on whole gradients.
 */
#include "task/mixture/balance.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/permutation.h"
#include "test.h"

enum { MOST = 5, WIDTH = 7 };

static TsChoice choose(const char *name, const void *keys)
{
    for (int64_t i = 0; i < ts_balances.count; i++)
        if (strcmp(ts_balances.items[i].name, name) == 0)
            return (TsChoice){&ts_balances.items[i], keys};
    return (TsChoice){0};
}

static void read_numbers(FILE *file, double *numbers, int count)
{
    for (int i = 0; i < count; i++)
        CU_ASSERT_EQUAL(fscanf(file, "%lf", &numbers[i]), 1);
}

static void run_case(FILE *file, TsChoice method, int count, int steps)
{
    TsBalance *balance = ts_balance_create(method, count, 1);
    for (int step = 1; step <= steps; step++) {
        double loss[MOST], gram[MOST * MOST], expected[MOST], coefficient[MOST];
        read_numbers(file, loss, count);
        read_numbers(file, gram, count * count);
        read_numbers(file, expected, count);
        ts_balance_coefficients(balance, coefficient, NULL, NULL, step);
        for (int i = 0; i < count; i++)
            CU_ASSERT_DOUBLE_EQUAL(coefficient[i], expected[i], 1e-10);
        ts_balance_update(balance, loss, ts_balance_takes_gram(balance) ? gram : NULL, NULL);
    }
    ts_balance_free(&balance);
}

static void equals_automatic_differentiation(void)
{
    TsUncertaintyConfig uncertainty = {.rate = 0.02};
    TsDynamicAverageConfig average = {.temperature = 2, .every = 4};
    TsGradnormConfig gradnorm = {.alpha = 1.5, .rate = 0.025};
    FILE *file = fopen("tests/golden/balance.txt", "r");
    CU_ASSERT_PTR_NOT_NULL(file);
    char method[64];
    int count, steps, cases = 0;
    while (file && fscanf(file, " case %63s %d %d", method, &count, &steps) == 3) {
        run_case(file,
                 choose(method, strcmp(method, "uncertainty") == 0       ? (const void *)&uncertainty
                                : strcmp(method, "dynamic_average") == 0 ? (const void *)&average
                                                                         : &gradnorm),
                 count, steps);
        cases++;
    }
    CU_ASSERT_EQUAL(cases, 3);
    if (file)
        fclose(file);
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int k = 0; k < WIDTH; k++)
        sum += a[k] * b[k];
    return sum;
}

/* Gradients of which many conflict; their Gram matrix. */
static void draw(double (*gradient)[WIDTH], double *gram, int count, uint64_t seed)
{
    float normal[MOST * WIDTH];
    ts_stream_fill_normal_f32(ts_stream(seed, "gradients", 0), normal, 0, MOST * WIDTH);
    for (int i = 0; i < count * WIDTH; i++)
        gradient[i / WIDTH][i % WIDTH] = (double)normal[i];
    for (int i = 0; i < count * count; i++)
        gram[i] = dot(gradient[i / count], gradient[i % count]);
}

/* As in the paper, on whole gradients, in the order that the seed gives. */
static void project(double *sum, double (*gradient)[WIDTH], int count, uint64_t seed, int64_t step)
{
    memset(sum, 0, WIDTH * sizeof *sum);
    for (int i = 0; i < count; i++) {
        TsPermutation order = ts_permutation(ts_stream(seed, "pcgrad", step * count + i), count);
        double own[WIDTH];
        memcpy(own, gradient[i], sizeof own);
        for (int at = 0; at < count; at++) {
            int j = (int)ts_permute(&order, at);
            double overlap = dot(own, gradient[j]);
            for (int k = 0; k < WIDTH && j != i && overlap < 0; k++)
                own[k] -= overlap / dot(gradient[j], gradient[j]) * gradient[j][k];
        }
        for (int k = 0; k < WIDTH; k++)
            sum[k] += own[k];
    }
}

static void pcgrad_equals_the_plain_algorithm(void)
{
    double gradient[MOST][WIDTH], gram[MOST * MOST], coefficient[MOST], expected[WIDTH];
    int changed = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        TsBalance *balance = ts_balance_create(choose("pcgrad", NULL), MOST, seed);
        CU_ASSERT_TRUE(ts_balance_waits_for_gradients(balance));
        draw(gradient, gram, MOST, seed);
        ts_balance_coefficients(balance, coefficient, gram, NULL, 9);
        project(expected, gradient, MOST, seed, 9);
        for (int k = 0; k < WIDTH; k++) {
            double found = 0;
            for (int i = 0; i < MOST; i++)
                found += coefficient[i] * gradient[i][k];
            CU_ASSERT_DOUBLE_EQUAL(found, expected[k], 1e-12);
        }
        changed += coefficient[0] != 1;
        ts_balance_free(&balance);
    }
    CU_ASSERT(changed > 10);
}

/* What is left of two gradients never goes against either. */
static void two_tasks_do_not_conflict(void)
{
    double gradient[2][WIDTH], gram[4], coefficient[2];
    int conflicts = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        TsBalance *balance = ts_balance_create(choose("pcgrad", NULL), 2, seed);
        draw(gradient, gram, 2, seed);
        conflicts += gram[1] < 0;
        ts_balance_coefficients(balance, coefficient, gram, NULL, 1);
        for (int i = 0; i < 2; i++)
            CU_ASSERT(coefficient[0] * gram[i] + coefficient[1] * gram[2 + i] >= -1e-12);
        ts_balance_free(&balance);
    }
    CU_ASSERT(conflicts > 10);
}

/* A task that is not there counts nothing, and others are as if it never was. */
static void inactive_tasks_count_nothing(void)
{
    static const bool active[] = {true, false, true};
    const double loss[] = {1, 5, 2}, gram[] = {1, -1, -0.5, -1, 4, 1, -0.5, 1, 2};
    TsUncertaintyConfig uncertainty = {.rate = 0.1};
    TsDynamicAverageConfig average = {.temperature = 2, .every = 1};
    TsGradnormConfig gradnorm = {.alpha = 1.5, .rate = 0.1};
    const TsChoice choices[] = {choose("fixed", NULL), choose("uncertainty", &uncertainty),
                                choose("dynamic_average", &average), choose("gradnorm", &gradnorm),
                                choose("pcgrad", NULL)};
    for (int k = 0; k < 5; k++) {
        TsBalance *balance = ts_balance_create(choices[k], 3, 1);
        double coefficient[3];
        for (int step = 1; step <= 3; step++) {
            ts_balance_coefficients(balance, coefficient, k == 4 ? gram : NULL, active, step);
            CU_ASSERT_EQUAL(coefficient[1], 0);
            CU_ASSERT(coefficient[0] > 0 && coefficient[2] > 0);
            CU_ASSERT(k == 1 || k == 4 || fabs(coefficient[0] + coefficient[2] - 2) < 1e-12);
            ts_balance_update(balance, loss, gram, active);
        }
        ts_balance_free(&balance);
    }
}

/* Its state, carried over to another, goes on alike. */
static void state_goes_on(void)
{
    TsGradnormConfig gradnorm = {.alpha = 1.5, .rate = 0.025};
    const double loss[] = {1, 2}, later[] = {0.5, 1.9}, gram[] = {1, 0.2, 0.2, 9};
    TsBalance *one = ts_balance_create(choose("gradnorm", &gradnorm), 2, 1);
    TsBalance *other = ts_balance_create(choose("gradnorm", &gradnorm), 2, 1);
    double *from, *to, expected[2], found[2];
    ts_balance_update(one, loss, gram, NULL);
    int count = ts_balance_state(one, &from);
    CU_ASSERT_EQUAL(ts_balance_state(other, &to), count);
    memcpy(to, from, (size_t)count * sizeof *to);
    ts_balance_update(one, later, gram, NULL);
    ts_balance_update(other, later, gram, NULL);
    ts_balance_coefficients(one, expected, NULL, NULL, 1);
    ts_balance_coefficients(other, found, NULL, NULL, 1);
    CU_ASSERT(expected[0] != 1);
    CU_ASSERT_EQUAL(memcmp(expected, found, sizeof found), 0);
    ts_balance_free(&one);
    ts_balance_free(&other);
}

TEST_MAIN("balance", {"equals automatic differentiation", equals_automatic_differentiation},
          {"pcgrad equals the plain algorithm", pcgrad_equals_the_plain_algorithm},
          {"two tasks do not conflict", two_tasks_do_not_conflict},
          {"inactive tasks count nothing", inactive_tasks_count_nothing}, {"state goes on", state_goes_on})
