/* SPDX-License-Identifier: Apache-2.0 */
#include "task/kinds/kinds.h"

#include <jansson.h>
#include <math.h>

#include "base/check.h"
#include "model/baseline.h"

TsTransformer ts_kind_backbone(const TsTaskSetting *setting)
{
    const TsTrunkKind *kind = setting->backbone->variant->extra;
    return ts_trunk_options(setting->backbone->value, kind, setting->vocab);
}

TsStatus ts_kind_check_transformer(const TsTaskSetting *setting, const TsChoice *backbone)
{
    if (!backbone->variant->extra)
        return TS_OK;
    return ts_config_error(setting->config, backbone, "%s: tasks.%s decodes, which takes a transformer",
                           backbone->variant->name, setting->name);
}

TsStatus ts_kind_check_adapter(const TsTaskSetting *setting, const TsChoice *adapter, TsAdapterLevel level)
{
    const TsAdapterKind *kind = adapter->variant->extra;
    const TsTransformer *backbone = setting->backbone->value;
    const char *unfit = backbone->causal && kind->unfit_for_causal ? kind->unfit_for_causal(adapter->value) : NULL;
    if (unfit)
        return ts_config_error(setting->config, adapter, "%s: %s", adapter->variant->name, unfit);
    if (kind->level == level)
        return TS_OK;
    TsText fit = {0};
    for (int64_t i = 0; i < ts_adapters.count; i++)
        if (((const TsAdapterKind *)ts_adapters.items[i].extra)->level == level)
            ts_text_append(&fit, "%s%s", fit.size_bytes ? ", " : "", ts_adapters.items[i].name);
    TsStatus status =
        ts_config_error(setting->config, adapter, "%s gives one output a %s; %s takes %s", adapter->variant->name,
                        level == TS_ADAPTER_TOKENS ? "sequence" : "token", setting->type, fit.data ? fit.data : "none");
    ts_text_free(&fit);
    return status;
}

void ts_kind_read_row(double *values, const TsArray *array, int64_t row)
{
    int64_t width = 1;
    for (int d = 1; d < array->shape.dims; d++) {
        TS_CHECK(array->block.shape.size[d] == array->shape.size[d], "a row that is cut");
        width *= array->shape.size[d];
    }
    for (int64_t i = 0; i < width; i++) {
        int64_t at = row * width + i;
        values[i] = array->dtype == TS_F64    ? ((const double *)array->data)[at]
                    : array->dtype == TS_BF16 ? (double)ts_bf16_to_f32(((const TsBf16 *)array->data)[at])
                                              : (double)((const float *)array->data)[at];
    }
}

json_t *ts_kind_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}
