/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/memory.h"

/* ---- tables such as the floors above declare ---- */

typedef struct Mesh {
    int64_t data, model;
} Mesh;

static const TsKey mesh_keys[] = {
    TS_KEY_INT(Mesh, data, "ranks along the batch", .fallback = "auto", .takes_auto = true, .range = TS_AT_LEAST(1)),
    TS_KEY_INT(Mesh, model, "ranks along heads and widths", .fallback = "1", .range = TS_BETWEEN(1, 1024)),
    TS_KEYS_END};
static const TsConfigTable mesh_table = {"mesh", "How ranks are laid out.", sizeof(Mesh), mesh_keys, NULL};

typedef struct Adamw {
    double rate, decay;
    TsList betas;
} Adamw;

static TsStatus check_adamw(const void *value)
{
    const Adamw *adamw = value;
    return adamw->decay > adamw->rate * 1e6 ? ts_status_error(TS_CODE_INVALID, "the decay is out of proportion")
                                            : TS_OK;
}

static const TsKey adamw_keys[] = {
    TS_KEY_REAL(Adamw, rate, "the peak rate", .required = true, .range = TS_ABOVE(0)),
    TS_KEY_REAL(Adamw, decay, "weight decay", .fallback = "0.1", .range = TS_AT_LEAST(0)),
    TS_KEY_LIST(Adamw, betas, &((const TsKey){.kind = TS_KIND_REAL, .range = TS_FROM_TO(0, 1)}),
                "decays of the moments", .fallback = "[0.9, 0.95]", .range = TS_BETWEEN(2, 2)),
    TS_KEYS_END};
static const TsConfigTable adamw_table = {"adamw", "Adam with decay.", sizeof(Adamw), adamw_keys, check_adamw};

typedef struct Sgd {
    double rate, momentum;
} Sgd;

static const TsKey sgd_keys[] = {TS_KEY_REAL(Sgd, rate, "the rate", .fallback = "0.1", .range = TS_ABOVE(0)),
                                 TS_KEY_REAL(Sgd, momentum, "momentum", .fallback = "0"), TS_KEYS_END};
static const TsConfigTable sgd_table = {"sgd", "Gradient descent.", sizeof(Sgd), sgd_keys, NULL};

static const TsVariant optimizer_items[] = {{"adamw", "Adam with decoupled decay", &adamw_table, NULL},
                                            {"sgd", "plain descent", &sgd_table, NULL},
                                            {"none", "learns nothing", NULL, NULL}};
static const TsVariants optimizers = {"optimizer", optimizer_items, 3};

typedef struct LanguageModel {
    int64_t context_tokens;
} LanguageModel;

static const TsKey lm_keys[] = {TS_KEY_INT(LanguageModel, context_tokens, "length of a sequence", .fallback = "128",
                                           .range = TS_AT_LEAST(1), .unit = "tokens"),
                                TS_KEYS_END};
static const TsConfigTable lm_table = {"language_model", "Predicts the next token.", sizeof(LanguageModel), lm_keys,
                                       NULL};
static const TsVariant task_items[] = {{"language_model", "predicts the next token", &lm_table, NULL},
                                       {"embed", "hidden states", NULL, NULL}};
static const TsVariants task_types = {"task", task_items, 2};

typedef struct Data {
    const char *path;
    int64_t shuffle_bytes;
} Data;

static const TsKey data_keys[] = {TS_KEY_STRING(Data, path, "the file", .required = true, .range = TS_AT_LEAST(1)),
                                  TS_KEY_BYTES(Data, shuffle_bytes, "window", .fallback = "2 GiB"), TS_KEYS_END};
static const TsConfigTable data_table = {"data", "What is read.", sizeof(Data), data_keys, NULL};

typedef struct Task {
    TsChoice objective;
    Data data;
    const Data *evaluation;
    double weight;
} Task;

static const TsKey task_keys[] = {
    TS_KEY_CHOICE(Task, objective, &task_types, "what is learned", .required = true, .flat = true),
    TS_KEY_STRUCT(Task, data, &data_table, "the training data"),
    TS_KEY_OPTIONAL(Task, evaluation, &data_table, "the data to evaluate on"),
    TS_KEY_REAL(Task, weight, "share of the examples", .fallback = "1.0", .range = TS_AT_LEAST(0)), TS_KEYS_END};
static const TsConfigTable task_table = {"task", "One thing to learn.", sizeof(Task), task_keys, NULL};

typedef enum Numerics { FAST, REPRODUCIBLE } Numerics;
static const char *const numerics_words[] = {"fast", "reproducible", NULL};

typedef struct Root {
    Mesh mesh;
    TsChoice optimizer;
    TsMap tasks;
    TsInterval save;
    double limit_s;
    Numerics numerics;
    bool verbose;
    const char *note;
    TsList rules, shards;
    TsMap eval_steps;
    const TsYaml *plugin;
} Root;

static const TsKey root_keys[] = {
    TS_KEY_STRUCT(Root, mesh, &mesh_table, "how ranks are laid out"),
    TS_KEY_CHOICE(Root, optimizer, &optimizers, "how weights move", .fallback = "sgd"),
    TS_KEY_MAP(Root, tasks, TS_ELEMENT_STRUCT(&task_table), "what is learned", .range = TS_AT_LEAST(1),
               .required = true),
    TS_KEY_INTERVAL(Root, save, "when to save", .fallback = "500 steps"),
    TS_KEY_SECONDS(Root, limit_s, "time limit", .fallback = "12 h", .range = TS_ABOVE(0)),
    TS_KEY_ENUM(Root, numerics, numerics_words, "same bits where", .fallback = "fast"),
    TS_KEY_BOOL(Root, verbose, "say more", .fallback = "no"),
    TS_KEY_STRING(Root, note, "free words"),
    TS_KEY_LIST(Root, rules, &((const TsKey){.kind = TS_KIND_LIST, .element = TS_ELEMENT(TS_KIND_STRING)}), "pairs"),
    TS_KEY_LIST(Root, shards, TS_ELEMENT_STRUCT(&data_table), "more files"),
    TS_KEY_MAP(Root, eval_steps, TS_ELEMENT(TS_KIND_INT), "steps by task"),
    TS_KEY_ANY(Root, plugin, "left to plug-ins"),
    TS_KEYS_END};
static const TsConfigTable root_table = {"configuration", "All of it.", sizeof(Root), root_keys, NULL};

/* ---- helpers ---- */

static TsStatus load(TsConfig **config, const char *text, const char *const *overrides, int64_t override_count)
{
    TsConfigText texts[] = {{"line.yaml", text, strlen(text)}};
    return ts_config_load(config, &root_table, (TsConfigSources){texts, 1, overrides, override_count});
}

/* The message of loading `text`, to which the tasks of a good configuration are added behind. */
static void expect(int line, const char *text, const char *message)
{
    TsConfig *config = NULL;
    char *whole = ts_format("%stasks: {lm: {type: embed, data: {path: a.txt}}}\n", text);
    TsStatus status = load(&config, whole, NULL, 0);
    if (strcmp(ts_status_message(status), message) != 0)
        fprintf(stderr, "line %d: expected: %s\n              got: %s\n", line, message, ts_status_message(status));
    CU_ASSERT_STRING_EQUAL(ts_status_message(status), message);
    CU_ASSERT((config == NULL) == (status != TS_OK));
    ts_status_free(&status);
    ts_config_free(&config);
    ts_free(whole);
}

static void expect_override(int line, const char *override, const char *message)
{
    TsConfig *config = NULL;
    TsStatus status = load(&config, "tasks: {lm: {type: embed, data: {path: a.txt}}}\n", &override, 1);
    if (strcmp(ts_status_message(status), message) != 0)
        fprintf(stderr, "line %d: expected: %s\n              got: %s\n", line, message, ts_status_message(status));
    CU_ASSERT_STRING_EQUAL(ts_status_message(status), message);
    ts_status_free(&status);
    ts_config_free(&config);
}

static const char good[] = "mesh: {data: 2}\n"
                           "optimizer:\n"
                           "  type: adamw\n"
                           "  rate: 3e-4\n"
                           "tasks:\n"
                           "  lm:\n"
                           "    type: language_model\n"
                           "    context_tokens: 256 tokens\n"
                           "    data: {path: \"a b.txt\", shuffle_bytes: 1.5 KiB}\n"
                           "    weight: 0.25\n"
                           "  other: {type: embed, data: {path: c}, evaluation: {path: 'null'}}\n"
                           "save: 90 min\n"
                           "limit_s: inf\n"
                           "numerics: reproducible\n"
                           "verbose: on\n"
                           "rules: [[a, b], [\"c.*\", d]]\n"
                           "shards:\n"
                           "- {path: x}\n"
                           "- path: y\n"
                           "eval_steps: {lm: 7, other: 0}\n"
                           "plugin: {deep: [1, two, {three: ~}]}\n";

static void check_good(const Root *root)
{
    CU_ASSERT_EQUAL(root->mesh.data, 2);
    CU_ASSERT_EQUAL(root->mesh.model, 1);
    CU_ASSERT_STRING_EQUAL(root->optimizer.variant->name, "adamw");
    const Adamw *adamw = root->optimizer.value;
    CU_ASSERT_EQUAL(adamw->rate, 3e-4);
    CU_ASSERT_EQUAL(adamw->decay, 0.1);
    CU_ASSERT_EQUAL(adamw->betas.count, 2);
    CU_ASSERT_EQUAL(((const double *)adamw->betas.items)[1], 0.95);
    CU_ASSERT_EQUAL(root->tasks.count, 2);
    CU_ASSERT_STRING_EQUAL(root->tasks.names[0], "lm");
    const Task *tasks = root->tasks.items;
    CU_ASSERT_STRING_EQUAL(tasks[0].objective.variant->name, "language_model");
    CU_ASSERT_EQUAL(((const LanguageModel *)tasks[0].objective.value)->context_tokens, 256);
    CU_ASSERT_STRING_EQUAL(tasks[0].data.path, "a b.txt");
    CU_ASSERT_EQUAL(tasks[0].data.shuffle_bytes, 1536);
    CU_ASSERT_EQUAL(tasks[0].weight, 0.25);
    CU_ASSERT_PTR_NULL(tasks[0].evaluation);
    CU_ASSERT_STRING_EQUAL(tasks[1].objective.variant->name, "embed");
    CU_ASSERT_PTR_NULL(tasks[1].objective.value);
    CU_ASSERT_STRING_EQUAL(tasks[1].evaluation->path, "null");
    CU_ASSERT_EQUAL(tasks[1].evaluation->shuffle_bytes, (int64_t)2 << 30);
    CU_ASSERT_EQUAL(tasks[1].weight, 1.0);
    CU_ASSERT_EQUAL(root->save.unit, TS_SECONDS);
    CU_ASSERT_EQUAL(root->save.count, 5400);
    CU_ASSERT_EQUAL(root->limit_s, INFINITY);
    CU_ASSERT_EQUAL(root->numerics, REPRODUCIBLE);
    CU_ASSERT_TRUE(root->verbose);
    CU_ASSERT_PTR_NULL(root->note);
    const TsList *rules = root->rules.items;
    CU_ASSERT_EQUAL(root->rules.count, 2);
    CU_ASSERT_STRING_EQUAL(((const char *const *)rules[1].items)[0], "c.*");
    CU_ASSERT_EQUAL(root->shards.count, 2);
    CU_ASSERT_STRING_EQUAL(((const Data *)root->shards.items)[1].path, "y");
    CU_ASSERT_EQUAL(root->eval_steps.count, 2);
    CU_ASSERT_EQUAL(((const int64_t *)root->eval_steps.items)[0], 7);
    CU_ASSERT_STRING_EQUAL(ts_yaml_get(root->plugin, "deep")->items[1]->text, "two");
}

/* ---- cases ---- */

static void values(void)
{
    ts_config_check_tables(&root_table);
    TsConfig *config = NULL;
    TEST_OK(load(&config, good, NULL, 0));
    if (config)
        check_good(ts_config_value(config));
    ts_config_free(&config);
}

static void fallbacks(void)
{
    TsConfig *config = NULL;
    TEST_OK(load(&config, "tasks: {lm: {type: embed, data: {path: a}}}", NULL, 0));
    if (!config)
        return;
    const Root *root = ts_config_value(config);
    CU_ASSERT_EQUAL(root->mesh.data, TS_AUTO);
    CU_ASSERT_STRING_EQUAL(root->optimizer.variant->name, "sgd");
    CU_ASSERT_EQUAL(((const Sgd *)root->optimizer.value)->rate, 0.1);
    CU_ASSERT_EQUAL(root->save.unit, TS_STEPS);
    CU_ASSERT_EQUAL(root->save.count, 500);
    CU_ASSERT_EQUAL(root->limit_s, 43200);
    CU_ASSERT_EQUAL(root->rules.count, 0);
    CU_ASSERT_PTR_NULL(root->plugin);
    ts_config_free(&config);
}

/* What is written reads back to the same values, and is then written the same. */
static void written_back(void)
{
    TsConfig *config = NULL, *again = NULL;
    TsText first = {0}, second = {0};
    TEST_OK(load(&config, good, NULL, 0));
    if (config) {
        ts_config_write(config, &first);
        TEST_OK(load(&again, first.data, NULL, 0));
    }
    if (again) {
        check_good(ts_config_value(again));
        ts_config_write(again, &second);
        CU_ASSERT_STRING_EQUAL(first.data, second.data);
        CU_ASSERT_PTR_NOT_NULL(strstr(first.data, "  lm:\n    type: language_model\n    context_tokens: 256\n"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.data, "save: 90 min\n"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.data, "evaluation:\n      path: \"null\"\n"));
    }
    ts_text_free(&first);
    ts_text_free(&second);
    ts_config_free(&config);
    ts_config_free(&again);
}

#define EXPECT(text, message)              expect(__LINE__, text, message)
#define EXPECT_OVERRIDE(override, message) expect_override(__LINE__, override, message)

static void unknown_keys(void)
{
    EXPECT("# a comment\nmesh:\n  modle: 2\n", "line.yaml:3: mesh.modle: no such key; did you mean model?");
    EXPECT("mesh: {zebra: 2}\n", "line.yaml:1: mesh.zebra: no such key; there are: data, model");
    EXPECT("\noptimizer:\n  type: sgd\n  decay: 1\n",
           "line.yaml:4: optimizer.decay: no such key; there are: type, rate, momentum");
    EXPECT("optimizer: adamv\n", "line.yaml:1: optimizer: there is no optimizer \"adamv\"; did you mean adamw?");
    EXPECT("optimizer: {type: zebra}\n",
           "line.yaml:1: optimizer.type: there is no optimizer \"zebra\"; there are: adamw, sgd, none");
    EXPECT("optimizer: {type: none, rate: 1}\n", "line.yaml:1: optimizer.rate: no such key; there are: type");
    EXPECT("numerics: fats\n",
           "line.yaml:1: numerics: expected one of fast, reproducible, found \"fats\"; did you mean fast?");
    EXPECT("tsaks: 3\n", "line.yaml:1: tsaks: no such key; did you mean tasks?");
    TsConfig *config = NULL;
    TEST_ERROR(load(&config, "tasks:\n  lm:\n    type: embed\n    context_tokens: 3\n", NULL, 0),
               "line.yaml:4: tasks.lm.context_tokens: no such key; there are: type, data, evaluation, weight");
    TEST_ERROR(load(&config, "tasks:\n  lm:\n    type: language_model\n    context_token: 3\n", NULL, 0),
               "line.yaml:4: tasks.lm.context_token: no such key; did you mean context_tokens?");
}

static void wrong_types(void)
{
    EXPECT("optimizer: {type: sgd, rate: inf}\n",
           "line.yaml:1: optimizer.rate: expected a number, above 0, found \"inf\"");
    EXPECT("optimizer: {type: sgd, momentum: -1e999}\n",
           "line.yaml:1: optimizer.momentum: expected a number, found \"-1e999\"");
    EXPECT("mesh:\n  model: two\n",
           "line.yaml:2: mesh.model: expected a whole number, at least 1 and at most 1024, found \"two\"");
    EXPECT("mesh:\n  model: [2]\n",
           "line.yaml:2: mesh.model: expected a whole number, at least 1 and at most 1024, found a list of 1");
    EXPECT("mesh:\n  data: {a: 2}\n",
           "line.yaml:2: mesh.data: expected a whole number, at least 1, or auto, found keys with values");
    EXPECT("mesh: {model: 2.5}\n",
           "line.yaml:1: mesh.model: expected a whole number, at least 1 and at most 1024, found \"2.5\"");
    EXPECT("mesh: 3\n", "line.yaml:1: mesh: expected keys with values, found \"3\"");
    EXPECT("optimizer: [adamw]\n",
           "line.yaml:1: optimizer: expected an optimizer: adamw, sgd, none, found a list of 1");
    EXPECT("optimizer: {type: adamw}\n", "line.yaml:1: optimizer.rate: missing: the peak rate");
    EXPECT("optimizer: {type: adamw, rate: 1, betas: [1]}\n",
           "line.yaml:1: optimizer.betas: expected a list, exactly 2 items; each of them a number, at "
           "least 0 and below 1, found a list of 1");
    EXPECT("optimizer: {type: adamw, rate: 1, betas: [0.5, 1]}\n",
           "line.yaml:1: optimizer.betas[1]: expected a number, at least 0 and below 1, found \"1\"");
    EXPECT("save: 5 parsecs\n",
           "line.yaml:1: save: expected an interval such as 500 steps, 12 h or never, found \"5 parsecs\"");
    EXPECT("limit_s: 12 Mb\n",
           "line.yaml:1: limit_s: expected a time such as 12 h or 30 s, above 0 s, found \"12 Mb\"");
    EXPECT("verbose: maybe\n", "line.yaml:1: verbose: expected true or false, found \"maybe\"");
    EXPECT("note: [a]\n", "line.yaml:1: note: expected a string, found a list of 1");
    EXPECT("rules: [[a], b]\n", "line.yaml:1: rules[1]: expected a list; each of them a string, found \"b\"");
    EXPECT("shards:\n- path: a\n- path: b\n  paht: c\n",
           "line.yaml:4: shards[1].paht: no such key; did you mean path?");
}

static void out_of_range(void)
{
    EXPECT("mesh: {model: 0}\n",
           "line.yaml:1: mesh.model: expected a whole number, at least 1 and at most 1024, found \"0\"");
    EXPECT("mesh: {model: -1}\n",
           "line.yaml:1: mesh.model: expected a whole number, at least 1 and at most 1024, found \"-1\"");
    EXPECT("mesh: {data: -1}\n", "line.yaml:1: mesh.data: expected a whole number, at least 1, or auto, found \"-1\"");
    EXPECT("mesh: {model: 99999999999999999999}\n", "line.yaml:1: mesh.model: expected a whole number, at least 1 and "
                                                    "at most 1024, found \"99999999999999999999\"");
    EXPECT("limit_s: 0\n", "line.yaml:1: limit_s: expected a time such as 12 h or 30 s, above 0 s, found \"0\"");
    EXPECT("optimizer: {type: adamw, rate: nan}\n",
           "line.yaml:1: optimizer.rate: expected a number, above 0, found \"nan\"");
    EXPECT("optimizer:\n  type: adamw\n  rate: 1e-9\n  decay: 1\n",
           "line.yaml:1: optimizer: the decay is out of proportion");
}

static void given_twice(void)
{
    EXPECT("mesh: {model: 2,\n model: 3}\n", "line.yaml:2: the key model is given twice, first in line 1");
    EXPECT("save: 1\nmesh: {}\n\nsave: 2\n", "line.yaml:4: the key save is given twice, first in line 1");
}

static void missing(void)
{
    TsConfig *config = NULL;
    TEST_ERROR(load(&config, "save: 3\n", NULL, 0), "line.yaml:1: tasks: missing: what is learned");
    TEST_ERROR(load(&config, "tasks: {}\n", NULL, 0),
               "line.yaml:1: tasks: expected names with values, not empty, found no keys");
    TEST_ERROR(load(&config, "tasks:\n  lm: {type: embed}\n", NULL, 0),
               "line.yaml:2: tasks.lm.data.path: missing: the file");
    TEST_ERROR(load(&config, "tasks:\n  lm: {weight: 1}\n", NULL, 0),
               "line.yaml:2: tasks.lm.type: missing: which task");
    TEST_ERROR(load(&config, "[a, b]", NULL, 0), "line.yaml:1: expected keys with values, found a list");
    TEST_ERROR(load(&config, "abc", NULL, 0), "line.yaml:1: expected keys with values, found a single word");
}

static void overrides(void)
{
    EXPECT_OVERRIDE("mesh.modle=2", "command line: mesh.modle=2: mesh.modle: no such key; did you mean model?");
    EXPECT_OVERRIDE("mesh.model=x",
                    "command line: mesh.model=x: mesh.model: expected a whole number, at least 1 and at "
                    "most 1024, found \"x\"");
    EXPECT_OVERRIDE("mesh=2", "command line: mesh=2: mesh: expected keys with values, found \"2\"");
    EXPECT_OVERRIDE("mesh..model=2",
                    "command line: mesh..model=2: expected key.key=value, with at most 64 keys of 1 to "
                    "256 bytes");
    EXPECT_OVERRIDE("=2", "command line: =2: expected key.key=value");
    EXPECT_OVERRIDE("mesh={model: 2", "command line: mesh={model: 2: not YAML: did not find expected ',' or '}'");
    EXPECT_OVERRIDE("tasks.lm.wieght=2",
                    "command line: tasks.lm.wieght=2: tasks.lm.wieght: no such key; did you mean weight?");
    const char *const words[] = {"mesh.model=4",          "optimizer.momentum=0.5",
                                 "optimizer.type=sgd",    "tasks.other=",
                                 "rules=[[x, y]]",        "tasks.new={type: embed}",
                                 "tasks.new.data.path=n", "save=",
                                 "tasks.lm.data.path=z",  "mesh.model=8"};
    TsConfig *config = NULL;
    TEST_OK(load(&config, good, words, sizeof words / sizeof words[0]));
    if (!config)
        return;
    const Root *root = ts_config_value(config);
    CU_ASSERT_EQUAL(root->mesh.model, 8);
    CU_ASSERT_EQUAL(root->mesh.data, 2);
    CU_ASSERT_STRING_EQUAL(root->optimizer.variant->name, "sgd"); /* and adamw's rate is gone */
    CU_ASSERT_EQUAL(((const Sgd *)root->optimizer.value)->momentum, 0.5);
    CU_ASSERT_EQUAL(((const Sgd *)root->optimizer.value)->rate, 0.1);
    CU_ASSERT_EQUAL(root->rules.count, 1);
    CU_ASSERT_EQUAL(root->tasks.count, 2);
    CU_ASSERT_STRING_EQUAL(root->tasks.names[1], "new");
    CU_ASSERT_STRING_EQUAL(((const Task *)root->tasks.items)[0].data.path, "z");
    CU_ASSERT_EQUAL(root->save.count, 500);
    ts_config_free(&config);
    CU_ASSERT_TRUE(ts_config_is_override("a.b=c"));
    CU_ASSERT_FALSE(ts_config_is_override("runs/a=b.yaml"));
    CU_ASSERT_FALSE(ts_config_is_override("line.yaml"));
}

static void several_files(void)
{
    const char *texts[] = {good, "optimizer: {rate: 1}\ntasks:\n  other: null\n  lm: {weight: 2}\n",
                           "mesh:\n\n  model: no\n"};
    TsConfigText files[] = {{"a.yaml", texts[0], strlen(texts[0])},
                            {"b.yaml", texts[1], strlen(texts[1])},
                            {"c.yaml", texts[2], strlen(texts[2])}};
    TsConfig *config = NULL;
    TEST_OK(ts_config_load(&config, &root_table, (TsConfigSources){files, 2, NULL, 0}));
    if (config) {
        const Root *root = ts_config_value(config);
        CU_ASSERT_EQUAL(((const Adamw *)root->optimizer.value)->rate, 1);
        CU_ASSERT_EQUAL(root->tasks.count, 1);
        CU_ASSERT_EQUAL(((const Task *)root->tasks.items)[0].weight, 2);
        CU_ASSERT_STRING_EQUAL(((const Task *)root->tasks.items)[0].data.path, "a b.txt");
    }
    ts_config_free(&config);
    TEST_ERROR(ts_config_load(&config, &root_table, (TsConfigSources){files, 3, NULL, 0}),
               "c.yaml:3: mesh.model: expected a whole number");
}

static void errors_found_later(void)
{
    TsConfig *config = NULL;
    const char *override = "tasks.lm.weight=3";
    TEST_OK(load(&config, good, &override, 1));
    if (!config)
        return;
    const Root *root = ts_config_value(config);
    const Task *tasks = root->tasks.items;
    TEST_ERROR(ts_config_error(config, &root->mesh.data, "%d ranks", 7), "line.yaml:1: mesh.data: 7 ranks");
    TEST_ERROR(ts_config_error(config, &tasks[0].data.path, "no"), "line.yaml:9: tasks.lm.data.path: no");
    TEST_ERROR(ts_config_error(config, &tasks[0].weight, "no"), "command line: tasks.lm.weight=3: tasks.lm.weight: no");
    TEST_ERROR(ts_config_error(config, &tasks[1].evaluation->shuffle_bytes, "no"),
               "line.yaml:11: tasks.other.evaluation.shuffle_bytes: no");
    TEST_ERROR(ts_config_error(config, &((const Adamw *)root->optimizer.value)->rate, "no"),
               "line.yaml:4: optimizer.rate: no");
    TEST_ERROR(ts_config_error(config, &((const Data *)root->shards.items)[1].path, "no"),
               "line.yaml:19: shards[1].path: no");
    TsStatus status = ts_config_error(config, &config, "alone");
    CU_ASSERT_STRING_EQUAL(ts_status_message(status), "alone");
    ts_status_free(&status);
    TEST_ERROR(ts_config_error_at(config, "tasks.lm.data.format", "no"), "line.yaml:9: tasks.lm.data.format: no");
    CU_ASSERT_TRUE(ts_config_is_given(config, "mesh.data"));
    CU_ASSERT_FALSE(ts_config_is_given(config, "mesh.model"));
    ts_config_free(&config);
}

static bool contains(const TsText *text, const char *words)
{
    bool found = text->data && strstr(text->data, words);
    if (!found)
        fprintf(stderr, "not found: %s\n%s\n", words, text->data ? text->data : "");
    return found;
}

static void help(void)
{
    TsText text = {0};
    TEST_OK(ts_config_help(&text, &root_table, "mesh.data"));
    CU_ASSERT_STRING_EQUAL(
        text.data, "mesh.data\n    ranks along the batch\n    a whole number, at least 1, or auto; default auto\n");
    ts_text_free(&text);
    TEST_OK(ts_config_help(&text, &root_table, "tasks.anything.data.path"));
    CU_ASSERT(contains(&text, "tasks.NAME.data.path\n    the file\n    a string, not empty; required\n"));
    ts_text_free(&text);
    TEST_OK(ts_config_help(&text, &root_table, "rate"));
    CU_ASSERT(contains(&text, "optimizer.rate (of adamw)\n"));
    CU_ASSERT(contains(&text, "optimizer.rate (of sgd)\n"));
    ts_text_free(&text);
    TEST_OK(ts_config_help(&text, &root_table, "optimizer"));
    CU_ASSERT(contains(&text, "type: adamw  Adam with decoupled decay\n"));
    ts_text_free(&text);
    TEST_OK(ts_config_help(&text, &root_table, "shards.path"));
    CU_ASSERT(contains(&text, "shards[].path\n"));
    ts_text_free(&text);
    TEST_ERROR(ts_config_help(&text, &root_table, "mesh.modle"), "there is no key mesh.modle; did you mean model?");
    TEST_OK(ts_config_help(&text, &root_table, NULL));
    CU_ASSERT(contains(&text, "mesh.model  ranks along heads and widths: a whole number"));
    CU_ASSERT(contains(&text, "\ntasks.NAME.type  what is learned: a task: language_model, embed; required\n"));
    ts_text_free(&text);
    ts_config_markdown(&text, &root_table);
    CU_ASSERT(contains(&text, "\n## mesh\n\nHow ranks are laid out.\n\n| key | meaning | takes | default |\n"));
    CU_ASSERT(contains(
        &text, "| `model` | ranks along heads and widths | a whole number, at least 1 and at most 1024 | `1` |\n"));
    CU_ASSERT(contains(&text, "| optimizer: [adamw](#adamw), [sgd](#sgd), `none` | `sgd` |\n"));
    ts_text_free(&text);
}

TEST_MAIN("config", {"values", values}, {"fallbacks", fallbacks}, {"written back", written_back},
          {"unknown keys", unknown_keys}, {"wrong types", wrong_types}, {"out of range", out_of_range},
          {"given twice", given_twice}, {"missing", missing}, {"overrides", overrides},
          {"several files", several_files}, {"errors found later", errors_found_later}, {"help", help})
