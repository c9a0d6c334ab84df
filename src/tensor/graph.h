/* SPDX-License-Identifier: Apache-2.0
 *
 * Graph: a computation while it is traced. Nodes are ops, edges are Tensors, shapes are global and fixed.
 *
 * A TsTensor is a handle to an edge, passed by value. Ops (ops.h) take Tensors and give Tensors. An error - shapes that
 * do not fit, a dtype that an op does not take - is kept in the Graph with the layer path at which it arose, the op
 * gives a Tensor that every further op accepts silently, and ts_graph_status tells it once: no check after every line.
 * Everything here is not collective; all ranks trace the same.
 */
#pragma once

#include "tensor/placement.h"

typedef struct TsGraph TsGraph;

typedef struct TsTensor {
    TsGraph *graph;
    int32_t id; /* negative: the tensor of an error */
} TsTensor;

TsGraph *ts_graph_create(void);

/* Sets *graph to NULL; NULL is fine. */
void ts_graph_free(TsGraph **graph);

/* The errors of tracing so far as one Status, a lack of memory among them, or success. The caller owns it. */
TS_MUST_USE TsStatus ts_graph_status(const TsGraph *graph);

/* Keeps an error, with the current path before it; later ones than the first few are only counted. Gives the tensor
 * of an error. */
TsTensor ts_graph_error(TsGraph *graph, const char *format, ...) TS_PRINTF(2, 3);

/* The layer path ("backbone/layer_03/up") that nodes and errors bear from now on. Copied. */
void ts_graph_set_path(TsGraph *graph, const char *path);
const char *ts_graph_path(const TsGraph *graph);

/* What lives outside the Graph and is bound to a Program by name (ts_program_bind). Inputs are read. Parameters and
 * state are read, and written by ts_assign. Names are unique in a Graph; asking again for a parameter or state of the
 * same name, dtype and shape gives the same Tensor. */
TsTensor ts_input(TsGraph *graph, const char *name, TsDtype dtype, TsShape shape, TsPlacement placement);
TsTensor ts_parameter(TsGraph *graph, const char *name, TsDtype dtype, TsShape shape, TsPlacement placement);
TsTensor ts_state(TsGraph *graph, const char *name, TsDtype dtype, TsShape shape, TsPlacement placement);

/* The axes over which a parameter that is cut by them is gathered before use, whatever moves less; those but `model`
 * and `expert` are anyway. What a layer cuts along these to compute with stays. */
void ts_parameter_gather(TsTensor parameter, TsAxisSet axes);

/* Every element is `value`. */
TsTensor ts_constant(TsGraph *graph, TsDtype dtype, TsShape shape, double value);

/* At the end of a run, what is bound to `target` (a parameter or a state) holds `value`: in place where that can be.
 * All reads of `target` in this Graph see the value from before the run. */
void ts_assign(TsTensor target, TsTensor value);

/* `value` is given to the outside under `name`, with this placement. */
void ts_output(const char *name, TsTensor value, TsPlacement placement);

/* The same values, with this placement from here on. Its gradient has that placement too. */
TsTensor ts_constrain(TsTensor x, TsPlacement placement);

/* The same over one axis alone: it cuts `dim` from here on, after the axes that cut it already. How `x` lies over other
 * axes stays open. */
TsTensor ts_constrain_axis(TsTensor x, int dim, TsAxis axis);

/* The same values, a constant to differentiation. */
TsTensor ts_stop_gradient(TsTensor x);

/* gradient[i] = d loss / d of[i], by nodes added to the Graph. `loss` is a scalar; an error otherwise, and where no
 * path leads from `of[i]` to it. */
void ts_gradients(TsTensor *gradient, TsTensor loss, const TsTensor *of, int count);

/* Of the tensor of an error: a scalar f32. */
TsShape ts_shape_of_tensor(TsTensor x);
int64_t ts_dim(TsTensor x, int dim); /* negative dims count from the end */
int ts_dims(TsTensor x);
TsDtype ts_dtype_of(TsTensor x);
