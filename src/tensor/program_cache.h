/* SPDX-License-Identifier: Apache-2.0
 *
 * Program cache: Programs by what they were traced from, so that shapes that come again are not compiled again.
 *
 * A Program is known by its function and a signature: the shapes of its inputs, and what else the trace reads. The one
 * that was not asked for for longest makes room for a new one. Where shapes are known before the first step, as those
 * of batches are, Programs are made then and kept by whoever runs them; this is for shapes that turn up as they come:
 * prompts. One thread at a time.
 */
#pragma once

#include "tensor/program.h"

typedef struct TsProgramCache TsProgramCache;

typedef struct TsProgramKey {
    const void *function;  /* whose address stands for what is traced; it is not read */
    const void *signature; /* all that the trace and the compilation depend on, padding zero; copied */
    size_t signature_bytes;
} TsProgramKey;

/* Traces into `graph`. */
typedef void TsProgramTrace(TsGraph *graph, const void *context);

/* Room for `most_programs`, at least 1. Owned by the caller. */
TsProgramCache *ts_program_cache_create(int most_programs);

/* Frees the Programs too. Sets *cache to NULL; NULL is fine. */
void ts_program_cache_free(TsProgramCache **cache);

/* The Program of that key: the one that is kept, or a new one, traced and compiled with `options`. Borrowed, until
 * room is made for others: `most_programs` further ones may be asked for before this one goes. What was bound to a kept
 * Program may be gone: bind all of it before it runs. Not collective; the same calls on all ranks keep the same.
 * Errors: those of tracing and compiling; nothing is kept then. */
TS_MUST_USE TsStatus ts_program_cache_get(TsProgramCache *cache, TsProgram **program, TsProgramKey key,
                                          TsProgramTrace *trace, const void *context, TsCompileOptions options);

typedef struct TsProgramCacheUse {
    int64_t found, compiled, dropped; /* so far */
    int kept;                         /* now */
} TsProgramCacheUse;

TsProgramCacheUse ts_program_cache_use(const TsProgramCache *cache);
