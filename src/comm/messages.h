/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages: collectives made of point-to-point messages, as rounds that go on whenever they are polled.
 *
 * The data is cut into lanes, each a sequence of rounds: send one piece, receive one piece, combine. A few lanes are
 * under way at a time, so that one lane's arithmetic hides behind the messages of another. An algorithm is a function
 * from (lane, round) to what that round does; nothing is laid out in advance. All ranks have the same lanes; rounds may
 * differ. Included by src/comm only.
 */
#pragma once

#include <mpi.h>

#include "comm/call.h"

enum { TS_LANES = 8 }; /* lanes under way at a time; each has a tag of its own */

/* What one rank does in one round of one lane. Sends and receives first, then out = a (+) b (b NULL: a copy). What has
 * no elements is left out. */
typedef struct TsRound {
    const void *send;
    int64_t send_elems;
    int to;
    void *receive;
    int64_t receive_elems;
    int from;
    void *out;
    const void *a, *b;
    int64_t elems;
} TsRound;

typedef struct TsMessages TsMessages;

/* Fills in `round` (zeroed by the caller); false once the lane is over. `scratch` is the lane's own, the same in all
 * its rounds. */
typedef bool TsRoundOf(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch);

typedef struct TsLane {
    int64_t lane, index; /* which lane this slot carries, and its round; past the last: none */
    TsRound round;
    MPI_Request requests[2];
} TsLane;

struct TsMessages {
    TsGroup *group;
    TsCommCall call;     /* blocks: see below */
    TsRoundOf *round_of; /* the algorithm */
    int64_t lanes;
    int64_t piece_elems; /* at most so many elements in a message */
    int scratch_pieces;  /* pieces of scratch that a lane needs */

    /* Ring: the ranks that take part, in ring order (NULL: all), how many, and which of them this one is. */
    const int *members;
    int size, index;

    int64_t sent; /* messages so far */
    /* the engine's own */
    int tag;
    int64_t ended_lanes;
    TsLane slot[TS_LANES];
    char *scratch; /* owned; kept and grown from call to call */
    size_t scratch_bytes;
};

/* Takes the tags. All ranks of the group do so in the order of calls. */
void ts_messages_reserve(TsMessages *messages);

/* Starts what the fields up to `index` describe. Tags have been taken. */
void ts_messages_start(TsMessages *messages);

/* Moves on without waiting; true once over. *moved is set if anything moved. */
bool ts_messages_poll(TsMessages *messages, bool *moved);

/* Block `part` of the call among `parts`: as given, or an even cut. */
TsSpan ts_call_block(const TsCommCall *call, int parts, int part);

/* The largest block. */
int64_t ts_call_largest_block(const TsCommCall *call, int parts);
