/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/take.h"

#include <string.h>

int64_t ts_kernel_take_check(TsTakeIds ids, int64_t limit)
{
    for (int64_t i = 0; i < ids.count; i++) {
        int64_t id = ts_take_id(ids, i);
        if (id < 0 || id >= limit)
            return i;
    }
    return -1;
}

void ts_kernel_take(void *out, const void *table, TsTakeIds ids, int64_t first, int64_t rows, int64_t row_bytes,
                    int threads)
{
    threads = ids.count * row_bytes < 65536 ? 1 : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < ids.count; i++) {
        int64_t row = ts_take_id(ids, i) - first;
        char *to = (char *)out + i * row_bytes;
        if (row >= 0 && row < rows)
            memcpy(to, (const char *)table + row * row_bytes, (size_t)row_bytes);
        else
            memset(to, 0, (size_t)row_bytes);
    }
}
