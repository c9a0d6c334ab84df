/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tensor/kernels/route.h"

void ts_kernel_assign(int32_t *slots, int32_t *counts, int32_t *dropped, const int32_t *chosen,
                      const TsRouteShape *shape)
{
    if (shape->batch)
        memset(counts, 0, (size_t)(shape->batch * shape->experts) * sizeof *counts);
    for (int64_t b = 0; b < shape->batch; b++) {
        int32_t *count = counts + b * shape->experts;
        dropped[b] = 0;
        for (int64_t k = 0; k < shape->choices; k++)
            for (int64_t t = 0; t < shape->length; t++) {
                int64_t at = (b * shape->length + t) * shape->choices + k;
                int32_t expert = chosen[at], place = expert >= 0 ? count[expert]++ : -1;
                bool fits = place >= 0 && place < shape->capacity;
                slots[at] = fits ? (int32_t)(expert * shape->capacity + place) : -1;
                dropped[b] += expert >= 0 && !fits;
            }
    }
}
