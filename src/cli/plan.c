/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera plan CONFIG... [key=value...] [--ranks N] [--search] [--measure]
 */
#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/unit.h"
#include "task/plan.h"

typedef struct Words {
    const char **sources; /* (count) and room for those that a search adds */
    int count;
    int64_t ranks; /* 0: those that the config speaks of */
    bool search, measure;
} Words;

enum { SEARCH_WORDS = 8, MOST_RANKS = 1 << 20, SHOWN = 20 };

static TsStatus read_words(Words *words, int count, const char *const *given)
{
    words->sources = ts_calloc((size_t)count + SEARCH_WORDS, sizeof *words->sources);
    for (int i = 0; i < count; i++) {
        if (strcmp(given[i], "--search") == 0) {
            words->search = true;
        } else if (strcmp(given[i], "--measure") == 0) {
            words->measure = true;
        } else if (strcmp(given[i], "--ranks") == 0) {
            if (++i == count || !ts_unit_read_int(&words->ranks, given[i], "ranks") || words->ranks < 1 ||
                words->ranks > MOST_RANKS)
                return ts_status_error(TS_CODE_INVALID, "plan: --ranks takes a number from 1 to %d", MOST_RANKS);
        } else if (given[i][0] == '-') {
            return ts_status_error(TS_CODE_INVALID, "plan: unknown option %s; see tessera help plan", given[i]);
        } else {
            words->sources[words->count++] = given[i];
        }
    }
    if (words->count == 0 && !words->measure)
        return ts_status_error(TS_CODE_INVALID, "plan: which configuration? See tessera help plan");
    return TS_OK;
}

/* ---- one plan ---- */

/* Makes the plan of the sources with what a search adds. */
static TsStatus plan_of(TsPlan **plan, TsGroup *self, const Words *words, int added)
{
    TsConfig *config = NULL;
    TsMeshShape mesh;
    TS_TRY(ts_job_load(&config, self, words->sources, words->count + added));
    TsStatus status = ts_plan_mesh(&mesh, config, words->ranks ? (int)words->ranks : ts_plan_ranks(config));
    if (!status)
        status = ts_plan_make(plan, self, config, mesh);
    ts_config_free(&config);
    return status;
}

static TsStatus show_plan(TsGroup *self, const Words *words)
{
    TsPlan *plan = NULL;
    TsText text = {0};
    TS_TRY(plan_of(&plan, self, words, 0));
    ts_plan_describe(plan, &text);
    fputs(text.data, stdout);
    ts_text_free(&text);
    ts_free(plan);
    return TS_OK;
}

/* ---- a search ---- */

typedef struct Found {
    TsPlan *plan; /* owned */
    char name[160];
} Found;

/* Those that fit first, the fastest of them first. */
static int by_rank(const void *a, const void *b)
{
    const Found *x = a, *y = b;
    bool fits = ts_plan_fits(x->plan), other = ts_plan_fits(y->plan);
    double s = x->plan->estimate.seconds, t = y->plan->estimate.seconds;
    return fits != other ? (fits ? -1 : 1) : (s > t) - (s < t);
}

/* Every way to deal `ranks` out over data and model, with and without sharded parameters. */
static TsStatus search(TsGroup *self, Words *words)
{
    static const char *const shards[] = {"none", "data"};
    Found *found = NULL;
    int count = 0, refused = 0;
    TsConfig *config = NULL;
    TS_TRY(ts_job_load(&config, self, words->sources, words->count));
    int ranks = words->ranks ? (int)words->ranks : ts_plan_ranks(config);
    ts_config_free(&config);
    words->ranks = ranks;
    TsStatus last = TS_OK;
    for (int model = 1; model <= ranks; model++) {
        for (int s = 0; s < 2 && ranks % model == 0; s++) {
            if (s && ranks == model)
                continue; /* there is nothing to shard them over */
            char *added[] = {ts_format("mesh.model=%d", model), ts_format("mesh.data=%d", ranks / model),
                             ts_format("parameters.shard=%s", shards[s])};
            for (int i = 0; i < 3; i++)
                words->sources[words->count + i] = added[i];
            TsPlan *plan = NULL;
            TsStatus status = plan_of(&plan, self, words, 3);
            for (int i = 0; i < 3; i++)
                ts_free(added[i]);
            if (status) { /* more ranks along model than there are heads, for example */
                ts_status_free(&last);
                last = status;
                refused++;
                continue;
            }
            found = ts_realloc(found, (size_t)(count + 1) * sizeof *found);
            found[count].plan = plan;
            snprintf(found[count].name, sizeof found[count].name, "%s%s", ts_mesh_text(plan->mesh).text,
                     s ? ", shard: data" : "");
            count++;
        }
    }
    TsText text = {0};
    if (count) {
        qsort(found, (size_t)count, sizeof *found, by_rank);
        ts_plan_line(NULL, NULL, &text);
        for (int i = 0; i < count && i < SHOWN; i++)
            ts_plan_line(found[i].plan, found[i].name, &text);
        if (refused)
            ts_text_append(&text, "%d of %d cannot be: %s\n", refused, refused + count, ts_status_message(last));
        fputs(text.data, stdout);
        ts_status_free(&last);
    }
    for (int i = 0; i < count; i++)
        ts_free(found[i].plan);
    ts_free(found);
    ts_text_free(&text);
    return last; /* where no mesh can be, the reason */
}

static TsStatus measure(TsGroup *world, const Words *words)
{
    TsConfig *config = NULL;
    TsText text = {0};
    if (words->count)
        TS_TRY(ts_job_load(&config, world, words->sources, words->count));
    TsStatus status = ts_cluster_measure(&text, world, config);
    if (!status && ts_group_rank(world) == 0)
        fputs(text.data, stdout);
    ts_text_free(&text);
    ts_config_free(&config);
    return status;
}

static TsStatus plan(TsGroup *world, int count, const char *const *given)
{
    Words words = {0};
    TsStatus status = read_words(&words, count, given);
    if (!status && words.measure) {
        status = measure(world, &words);
    } else if (!status) { /* one rank plans for all */
        TsGroup *self = ts_group_split(world, "plan", ts_group_rank(world) == 0 ? 0 : -1, 0);
        if (self)
            status = words.search ? search(self, &words) : show_plan(self, &words);
        ts_group_free(&self);
        status = ts_comm_agree(world, status);
    }
    ts_free(words.sources);
    return status;
}

const TsCommand ts_command_plan = {
    .name = "plan",
    .usage = "CONFIG... [key=value...] [--ranks N] [--search] [--measure]",
    .help = "Says what a run would take, without running it: memory, flops, messages, and the time of a step on the\n"
            "cluster: that the configuration describes, for any mesh. --ranks is how many there are, where mesh.data "
            "is auto.\n"
            "--search compares the meshes of so many ranks. --measure, under mpirun, prints the cluster: at hand, to "
            "be given\n"
            "as one more CONFIG; with a CONFIG it also trains for a few steps, and so knows every kind of op.",
    .run = plan};
