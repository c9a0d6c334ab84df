/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera plan CONFIG... [key=value...] [--ranks N] [--search] [--measure] [--program FILE] [--graphviz FILE]
 */
#include "cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/unit.h"
#include "task/command/plan.h"

typedef struct Words {
    const char **sources; /* (count) and room for those that a search adds */
    int count;
    int64_t ranks; /* 0: those that the config speaks of */
    bool search, measure;
    const char *program, *graphviz; /* files for what was compiled; NULL: none */
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
        } else if (strcmp(given[i], "--program") == 0 || strcmp(given[i], "--graphviz") == 0) {
            const char **file = given[i][2] == 'p' ? &words->program : &words->graphviz;
            if (i + 1 == count)
                return ts_status_error(TS_CODE_INVALID, "plan: %s takes the name of a file", given[i]);
            *file = given[++i];
        } else if (given[i][0] == '-') {
            return ts_status_error(TS_CODE_INVALID, "plan: unknown option %s; see tessera help plan", given[i]);
        } else {
            words->sources[words->count++] = given[i];
        }
    }
    if (words->count == 0 && !words->measure)
        return ts_status_error(TS_CODE_INVALID, "plan: which configuration? See tessera help plan");
    if ((words->program || words->graphviz) && (words->search || words->measure))
        return ts_status_error(TS_CODE_INVALID, "plan: --program and --graphviz are about one plan, not a search or a "
                                                "measurement");
    return TS_OK;
}

/* ---- one plan ---- */

/* Where Programs are written. */
typedef struct Output {
    FILE *program, *graphviz; /* NULL: nowhere, or no more */
} Output;

static void write_program(void *context, const char *what, const TsProgram *program)
{
    Output *output = context;
    if (output->program) {
        fprintf(output->program, "program   %s\n", what);
        ts_program_describe(program, output->program);
        fputc('\n', output->program);
    }
    if (output->graphviz && strstr(what, ", training ")) { /* one drawing a file: the first */
        ts_program_describe_dot(program, output->graphviz);
        output->graphviz = NULL;
    }
}

/* Makes the plan of the sources with what a search adds. */
static TsStatus plan_of(TsPlan **plan, TsGroup *self, const Words *words, int added, Output *output)
{
    TsConfig *config = NULL;
    TsMeshShape mesh;
    TS_TRY(ts_job_load(&config, self, words->sources, words->count + added));
    TsStatus status = ts_plan_mesh(&mesh, config, words->ranks ? (int)words->ranks : ts_plan_ranks(config));
    if (!status)
        status = ts_plan_make(plan, self, config, mesh, (TsPlanVisitor){output ? write_program : NULL, output});
    ts_config_free(&config);
    return status;
}

/* *file for writing; NULL where there is no path. */
static TsStatus open_file(FILE **file, const char *path)
{
    *file = path ? fopen(path, "we") : NULL;
    return path && !*file ? ts_status_error(TS_CODE_IO, "plan: %s: %s", path, strerror(errno)) : TS_OK;
}

static TsStatus close_file(FILE *file, const char *path)
{
    bool failed = file && ferror(file);
    if (file && fclose(file) != 0)
        failed = true;
    return failed ? ts_status_error(TS_CODE_IO, "plan: %s: it could not be written", path) : TS_OK;
}

/* The plan, and what was compiled for it in the files that are asked for. */
static TsStatus plan_with_files(TsPlan **plan, TsGroup *self, const Words *words)
{
    FILE *program, *graphviz;
    TS_TRY(open_file(&program, words->program));
    TsStatus status = open_file(&graphviz, words->graphviz);
    if (!status)
        status = plan_of(plan, self, words, 0, &(Output){program, graphviz});
    TsStatus closed[] = {close_file(program, words->program), close_file(graphviz, words->graphviz)};
    for (int i = 0; i < 2; i++)
        if (status)
            ts_status_free(&closed[i]);
        else
            status = closed[i];
    return status;
}

static TsStatus show_plan(TsGroup *self, const Words *words)
{
    TsPlan *plan = NULL;
    TsText text = {0};
    TsStatus status = plan_with_files(&plan, self, words);
    if (status) {
        ts_free(plan);
        return status;
    }
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

typedef struct Search {
    TsGroup *self;
    Words *words;
    Found *found; /* (count), owned */
    int count, refused;
    TsStatus last; /* why the last that cannot be is refused */
} Search;

/* Those that fit first, the fastest of them first. */
static int by_rank(const void *a, const void *b)
{
    const Found *x = a, *y = b;
    bool fits = ts_plan_fits(x->plan), other = ts_plan_fits(y->plan);
    double s = x->plan->estimate.seconds, t = y->plan->estimate.seconds;
    return fits != other ? (fits ? -1 : 1) : (s > t) - (s < t);
}

/* Plans one mesh; gives whether the model has experts that could be dealt out. */
static bool try_mesh(Search *search, int data, int expert, int model, bool shards)
{
    Words *words = search->words;
    char *added[] = {ts_format("mesh.data=%d", data), ts_format("mesh.expert=%d", expert),
                     ts_format("mesh.model=%d", model), ts_format("parameters.shard=%s", shards ? "data" : "none")};
    int count = (int)(sizeof added / sizeof *added);
    TsPlan *plan = NULL;
    for (int i = 0; i < count; i++)
        words->sources[words->count + i] = added[i];
    TsStatus status = plan_of(&plan, search->self, words, count, NULL);
    for (int i = 0; i < count; i++)
        ts_free(added[i]);
    if (status) { /* more ranks along model than there are heads, for example */
        ts_status_free(&search->last);
        search->last = status;
        search->refused++;
        return false;
    }
    search->found = ts_realloc(search->found, (size_t)(search->count + 1) * sizeof *search->found);
    Found *found = &search->found[search->count++];
    found->plan = plan;
    snprintf(found->name, sizeof found->name, "%s%s", ts_mesh_text(plan->mesh).text, shards ? ", shard: data" : "");
    return plan->experts;
}

/* Every way to deal the ranks out over data, expert (where there are experts) and model, with and without sharded
 * parameters. */
static void try_all(Search *search, int ranks)
{
    bool experts = false;
    for (int model = 1; model <= ranks; model++)
        for (int expert = 1; expert <= ranks / model && ranks % model == 0 && (expert == 1 || experts); expert++) {
            int data = ranks / model / expert;
            if (ranks / model % expert)
                continue;
            experts |= try_mesh(search, data, expert, model, false);
            if (ranks > model) /* else there is nothing to shard them over */
                experts |= try_mesh(search, data, expert, model, true);
        }
}

static TsStatus search(TsGroup *self, Words *words)
{
    Search search = {.self = self, .words = words};
    TsConfig *config = NULL;
    TsText text = {0};
    TS_TRY(ts_job_load(&config, self, words->sources, words->count));
    int ranks = words->ranks ? (int)words->ranks : ts_plan_ranks(config);
    ts_config_free(&config);
    words->ranks = ranks;
    try_all(&search, ranks);
    if (search.count) {
        qsort(search.found, (size_t)search.count, sizeof *search.found, by_rank);
        ts_plan_line(NULL, NULL, &text);
        for (int i = 0; i < search.count && i < SHOWN; i++)
            ts_plan_line(search.found[i].plan, search.found[i].name, &text);
        if (search.refused)
            ts_text_append(&text, "%d of %d cannot be: %s\n", search.refused, search.refused + search.count,
                           ts_status_message(search.last));
        fputs(text.data, stdout);
        ts_status_free(&search.last);
    }
    for (int i = 0; i < search.count; i++)
        ts_free(search.found[i].plan);
    ts_free(search.found);
    ts_text_free(&text);
    return search.last; /* where no mesh can be, the reason */
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
    .usage = "CONFIG... [key=value...] [--ranks N] [--search] [--measure] [--program FILE] [--graphviz FILE]",
    .help = "Says what a run would take, without running it: memory, flops, messages, and the time of a step on the\n"
            "cluster: that the configuration describes, for any mesh. --ranks is how many there are, where mesh.data "
            "is auto.\n"
            "--search compares the meshes of so many ranks. --measure, under mpirun, prints the cluster: at hand, to "
            "be given\n"
            "as one more CONFIG; with a CONFIG it also trains for a few steps, and so knows every kind of op.\n"
            "--program writes what was compiled: each step with its shapes, placements, flops, bytes, lifetimes and "
            "messages.\n"
            "--graphviz draws the first task's training step, for dot -Tsvg.",
    .run = plan};
