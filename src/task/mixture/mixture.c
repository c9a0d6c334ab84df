/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/mixture.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "task/mixture/balance.h"

static const TsKey weight_element = {.kind = TS_KIND_REAL, .range = TS_AT_LEAST(0)};

static const TsKey submixture_keys[] = {
    TS_KEY_CHOICE(TsSubmixtureConfig, sampler, &ts_samplers, "the rates of its parts", .fallback = "proportional"),
    TS_KEY_MAP(TsSubmixtureConfig, of, &weight_element, "weights of tasks and mixtures, by name", .required = true,
               .range = TS_AT_LEAST(1)),
    TS_KEYS_END};
static const TsConfigTable submixture_table = {"submixture", "A mixture that stands in others by its name.",
                                               sizeof(TsSubmixtureConfig), submixture_keys, NULL};

static const char *const mode_words[] = {"interleaved", "joint", "concurrent", NULL};
static const char *const unit_words[] = {"examples", "tokens", "steps", NULL};
static const char *const exhausted_words[] = {"repeat", "drop", "stop", NULL};

static const TsKey keys[] = {
    TS_KEY_ENUM(TsMixtureConfig, mode, mode_words,
                "how tasks share the steps: one in each, all in each, or all side by side on groups of ranks",
                .fallback = "interleaved"),
    TS_KEY_CHOICE(TsMixtureConfig, balance, &ts_balances, "what each gradient counts in a step of several tasks",
                  .fallback = "fixed"),
    TS_KEY_BOOL(TsMixtureConfig, conflicts,
                "summaries tell the norm of each task's gradient, and the cosines between them: gradients are kept "
                "apart, each cut along data",
                .fallback = "false"),
    TS_KEY_REAL(TsMixtureConfig, scaling, "the efficiency of a group of twice as many ranks, by which groups are cut",
                .fallback = "0.9", .range = TS_BETWEEN(0.5, 1)),
    TS_KEY_INT(TsMixtureConfig, recut, "how often it is looked at whether groups are to be cut anew", .fallback = "50",
               .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEY_INT(
        TsMixtureConfig, batches,
        "of a joint or concurrent step, over all tasks: each has as many as its rate says, at least one, and learns "
        "from their mean; 0: one of each",
        .fallback = "0", .range = TS_BETWEEN(0, 1 << 16), .unit = "batches"),
    TS_KEY_CHOICE(TsMixtureConfig, sampler, &ts_samplers, "the rates of tasks", .fallback = "proportional"),
    TS_KEY_MAP(TsMixtureConfig, of, &weight_element,
               "weights of tasks and mixtures, by name; left out: all tasks with their own"),
    TS_KEY_MAP(TsMixtureConfig, mixtures, TS_ELEMENT_STRUCT(&submixture_table), "mixtures that others may hold"),
    TS_KEY_ENUM(TsMixtureConfig, by, unit_words, "what rates count", .fallback = "examples"),
    TS_KEY_ENUM(TsMixtureConfig, exhausted, exhausted_words,
                "a task whose data were gone through begins again, is left out, or ends the run", .fallback = "repeat"),
    TS_KEY_REAL(TsMixtureConfig, epochs, "times that data are gone through before they are exhausted", .fallback = "1",
                .range = TS_ABOVE(0)),
    TS_KEY_BOOL(TsMixtureConfig, importance, "losses are scaled by loss weight over rate", .fallback = "false"),
    TS_KEYS_END};
const TsConfigTable ts_mixture_table = {"mixture", "Which task is learned when.", sizeof(TsMixtureConfig), keys, NULL};

/* One mixture of the tree: its parts are tasks, and mixtures that stand before it in the list of levels. */
typedef struct Level {
    const char *name; /* NULL: the outermost */
    TsChoice sampler;
    int count;
    TsSamplerPart *parts; /* (count) with the weights that count now: 0 of what is exhausted */
    double *weights;      /* (count) as the config has them */
    int *child;           /* (count) a task, or ~ the number of a level */
    double *rates;        /* (count) of the parts */
    double rate;          /* of the level in the whole */
} Level;

struct TsMixture {
    const TsMixtureConfig *config;
    TsMixtureTask *tasks; /* (count) */
    int count;
    Level *levels; /* (level_count) parts before what holds them; the last is the outermost */
    int level_count, level_room;
    bool *left;      /* (count) whether data are left */
    double *rates;   /* (count) */
    double *chances; /* (count) of a step */
    uint64_t seed;
};

/* ---- making the tree ---- */

/* The mixtures whose parts are being looked up, from the outermost in. */
typedef struct Path {
    const char *name;
    const struct Path *outer;
} Path;

static TsStatus add_level(TsMixture *mixture, const char *name, TsChoice sampler, const TsMap *of, const Path *path);

static int find_level(const TsMixture *mixture, const char *name)
{
    for (int i = 0; i < mixture->level_count; i++)
        if (strcmp(mixture->levels[i].name, name) == 0)
            return i;
    return -1;
}

/* What the name is: a task, or ~ a level, which is made if it is not there yet. */
static TsStatus find_child(int *child, TsMixture *mixture, const char *name, const Path *path)
{
    for (int i = 0; i < mixture->count; i++)
        if (strcmp(mixture->tasks[i].name, name) == 0)
            return *child = i, TS_OK;
    for (const Path *at = path; at; at = at->outer)
        if (at->name && strcmp(at->name, name) == 0)
            return ts_status_error(TS_CODE_INVALID, "mixtures.%s contains itself, by way of %s", name, path->name);
    int level = find_level(mixture, name);
    const TsMap *map = &mixture->config->mixtures;
    for (int64_t i = 0; i < map->count && level < 0; i++)
        if (strcmp(map->names[i], name) == 0) {
            const TsSubmixtureConfig *inner = (const TsSubmixtureConfig *)map->items + i;
            TS_TRY(add_level(mixture, name, inner->sampler, &inner->of, path));
            level = mixture->level_count - 1;
        }
    *child = ~level;
    return level >= 0 ? TS_OK
                      : ts_status_error(TS_CODE_INVALID, "%s%sof: %s is neither a task nor a mixture",
                                        path->name ? path->name : "", path->name ? "." : "", name);
}

static Level make_level(const char *name, TsChoice sampler, int count)
{
    size_t room = (size_t)count;
    return (Level){.name = name,
                   .sampler = sampler,
                   .count = count,
                   .parts = ts_calloc(room, sizeof(TsSamplerPart)),
                   .weights = ts_calloc(room, sizeof(double)),
                   .child = ts_calloc(room, sizeof(int)),
                   .rates = ts_calloc(room, sizeof(double))};
}

static void free_level(Level *level)
{
    ts_free(level->parts);
    ts_free(level->weights);
    ts_free(level->child);
    ts_free(level->rates);
}

/* Examples of all tasks in a part; one that is in it twice counts twice. */
static int64_t examples_of(const TsMixture *mixture, int child)
{
    if (child >= 0)
        return mixture->tasks[child].examples;
    const Level *level = &mixture->levels[~child];
    int64_t sum = 0;
    for (int i = 0; i < level->count; i++)
        sum += level->parts[i].examples;
    return sum;
}

static TsStatus fill_level(Level *level, TsMixture *mixture, const TsMap *of, const Path *path)
{
    for (int i = 0; i < level->count; i++) {
        const char *name = of ? of->names[i] : mixture->tasks[i].name;
        level->child[i] = i;
        if (of)
            TS_TRY(find_child(&level->child[i], mixture, name, path));
        level->weights[i] = of ? ((const double *)of->items)[i] : mixture->tasks[i].weight;
        level->parts[i] = (TsSamplerPart){name, level->weights[i], examples_of(mixture, level->child[i])};
        if (level->child[i] >= 0 && level->weights[i] > 0 && !level->parts[i].examples)
            return ts_status_error(TS_CODE_INVALID, "%s has nothing to learn: weight: 0 leaves it out", name);
    }
    char where[256] = "";
    if (level->name)
        snprintf(where, sizeof where, "mixtures.%s: ", level->name);
    return ts_sampler_check(level->sampler, where, level->parts, level->count);
}

/* A level of the parts `of`; NULL: of all tasks. */
static TsStatus add_level(TsMixture *mixture, const char *name, TsChoice sampler, const TsMap *of, const Path *path)
{
    Path inner = {name, path};
    Level level = make_level(name, sampler, of ? (int)of->count : mixture->count);
    TsStatus status = TS_OK;
    if (ts_sampler_takes_turns(sampler) && mixture->config->mixtures.count)
        status = ts_status_error(TS_CODE_INVALID, "%s%ssampler: round_robin takes turns of tasks, not of mixtures",
                                 name ? name : "", name ? "." : "");
    if (!status)
        status = fill_level(&level, mixture, of, &inner);
    if (status) {
        free_level(&level);
        return status;
    }
    if (mixture->level_count == mixture->level_room) {
        mixture->level_room = 2 * mixture->level_room + 4;
        mixture->levels = ts_realloc(mixture->levels, (size_t)mixture->level_room * sizeof *mixture->levels);
    }
    mixture->levels[mixture->level_count++] = level;
    return TS_OK;
}

/* Every name means one thing, and every mixture can be made, used or not. */
static TsStatus check_names(const TsMixture *mixture)
{
    const TsMap *map = &mixture->config->mixtures;
    for (int64_t i = 0; i < map->count; i++)
        for (int k = 0; k < mixture->count; k++)
            if (strcmp(map->names[i], mixture->tasks[k].name) == 0)
                return ts_status_error(TS_CODE_INVALID, "mixtures.%s has the name of a task", map->names[i]);
    return TS_OK;
}

TsStatus ts_mixture_create(TsMixture **mixture, const TsMixtureConfig *config, const TsMixtureTask *tasks, int count,
                           uint64_t seed)
{
    *mixture = NULL;
    size_t room = (size_t)count;
    TsMixture *made = ts_calloc(1, sizeof *made);
    *made = (TsMixture){.config = config,
                        .tasks = ts_calloc(room, sizeof *made->tasks),
                        .count = count,
                        .left = ts_calloc(room, sizeof *made->left),
                        .rates = ts_calloc(room, sizeof *made->rates),
                        .chances = ts_calloc(room, sizeof *made->chances),
                        .seed = seed};
    memcpy(made->tasks, tasks, room * sizeof *tasks);
    TsStatus status = check_names(made);
    if (!status)
        status = add_level(made, NULL, config->sampler, config->of.count ? &config->of : NULL, NULL);
    if (status)
        ts_mixture_free(&made);
    *mixture = made;
    return status;
}

void ts_mixture_free(TsMixture **mixture)
{
    TsMixture *ended = *mixture;
    if (!ended)
        return;
    for (int i = 0; i < ended->level_count; i++)
        free_level(&ended->levels[i]);
    ts_free(ended->levels);
    ts_free(ended->tasks);
    ts_free(ended->left);
    ts_free(ended->rates);
    ts_free(ended->chances);
    ts_free(ended);
    *mixture = NULL;
}

/* ---- a step ---- */

/* Whether the task's data were gone through. */
static bool is_exhausted(const TsMixture *mixture, int task, const int64_t *places)
{
    return (double)places[task] >= mixture->config->epochs * (double)mixture->tasks[task].examples;
}

/* The rates of a level's parts, of those that have something left; false: nothing is left. */
static bool rate_parts(Level *level, const TsMixture *mixture, int64_t step)
{
    double sum = 0;
    for (int i = 0; i < level->count; i++) {
        int child = level->child[i];
        bool left = child >= 0 ? mixture->left[child] : mixture->levels[~child].rate > 0;
        level->parts[i].weight = left ? level->weights[i] : 0;
    }
    ts_sampler_rates(level->rates, level->parts, level->count, level->sampler, step);
    for (int i = 0; i < level->count; i++)
        sum += level->rates[i];
    return sum > 0;
}

/* Inner levels first say whether anything is left in them; then rates go from the outermost in. */
static void rate_tasks(TsMixture *mixture, int64_t step)
{
    for (int i = 0; i < mixture->level_count; i++)
        mixture->levels[i].rate = rate_parts(&mixture->levels[i], mixture, step) ? 1 : 0;
    for (int i = 0; i < mixture->level_count - 1; i++)
        mixture->levels[i].rate = 0;
    memset(mixture->rates, 0, (size_t)mixture->count * sizeof *mixture->rates);
    for (int i = mixture->level_count - 1; i >= 0; i--) {
        const Level *level = &mixture->levels[i];
        for (int k = 0; k < level->count; k++)
            *(level->child[k] >= 0 ? &mixture->rates[level->child[k]] : &mixture->levels[~level->child[k]].rate) +=
                level->rate * level->rates[k];
    }
}

/* The chance that a step draws each task, such that what rates count comes out as they say. */
static void find_chances(TsMixture *mixture)
{
    double sum = 0;
    for (int i = 0; i < mixture->count; i++) {
        const TsMixtureTask *task = &mixture->tasks[i];
        double counted = mixture->config->by == TS_BY_EXAMPLES ? (double)task->rows
                         : mixture->config->by == TS_BY_TOKENS ? (double)task->tokens
                                                               : 1;
        mixture->chances[i] = mixture->rates[i] / counted;
        sum += mixture->chances[i];
    }
    for (int i = 0; i < mixture->count && sum > 0; i++)
        mixture->chances[i] /= sum;
}

/* Rates and chances at `step`; false: the run ends. */
static bool weigh(TsMixture *mixture, int64_t step, const int64_t *places)
{
    for (int i = 0; i < mixture->count; i++)
        mixture->left[i] = mixture->config->exhausted != TS_EXHAUSTED_DROP || !is_exhausted(mixture, i, places);
    rate_tasks(mixture, step);
    find_chances(mixture);
    for (int i = 0; i < mixture->count && mixture->config->exhausted == TS_EXHAUSTED_STOP; i++)
        if (mixture->rates[i] > 0 && is_exhausted(mixture, i, places))
            return false;
    return true;
}

/* The task whose turn it is among those that have a rate; -1: none. */
static int by_turns(const TsMixture *mixture, int64_t step)
{
    int64_t count = 0;
    for (int i = 0; i < mixture->count; i++)
        count += mixture->rates[i] > 0;
    if (!count)
        return -1;
    int64_t turn = (step - 1) % count;
    int task = 0;
    while (!(mixture->rates[task] > 0) || turn-- > 0)
        task++;
    return task;
}

/* The task that a draw of 32 bits hits. Thresholds are integers, and what rounding leaves at the top is the last task's
 * that can be drawn at all: no draw is left without a task. -1: none can be. */
static int by_draw(const TsMixture *mixture, uint32_t draw)
{
    double sum = 0;
    int last = -1;
    for (int i = 0; i < mixture->count; i++) {
        if (!(mixture->chances[i] > 0))
            continue;
        last = i;
        sum += mixture->chances[i];
        if (draw < (uint64_t)(sum * 0x1p32))
            return i;
    }
    return last;
}

int ts_mixture_task(TsMixture *mixture, int64_t step, const int64_t *places)
{
    if (!weigh(mixture, step, places))
        return -1;
    if (ts_sampler_takes_turns(mixture->levels[mixture->level_count - 1].sampler))
        return by_turns(mixture, step);
    uint32_t draw;
    ts_stream_fill_bits(ts_stream(mixture->seed, "mixture", step), &draw, 0, 1);
    return by_draw(mixture, draw);
}

const double *ts_mixture_rates(TsMixture *mixture, int64_t step, const int64_t *places)
{
    weigh(mixture, step, places);
    return mixture->rates;
}

void ts_mixture_batches(TsMixture *mixture, int64_t *batches, int64_t step, const int64_t *places)
{
    int64_t left = mixture->config->batches;
    weigh(mixture, step, places);
    for (int i = 0; i < mixture->count; i++) {
        batches[i] = mixture->rates[i] > 0;
        left -= batches[i];
    }
    for (; left > 0; left--) { /* to the one that is furthest below its part */
        int next = -1;
        double most = 0, whole = (double)mixture->config->batches;
        for (int i = 0; i < mixture->count; i++) {
            double lacks = mixture->chances[i] * whole - (double)batches[i];
            if (batches[i] > 0 && (next < 0 || lacks > most)) {
                next = i;
                most = lacks;
            }
        }
        if (next < 0)
            return;
        batches[next]++;
    }
}

double ts_mixture_loss_scale(TsMixture *mixture, int task, int64_t step, const int64_t *places)
{
    double weight = mixture->tasks[task].loss_weight, sum = 0;
    if (!mixture->config->importance)
        return weight;
    weigh(mixture, step, places);
    for (int i = 0; i < mixture->count; i++)
        sum += mixture->rates[i] > 0 ? mixture->tasks[i].loss_weight : 0;
    return weight / sum / mixture->chances[task];
}
