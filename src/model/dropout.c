/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layers.h"

TsTensor ts_dropout(TsScope scope, TsTensor x, double rate)
{
    if (!scope.training || rate == 0)
        return ts_leave(scope, x);
    return ts_leave(scope, ts_drop(x, scope.step, rate, ts_stream_key(scope.seed, scope.path)));
}
