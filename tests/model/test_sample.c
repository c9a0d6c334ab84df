/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampling: frequencies of a million draws against the probabilities they should have, by a chi-square test; which
 * tokens may be drawn at all; and the search for the likeliest.
 */
#include "model/sample.h"

#include <math.h>

#include "base/philox.h"
#include "test.h"

enum { VOCAB = 16, DRAWS = 1 << 18 };

/* Log-probabilities of a distribution without two alike. */
static void make_scores(float *scores)
{
    double sum = 0;
    for (int v = 0; v < VOCAB; v++) {
        scores[v] = (float)(3 * sin(1.7 * v + 0.3));
        sum += exp((double)scores[v]);
    }
    for (int v = 0; v < VOCAB; v++)
        scores[v] -= (float)log(sum);
}

/* What each token should be drawn with, by the definition: sorted, cut, and normalised. */
static void expect_probabilities(double *expected, const float *scores, TsSampling sampling)
{
    int order[VOCAB];
    double weight[VOCAB], total = 0, mass = 0, kept = 0;
    for (int v = 0; v < VOCAB; v++) {
        order[v] = v;
        weight[v] = exp((double)scores[v] / sampling.temperature);
    }
    for (int i = 0; i < VOCAB; i++)
        for (int k = i + 1; k < VOCAB; k++)
            if (weight[order[k]] > weight[order[i]]) {
                int moved = order[i];
                order[i] = order[k];
                order[k] = moved;
            }
    int count = sampling.top_k ? (int)sampling.top_k : VOCAB;
    for (int i = 0; i < count; i++)
        total += weight[order[i]];
    int last = count;
    for (int i = 0; sampling.top_p > 0 && i < count && last == count; i++) {
        mass += weight[order[i]];
        if (mass >= sampling.top_p * total)
            last = i + 1;
    }
    for (int i = 0; i < last; i++)
        kept += weight[order[i]];
    for (int i = 0; i < VOCAB; i++)
        expected[order[i]] = i < last ? weight[order[i]] / kept : 0;
}

/* The sum of (drawn - expected)^2 / expected must not be above what one in ten thousand would be: for n degrees of
 * freedom about n + 3.7 sqrt(2 n) + 9. */
static void expect_frequencies(TsSampling sampling)
{
    float scores[VOCAB];
    double expected[VOCAB], chi_square = 0;
    int64_t drawn[VOCAB] = {0};
    int freedom = -1;
    TsWeighed room[VOCAB];
    TsStream stream = ts_stream(7, "test/sample", 0);
    make_scores(scores);
    expect_probabilities(expected, scores, sampling);
    for (int64_t i = 0; i < DRAWS; i++)
        drawn[ts_sample(scores, VOCAB, sampling, ts_stream_uniform_f64(stream, i), room)]++;
    for (int v = 0; v < VOCAB; v++) {
        double wanted = expected[v] * DRAWS;
        if (wanted == 0)
            CU_ASSERT_EQUAL(drawn[v], 0);
        if (wanted > 0) {
            chi_square += ((double)drawn[v] - wanted) * ((double)drawn[v] - wanted) / wanted;
            freedom++;
        }
    }
    if (!(chi_square <= freedom + 3.7 * sqrt(2.0 * freedom) + 9))
        fprintf(stderr, "top_k %lld top_p %g temperature %g: chi-square %g of %d\n", (long long)sampling.top_k,
                sampling.top_p, sampling.temperature, chi_square, freedom);
    CU_ASSERT(chi_square <= freedom + 3.7 * sqrt(2.0 * freedom) + 9);
}

static void frequencies(void)
{
    static const TsSampling samplings[] = {
        {.temperature = 1},
        {.temperature = 0.7},
        {.temperature = 1, .top_k = 5},
        {.temperature = 1.5, .top_k = 5},
        {.temperature = 1, .top_p = 0.8},
        {.temperature = 2, .top_p = 0.8}, /* the mass at this temperature: more tokens than at 1 */
        {.temperature = 0.5, .top_p = 0.9},
        {.temperature = 1, .top_k = 6, .top_p = 0.7},
        {.temperature = 1, .top_k = VOCAB, .top_p = 1},
    };
    for (size_t i = 0; i < sizeof samplings / sizeof *samplings; i++)
        expect_frequencies(samplings[i]);
}

/* At a higher temperature top_p lets in tokens that it would not at 1. */
static void mass_follows_the_temperature(void)
{
    float scores[VOCAB];
    double cold[VOCAB], hot[VOCAB];
    int kept_cold = 0, kept_hot = 0;
    make_scores(scores);
    expect_probabilities(cold, scores, (TsSampling){.temperature = 1, .top_p = 0.8});
    expect_probabilities(hot, scores, (TsSampling){.temperature = 2, .top_p = 0.8});
    for (int v = 0; v < VOCAB; v++) {
        kept_cold += cold[v] > 0;
        kept_hot += hot[v] > 0;
    }
    CU_ASSERT(kept_hot > kept_cold);
}

static void edges(void)
{
    float scores[VOCAB];
    TsWeighed room[VOCAB];
    make_scores(scores);
    int32_t best = ts_likeliest(scores, VOCAB);
    for (int v = 0; v < VOCAB; v++)
        CU_ASSERT(scores[v] <= scores[best]);
    static const double uniforms[] = {1e-12, 0.5, 1 - 1e-12};
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(ts_sample(scores, VOCAB, (TsSampling){.temperature = 0}, uniforms[i], room), best);
        CU_ASSERT_EQUAL(ts_sample(scores, VOCAB, (TsSampling){.temperature = 3, .top_k = 1}, uniforms[i], room), best);
        CU_ASSERT_EQUAL(ts_sample(scores, VOCAB, (TsSampling){.temperature = 1, .top_p = 1e-9}, uniforms[i], room),
                        best);
        for (int v = 0; v < VOCAB; v++)
            scores[v] = v == 3 ? 0 : -INFINITY; /* what must not be taken */
        CU_ASSERT_EQUAL(ts_sample(scores, VOCAB, (TsSampling){.temperature = 1}, uniforms[i], room), 3);
        CU_ASSERT_EQUAL(ts_sample(scores, VOCAB, (TsSampling){.temperature = 1, .top_k = 9}, uniforms[i], room), 3);
        make_scores(scores);
    }
    float alike[VOCAB] = {0};
    CU_ASSERT_EQUAL(ts_likeliest(alike, VOCAB), 0);
}

/* Against sorting all, for every count; equals stand in the order of their numbers. */
static void the_likeliest_are_found(void)
{
    enum { MANY = 257 };
    float scores[MANY];
    TsWeighed best[MANY];
    for (int64_t v = 0; v < MANY; v++)
        scores[v] = (float)ts_stream_below(ts_stream(2, "test/likeliest", 0), v, 40);
    for (int64_t count = 1; count <= MANY; count += 1 + count / 4) {
        CU_ASSERT_EQUAL(ts_likeliest_many(best, count, scores, MANY), count);
        for (int64_t i = 0; i < count; i++) {
            int64_t before = 0;
            for (int64_t v = 0; v < MANY; v++)
                before += scores[v] > best[i].weight || (scores[v] == best[i].weight && v < best[i].token);
            CU_ASSERT_EQUAL(before, i);
            CU_ASSERT_EQUAL(scores[best[i].token], best[i].weight);
        }
    }
    CU_ASSERT_EQUAL(ts_likeliest_many(best, MANY, scores, 5), 5);
}

TEST_MAIN("sample", {"frequencies", frequencies}, {"mass follows the temperature", mass_follows_the_temperature},
          {"edges", edges}, {"the likeliest are found", the_likeliest_are_found})
