/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/unfreeze.h"

#include "base/memory.h"
#include "base/pattern.h"

/* Gives the rows that have no entry yet, and have the pattern, the entry; how many there are with it, or without. */
static int take(TsUnfreezing *unfreezing, int entry, const TsPattern *pattern, const TsParameters *parameters)
{
    int found = 0;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (!row->trainable || !ts_pattern_found(pattern, row->path))
            continue;
        if (unfreezing->of[i] < 0)
            unfreezing->of[i] = entry;
        found++;
    }
    return found;
}

TsStatus ts_unfreezing_create(TsUnfreezing *unfreezing, const TsFineTuneConfig *config, const TsParameters *parameters)
{
    int rows = ts_parameters_count(parameters);
    const TsUnfreeze *items = config ? config->unfreeze.items : NULL;
    int64_t count = config ? config->unfreeze.count : 0, *from = ts_calloc((size_t)count + 1, sizeof *from);
    *unfreezing =
        (TsUnfreezing){.count = (int)count, .from = from, .of = ts_calloc((size_t)rows + 1, sizeof *unfreezing->of)};
    for (int i = 0; i < rows; i++)
        unfreezing->of[i] = -1;
    for (int64_t entry = 0; entry < count; entry++) {
        TsPattern *pattern = NULL;
        TS_TRY(ts_pattern_create(&pattern, items[entry].parameters));
        int found = take(unfreezing, (int)entry, pattern, parameters);
        ts_pattern_free(&pattern);
        if (!found)
            return ts_status_error(TS_CODE_INVALID,
                                   "fine_tune.unfreeze: \"%s\" is found in the path of no parameter that learns",
                                   items[entry].parameters);
        from[entry] = items[entry].step;
    }
    return TS_OK;
}

void ts_unfreezing_free(TsUnfreezing *unfreezing)
{
    ts_free((int64_t *)(uintptr_t)unfreezing->from);
    ts_free(unfreezing->of);
    *unfreezing = (TsUnfreezing){0};
}

int64_t ts_unfreezing_steps(const TsUnfreezing *unfreezing, int row, int64_t steps, int64_t step)
{
    if (unfreezing->of[row] < 0 || step < 1)
        return steps;
    int64_t before = unfreezing->from[unfreezing->of[row]] - 1;
    int64_t learned = before < step ? steps - (int64_t)((double)steps * (double)before / (double)step) : 0;
    return learned > 1 ? learned : 1;
}
