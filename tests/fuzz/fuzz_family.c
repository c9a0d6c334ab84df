/* SPDX-License-Identifier: Apache-2.0
 *
 * config.json of pre-trained models against any bytes: an error, or options within their limits, that are written and
 * read again as they were.
 *
 * sources: src/task/pretrained/family_config.c
 */
#include "task/pretrained/family_config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char dir[] = "/tmp/fuzz_family.XXXXXX", path[64];
    if (!path[0]) {
        if (!mkdtemp(dir))
            abort();
        snprintf(path, sizeof path, "%s/config.json", dir);
    }
    TsFamilyKind kind;
    TsTransformer options;
    put(path, data, size);
    TsStatus status = ts_family_config_read(&kind, &options, dir);
    if (!status) {
        if (options.layers < 1 || options.heads < 1 || options.width < 1 || options.context < 1 || options.vocab < 1 ||
            options.width % options.heads)
            __builtin_trap();
        char *text = ts_family_config_write(kind, &options);
        if (text) {
            TsTransformer again;
            put(path, text, strlen(text));
            TsStatus second = ts_family_config_read(&kind, &again, dir);
            if (second || again.width != options.width || again.causal != options.causal)
                __builtin_trap();
        }
        ts_free(text);
    }
    ts_status_free(&status);
    return 0;
}
