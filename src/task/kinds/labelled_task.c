/* SPDX-License-Identifier: Apache-2.0 */
#include "task/kinds/labelled_task.h"

#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "model/sharding.h"
#include "task/kinds/kinds.h"
#include "task/metric/metric_table.h"

/* ---- labels ---- */

TsLabels ts_labelled_labels(const TsLabelledTask *labelled, int64_t example)
{
    return (TsLabels){.cell = ts_dataset_text(labelled->examples.dataset, labelled->label, example),
                      .form = labelled->options.form,
                      .separator = labelled->options.data->separator[0]};
}

bool ts_labelled_ignores(const TsLabelledTask *labelled, TsField label)
{
    for (int64_t i = 0; i < labelled->options.ignored.count; i++) {
        const char *word = ((const char *const *)labelled->options.ignored.items)[i];
        if (strlen(word) == label.bytes && memcmp(word, label.text, label.bytes) == 0)
            return true;
    }
    return false;
}

int32_t ts_labelled_class(const TsLabelledTask *labelled, TsField label)
{
    return ts_class_names_find(labelled->classes, label.text, label.bytes);
}

TsStatus ts_labelled_unknown(const TsLabelledTask *labelled, int64_t example, TsField label, const char *where)
{
    return ts_dataset_error(labelled->examples.dataset, example, "the label \"%.*s\"%s is none of the %lld classes%s",
                            (int)(label.bytes < 60 ? label.bytes : 60), label.text, where,
                            (long long)ts_class_names_count(labelled->classes),
                            labelled->options.classes.count ? "" : " of the training data");
}

/* ---- what the training data say ---- */

/* Calls `visit` for each label of this rank's share of a part that is not ignored. */
static void for_each_label(TsLabelledTask *labelled, const TsSplit *split, const TsGroup *group, void *visitor,
                           void (*visit)(TsLabelledTask *labelled, TsField label, void *visitor))
{
    int64_t begin, end;
    ts_examples_share(group, split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        TsLabels labels = ts_labelled_labels(labelled, ts_split_example(split, i));
        for (TsField label; ts_labels_next(&labels, &label);)
            if (!ts_labelled_ignores(labelled, label))
                visit(labelled, label, visitor);
    }
}

static void add_class(TsLabelledTask *labelled, TsField label, void *visitor)
{
    (void)visitor;
    ts_class_names_add(labelled->classes, label.text, label.bytes);
}

static void count_class(TsLabelledTask *labelled, TsField label, void *visitor)
{
    (void)visitor;
    int32_t found = ts_labelled_class(labelled, label);
    if (found >= 0)
        labelled->measured[found]++;
}

/* The classes that are given, or those of the training data, gathered by all ranks. */
static TsStatus find_classes(TsLabelledTask *labelled)
{
    const TsList *given = &labelled->options.classes;
    const TsTaskSetting *setting = labelled->examples.setting;
    labelled->classes = ts_class_names_create();
    for (int64_t i = 0; i < given->count; i++) {
        const char *name = ((const char *const *)given->items)[i];
        ts_class_names_add(labelled->classes, name, strlen(name));
    }
    if (given->count && ts_class_names_count(labelled->classes) < given->count)
        return ts_status_error(TS_CODE_INVALID, "tasks.%s: classes: one stands twice", setting->name);
    if (given->count == 0) {
        for_each_label(labelled, &labelled->examples.part[TS_PART_TRAIN].split, setting->group, NULL, add_class);
        ts_class_names_gather(labelled->classes, setting->group);
    }
    if (ts_class_names_count(labelled->classes) == 0)
        return ts_status_error(TS_CODE_INVALID, "tasks.%s: no label is left to learn", setting->name);
    return TS_OK;
}

static void sum_up(TsLabelledTask *labelled)
{
    labelled->measured_sum = 0;
    for (int64_t i = 0; i < labelled->measured_count; i++)
        labelled->measured_sum += labelled->measured[i];
}

static void count_classes(TsLabelledTask *labelled)
{
    TsGroup *group = labelled->examples.setting->group;
    labelled->measured_count = labelled->model.outputs;
    labelled->measured = ts_calloc((size_t)labelled->measured_count, sizeof *labelled->measured);
    for_each_label(labelled, &labelled->examples.part[TS_PART_TRAIN].split, group, NULL, count_class);
    ts_metric_sum(labelled->measured, labelled->measured_count, group);
    sum_up(labelled);
}

static TsStatus find_out(TsTask *task, TsLabelledTask *labelled)
{
    if (labelled->options.form == TS_LABEL_NUMBERS) {
        TS_TRY(labelled->options.measure(task));
        return ts_examples_check(&labelled->examples, labelled->options.check);
    }
    if (labelled->label < 0) /* optional */
        return TS_OK;
    TS_TRY(find_classes(labelled));
    labelled->model.outputs = ts_class_names_count(labelled->classes);
    TS_TRY(ts_examples_check(&labelled->examples, labelled->options.check));
    count_classes(labelled);
    return TS_OK;
}

/* ---- what is kept of it ---- */

/* A string, or where it is not UTF-8 the list of its bytes. */
static json_t *name_to_json(const char *name)
{
    size_t bytes = strlen(name);
    if (ts_is_utf8(name, bytes))
        return json_stringn(name, bytes);
    json_t *list = json_array();
    for (size_t i = 0; i < bytes; i++)
        json_array_append_new(list, json_integer((unsigned char)name[i]));
    return list;
}

static void name_from_json(TsText *name, const json_t *value)
{
    if (json_is_string(value))
        ts_text_append_bytes(name, json_string_value(value), json_string_length(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        ts_text_append_bytes(name, &(char){(char)json_integer_value(json_array_get(value, i))}, 1);
}

json_t *ts_labelled_keep(const TsTask *task)
{
    const TsLabelledTask *labelled = task->own;
    json_t *kept = json_pack("{s:I}", "outputs", (json_int_t)labelled->model.outputs), *classes = json_array();
    json_t *measured = json_array();
    for (int64_t c = 0; labelled->classes && c < labelled->model.outputs; c++)
        json_array_append_new(classes, name_to_json(ts_class_names_at(labelled->classes, c)));
    for (int64_t i = 0; i < labelled->measured_count; i++)
        json_array_append_new(measured, json_real(labelled->measured[i]));
    json_object_set_new(kept, "classes", classes);
    json_object_set_new(kept, "measured", measured);
    return kept;
}

/* Takes what a checkpoint kept; an error where it is of another kind of task. */
static TsStatus recall(TsLabelledTask *labelled, const json_t *kept)
{
    const json_t *classes = json_object_get(kept, "classes"), *measured = json_object_get(kept, "measured");
    bool of_classes = labelled->options.form != TS_LABEL_NUMBERS;
    labelled->model.outputs = json_integer_value(json_object_get(kept, "outputs"));
    labelled->measured_count = (int64_t)json_array_size(measured);
    if (labelled->options.optional && labelled->model.outputs == 0 && !labelled->measured_count)
        return TS_OK;
    if (labelled->model.outputs < 1 || (of_classes && (int64_t)json_array_size(classes) != labelled->model.outputs) ||
        labelled->measured_count != (of_classes ? 1 : 3) * labelled->model.outputs)
        return ts_status_error(TS_CODE_INVALID, "tasks.%s: the checkpoint's is another kind of task",
                               labelled->examples.setting->name);
    labelled->measured = ts_calloc((size_t)labelled->measured_count, sizeof *labelled->measured);
    for (int64_t i = 0; i < labelled->measured_count; i++)
        labelled->measured[i] = json_number_value(json_array_get(measured, (size_t)i));
    sum_up(labelled);
    if (!of_classes)
        return TS_OK;
    labelled->classes = ts_class_names_create();
    for (int64_t c = 0; c < labelled->model.outputs; c++) {
        TsText name = {0};
        name_from_json(&name, json_array_get(classes, (size_t)c));
        ts_class_names_add(labelled->classes, name.data ? name.data : "", name.size_bytes);
        ts_text_free(&name);
    }
    if (ts_class_names_count(labelled->classes) == labelled->model.outputs)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "tasks.%s: the checkpoint names a class twice",
                           labelled->examples.setting->name);
}

/* ---- the kind ---- */

static int64_t tokens_of(const TsExamples *examples, int64_t example)
{
    return ts_examples_text_tokens(examples, ((const TsLabelledTask *)examples->own)->text, example);
}

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TsLabelledTask *labelled = examples->own;
    if (examples->pair >= 0)
        ts_examples_put_pair(examples, labelled->text, row[TS_LABELLED_TOKENS], row[TS_LABELLED_TYPES],
                             row[TS_LABELLED_SEEN], length, draw.example);
    else
        ts_examples_put_text(examples, labelled->text, row[TS_LABELLED_TOKENS], row[TS_LABELLED_SEEN], length,
                             draw.example);
    if (!labelled->options.of_tokens)
        *(float *)row[TS_LABELLED_WEIGHTS] = draw.example < 0 ? 0 : 1;
    labelled->options.collate(examples, row, length, draw);
}

static TsStatus load(TsTask *task, TsLabelledTask *labelled)
{
    const TsTaskSetting *setting = labelled->examples.setting;
    labelled->text = ts_dataset_column(labelled->examples.dataset, "text");
    labelled->label = ts_dataset_column(labelled->examples.dataset, labelled->options.role);
    if (!setting->kept)
        TS_TRY(find_out(task, labelled));
    else
        TS_TRY(recall(labelled, setting->kept));
    if (setting->kept && labelled->label >= 0 && (labelled->classes || labelled->options.form == TS_LABEL_NUMBERS))
        TS_TRY(ts_examples_check(&labelled->examples, labelled->options.check));
    labelled->columns[TS_LABELLED_TOKENS] = (TsRowColumn){"tokens", TS_I32, TS_ROW_LENGTH};
    labelled->columns[TS_LABELLED_SEEN] = (TsRowColumn){"seen", TS_BOOL, TS_ROW_LENGTH};
    labelled->columns[TS_LABELLED_LABELS] = labelled->options.label_column(task);
    labelled->columns[TS_LABELLED_WEIGHTS] = (TsRowColumn){"weights", TS_F32, 0};
    labelled->examples.columns = labelled->columns;
    labelled->columns[TS_LABELLED_TYPES] = (TsRowColumn){"types", TS_I32, TS_ROW_LENGTH};
    labelled->examples.column_count = labelled->options.of_tokens    ? TS_LABELLED_WEIGHTS
                                      : labelled->examples.pair >= 0 ? TS_LABELLED_COLUMNS
                                                                     : TS_LABELLED_TYPES;
    ts_examples_load(&labelled->examples, task);
    return TS_OK;
}

TsStatus ts_labelled_configure(TsTask *task, const TsTaskSetting *setting, TsLabelledOptions options)
{
    TsLabelledTask *labelled = task->own;
    TsColumnSpec label = {.role = options.role,
                          .kind = options.form == TS_LABEL_NUMBERS ? TS_CELL_NUMBERS : TS_CELL_TEXT,
                          .optional = options.optional,
                          .may_be_empty = options.form == TS_LABEL_SEPARATED && !options.of_tokens};
    TsColumnSpec specs[3] = {{.role = "text", .kind = TS_CELL_TOKENS}}; /* text, pair, label */
    int spec_count = 1;
    if (!options.of_tokens)
        specs[spec_count++] = (TsColumnSpec){.role = "pair", .kind = TS_CELL_TOKENS, .optional = true};
    if (!ts_examples_are_other(setting))
        specs[spec_count++] = label;
    labelled->options = options;
    labelled->model = options.model;
    labelled->model.backbone = ts_kind_backbone(setting);
    labelled->model.name = setting->name;
    labelled->examples.own = labelled;
    labelled->examples.collate = collate;
    labelled->examples.tokens = tokens_of;
    TS_TRY(ts_examples_open(&labelled->examples, setting, options.data, specs, spec_count));
    if (setting->without_data && !setting->kept) /* what its head gives is not known */
        return TS_OK;
    if (setting->without_data)
        TS_TRY(recall(labelled, setting->kept));
    else
        TS_TRY(load(task, labelled));
    task->tokenizer = labelled->examples.tokenizer;
    task->prompt_is_source = true;
    for (int64_t c = 0; c < options.data->columns.count; c++)
        task->takes_pairs |= strcmp(options.data->columns.names[c], "pair") == 0;
    task->sample = ts_examples_sample(setting->mesh);
    task->model = &ts_headed_model;
    task->options = &labelled->model;
    task->observed = labelled->label < 0 ? TS_OBSERVES_NOTHING : options.observed;
    task->observed_width = labelled->model.outputs;
    return TS_OK;
}

void ts_labelled_release(TsTask *task)
{
    TsLabelledTask *labelled = task->own;
    ts_examples_close(&labelled->examples);
    ts_class_names_free(&labelled->classes);
    ts_free(labelled->measured);
    ts_free(labelled);
}

void ts_labelled_give_probabilities(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns)
{
    const TsLabelledTask *labelled = task->own;
    (void)scope;
    (void)columns;
    bool any = labelled->model.objective == TS_OBJECTIVE_LABELS;
    ts_output("probabilities", any ? ts_sigmoid(predictions) : ts_softmax(predictions), ts_batch_placement());
}

typedef struct Guess {
    int64_t majority;
    double sums[2]; /* right ones, all */
} Guess;

static void judge(TsLabelledTask *labelled, TsField label, void *visitor)
{
    Guess *guess = visitor;
    guess->sums[0] += ts_labelled_class(labelled, label) == guess->majority;
    guess->sums[1]++;
}

void ts_labelled_majority(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group)
{
    TsLabelledTask *labelled = task->own;
    Guess guess = {0};
    if (labelled->model.objective != TS_OBJECTIVE_CLASSES)
        return;
    for (int64_t c = 1; c < labelled->model.outputs; c++)
        guess.majority = labelled->measured[c] > labelled->measured[guess.majority] ? c : guess.majority;
    for_each_label(labelled, ts_examples_split(&labelled->examples, task, data), group, &guess, judge);
    ts_metric_sum(guess.sums, 2, group);
    ts_scores_add(scores, "majority/accuracy", ts_metric_scalar(guess.sums[0] / guess.sums[1], guess.sums[1]));
}
