/* SPDX-License-Identifier: Apache-2.0
 *
 * Plugin: shared libraries of a user's own, which put their tasks, adapters, backbones, optimizers, metrics and sources
 * of data beside those that are built in.
 *
 *     #include <tessera/tessera.h>
 *     TS_PLUGIN { return ts_variants_add(&ts_adapters, (TsVariant){"mine", "what it does", NULL, &my_kind}); }
 *
 * A library is loaded once, before the configuration that names it is read, and stays for the life of the process.
 */
#pragma once

#include "base/config.h"

/* What of the headers a library was built against: it grows when they change. */
enum { TS_PLUGIN_ABI = 1 };

/* Begins the function that a library is loaded for: it adds what it has, and returns a Status. */
#define TS_PLUGIN                                                                                                      \
    const int ts_plugin_abi = TS_PLUGIN_ABI;                                                                           \
    TsStatus ts_plugin_begin(void);                                                                                    \
    TsStatus ts_plugin_begin(void)

/* Loads the library and lets it begin; one that is loaded already is left alone. A path without a slash is looked for
 * where the system looks for libraries. Errors: what cannot be loaded, what is no plug-in, or one of other headers. Not
 * collective; the same on all ranks. */
TS_MUST_USE TsStatus ts_plugin_load(const char *path);

/* Adds an item to a registry; its strings, table and extra must live as long as the process. An error where one of that
 * name is there. Not collective; the same on all ranks, before the configuration is read. */
TS_MUST_USE TsStatus ts_variants_add(TsVariants *variants, TsVariant variant);
