/* ranks: 1 2 3 4 6 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of several tasks: on every number of ranks, joint or side by side, the parameters are those of joint on one
 * rank; a task whose data end leaves the others as they would be; stopping and going on changes nothing.
 */
#include "task/mixture/courses.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "test.h"

static const char base[] =
    "run: {dir: none, seed: 3, threads: 1, steps: 30}\n"
    "backbone: {type: transformer, layers: 1, heads: 2, width: 8, context: 8, vocab: 256, dropout: 0.1}\n"
    "learner: {optimizer: {type: adamw, rate: 1e-3}, clip: 1}\n"
    "tasks:\n"
    "  long: {type: language_model, data: {text: tests/data/alice.txt, batch: 5, length: 8, validation: 0}}\n"
    "  short: {type: language_model, data: {text: tests/data/alice.txt, batch: 2, length: 4, validation: 0},\n"
    "          loss_weight: 0.5, own: [feed_forward]}\n"
    "  third: {type: language_model, data: {text: tests/data/alice.txt, batch: 3, length: 5, validation: 0},\n"
    "          own: [\"backbone/norm\", attention]}\n"
    "mixture: {mode: joint, recut: 7}\n";

typedef struct Run {
    TsConfig *config;
    TsJob *job;
    TsCourses *courses;
} Run;

static void close_run(Run *run)
{
    ts_courses_free(&run->courses);
    ts_job_close(&run->job);
    ts_config_free(&run->config);
}

/* `words` are overrides between spaces. Collective on group. */
static TsStatus open_run(Run *run, TsGroup *group, const char *words)
{
    char copy[1024], *next = copy;
    const char *overrides[64];
    TsConfigText text = {"base", base, strlen(base)};
    TsConfigSources sources = {.texts = &text, .text_count = 1, .overrides = overrides};
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word; (word = strsep(&next, " "));)
        if (*word)
            overrides[sources.override_count++] = word;
    *run = (Run){.config = NULL};
    TS_TRY(ts_config_load(&run->config, &ts_job_table, sources));
    TS_TRY(ts_job_open(&run->job, group, run->config, (TsJobOptions){0}));
    return ts_courses_create(&run->courses, run->job);
}

/* Runs steps first + 1 ... last, as far as there are any; returns the last one. */
static int64_t run_steps(Run *run, int64_t first, int64_t last)
{
    TsCourseReport report;
    int64_t step = first;
    for (; step < last && ts_courses_go_on(run->courses, step + 1); step++)
        TEST_OK(ts_courses_step(run->courses, &report, step + 1));
    return step;
}

static double value_of(const TsArray *array, int64_t k)
{
    return array->dtype == TS_F64 ? ((double *)array->data)[k] : (double)((float *)array->data)[k];
}

/* The number in the whole of element k of what the array holds here. */
static int64_t global_index(const TsArray *array, int64_t k)
{
    int64_t index = 0, stride = 1;
    for (int d = array->shape.dims - 1; d >= 0; d--) {
        int64_t size = array->block.shape.size[d];
        index += (array->block.first[d] + k % size) * stride;
        stride *= array->shape.size[d];
        k /= size;
    }
    return index;
}

/* The largest difference of what this rank has of a parameter, relative to max(|p|, steps * rate * sqrt(n)). `one` has
 * parameters whole. */
static double distance(const Run *one, const Run *other, double steps)
{
    double largest = 0;
    for (int i = 0; i < ts_batch_count(one->job->arrays); i++) {
        const TsArray *a = ts_batch_array(one->job->arrays, i);
        const TsArray *b = ts_batch_find(other->job->arrays, ts_batch_name(one->job->arrays, i));
        double size = 0, off = 0, count = (double)ts_shape_elems(a->shape);
        for (int64_t k = 0; k < ts_array_local_elems(a); k++)
            size += pow(value_of(a, k), 2);
        for (int64_t k = 0; k < ts_array_local_elems(b); k++)
            off += pow(value_of(a, global_index(b, k)) - value_of(b, k), 2);
        largest = fmax(largest, sqrt(off) / fmax(sqrt(size), steps * 1e-3 * sqrt(count)));
    }
    return largest;
}

static TsGroup *alone(void)
{
    return ts_group_split(test_world, "alone", ts_group_rank(test_world), 0);
}

/* Runs `words` on all ranks, and `reference` on each rank alone. */
static void expect_same(const char *words, const char *reference, double bound)
{
    TsGroup *self = alone();
    Run here, there;
    TEST_OK(open_run(&there, self, reference));
    TEST_OK(open_run(&here, test_world, words));
    int64_t expected = run_steps(&there, 0, 30), found = run_steps(&here, 0, 30);
    CU_ASSERT_EQUAL(found, expected);
    ts_courses_gather(here.courses, false);
    double off = distance(&there, &here, (double)expected);
    if (!(off < bound))
        fprintf(stderr, "%s: %g\n", words, off);
    CU_ASSERT(off < bound);
    close_run(&here);
    close_run(&there);
    ts_group_free(&self);
}

/* In f32 the gradient of a key's bias, zero in theory, is a rounding, which must not move it by a whole rate. */
#define SINGLE "learner.optimizer.epsilon=1e-4"

/* Balances that need gradients by themselves. */
static void gradients_kept_apart(void)
{
    static const char *const balances[] = {"pcgrad", "gradnorm"};
    for (int k = 0; k < 2; k++) {
        char joint[128], other[256];
        snprintf(joint, sizeof joint, "run.precision=f64 mixture.balance=%s", balances[k]);
        expect_same(joint, joint, 1e-10);
        snprintf(other, sizeof other, "%s parameters.shard=data", joint);
        expect_same(other, joint, 1e-10);
        snprintf(other, sizeof other, "%s mixture.mode=concurrent", joint);
        expect_same(other, joint, 1e-10);
    }
    expect_same("run.precision=f64 mixture.balance=gradnorm mixture.batches=6 mixture.mode=concurrent",
                "run.precision=f64 mixture.balance=gradnorm mixture.batches=6", 1e-10);
    if (ts_group_size(test_world) % 2 == 0)
        expect_same("run.precision=f64 mixture.balance=pcgrad mixture.mode=concurrent mesh.model=2",
                    "run.precision=f64 mixture.balance=pcgrad", 1e-10);
}

/* Where gradients are kept apart and nothing is done with them, steps are what they are without. */
static void keeping_apart_changes_nothing(void)
{
    expect_same("run.precision=f64 mixture.conflicts=true", "run.precision=f64", 1e-10);
    expect_same("run.precision=f64 mixture.conflicts=true mixture.mode=concurrent", "run.precision=f64", 1e-10);
    expect_same("run.precision=f64 mixture.conflicts=true mixture.mode=interleaved",
                "run.precision=f64 mixture.mode=interleaved", 1e-10);
}

/* In each mode the Gram matrix is that of one rank: symmetric, of a positive diagonal. */
static void conflicts_are_told(void)
{
    static const char *const modes[] = {"joint", "concurrent", "interleaved"};
    for (int k = 0; k < 3; k++) {
        TsGroup *self = alone();
        Run here, there;
        double one[9], all[9];
        char words[128], reference[128];
        snprintf(words, sizeof words, "run.precision=f64 mixture.conflicts=true mixture.mode=%s", modes[k]);
        snprintf(reference, sizeof reference, "run.precision=f64 mixture.conflicts=true mixture.mode=%s",
                 modes[k == 2 ? 2 : 0]);
        TEST_OK(open_run(&there, self, reference));
        TEST_OK(open_run(&here, test_world, words));
        run_steps(&there, 0, 25);
        run_steps(&here, 0, 25);
        CU_ASSERT(ts_courses_conflicts(there.courses, one));
        CU_ASSERT(ts_courses_conflicts(here.courses, all));
        for (int i = 0; i < 9; i++) {
            CU_ASSERT_DOUBLE_EQUAL(all[i], one[i], 1e-9 * sqrt(one[i / 3 * 4] * one[i % 3 * 4]));
            CU_ASSERT_EQUAL(one[i], one[i % 3 * 3 + i / 3]);
        }
        for (int i = 0; i < 3; i++)
            CU_ASSERT(one[4 * i] > 0);
        close_run(&here);
        close_run(&there);
        ts_group_free(&self);
    }
}

static void joint_is_the_same_on_every_mesh(void)
{
    expect_same("run.precision=f64", "run.precision=f64", 1e-10);
    expect_same(SINGLE, SINGLE, 1e-5);
    expect_same("run.precision=f64 parameters.shard=data", "run.precision=f64", 1e-10);
}

static void concurrent_is_joint(void)
{
    expect_same("run.precision=f64 mixture.mode=concurrent", "run.precision=f64", 1e-10);
    expect_same(SINGLE " mixture.mode=concurrent", SINGLE, 1e-5);
    expect_same("run.precision=f64 mixture.mode=concurrent mixture.scaling=0.5", "run.precision=f64", 1e-10);
    expect_same("run.precision=f64 mixture.mode=concurrent learner.clip=0.05 learner.optimizer.type=sgd",
                "run.precision=f64 learner.clip=0.05 learner.optimizer.type=sgd", 1e-10);
    expect_same("run.precision=f64 mixture.mode=concurrent learner.optimizer.type=adafactor", /* it reckons in f32 */
                "run.precision=f64 learner.optimizer.type=adafactor", 1e-5);
    expect_same("run.precision=f64 mixture.mode=concurrent mixture.balance=uncertainty",
                "run.precision=f64 mixture.balance=uncertainty", 1e-10);
    if (ts_group_size(test_world) % 2 == 0)
        expect_same("run.precision=f64 mixture.mode=concurrent mesh.model=2", "run.precision=f64", 1e-10);
}

/* `short` has as many examples as 12 steps take. */
static void data_that_end(void)
{
    expect_same("run.precision=f64 mixture.mode=concurrent mixture.exhausted=drop mixture.epochs=0.002",
                "run.precision=f64 mixture.exhausted=drop mixture.epochs=0.002", 1e-10);
    expect_same("run.precision=f64 mixture.mode=concurrent mixture.exhausted=stop mixture.epochs=0.002",
                "run.precision=f64 mixture.exhausted=stop mixture.epochs=0.002", 1e-10);
}

/* When a task costs three times what it did, at step 200, groups are cut anew by step 250, and nothing else changes.
 * Two ranks have no better cut. */
static void costs_that_change(void)
{
    enum { BEFORE = 200, BY = 250, END = 260 };
    static const char words[] = "run.precision=f64 mixture.mode=concurrent mixture.recut=20 mixture.scaling=0.6";
    TsGroup *self = alone();
    Run here, there;
    TEST_OK(open_run(&there, self, "run.precision=f64"));
    TEST_OK(open_run(&here, test_world, words));
    for (int task = 0; task < 3; task++)
        ts_courses_say_cost(here.courses, task, 1);
    run_steps(&here, 0, BEFORE);
    TsCut before = *ts_courses_cut(here.courses);
    ts_courses_say_cost(here.courses, 1, 3);
    run_steps(&here, BEFORE, BY);
    TsCut after = *ts_courses_cut(here.courses);
    CU_ASSERT(ts_group_size(test_world) < 3 || after.slots[after.group_of[1]] > before.slots[before.group_of[1]]);
    run_steps(&here, BY, END);
    run_steps(&there, 0, END);
    ts_courses_gather(here.courses, false);
    CU_ASSERT(distance(&there, &here, END) < 1e-10);
    close_run(&here);
    close_run(&there);
    ts_group_free(&self);
}

/* Rates of a schedule change at steps 20 and 40: at 20 groups are cut anew for them, though costs did not change and
 * nobody looks for 1000 steps; the task that then has ranks takes more examples, as its rate says, as in joint. */
static void rates_that_change(void)
{
    enum { BEFORE = 19, BY = 21, END = 45 };
    static const char rates[] = "run.precision=f64 mixture.batches=9 mixture.by=steps mixture.sampler.type=schedule "
                                "mixture.sampler.table=[{\"step\":1,\"rates\":{\"long\":1,\"short\":1,\"third\":1}},"
                                "{\"step\":20,\"rates\":{\"long\":1,\"short\":7,\"third\":1}},"
                                "{\"step\":40,\"rates\":{\"long\":1,\"third\":1}}]";
    char words[512];
    TsGroup *self = alone();
    Run here, there;
    snprintf(words, sizeof words, "%s mixture.mode=concurrent mixture.recut=1000 mixture.scaling=0.6", rates);
    TEST_OK(open_run(&there, self, rates));
    TEST_OK(open_run(&here, test_world, words));
    for (int task = 0; task < 3; task++)
        ts_courses_say_cost(here.courses, task, 1);
    run_steps(&here, 0, BEFORE);
    TsCut before = *ts_courses_cut(here.courses);
    CU_ASSERT_EQUAL(here.job->tasks[1]->place, 2 * 3 * BEFORE);
    run_steps(&here, BEFORE, BY);
    TsCut after = *ts_courses_cut(here.courses);
    CU_ASSERT_EQUAL(here.job->tasks[1]->place, 2 * (3 * BEFORE + 7 * (BY - BEFORE)));
    CU_ASSERT(ts_group_size(test_world) < 4 || after.slots[after.group_of[1]] > before.slots[before.group_of[1]]);
    run_steps(&here, BY, END);
    run_steps(&there, 0, END);
    for (int task = 0; task < 3; task++)
        CU_ASSERT_EQUAL(here.job->tasks[task]->place, there.job->tasks[task]->place);
    ts_courses_gather(here.courses, false);
    CU_ASSERT(distance(&there, &here, END) < 1e-10);
    close_run(&here);
    close_run(&there);
    ts_group_free(&self);
}

/* How many ranks have values of it. */
static int64_t holders(const TsArray *array)
{
    int64_t mine = array && array->data, all = 0;
    ts_all_reduce(
        test_world,
        (TsTransfer){
            .out = &all, .in = &mine, .count_elems = 1, .dtype = TS_I64, .reduction = TS_SUM, .label = "test"});
    return all;
}

/* What is a task's own, its optimizer state with it, lies on the ranks of its group and on no other, also after groups
 * were cut anew, but for as long as somebody asks for it. */
static void own_parameters_lie_in_their_group(void)
{
    Run run;
    int ranks = ts_group_size(test_world), found = 0;
    TEST_OK(open_run(&run, test_world,
                     "mixture.mode=concurrent mixture.recut=5 mixture.scaling=0.6 learner.ema.decay=0.9"));
    for (int task = 0; task < 3; task++)
        ts_courses_say_cost(run.courses, task, 1);
    for (int64_t last = 10; last <= 30; last += 20) {
        run_steps(&run, last == 10 ? 0 : 10, last);
        TsCut cut = *ts_courses_cut(run.courses);
        CU_ASSERT(cut.groups > 1 || ranks == 1);
        for (int i = 0; i < ts_batch_count(run.job->arrays); i++) {
            const char *path = ts_batch_name(run.job->arrays, i);
            int task = strncmp(path, "tasks/short/", 12) == 0 ? 1 : strncmp(path, "tasks/third/", 12) == 0 ? 2 : -1;
            char mean[256];
            snprintf(mean, sizeof mean, "optimizer/mean/%s", path);
            int64_t here = holders(ts_batch_find(ts_courses_arrays(run.courses), path));
            CU_ASSERT_EQUAL(here, task < 0 ? ranks : cut.slots[cut.group_of[task]]);
            CU_ASSERT_EQUAL(holders(ts_batch_array(run.job->arrays, i)), task < 0 ? ranks : 0);
            CU_ASSERT_EQUAL(holders(ts_batch_find(ts_learner_state(ts_courses_learner(run.courses)), mean)),
                            task < 0 ? ranks : 0);
            found += task > 0;
        }
        size_t before = (size_t)ts_memory_usage().live_bytes;
        ts_courses_gather(run.courses, true);
        for (int i = 0; i < ts_batch_count(run.job->arrays); i++)
            CU_ASSERT_EQUAL(holders(ts_batch_array(run.job->arrays, i)), ranks);
        CU_ASSERT((size_t)ts_memory_usage().live_bytes > before);
        ts_courses_release(run.courses);
        CU_ASSERT_EQUAL((size_t)ts_memory_usage().live_bytes, before);
        ts_courses_say_cost(run.courses, 1, 5);
    }
    CU_ASSERT(found > 10);
    close_run(&run);
}

/* What is packed after twelve steps, and packed again by who read it, is the same, the balance's numbers with it; the
 * rest takes the same examples. */
static void goes_on_as(const char *words)
{
    Run whole, second;
    TEST_OK(open_run(&whole, test_world, words));
    TEST_OK(open_run(&second, test_world, words));
    run_steps(&whole, 0, 12);
    json_t *state = json_object(), *again = json_object(), *fresh = json_object();
    ts_courses_pack(second.courses, fresh);
    ts_courses_pack(whole.courses, state);
    ts_courses_unpack(second.courses, state, "a state");
    ts_courses_pack(second.courses, again);
    CU_ASSERT(json_equal(state, again));
    CU_ASSERT(!json_equal(state, fresh));
    run_steps(&whole, 12, 30);
    run_steps(&second, 12, 30);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(whole.job->tasks[i]->place, second.job->tasks[i]->place);
    json_decref(state);
    json_decref(again);
    json_decref(fresh);
    close_run(&whole);
    close_run(&second);
}

/* Steps from `step` on until the task `short` has taken `until` examples: how often it took each; returns the last one.
 */
static int64_t take_examples(Run *run, int64_t *taken, int64_t step, int64_t until)
{
    TsCourseReport report;
    TsTask *task = run->job->tasks[1];
    while (task->place < until) {
        int64_t place = task->place;
        TEST_OK(ts_courses_step(run->courses, &report, ++step));
        for (int64_t row = 0; row < ts_loader_local_rows(task->train) && task->place > place; row++)
            taken[ts_loader_examples(task->train)[row]]++;
    }
    return step;
}

/* In an epoch that is stopped in the middle, and gone on with by each rank alone, each example is taken once. */
static void each_example_once(void)
{
    static const char *const modes[] = {"joint", "interleaved"};
    for (int k = 0; k < 2; k++) {
        TsGroup *self = alone();
        Run all, one;
        char words[128];
        snprintf(words, sizeof words, "mixture.mode=%s tasks.short.data.text=tests/data/README.md", modes[k]);
        TEST_OK(open_run(&all, test_world, words));
        TEST_OK(open_run(&one, self, words));
        int64_t count = ts_loader_count(all.job->tasks[1]->train), whole = count / 2 * 2;
        int64_t *taken = ts_calloc((size_t)count, sizeof *taken), *rest = ts_calloc((size_t)count, sizeof *rest);
        json_t *state = json_object();
        int64_t step = take_examples(&all, taken, 0, whole / 4 * 2);
        ts_courses_pack(all.courses, state);
        ts_courses_unpack(one.courses, state, "a state");
        take_examples(&one, rest, step, whole);
        ts_all_reduce(test_world, (TsTransfer){.out = taken,
                                               .in = taken,
                                               .count_elems = count,
                                               .dtype = TS_I64,
                                               .reduction = TS_SUM,
                                               .label = "test"});
        int64_t sum = 0;
        for (int64_t i = 0; i < count; i++) {
            CU_ASSERT(taken[i] + rest[i] <= 1);
            sum += taken[i] + rest[i];
        }
        CU_ASSERT(count > 50);
        CU_ASSERT_EQUAL(sum, whole);
        json_decref(state);
        ts_free(taken);
        ts_free(rest);
        close_run(&one);
        close_run(&all);
        ts_group_free(&self);
    }
}

static void goes_on(void)
{
    goes_on_as("mixture.mode=interleaved");
    goes_on_as("mixture.balance=uncertainty");
}

static void what_cannot_be_is_said(void)
{
    Run run;
    TEST_ERROR(open_run(&run, test_world, "mixture.mode=concurrent parameters.shard=data"), "whole along data");
    close_run(&run);
    TEST_ERROR(open_run(&run, test_world, "mixture.of.long=1 mixture.of.nothing=1"),
               "nothing is neither a task nor a mixture");
    close_run(&run);
}

TEST_MAIN("courses", {"joint is the same on every mesh", joint_is_the_same_on_every_mesh},
          {"concurrent is joint", concurrent_is_joint}, {"gradients kept apart", gradients_kept_apart},
          {"keeping apart changes nothing", keeping_apart_changes_nothing}, {"conflicts are told", conflicts_are_told},
          {"costs that change", costs_that_change}, {"rates that change", rates_that_change},
          {"own parameters lie in their group", own_parameters_lie_in_their_group}, {"data that end", data_that_end},
          {"goes on", goes_on}, {"each example once", each_example_once},
          {"what cannot be is said", what_cannot_be_is_said})
