/* SPDX-License-Identifier: Apache-2.0
 *
 * Algorithm: the table of implementations of collectives, and which of them serves a call.
 *
 * Adding one is a file with a `const TsImplementation`, a line here and one in algorithm.c. Included by src/comm and by
 * the tests that run every implementation.
 */
#pragma once

#include "comm/request.h"

extern const TsImplementation ts_implementation_local;          /* groups of one rank: a copy */
extern const TsImplementation ts_implementation_library;        /* library.c */
extern const TsImplementation ts_implementation_tree;           /* tree.c */
extern const TsImplementation ts_implementation_ring;           /* ring.c */
extern const TsImplementation ts_implementation_shared;         /* shared_collectives.c */
extern const TsImplementation ts_implementation_hierarchical;   /* hierarchical.c */
extern const TsImplementation ts_implementation_point_to_point; /* point_to_point.c */

/* The implementation that serves `call`: the one asked for if it can, else the fastest that does by size and by how
 * the group lies on nodes. The same on all ranks. Not collective. */
const TsImplementation *ts_algorithm_choose(const TsGroup *group, const TsCommCall *call, TsAlgorithm wanted);

/* A small blocking call that SHARED serves, without a request; false, and nothing done, if it is not small or earlier
 * calls are still under way: then it takes a request as any other. What the neighbours see is the same either way. */
bool ts_shared_quick(TsGroup *group, const TsCommCall *call);

/* "ring", …; "auto" for TS_ALGORITHM_AUTO. */
const char *ts_algorithm_name(TsAlgorithm algorithm);

/* Where counts are cut. For tests, which make pieces so small that cutting is met without the memory; `limit` the same
 * on all ranks, 0 restores. Not collective. */
void ts_algorithm_set_cuts(int64_t limit_bytes);

/* At most so many elements in one message between ranks. */
int64_t ts_algorithm_piece_elems(TsDtype dtype);

/* At most so many bytes of a whole go through shared memory in one step; at most TS_SMALL_BYTES. */
size_t ts_algorithm_small_bytes(void);

/* At most so many elements in one call of the MPI library: well below 2^31. */
int64_t ts_algorithm_library_elems(TsDtype dtype);
