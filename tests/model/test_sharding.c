/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "model/parameter.h"

#include <string.h>

#include "test.h"

static const TsMeshShape mesh = {.size = {[TS_AXIS_DATA] = 4, [TS_AXIS_EXPERT] = 2, [TS_AXIS_MODEL] = 2}};

static void expect(const char *what, TsPlacement placement, const char *text)
{
    if (strcmp(ts_placement_text(placement).text, text) != 0)
        fprintf(stderr, "%s lies \"%s\", not \"%s\"\n", what, ts_placement_text(placement).text, text);
    CU_ASSERT_STRING_EQUAL(ts_placement_text(placement).text, text);
}

static TsPlacement parse(const char *text)
{
    TsPlacement placement;
    TEST_OK(ts_placement_parse(&placement, text, TS_MAX_DIMS));
    return placement;
}

static void expect_shards(TsShardingConfig config, const char *declared, const char *rule, TsShape shape,
                          const char *rest, const char *state, const char *gradient, TsAxisSet gathered)
{
    TsPlacement ruled = rule ? parse(rule) : ts_replicated;
    TsShards shards = ts_sharding_apply(&config, parse(declared), rule ? &ruled : NULL, shape, mesh);
    expect("rest", shards.rest, rest);
    expect("state", shards.state, state);
    expect("gradient", shards.gradient, gradient);
    CU_ASSERT_EQUAL(shards.gathered, gathered);
}

static const TsShardingConfig plain, zero1 = {.optimizer_shard = TS_SHARD_DATA},
                                     zero2 = {.optimizer_shard = TS_SHARD_DATA, .gradient_shard = TS_SHARD_DATA},
                                     zero3 = {.shard = TS_SHARD_DATA, .optimizer_shard = TS_SHARD_DATA};

static void each_degree(void)
{
    TsShape shape = ts_shape(48, 64);
    expect_shards(plain, "1: model", NULL, shape, "1: model", "1: model", "1: model; partial: data, expert", 0);
    expect_shards(zero1, "1: model", NULL, shape, "1: model", "0: data, expert; 1: model",
                  "1: model; partial: data, expert", 0);
    expect_shards(zero2, "1: model", NULL, shape, "1: model", "0: data, expert; 1: model", "0: data, expert; 1: model",
                  0);
    expect_shards(zero3, "1: model", NULL, shape, "0: data, expert; 1: model", "0: data, expert; 1: model",
                  "0: data, expert; 1: model", ts_batch_axes());
}

/* Experts are computed with where they lie; what they share is gathered. */
static void experts_stay(void)
{
    TsShape shape = ts_shape(8, 12, 64);
    expect_shards(zero3, "0: expert; 2: model", NULL, shape, "0: expert, data; 2: model", "0: expert, data; 2: model",
                  "0: expert, data; 2: model", TS_AXIS_BIT(TS_AXIS_DATA));
}

static void the_most_even_dim(void)
{
    expect_shards(zero1, "replicated", NULL, ts_shape(3, 7, 16), "replicated", "2: data, expert",
                  "partial: data, expert", 0);
    expect_shards(zero1, "0: model", NULL, ts_shape(16), "0: model", "0: model, data, expert",
                  "0: model; partial: data, expert", 0);
    expect_shards(zero1, "replicated", NULL, ts_scalar, "replicated", "replicated", "partial: data, expert", 0);
    expect_shards(zero1, "replicated", NULL, ts_shape(1009, 9), "replicated", "0: data, expert",
                  "partial: data, expert", 0);
}

static void rules_say_it_all(void)
{
    TsShape shape = ts_shape(48, 64);
    expect_shards(zero3, "0: model", "1: model", shape, "1: model", "0: data, expert; 1: model",
                  "0: data, expert; 1: model", 0);
    expect_shards(zero1, "0: model", "0: data", shape, "0: data", "0: data, expert", "0: data; partial: expert",
                  TS_AXIS_BIT(TS_AXIS_DATA));
}

/* ---- the table ---- */

static const char *const first_pair[] = {"up/kernel$", "0: model"}, *const second_pair[] = {"kernel", "1: data"};

static void rules_by_pattern(void)
{
    TsList rule[] = {{2, first_pair}, {2, second_pair}};
    TsShardingConfig config = {.rules = {2, rule}};
    TsParameters *parameters = ts_parameters_create(NULL);
    TEST_OK(ts_parameters_shard(parameters, &config));
    TEST_OK(ts_parameters_declare(parameters, (TsParameter){.path = "up/kernel", .shape = ts_shape(4, 6)}));
    TEST_ERROR(ts_parameters_check_rules(parameters),
               "rule 2: \"kernel\" is found in the path of no parameter that an");
    TEST_OK(ts_parameters_declare(parameters, (TsParameter){.path = "down/kernel", .shape = ts_shape(6, 4)}));
    TEST_OK(ts_parameters_declare(parameters, (TsParameter){.path = "down/bias", .shape = ts_shape(4)}));
    TEST_OK(ts_parameters_check_rules(parameters));
    expect("up", ts_parameters_find(parameters, "up/kernel")->placement, "0: model");
    expect("down", ts_parameters_find(parameters, "down/kernel")->placement, "1: data");
    expect("bias", ts_parameters_find(parameters, "down/bias")->placement, "replicated");
    TEST_OK(ts_parameters_declare(parameters, (TsParameter){.path = "flat/kernel", .shape = ts_shape(6)}));
    TEST_ERROR(ts_parameters_check_rules(parameters),
               "rule 2: flat/kernel (6): placement \"1: data\": \"1\" is not a dim: expected 0 to 0");
    ts_parameters_free(&parameters);
}

TEST_MAIN("sharding", {"each degree", each_degree}, {"experts stay", experts_stay},
          {"the most even dim", the_most_even_dim}, {"rules say it all", rules_say_it_all},
          {"rules by pattern", rules_by_pattern})
