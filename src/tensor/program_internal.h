/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a Program, for the files that compile, run and describe it.
 */
#pragma once

#include "tensor/passes/passes.h"
#include "tensor/redistribute.h"

/* One entry of the run loop. */
typedef struct TsAction {
    TsProgramStepKind kind;
    const TsOp *op;
    TsCall call;     /* of kernels; its blocks lie in program->block */
    TsMove *move;    /* of moves, owned by the action that begins it; else NULL */
    TsMoves *moves;  /* of a bucket of several, owned likewise: input and output k of the call are those of move k */
    int32_t request; /* of collectives: index into program->request */
    int32_t step;    /* index into the schedule */
    bool last;       /* only in the last run of its piece */
} TsAction;

/* What this rank sends, by the formulas for rings; 0: it is no collective. */
static inline double ts_action_sent_bytes(const TsAction *action)
{
    return action->moves ? ts_moves_sent_bytes(action->moves) : action->move ? ts_move_sent_bytes(action->move) : 0;
}

/* A pointer that follows what is bound: *data = array->data + offset. */
typedef struct TsPatch {
    void **data; /* borrowed: inside program->block */
    size_t offset_bytes;
    int32_t bound;
} TsPatch;

/* A block that differs from one micro-batch to the next. */
typedef struct TsVaryingBlock {
    TsBlock *block;    /* borrowed: inside program->block */
    void *data;        /* of the first micro-batch */
    size_t slot_bytes; /* to that of the next */
    bool packed;       /* they stand one behind another, whatever their sizes */
    int32_t range;     /* where program->range has its blocks: (micros) */
} TsVaryingBlock;

/* A move that differs from one micro-batch to the next. */
typedef struct TsVaryingMove {
    TsMove **move;  /* (micros), owned */
    int32_t action; /* that runs or begins it */
    int32_t end;    /* and that ends it; -1: none does */
} TsVaryingMove;

/* What runs together, once or for each micro-batch. */
typedef struct TsProgramPiece {
    int32_t first_action, first_block, first_move; /* up to those of the next piece */
    int runs;
} TsProgramPiece;

struct TsProgram {
    TsGraph *graph; /* owned, as the passes left it */
    TsPieces pieces;
    TsProgramSchedule schedule;
    TsLayout layout;
    TsCompileOptions options;
    TsMeshShape mesh_shape;
    TsMesh **mesh;         /* (pieces.micros): that of each micro-batch; owned, or options.mesh */
    TsProgramPiece *piece; /* (pieces.pieces + 1) */
    TsVaryingBlock *varying_block;
    TsVaryingMove *varying_move;
    TsBlockRange *range; /* (ranges * micros) */
    int32_t varying_blocks, varying_moves, ranges;
    TsAction *action;     /* (actions) */
    TsBlock *block;       /* (blocks): what kernels and moves are handed */
    TsPatch *patch;       /* (patches), by bound */
    int32_t *first_patch; /* (graph->bounds + 1) */
    TsArray **array;      /* (graph->bounds): what is bound; NULL: nothing yet */
    TsRequest **request;  /* (requests): under way, or NULL */
    int32_t *open;        /* (opens): those that are to be driven on */
    int32_t actions, blocks, patches, requests, opens, unbound;
    TsTimeline *timeline; /* borrowed; NULL: nothing is recorded */
    double *begun_s;      /* (2, requests) while recorded: when each began, and when it was seen to be over, or 0 */
    unsigned char *arena, *constants; /* owned; NULL on a mesh that is only described */
};

/* Whether its mesh is only described: it is planned, not run. */
static inline bool ts_program_only_described(const TsProgram *program)
{
    return program->options.mesh && !ts_mesh_all(program->options.mesh);
}

/* Fills in actions, blocks and patches, once the passes are done and the arena is there; lower.c. */
void ts_program_lower(TsProgram *program);

/* Bytes of the micro-batches before `micro` in an array that holds the blocks of `range` one behind another. */
size_t ts_program_packed_bytes(const TsProgram *program, int32_t range, int micro, TsDtype dtype);

/* ---- recording; record.c ---- */

/* Adds to program->timeline what `action` did from `begin_s` to now. */
void ts_program_record_action(TsProgram *program, const TsAction *action, double begin_s);

/* Notes that the request was seen to be over. */
void ts_program_record_over(TsProgram *program, int32_t request);
