/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/objective.h"

#include <string.h>

#include "base/memory.h"
#include "tensor/ops.h"

static const char *const normalize_words[] = {"targets", "tokens", "sequences", NULL};

static const TsKey objective_keys[] = {
    TS_KEY_LIST(TsObjectiveConfig, losses, TS_ELEMENT(TS_KIND_STRING),
                "which of the task's losses are added up, each over its own weight; left out: its first"),
    TS_KEY_ENUM(TsObjectiveConfig, normalize, normalize_words,
                "what the sums are divided by: targets that count, all tokens of a batch, padding included, or its "
                "sequences",
                .fallback = "targets"),
    TS_KEYS_END};
const TsConfigTable ts_objective_table = {"objective", "What is differentiated.", sizeof(TsObjectiveConfig),
                                          objective_keys, NULL};

static const TsKey vn_keys[] = {
    TS_KEY_REAL(TsVnConfig, scale, "the standard deviation", .required = true, .range = TS_ABOVE(0)),
    TS_KEY_STRING(TsVnConfig, regex, "a regular expression: parameters in whose path it is found", .fallback = ".",
                  .range = TS_AT_LEAST(1)),
    TS_KEY_INT(TsVnConfig, start_step, "the first step with noise", .fallback = "0", .range = TS_AT_LEAST(0),
               .unit = "steps"),
    TS_KEYS_END};
const TsConfigTable ts_vn_table = {
    "vn", "Variational noise: while training, parameters are read with noise that is never kept.", sizeof(TsVnConfig),
    vn_keys, NULL};

/* A constant in place of a loss's own weight. */
static TsTensor weight_of(const TsObjectiveConfig *config, const TsLosses *losses, const TsLoss *loss,
                          const TsColumns *columns)
{
    if (config->normalize == TS_NORMALIZE_TARGETS)
        return loss->weight;
    double count = (double)ts_dim(losses->per_example, 0);
    if (config->normalize == TS_NORMALIZE_TOKENS) {
        TsTensor tokens = ts_column(columns, "tokens");
        count = (double)ts_shape_elems(ts_shape_of_tensor(tokens));
    }
    return ts_constant(loss->sum.graph, ts_dtype_of(loss->sum), ts_scalar, count);
}

static TsTensor mean_of(const TsObjectiveConfig *config, const TsLosses *losses, const TsLoss *loss,
                        const TsColumns *columns)
{
    return ts_loss_mean((TsLoss){loss->name, loss->sum, weight_of(config, losses, loss, columns)});
}

static const TsLoss *find(const TsLosses *losses, const char *name)
{
    for (int i = 0; i < losses->count; i++)
        if (strcmp(losses->loss[i].name, name) == 0)
            return &losses->loss[i];
    return NULL;
}

static TsTensor no_such(const TsLosses *losses, const char *name, TsGraph *graph)
{
    TsText names = {0};
    for (int i = 0; i < losses->count; i++)
        ts_text_append(&names, "%s%s", i ? ", " : "", losses->loss[i].name);
    TsTensor error = ts_graph_error(graph, "objective.losses: there is no loss %s; there are %s", name, names.data);
    ts_text_free(&names);
    return error;
}

TsTensor ts_objective_trace(const TsObjectiveConfig *config, const TsLosses *losses, const TsColumns *columns)
{
    const char *const *names = config->losses.items;
    if (!config->losses.count)
        return mean_of(config, losses, &losses->loss[0], columns);
    TsTensor sum = TS_NONE;
    for (int64_t i = 0; i < config->losses.count; i++) {
        const TsLoss *loss = find(losses, names[i]);
        TsTensor mean = loss ? mean_of(config, losses, loss, columns) : no_such(losses, names[i], columns->graph);
        sum = i ? ts_add(sum, mean) : mean;
    }
    return sum;
}

TsStatus ts_objective_noise(TsPattern **pattern, const TsVnConfig *vn, const TsParameters *parameters)
{
    *pattern = NULL;
    TS_TRY(ts_status_annotate(ts_pattern_create(pattern, vn->regex), "vn.regex"));
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (row->trainable && ts_pattern_found(*pattern, row->path))
            return TS_OK;
    }
    ts_pattern_free(pattern);
    return ts_status_error(TS_CODE_INVALID, "vn.regex: \"%s\" is found in the path of no parameter that learns",
                           vn->regex);
}
