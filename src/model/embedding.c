/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layers.h"

TsTensor ts_embedding_table(TsScope scope, int64_t rows, int64_t width, double scale)
{
    return ts_leave(scope, ts_declare(scope, "table",
                                      (TsDeclare){.shape = ts_shape(rows, width),
                                                  .initializer = {TS_INIT_NORMAL, scale},
                                                  .placement = ts_shard(ts_replicated, 0, TS_AXIS_MODEL),
                                                  .decays = true}));
}

TsTensor ts_embedding(TsScope scope, TsTensor ids, int64_t rows, int64_t width, double scale)
{
    return ts_cast(ts_take(ts_embedding_table(scope, rows, width, scale), ids), scope.dtype);
}
