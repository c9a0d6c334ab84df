/* SPDX-License-Identifier: Apache-2.0
 *
 * Estimate: what a run of a Program costs on a machine that is described, without running it.
 *
 * The schedule is walked with one clock for the cores of a rank and one for its share of the links. A kernel takes the
 * larger of flops over rate and bytes over bandwidth. A collective between nodes takes latencies and bytes as rings do,
 * one collective after the other, while kernels go on; where one is waited for before it is over, the cores wait. A
 * collective inside a node is work for its cores and hides nothing. A Program on a mesh that is only described will do:
 * nothing is allocated by ranks.
 */
#pragma once

#include "tensor/program.h"
#include "tensor/redistribute.h"

/* Messages: seconds each, and bytes a second. */
typedef struct TsLink {
    double latency_s, bandwidth;
} TsLink;

/* What a rank can do while all the others of its node work too. */
typedef struct TsMachineModel {
    double flops;            /* a second, in large matrix products */
    double half_flops;       /* a product of so many flops runs at half of that rate */
    double memory_bandwidth; /* bytes a second */
    double op_s;             /* that every kernel costs beside its work */
    int ranks_per_node;
    TsLink link;  /* of a node to the others, shared by its ranks */
    TsLink local; /* between ranks of a node: bytes of a whole that is reduced or gathered */
    /* How much of the roof a kernel reaches: 1 where nothing is known. */
    double (*efficiency)(const void *context, const char *op);
    const void *context;
} TsMachineModel;

enum { TS_ESTIMATE_ROWS = 64 };

/* All nodes of one op. Seconds are of one rank. */
typedef struct TsEstimateOp {
    const char *name; /* borrowed */
    int64_t calls;
    double flops, bytes, seconds;
} TsEstimateOp;

/* All collectives of one kind along one set of axes, as one rank sends them. */
typedef struct TsEstimateCollective {
    TsMoveKind kind;
    TsAxisSet axes;
    int64_t calls;
    double bytes;    /* by the formulas of the accounting */
    double messages; /* between nodes */
    double seconds;  /* of links, or, inside a node, of cores */
    bool inside;     /* a node */
} TsEstimateCollective;

/* Sums over the Programs that were added. */
typedef struct TsEstimate {
    double seconds;      /* the whole */
    double compute_s;    /* in kernels */
    double inside_s;     /* in collectives inside the node, and in packing */
    double waiting_s;    /* for links */
    double link_s;       /* links, if nothing else were done */
    double flops, bytes; /* of kernels, of this rank */
    int ops, collectives;
    TsEstimateOp op[TS_ESTIMATE_ROWS];
    TsEstimateCollective collective[TS_ESTIMATE_ROWS];
} TsEstimate;

/* Adds one run of `program`, begun when all before it is over. Not collective. */
void ts_program_estimate(TsEstimate *estimate, const TsProgram *program, const TsMachineModel *machine);
