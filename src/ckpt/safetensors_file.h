/* SPDX-License-Identifier: Apache-2.0
 *
 * One safetensors file: mapped, its header read and checked. The inside of safetensors.h.
 */
#pragma once

#include "ckpt/safetensors.h"

typedef struct TsSafetensorsTensor {
    char *name, *dtype_name; /* owned */
    TsDtype dtype;
    TsShape shape;
    const unsigned char *data; /* in the map of its file; NULL where dtype or shape cannot be read */
} TsSafetensorsTensor;

typedef struct TsSafetensorsFile {
    char *path;      /* owned */
    const void *map; /* of map_bytes */
    size_t map_bytes;
    TsSafetensorsTensor *tensor; /* (count), owned */
    int count;
} TsSafetensorsFile;

/* Maps `path` and checks its header. After an error *file is empty. */
TS_MUST_USE TsStatus ts_safetensors_file_open(TsSafetensorsFile *file, const char *path);

void ts_safetensors_file_close(TsSafetensorsFile *file);
