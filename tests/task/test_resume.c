/* ranks: 1 2 8 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Going on: a run that was stopped after any step has, at its end, the bits of one that ran through, with all that can
 * make a difference: dropout, accumulation, averages, three tasks on data of which epochs end within the run. A run of
 * 4 ranks goes on on others and on other meshes, with the same losses, and with the same bits where numerics are
 * reproducible.
 */
#include <ftw.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "task/run/trainer.h"
#include "test.h"

static const char three_tasks[] =
    "run: {seed: 5, threads: 1, log: 1 steps, evaluate: never, steps: 9}\n"
    "backbone: {type: transformer, layers: 1, heads: 2, width: 16, context: 16, dropout: 0.1, causal: false}\n"
    "learner: {optimizer: {type: adamw, rate: 3e-3, decay: 0.1}, clip: 1, accumulate: 2, ema: {decay: 0.9},\n"
    "          schedule: {type: cosine, warmup: 3, steps: 30}}\n"
    "tasks:\n"
    "  guess: {type: mlm, data: {files: [TOP/d.tsv], batch: 8, lengths: [8], tokenizer: {type: characters, "
    "alphabet: abcdez}, split: {type: fraction, validation: 0.2}}}\n"
    "  class: {type: sequence_classification, adapter: {type: mlp_pool, hidden: [8]},\n"
    "          data: {files: [TOP/d.tsv], batch: 8, lengths: [8], tokenizer: {type: characters, alphabet: abcdez}, "
    "split: {type: fraction, validation: 0.2}, columns: {label: class}}}\n"
    "  count: {type: sequence_regression, adapter: linear_cls,\n"
    "          data: {files: [TOP/d.tsv], batch: 8, lengths: [8], tokenizer: {type: characters, alphabet: abcdez}, "
    "split: {type: fraction, validation: 0.2}, columns: {label: count}}}\n"
    "checkpoint: {every: never, keep: {latest: 0}}\n";

static const char one_task[] =
    "run: {seed: 5, threads: 1, log: 1 steps, evaluate: never, steps: 8}\n"
    "backbone: {type: transformer, layers: 1, heads: 4, width: 32, context: 16, dropout: 0.1}\n"
    "learner: {optimizer: {type: adamw, rate: 3e-3, decay: 0.1}, clip: 1, ema: {decay: 0.9}, schedule: {type: cosine, "
    "warmup: 3, steps: "
    "30}}\n"
    "tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, tokenizer: bytes, validation: 0, batch: "
    "24}}}\n"
    "checkpoint: {every: never}\n";

/* ---- a place on disk ---- */

typedef struct Place {
    char path[64];
} Place;

static bool is_root(void)
{
    return ts_group_rank(test_world) == 0;
}

static int remove_entry(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    (void)found, (void)kind, (void)place;
    return remove(path);
}

/* Words of a few letters: whether there is a z, and how many a there are. */
static void write_examples(const char *top)
{
    char path[128];
    snprintf(path, sizeof path, "%s/d.tsv", top);
    FILE *file = fopen(path, "w");
    fprintf(file, "text\tclass\tcount\n");
    for (unsigned i = 0, draw = 12345; i < 25; i++) {
        char word[16] = "";
        int count = 0;
        bool z = false;
        for (unsigned k = 0; k < 3 + i % 5; k++) {
            draw = draw * 1103515245u + 12345u;
            word[k] = "abcdez"[draw >> 16 & 7 ? (draw >> 16) % 6 : 0];
            count += word[k] == 'a';
            z |= word[k] == 'z';
        }
        fprintf(file, "%s\t%s\t%d\n", word, z ? "with" : "without", count);
    }
    fclose(file);
}

static Place make_place(void)
{
    Place place = {"/tmp/tessera-resume-XXXXXX"};
    if (is_root()) {
        CU_ASSERT_PTR_NOT_NULL(mkdtemp(place.path));
        write_examples(place.path);
    }
    int32_t words[sizeof place / 4];
    memcpy(words, &place, sizeof place);
    ts_broadcast(
        test_world,
        (TsTransfer){.out = words, .in = words, .count_elems = sizeof place / 4, .dtype = TS_I32, .label = "test"}, 0);
    memcpy(&place, words, sizeof place);
    return place;
}

static void remove_place(Place place)
{
    ts_barrier(test_world, "test: done with the place");
    if (is_root())
        nftw(place.path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- runs ---- */

/* Trains on the first `ranks` ranks, up to a step, in a run of the place; `words` are overrides between spaces. */
static void train(Place place, const char *config, const char *name, int ranks, int64_t steps, const char *words)
{
    TsGroup *group = ts_group_split(test_world, "some", ts_group_rank(test_world) < ranks ? 0 : -1, 0);
    if (group) {
        char text[4096] = "", all[1024], *next = all;
        const char *overrides[16];
        for (const char *at = config, *top; *at; at = top ? top + 3 : at + strlen(at)) {
            top = strstr(at, "TOP");
            size_t length = strlen(text), more = top ? (size_t)(top - at) : strlen(at);
            snprintf(text + length, sizeof text - length, "%.*s%s", (int)more, at, top ? place.path : "");
        }
        TsConfigText source = {"test", text, strlen(text)};
        TsConfigSources sources = {.texts = &source, .text_count = 1, .overrides = overrides};
        snprintf(all, sizeof all, "run.dir=%s/%s run.steps=%lld %s", place.path, name, (long long)steps, words);
        for (char *word; (word = strsep(&next, " "));)
            if (*word)
                overrides[sources.override_count++] = word;
        TsConfig *loaded = NULL;
        TEST_OK(ts_config_load(&loaded, &ts_job_table, sources));
        if (loaded)
            TEST_OK(ts_train(group, loaded, (TsTrainOptions){0}));
        ts_config_free(&loaded);
    }
    ts_group_free(&group);
    ts_barrier(test_world, "test: trained");
}

static json_t *manifest_of(Place place, const char *name, int64_t step)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s/checkpoints/step_%08lld/manifest.json", place.path, name, (long long)step);
    json_t *manifest = json_load_file(path, 0, NULL);
    CU_ASSERT_PTR_NOT_NULL(manifest);
    return manifest;
}

/* How arrays lay on the mesh that saved them is not what they are. */
static void forget_placements(json_t *manifest)
{
    json_t *array;
    size_t i;
    json_array_foreach(json_object_get(manifest, "arrays"), i, array) json_object_del(array, "placement");
}

/* That two runs have the same bits at a step: the checksums of all arrays, and the state beside them. */
static void expect_same_bits(Place place, const char *one, const char *other, int64_t step)
{
    if (is_root()) {
        json_t *a = manifest_of(place, one, step), *b = manifest_of(place, other, step);
        CU_ASSERT(json_array_size(json_object_get(a, "arrays")) > 10);
        forget_placements(a);
        forget_placements(b);
        if (!json_equal(json_object_get(a, "arrays"), json_object_get(b, "arrays")))
            CU_FAIL("arrays differ");
        if (!json_equal(json_object_get(a, "state"), json_object_get(b, "state"))) {
            CU_FAIL("states differ");
            json_dumpf(json_object_get(a, "state"), stderr, JSON_INDENT(1));
            json_dumpf(json_object_get(b, "state"), stderr, JSON_INDENT(1));
        }
        json_decref(a);
        json_decref(b);
    }
    ts_barrier(test_world, "test: compared");
}

/* The loss of each training step up to `steps`, as the run said it; the last time counts. */
static void read_losses(double *losses, Place place, const char *name, int64_t steps)
{
    char path[256], line[4096];
    snprintf(path, sizeof path, "%s/%s/metrics.jsonl", place.path, name);
    for (int64_t i = 0; i < steps; i++)
        losses[i] = NAN;
    FILE *file = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL(file);
    while (file && fgets(line, sizeof line, file)) {
        json_t *json = json_loads(line, 0, NULL);
        int64_t step = json_integer_value(json_object_get(json, "step"));
        const char *kind = json_string_value(json_object_get(json, "kind"));
        if (kind && strcmp(kind, "train") == 0 && step >= 1 && step <= steps)
            losses[step - 1] = json_number_value(json_object_get(json, "loss"));
        json_decref(json);
    }
    if (file)
        fclose(file);
}

/* ---- cases ---- */

enum { STEPS = 9 };

static void stopped_after_any_step(void)
{
    int ranks = ts_group_size(test_world);
    if (ranks > 2)
        return;
    Place place = make_place();
    train(place, three_tasks, "whole", ranks, STEPS, "");
    for (int64_t step = 1; step < STEPS; step++) {
        char name[32];
        snprintf(name, sizeof name, "stopped%d", (int)step);
        train(place, three_tasks, name, ranks, step, "");
        train(place, three_tasks, name, ranks, STEPS, "");
        expect_same_bits(place, "whole", name, STEPS);
    }
    train(place, three_tasks, "often", ranks, 2, ""); /* and more than once */
    for (int64_t step = 3; step <= STEPS; step += 2)
        train(place, three_tasks, "often", ranks, step, "");
    expect_same_bits(place, "whole", "often", STEPS);
    if (is_root()) { /* an epoch of none of the three has the length of the run, and one ends within it */
        json_t *manifest = manifest_of(place, "whole", STEPS), *task;
        const char *key;
        int64_t most = 0;
        json_object_foreach(json_object_get(json_object_get(manifest, "state"), "tasks"), key, task)
        {
            int64_t at = json_integer_value(json_object_get(task, "place"));
            CU_ASSERT(at > 0);
            most = at > most ? at : most;
        }
        CU_ASSERT(most > 25 * 8 / 10);
        json_decref(manifest);
    }
    remove_place(place);
}

/* The same where a step runs all three tasks, one after another or side by side. */
static void stopped_in_other_modes(void)
{
    int ranks = ts_group_size(test_world);
    if (ranks > 2)
        return;
    Place place = make_place();
    for (int concurrent = 0; concurrent < ranks; concurrent++) { /* tasks side by side need two ranks */
        const char *words = concurrent ? "mixture.mode=concurrent" : "mixture.mode=joint";
        char whole[32], stopped[32];
        snprintf(whole, sizeof whole, "whole%d", concurrent);
        snprintf(stopped, sizeof stopped, "stopped%d", concurrent);
        train(place, three_tasks, whole, ranks, 5, words);
        for (int64_t step = 1; step <= 5; step += 2) /* after 1, 3; an epoch ends with the third batch */
            train(place, three_tasks, stopped, ranks, step, words);
        expect_same_bits(place, whole, stopped, 5);
    }
    remove_place(place);
}

static const struct {
    int ranks;
    const char *words;
} others[] = {{1, ""}, {2, "mesh.model=2"}, {3, ""}, {8, "mesh.model=2"}};

static void on_other_ranks(void)
{
    enum { STOPPED = 3, END = 8 };
    if (ts_group_size(test_world) < 8)
        return;
    Place place = make_place();
    double expected[END], losses[END];
    train(place, one_task, "whole", 4, END, "");
    if (is_root())
        read_losses(expected, place, "whole", END);
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "on%d", others[i].ranks);
        train(place, one_task, name, 4, STOPPED, "");
        train(place, one_task, name, others[i].ranks, END, others[i].words);
        if (is_root())
            read_losses(losses, place, name, END);
        for (int step = 0; is_root() && step < END; step++) {
            CU_ASSERT(fabs(losses[step] - expected[step]) <= 1e-4 * expected[step]);
            if (!(fabs(losses[step] - expected[step]) <= 1e-4 * expected[step]))
                fprintf(stderr, "%s, step %d: %.9g, should be %.9g\n", name, step + 1, losses[step], expected[step]);
        }
    }
    remove_place(place);
}

static void on_other_ranks_with_the_same_bits(void)
{
    static const int ranks[] = {1, 2, 8};
    if (ts_group_size(test_world) < 8)
        return;
    Place place = make_place();
    const char *words = "run.numerics=reproducible tasks.lm.data.batch=16";
    train(place, one_task, "whole", 4, 6, words);
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "on%d", ranks[i]);
        train(place, one_task, name, 4, 2, words);
        train(place, one_task, name, ranks[i], 6, words);
        expect_same_bits(place, "whole", name, 6);
    }
    remove_place(place);
}

TEST_MAIN("resume", {"stopped after any step", stopped_after_any_step},
          {"stopped in other modes", stopped_in_other_modes}, {"on other ranks", on_other_ranks},
          {"on other ranks with the same bits", on_other_ranks_with_the_same_bits})
