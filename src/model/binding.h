/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding: Programs meet Arrays by name.
 */
#pragma once

#include "tensor/batch.h"
#include "tensor/program.h"

/* Binds each array of `batch` whose name the program has; others are left alone. Not collective. */
void ts_bind_batch(TsProgram *program, const TsBatch *batch);

/* Puts a zeroed array into `batch` for each binding of that kind that it lacks, and binds all of that kind. Not
 * collective. */
void ts_bind_new(TsProgram *program, TsBatch *batch, TsBindingKind kind, const TsMesh *mesh);
