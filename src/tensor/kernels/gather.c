/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/gather.h"

#define LOOK_UP(type)                                                                                                  \
    for (int64_t i = 0; i < shape.inner; i++)                                                                          \
        ((type *)out)[at + i] = ((const type *)x)[base + ts_take_id(ids, at + i) * shape.inner + i];                   \
    break;

void ts_kernel_gather(void *out, const void *x, TsTakeIds ids, TsGatherShape shape, size_t elem_bytes, int threads)
{
    int64_t rows = shape.outer * shape.count;
    threads = rows * shape.inner < 32768 ? 1 : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = row * shape.inner, base = row / shape.count * shape.middle * shape.inner;
        switch (elem_bytes) {
        case 1:
            LOOK_UP(uint8_t)
        case 2:
            LOOK_UP(uint16_t)
        case 4:
            LOOK_UP(uint32_t)
        default:
            LOOK_UP(uint64_t)
        }
    }
}
