/* SPDX-License-Identifier: Apache-2.0
 *
 * Safetensors against any bytes: whatever a header says, what is read lies within the file. Every tensor that is found
 * is read as a whole, and seen through a view that the input makes up.
 *
 * sources: src/ckpt/safetensors.c src/ckpt/safetensors_file.c src/tensor/shape.c
 */
#include "ckpt/safetensors.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_ELEMS = 4096 };

static void read_tensor(const TsSafetensors *weights, TsSafetensorsView view)
{
    static const TsDtype dtypes[] = {TS_F32, TS_F64, TS_BF16, TS_I32, TS_I64};
    static double out[MOST_ELEMS];
    int64_t elems = 1;
    for (int d = 0; d < view.shape.dims; d++)
        if (view.shape.size[d] < 0 || __builtin_mul_overflow(elems, view.shape.size[d], &elems))
            return;
    if (elems > MOST_ELEMS)
        return;
    for (size_t k = 0; k < sizeof dtypes / sizeof *dtypes; k++) {
        TsStatus status = ts_safetensors_read(weights, out, view, (TsBlockRange){.shape = view.shape}, dtypes[k]);
        ts_status_free(&status);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t numbers[4] = {0};
    if (size < sizeof numbers)
        return 0;
    memcpy(numbers, data, sizeof numbers); /* of the view; the rest is the file */
    int file = memfd_create("weights", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (file >= 0 && write(file, data + sizeof numbers, size - sizeof numbers) == (ssize_t)(size - sizeof numbers)) {
        TsSafetensors *weights = NULL;
        TsStatus status = ts_safetensors_open(&weights, path);
        for (int i = 0; !status && i < ts_safetensors_count(weights); i++) {
            if (ts_safetensors_find(weights, ts_safetensors_entry(weights, i).name) != i)
                __builtin_trap();
            read_tensor(weights, ts_safetensors_whole(weights, i));
            TsSafetensorsView view = {.index = i, .shape = {.dims = 1, .size = {numbers[0] & 1023}}};
            view.first_elem = numbers[1];
            view.stride_elems[0] = numbers[2];
            read_tensor(weights, view);
        }
        ts_safetensors_close(&weights);
        ts_status_free(&status);
    }
    close(file);
    return 0;
}
