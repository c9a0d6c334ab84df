/* SPDX-License-Identifier: Apache-2.0 */
#include "model/binding.h"

void ts_bind_batch(TsProgram *program, const TsBatch *batch)
{
    for (int i = 0; i < ts_program_bindings(program); i++) {
        const char *name = ts_program_binding(program, i).name;
        TsArray *array = ts_batch_find(batch, name);
        if (array)
            ts_program_bind(program, name, array);
    }
}

void ts_bind_new(TsProgram *program, TsBatch *batch, TsBindingKind kind, const TsMesh *mesh)
{
    for (int i = 0; i < ts_program_bindings(program); i++) {
        TsBinding binding = ts_program_binding(program, i);
        if (binding.kind != kind)
            continue;
        if (!ts_batch_find(batch, binding.name))
            ts_batch_put(batch, binding.name,
                         ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){0}));
        ts_program_bind(program, binding.name, ts_batch_find(batch, binding.name));
    }
}
