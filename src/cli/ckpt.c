/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera ckpt ls RUN | show CKPT | verify CKPT... | diff A B | average A B... --out DIR | import DIR RUN | export RUN
 * DIR
 */
#include "cli/command.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "ckpt/inspect.h"
#include "task/pretrained/exchange.h"

/* Prints the text on rank 0, and frees it. Collective. */
static TsStatus print(TsGroup *world, TsText *text)
{
    bool prints = ts_group_rank(world) == 0 && text->data;
    bool good = !prints || (fputs(text->data, stdout) >= 0 && fflush(stdout) == 0);
    ts_text_free(text);
    return ts_comm_agree(world, good ? TS_OK : ts_status_error(TS_CODE_IO, "the answer could not be printed"));
}

/* "1.5 GiB" */
static void append_bytes(TsText *text, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double count = (double)bytes;
    int unit = 0;
    for (; count >= 1024 && unit < 4; unit++)
        count /= 1024;
    ts_text_append(text, "%.*f %s", unit ? 1 : 0, count, units[unit]);
}

/* "5 min" */
static void append_age(TsText *text, double seconds)
{
    if (seconds < 120)
        ts_text_append(text, "%.0f s", seconds);
    else if (seconds < 2 * 3600)
        ts_text_append(text, "%.0f min", seconds / 60);
    else if (seconds < 2 * 86400)
        ts_text_append(text, "%.0f h", seconds / 3600);
    else
        ts_text_append(text, "%.0f days", seconds / 86400);
}

/* Appends a space and then blanks, up to `column` of the line that begins at `line`. */
static void pad_to(TsText *text, size_t line, size_t column)
{
    do
        ts_text_append(text, " ");
    while (text->size_bytes - line < column);
}

static int64_t checkpoint_bytes(const TsCheckpoint *checkpoint)
{
    int64_t bytes = 0;
    for (int i = 0; i < ts_checkpoint_count(checkpoint); i++) {
        TsCheckpointEntry entry = ts_checkpoint_entry(checkpoint, i);
        bytes += ts_shape_elems(entry.shape) * (int64_t)ts_dtype_bytes(entry.dtype);
    }
    return bytes;
}

/* ---- ls ---- */

/* "a/b=1.5 c=2", of the numbers in an object and in those inside it. */
static void append_numbers(TsText *text, const json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char *name = ts_format("%s%s%s", prefix, prefix[0] ? "/" : "", key);
        if (json_is_object(value))
            append_numbers(text, value, name);
        else if (json_is_number(value))
            ts_text_append(text, "%s=%g ", name, json_number_value(value));
        ts_free(name);
    }
}

static void append_summary(TsText *text, const TsCheckpointSummary *summary)
{
    static const char *const words[] = {[TS_CHECKPOINT_COMMITTED] = "committed",
                                        [TS_CHECKPOINT_UNCOMMITTED] = "not committed",
                                        [TS_CHECKPOINT_UNFINISHED] = "unfinished",
                                        [TS_CHECKPOINT_DAMAGED] = "DAMAGED"};
    size_t line = text->size_bytes;
    ts_text_append(text, "%10lld", (long long)summary->step);
    pad_to(text, line, 12);
    append_bytes(text, summary->size_bytes);
    pad_to(text, line, 24);
    append_age(text, summary->age_s);
    pad_to(text, line, 34);
    ts_text_append(text, "%s", words[summary->condition]);
    if (summary->metrics || summary->reason || summary->kept)
        pad_to(text, line, 49);
    if (summary->kept)
        ts_text_append(text, "%s", summary->kept[0] ? summary->kept : "by no rule now");
    if (summary->kept && summary->metrics)
        pad_to(text, line, 75);
    if (summary->metrics)
        append_numbers(text, summary->metrics, "");
    ts_text_append(text, "%s\n", summary->reason ? summary->reason : "");
}

static TsStatus list_run(TsText *text, const char *run_dir)
{
    TsCheckpointList *list = NULL;
    TS_TRY(ts_checkpoint_list_create(&list, run_dir));
    ts_text_append(text, "      step  size        age       condition      kept because              metrics\n");
    for (int64_t i = 0; i < list->count; i++)
        append_summary(text, &list->items[i]);
    ts_checkpoint_list_free(&list);
    return TS_OK;
}

static TsStatus ls(TsGroup *world, int count, const char *const *words)
{
    (void)count;
    TsText text = {0};
    TsStatus status = ts_comm_agree(world, ts_group_rank(world) == 0 ? list_run(&text, words[0]) : TS_OK);
    if (!status)
        return print(world, &text);
    ts_text_free(&text);
    return status;
}

/* ---- show ---- */

static void append_json(TsText *text, const char *name, const json_t *value)
{
    char *line = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)) : NULL;
    if (line)
        ts_text_append(text, "%-12s%s\n", name, line);
    free(line); /* jansson's */
}

static void append_header(TsText *text, const TsCheckpoint *checkpoint)
{
    ts_text_append(text, "%-12s%s\n", "path", ts_checkpoint_path(checkpoint));
    ts_text_append(text, "%-12s%lld\n", "step", (long long)ts_checkpoint_step(checkpoint));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)ts_checkpoint_provenance(checkpoint), key, value)
    {
        if (json_is_string(value))
            ts_text_append(text, "%-12s%s\n", key, json_string_value(value));
        else
            append_json(text, key, value);
    }
    append_json(text, "state", ts_checkpoint_state(checkpoint));
    ts_text_append(text, "%-12s%d, ", "arrays", ts_checkpoint_count(checkpoint));
    append_bytes(text, checkpoint_bytes(checkpoint));
    ts_text_append(text, "\n\n");
}

static size_t longest_name(const TsCheckpoint *checkpoint)
{
    size_t longest = strlen("name");
    for (int i = 0; i < ts_checkpoint_count(checkpoint); i++) {
        size_t length = strlen(ts_checkpoint_entry(checkpoint, i).name);
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* "4, by 0: data", of an array that lay in four shards on the mesh that saved it; "1" of one that was whole. */
static void append_shards(TsText *text, const TsCheckpoint *checkpoint, const char *placement)
{
    const char *axis;
    json_t *size, *mesh = json_object_get(ts_checkpoint_provenance(checkpoint), "mesh");
    long long shards = 1;
    json_object_foreach(mesh, axis, size) if (placement && strstr(placement, axis)) /* no name is in another */
        shards *= json_integer_value(size);
    if (!placement)
        ts_text_append(text, "not known");
    else if (shards == 1)
        ts_text_append(text, "1");
    else
        ts_text_append(text, "%lld, by %s", shards, placement);
}

static TsStatus show_open(TsGroup *world, TsCheckpoint *checkpoint)
{
    int count = ts_checkpoint_count(checkpoint), width = (int)longest_name(checkpoint);
    double *norms = ts_calloc((size_t)count, sizeof *norms);
    TsStatus status = ts_checkpoint_norms(norms, world, checkpoint);
    TsText text = {0};
    append_header(&text, checkpoint);
    ts_text_append(&text, "%-*s  dtype  %-24s %-12s shards\n", width, "name", "shape", "norm");
    for (int i = 0; i < count; i++) {
        TsCheckpointEntry entry = ts_checkpoint_entry(checkpoint, i);
        ts_text_append(&text, "%-*s  %-5s  %-24s %-12.6g ", width, entry.name, ts_dtype_name(entry.dtype),
                       ts_shape_text(entry.shape).text, norms[i]);
        append_shards(&text, checkpoint, entry.placement);
        ts_text_append(&text, "\n");
    }
    ts_free(norms);
    if (!status)
        return print(world, &text);
    ts_text_free(&text);
    return status;
}

static TsStatus show(TsGroup *world, int count, const char *const *words)
{
    (void)count;
    TsCheckpoint *checkpoint = NULL;
    TS_TRY(ts_checkpoint_open_named(&checkpoint, world, words[0]));
    TsStatus status = show_open(world, checkpoint);
    ts_checkpoint_close(&checkpoint);
    return status;
}

/* ---- verify ---- */

static TsStatus verify_one(TsGroup *world, const char *path)
{
    TsCheckpoint *checkpoint = NULL;
    TS_TRY(ts_checkpoint_open_named(&checkpoint, world, path));
    TsStatus status = ts_checkpoint_verify(checkpoint);
    if (!status) {
        TsText text = {0};
        ts_text_append(&text, "%s: good: step %lld, %d arrays, ", ts_checkpoint_path(checkpoint),
                       (long long)ts_checkpoint_step(checkpoint), ts_checkpoint_count(checkpoint));
        append_bytes(&text, checkpoint_bytes(checkpoint));
        ts_text_append(&text, "\n");
        status = print(world, &text);
    }
    ts_checkpoint_close(&checkpoint);
    return status;
}

/* All are looked at; the first error is the command's, further ones are said as they are found. */
static TsStatus verify(TsGroup *world, int count, const char *const *words)
{
    TsStatus first = TS_OK;
    for (int i = 0; i < count; i++) {
        TsStatus status = verify_one(world, words[i]);
        if (!first) {
            first = status;
            continue;
        }
        if (status && ts_group_rank(world) == 0)
            ts_log(TS_LOG_ERROR, "%s", ts_status_message(status));
        ts_status_free(&status);
    }
    return first;
}

/* ---- diff ---- */

/* Appends a line where the array differs; whether it does. */
static bool append_difference(TsText *text, const TsCheckpoint *one, const TsCheckpoint *other, int index,
                              TsCheckpointDifference found)
{
    TsCheckpointEntry here = ts_checkpoint_entry(one, index);
    if (found.other < 0) {
        ts_text_append(text, "%s: only in the first\n", here.name);
    } else if (!found.comparable) {
        TsCheckpointEntry there = ts_checkpoint_entry(other, found.other);
        ts_text_append(text, "%s: %s %s in the first, %s %s in the second\n", here.name, ts_dtype_name(here.dtype),
                       ts_shape_text(here.shape).text, ts_dtype_name(there.dtype), ts_shape_text(there.shape).text);
    } else if (found.elems > 0) {
        ts_text_append(text, "%s: %lld of %lld elements differ, by %.6g at most", here.name, (long long)found.elems,
                       (long long)ts_shape_elems(here.shape), found.largest);
        if (found.largest_of_one > 0)
            ts_text_append(text, ", %.3g of the largest", found.largest / found.largest_of_one);
        ts_text_append(text, "\n");
    } else {
        return false;
    }
    return true;
}

/* Appends the names that only the second has; returns how many. */
static int append_extra(TsText *text, const TsCheckpoint *one, const TsCheckpoint *other,
                        const TsCheckpointDifference *found)
{
    int extra = 0, others = ts_checkpoint_count(other);
    bool *known = ts_calloc((size_t)others, sizeof *known);
    for (int i = 0; i < ts_checkpoint_count(one); i++)
        if (found[i].other >= 0)
            known[found[i].other] = true;
    for (int i = 0; i < others; i++)
        if (!known[i]) {
            ts_text_append(text, "%s: only in the second\n", ts_checkpoint_entry(other, i).name);
            extra++;
        }
    ts_free(known);
    return extra;
}

/* Appends the top keys of the states that are not equal. */
static void append_states(TsText *text, const TsCheckpoint *one, const TsCheckpoint *other)
{
    json_t *here = (json_t *)(uintptr_t)ts_checkpoint_state(one), *value;
    json_t *there = (json_t *)(uintptr_t)ts_checkpoint_state(other);
    const char *key;
    json_object_foreach(here, key, value) if (!json_equal(value, json_object_get(there, key)))
        ts_text_append(text, "state: %s differs\n", key);
    json_object_foreach(there, key, value) if (!json_object_get(here, key))
        ts_text_append(text, "state: %s is only in the second\n", key);
}

static TsStatus diff_open(TsGroup *world, TsCheckpoint *one, TsCheckpoint *other)
{
    int count = ts_checkpoint_count(one), different = 0;
    TsCheckpointDifference *found = ts_calloc((size_t)count, sizeof *found);
    TsStatus status = ts_checkpoint_compare(found, world, one, other);
    if (status) {
        ts_free(found);
        return status;
    }
    TsText text = {0};
    for (int i = 0; i < count; i++)
        different += append_difference(&text, one, other, i, found[i]);
    different += append_extra(&text, one, other, found);
    ts_free(found);
    append_states(&text, one, other);
    if (different == 0)
        ts_text_append(&text, "no array differs, of %d\n", count);
    TS_TRY(print(world, &text));
    if (different == 0)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "%s and %s differ in %d array%s", ts_checkpoint_path(one),
                           ts_checkpoint_path(other), different, different == 1 ? "" : "s");
}

static TsStatus diff(TsGroup *world, int count, const char *const *words)
{
    (void)count;
    TsCheckpoint *one = NULL, *other = NULL;
    TS_TRY(ts_checkpoint_open_named(&one, world, words[0]));
    TsStatus status = ts_checkpoint_open_named(&other, world, words[1]);
    if (!status)
        status = diff_open(world, one, other);
    ts_checkpoint_close(&one);
    ts_checkpoint_close(&other);
    return status;
}

/* ---- average ---- */

static TsStatus average_named(TsGroup *world, const char *const *paths, int count, const char *out_dir)
{
    TsCheckpoint **checkpoints = ts_calloc((size_t)count, sizeof *checkpoints);
    TsStatus status = TS_OK;
    int64_t step = 0;
    for (int i = 0; i < count && !status; i++)
        status = ts_checkpoint_open_named(&checkpoints[i], world, paths[i]);
    if (!status)
        status = ts_checkpoint_average(&step, world, checkpoints, count, out_dir);
    for (int i = 0; i < count; i++)
        ts_checkpoint_close(&checkpoints[i]);
    ts_free(checkpoints);
    TS_TRY(status);
    TsText text = {0};
    ts_text_append(&text, "the mean of %d checkpoints is in %s, as of step %lld\n", count, out_dir, (long long)step);
    return print(world, &text);
}

static TsStatus average(TsGroup *world, int count, const char *const *words)
{
    const char **paths = ts_calloc((size_t)count, sizeof *paths), *out_dir = NULL;
    int path_count = 0;
    TsStatus status = TS_OK;
    for (int i = 0; i < count && !status; i++) {
        if (strcmp(words[i], "--out") != 0)
            paths[path_count++] = words[i];
        else if (i + 1 == count || out_dir)
            status = ts_status_error(TS_CODE_INVALID, "ckpt average: --out is followed by one directory, once");
        else
            out_dir = words[++i];
    }
    if (!status && (!out_dir || path_count < 2))
        status = ts_status_error(TS_CODE_INVALID, "ckpt average: expected two checkpoints or more, and --out DIR");
    if (!status)
        status = average_named(world, paths, path_count, out_dir);
    ts_free(paths);
    return status;
}

/* ---- import, export ---- */

static TsStatus import_model(TsGroup *world, int count, const char *const *words)
{
    (void)count;
    TS_TRY(ts_status_annotate(ts_import(world, words[0], words[1]), "ckpt import"));
    TsText text = {0};
    ts_text_append(&text, "%s is in %s, as of step 0; its backbone is in %s/config.yaml\n", words[0], words[1],
                   words[1]);
    return print(world, &text);
}

static TsStatus export_model(TsGroup *world, int count, const char *const *words)
{
    (void)count;
    TS_TRY(ts_status_annotate(ts_export(world, words[0], words[1]), "ckpt export"));
    TsText text = {0};
    ts_text_append(&text, "%s is in %s/model.safetensors, with config.json\n", words[0], words[1]);
    return print(world, &text);
}

/* ---- which ---- */

typedef struct Action {
    const char *name, *words; /* that follow it */
    int least, most;          /* how many words; most < 0: any number */
    const char *option;       /* the one that it knows, or NULL */
    TsStatus (*run)(TsGroup *world, int count, const char *const *words);
} Action;

static const Action actions[] = {{"ls", "RUN", 1, 1, NULL, ls},
                                 {"show", "CKPT", 1, 1, NULL, show},
                                 {"verify", "CKPT...", 1, -1, NULL, verify},
                                 {"diff", "A B", 2, 2, NULL, diff},
                                 {"average", "A B... --out DIR", 1, -1, "--out", average},
                                 {"import", "DIR RUN", 2, 2, NULL, import_model},
                                 {"export", "RUN DIR", 2, 2, NULL, export_model}};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

static TsStatus unknown_action(const char *name)
{
    const char *names[ACTIONS];
    for (int i = 0; i < ACTIONS; i++)
        names[i] = actions[i].name;
    const char *nearest = ts_text_nearest(name, names, ACTIONS);
    TsText shown = {0};
    ts_text_append_shown(&shown, name);
    TsStatus status =
        nearest ? ts_status_error(TS_CODE_INVALID, "ckpt: there is no %s; did you mean %s?", shown.data, nearest)
                : ts_status_error(TS_CODE_INVALID, "ckpt: there is no %s; see tessera help ckpt", shown.data);
    ts_text_free(&shown);
    return status;
}

static TsStatus check_words(const Action *action, int count, const char *const *words)
{
    for (int i = 0; i < count; i++)
        if (words[i][0] == '-' && !(action->option && strcmp(words[i], action->option) == 0))
            return ts_status_error(TS_CODE_INVALID, "ckpt %s: unknown option %s; see tessera help ckpt", action->name,
                                   words[i]);
    if (count < action->least || (action->most >= 0 && count > action->most))
        return ts_status_error(TS_CODE_INVALID, "ckpt %s: expected %s", action->name, action->words);
    return TS_OK;
}

static TsStatus ckpt(TsGroup *world, int count, const char *const *words)
{
    if (count == 0)
        return ts_status_error(TS_CODE_INVALID,
                               "ckpt: which of ls, show, verify, diff, average, import, export? See tessera help ckpt");
    const Action *action = NULL;
    for (int i = 0; i < ACTIONS && !action; i++)
        if (strcmp(actions[i].name, words[0]) == 0)
            action = &actions[i];
    if (!action)
        return unknown_action(words[0]);
    TS_TRY(check_words(action, count - 1, words + 1));
    return action->run(world, count - 1, words + 1);
}

const TsCommand ts_command_ckpt = {
    .name = "ckpt",
    .usage =
        "ls RUN | show CKPT | verify CKPT... | diff A B | average A B... --out DIR | import DIR RUN | export RUN DIR",
    .help = "Looks into checkpoints: which a run has, what one holds, whether it is whole, where two differ.\n\n"
            "  ls RUN                     the steps of a run: size, age, whether committed, metrics\n"
            "  show CKPT                  where it comes from; its arrays with dtypes, shapes and norms\n"
            "  verify CKPT...             reads all of it and compares every checksum\n"
            "  diff A B                   which arrays differ, and by how much; ends with 0 if none does, else with 2\n"
            "  average A B... --out DIR   the mean of their parameters, as a checkpoint of the new run DIR\n"
            "  import DIR RUN             a pre-trained model (config.json, safetensors) as the new run RUN\n"
            "  export RUN DIR             the newest checkpoint as such a model: GPT-2, Llama, BERT, RoBERTa, ESM-2\n\n"
            "A checkpoint is given by its directory, RUN/checkpoints/step_…, or by that of its run, whose newest\n"
            "committed one is meant. Under mpirun the ranks divide the reading. Nothing is ever changed or removed.",
    .run = ckpt};
