/* SPDX-License-Identifier: Apache-2.0
 *
 * Op: one row that says everything about one kind of node: shapes, placement, kernel, gradient, cost.
 *
 * An op lives in one file under src/tensor/ops with its builder function (declared in ops.h), and in the table
 * ts_op_table (ops/table.c). The passes and the executor know ops by this row alone.
 */
#pragma once

#include "tensor/graph.h"

enum { TS_MAX_OUTPUTS = 4 };

struct TsFusedStep;

/* What the outside of a node looks like; global sizes. Arrays are borrowed. */
typedef struct TsNodeView {
    const struct TsOp *op;
    const void *attributes; /* op->attributes_bytes of plain data, all padding zero */
    int inputs, outputs;
    const TsShape *in_shape, *out_shape;
    const TsDtype *in_dtype, *out_dtype;
} TsNodeView;

/* `infer` fills out_shape and out_dtype, or returns an error that names the two shapes or dtypes that do not fit, as in
 * "(8, 256, 384) does not take (512, 1536)"; the Graph puts the layer path and the name of the op before it. */
typedef struct TsInference {
    const void *attributes;
    int inputs;
    const TsShape *in_shape;
    const TsDtype *in_dtype;
    int outputs; /* set by the row's `outputs` */
    TsShape out_shape[TS_MAX_OUTPUTS];
    TsDtype out_dtype[TS_MAX_OUTPUTS];
} TsInference;

typedef enum TsLinearity {
    TS_LINEAR_NONE,  /* partial inputs are summed first */
    TS_LINEAR_EACH,  /* out is linear in each input while the others are fixed (mul, dot): one may be partial */
    TS_LINEAR_JOINT, /* out is linear in all inputs at once (add, reshape, sum): all may be partial together */
    TS_LINEAR_FIRST, /* linear in input 0 (scale by a whole factor, gather) */
} TsLinearity;

/* How a node may be cut. Dims that bear the same label are cut the same way; label 0 must be whole. A label that occurs
 * in inputs and not in an output is contracted: where it is cut, that output is Partial by `reduction`. */
typedef struct TsPlaceRule {
    int8_t (*in_label)[TS_MAX_DIMS]; /* (inputs), zeroed before the call */
    int8_t out_label[TS_MAX_OUTPUTS][TS_MAX_DIMS];
    uint32_t uncut; /* bit l: label l may not be cut */
    uint32_t free;  /* bit l: a rank can compute any part of that dim by itself, though no other input is cut so */
    TsReduction reduction;
    TsLinearity linearity;
} TsPlaceRule;

/* A tensor's block on this rank, as a kernel sees it. */
typedef struct TsBlock {
    void *data; /* row-major, aligned to 64 bytes */
    TsDtype dtype;
    TsShape shape;              /* local */
    TsShape global;             /* whole */
    int64_t first[TS_MAX_DIMS]; /* where the block begins in the whole */
} TsBlock;

typedef struct TsCall {
    const void *attributes;
    int inputs, outputs;
    const TsBlock *in;
    const TsBlock *out;
    void *scratch; /* of scratch_bytes, aligned to 64 */
    int threads;
    int micro, micros; /* which micro-batch of how many */
    bool tree;         /* sums over micro-batches are binary trees */
    bool fixed;        /* the same bits with any number of threads: work is cut by sizes alone */
} TsCall;

/* What differentiating one node is about. `gradient` sets d_in[i] for the inputs that have needs[i]; d_out[k].id < 0
 * where nothing depends on output k. All Tensors are in the Graph that is being extended. */
typedef struct TsGradientCall {
    const struct TsOp *op;
    const void *attributes;
    int inputs, outputs;
    const TsTensor *in, *out, *d_out;
    const bool *needs;
    TsTensor *d_in;
} TsGradientCall;

typedef struct TsCost {
    double flops;
    double bytes; /* the fewest that can be moved; 0: the sum of inputs and outputs */
} TsCost;

typedef enum TsOpFlags {
    TS_OP_NO_GRADIENT = 1,   /* argmax, comparisons, random numbers: a constant to differentiation */
    TS_OP_VIEW = 2,          /* output 0 is input 0's memory under another shape: no kernel runs */
    TS_OP_IN_PLACE = 4,      /* output k may take over the memory of input k, where those have the same shape and dtype;
                                not a promise: the kernel works also where out[k].data is elsewhere */
    TS_OP_EFFECT = 8,        /* not to be removed or merged though nothing reads it */
    TS_OP_IN_PLACE_ANY = 16, /* with TS_OP_IN_PLACE: that of any input */
} TsOpFlags;

typedef struct TsOp {
    const char *name;
    int attributes_bytes;
    int placement_at; /* where in the attributes stands a TsPlacement, which the place pass sets: the part of the output
                         that is wanted there is made there, and nothing moves; 0: there is none. Inputs are whole */
    int outputs;
    uint32_t flags; /* TsOpFlags */
    TsStatus (*infer)(TsInference *inference);
    void (*place)(TsPlaceRule *rule, const TsNodeView *node); /* NULL: everything whole */
    void (*forward)(const TsCall *call);
    void (*gradient)(TsGradientCall *call);      /* NULL only with TS_OP_NO_GRADIENT */
    TsCost (*cost)(const TsNodeView *node);      /* NULL: no flops, bytes of inputs and outputs */
    size_t (*scratch_bytes)(const TsCall *call); /* called with data NULL; NULL: none */

    /* What the node is as a step of a fused program (kernels/fused.h): its kind, kernel and parameters; the fuse pass
     * fills in the operands. NULL: it is none. */
    void (*fuse)(struct TsFusedStep *step, const TsNodeView *node);
} TsOp;

/* Adds a node. Gives its outputs, or the tensors of an error where an input is one or `infer` fails; a node that is
 * already there (same op, attributes and inputs, no effect) is not added twice. What builder functions call. */
void ts_graph_add(TsTensor *out, const TsOp *op, const TsTensor *in, int inputs, const void *attributes);

/* For ops of one output. */
TsTensor ts_graph_add_one(const TsOp *op, const TsTensor *in, int inputs, const void *attributes);

/* Every op of the program, ended by NULL. */
extern const TsOp *const ts_op_table[];
