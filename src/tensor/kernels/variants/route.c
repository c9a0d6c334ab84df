/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/route.h"

/* Where slot `slot` of sequence b begins in (experts, batch, capacity, width). */
static int64_t slot_begin(const TsRouteShape *shape, int64_t b, int32_t slot)
{
    int64_t expert = slot / shape->capacity, place = slot % shape->capacity;
    return ((expert * shape->batch + b) * shape->capacity + place) * shape->width;
}

static void clear_sequence(Stored *out, const TsRouteShape *shape, int64_t b)
{
    size_t bytes = (size_t)(shape->capacity * shape->width) * sizeof *out;
    for (int64_t e = 0; e < shape->experts && bytes; e++)
        memset(out + (e * shape->batch + b) * shape->capacity * shape->width, 0, bytes);
}

static void dispatch(void *out, const void *rows, const int32_t *slots, const void *weights, const TsRouteShape *shape,
                     int threads)
{
    threads = threads_worth(threads, shape->batch * shape->length * shape->width);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t b = 0; b < shape->batch; b++) {
        clear_sequence(out, shape, b);
        for (int64_t i = b * shape->length * shape->choices; i < (b + 1) * shape->length * shape->choices; i++) {
            if (slots[i] < 0)
                continue;
            const Stored *row = (const Stored *)rows + i / shape->choices * shape->width;
            Stored *to = (Stored *)out + slot_begin(shape, b, slots[i]);
            Real weight = weights ? load(((const Stored *)weights)[i]) : 1;
            for (int64_t c = 0; c < shape->width; c++)
                to[c] = store(weight * load(row[c]));
        }
    }
}

static void collect(void *out, const void *slotted, const int32_t *slots, const void *weights,
                    const TsRouteShape *shape, int threads)
{
    threads = threads_worth(threads, shape->batch * shape->length * shape->width);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t t = 0; t < shape->batch * shape->length; t++) {
        Stored *to = (Stored *)out + t * shape->width;
        for (int64_t c = 0; c < shape->width; c++) {
            Real sum = 0;
            for (int64_t i = t * shape->choices; i < (t + 1) * shape->choices; i++)
                if (slots[i] >= 0)
                    sum += (weights ? load(((const Stored *)weights)[i]) : 1) *
                           load(((const Stored *)slotted)[slot_begin(shape, t / shape->length, slots[i]) + c]);
            to[c] = store(sum);
        }
    }
}

static void weigh(void *d_weights, const void *slotted, const int32_t *slots, const void *rows,
                  const TsRouteShape *shape, int threads)
{
    threads = threads_worth(threads, shape->batch * shape->length * shape->width);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < shape->batch * shape->length * shape->choices; i++) {
        Real sum = 0;
        if (slots[i] >= 0) {
            const Stored *row = (const Stored *)rows + i / shape->choices * shape->width;
            const Stored *there =
                (const Stored *)slotted + slot_begin(shape, i / shape->choices / shape->length, slots[i]);
            for (int64_t c = 0; c < shape->width; c++)
                sum += load(row[c]) * load(there[c]);
        }
        ((Stored *)d_weights)[i] = store(sum);
    }
}

const TsRouteKernels TS_TABLE(ts_route_kernels) = {.dispatch = dispatch, .collect = collect, .weigh = weigh};
