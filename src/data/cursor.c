/* SPDX-License-Identifier: Apache-2.0 */
#include "data/cursor.h"

#include "base/check.h"
#include "base/permutation.h"

int64_t ts_cursor_example(TsOrder order, uint64_t seed, int64_t count, int64_t place)
{
    TS_CHECK(count > 0 && place >= 0, "place %lld of %lld examples", (long long)place, (long long)count);
    if (order == TS_ORDER_SEQUENTIAL)
        return place < count ? place : -1;
    TsPermutation epoch = ts_permutation(ts_stream(seed, "data/order", place / count), count);
    return ts_permute(&epoch, place % count);
}
