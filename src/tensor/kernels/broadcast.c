/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/elementwise.h"

void ts_broadcast_steps(int64_t *step, TsShape out, TsShape whole_out, TsShape local, TsShape whole)
{
    int64_t elems = 1;
    int missing = out.dims - local.dims;
    for (int d = out.dims - 1; d >= 0; d--) {
        bool repeated = d < missing || (whole.size[d - missing] == 1 && whole_out.size[d] != 1);
        step[d] = repeated ? 0 : elems;
        if (d >= missing)
            elems *= local.size[d - missing];
    }
}

TsBroadcast ts_broadcast_plan(TsShape out, TsShape whole_out, TsShape a, TsShape whole_a, TsShape b, TsShape whole_b)
{
    int64_t step_a[TS_MAX_DIMS], step_b[TS_MAX_DIMS];
    ts_broadcast_steps(step_a, out, whole_out, a, whole_a);
    ts_broadcast_steps(step_b, out, whole_out, b, whole_b);
    TsBroadcast reversed = {.dims = 0}; /* innermost first */
    for (int d = out.dims - 1; d >= 0; d--) {
        if (out.size[d] == 1)
            continue;
        int last = reversed.dims - 1;
        if (last >= 0 && step_a[d] == reversed.step_a[last] * reversed.size[last] &&
            step_b[d] == reversed.step_b[last] * reversed.size[last]) {
            reversed.size[last] *= out.size[d];
            continue;
        }
        reversed.size[reversed.dims] = out.size[d];
        reversed.step_a[reversed.dims] = step_a[d];
        reversed.step_b[reversed.dims++] = step_b[d];
    }
    if (reversed.dims == 0)
        reversed = (TsBroadcast){.dims = 1, .size = {1}, .step_a = {1}, .step_b = {1}};
    TsBroadcast plan = {.dims = reversed.dims};
    for (int d = 0; d < plan.dims; d++) {
        plan.size[d] = reversed.size[plan.dims - 1 - d];
        plan.step_a[d] = reversed.step_a[plan.dims - 1 - d];
        plan.step_b[d] = reversed.step_b[plan.dims - 1 - d];
    }
    return plan;
}
