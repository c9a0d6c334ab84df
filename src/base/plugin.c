/* SPDX-License-Identifier: Apache-2.0 */
#include "base/plugin.h"

#include <dlfcn.h>
#include <string.h>

enum { MOST_LIBRARIES = 64, MOST_VARIANTS = 1024 };

/* What was loaded; it is never closed. */
static void *loaded[MOST_LIBRARIES];
static int loaded_count;

static TsStatus begin(void *library, const char *path)
{
    const int *abi = dlsym(library, "ts_plugin_abi");
    TsStatus (*start)(void) = NULL;
    *(void **)&start = dlsym(library, "ts_plugin_begin"); /* as POSIX has it */
    if (!abi || !start)
        return ts_status_error(TS_CODE_INVALID, "%s is no plug-in: it has no TS_PLUGIN", path);
    if (*abi != TS_PLUGIN_ABI)
        return ts_status_error(TS_CODE_INVALID, "%s was built against other headers (%d, this program has %d)", path,
                               *abi, TS_PLUGIN_ABI);
    return ts_status_annotate(start(), "%s", path);
}

TsStatus ts_plugin_load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return ts_status_error(TS_CODE_NOT_FOUND, "the plug-in cannot be loaded: %s", dlerror());
    for (int i = 0; i < loaded_count; i++)
        if (loaded[i] == library) {
            dlclose(library);
            return TS_OK;
        }
    if (loaded_count == MOST_LIBRARIES)
        return ts_status_error(TS_CODE_INVALID, "%s: more than %d plug-ins", path, MOST_LIBRARIES);
    loaded[loaded_count++] = library;
    return begin(library, path);
}

TsStatus ts_variants_add(TsVariants *variants, TsVariant variant)
{
    /* Registries that have grown, one behind another; what they were before stays, for whoever points at it. */
    static TsVariant room[MOST_VARIANTS];
    static int64_t used;
    for (int64_t i = 0; i < variants->count; i++)
        if (strcmp(variants->items[i].name, variant.name) == 0)
            return ts_status_error(TS_CODE_INVALID, "there is a %s %s already", variants->what, variant.name);
    if (used + variants->count + 1 > MOST_VARIANTS)
        return ts_status_error(TS_CODE_INVALID, "no room for the %s %s", variants->what, variant.name);
    TsVariant *grown = room + used;
    memcpy(grown, variants->items, (size_t)variants->count * sizeof *grown);
    grown[variants->count] = variant;
    used += variants->count + 1;
    variants->items = grown;
    variants->count++;
    return TS_OK;
}
