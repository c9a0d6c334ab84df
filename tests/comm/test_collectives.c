/* ranks: 1 2 3 4 5 8 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "contract.h"

#include <math.h>

static void whole_pieces(void)
{
    contract_on(test_world, ORDINARY);
}

/* Cuts at 256 bytes: the larger sizes are many pieces, and of the last one only a part. */
static void many_pieces(void)
{
    ts_algorithm_set_cuts(256);
    contract_on(test_world, ORDINARY);
    ts_algorithm_set_cuts(0);
}

/* Ranks of one parity, in reverse order. */
static void on_subsets(void)
{
    int rank = ts_group_rank(test_world);
    TsGroup *half = ts_group_split(test_world, "half", rank % 2, -rank);
    contract_on(half, ORDINARY);
    ts_group_free(&half);
}

/* Counts beyond what fits MPI's int, cut without the memory for them. */
static void cuts_of_huge_counts(void)
{
    const int64_t huge = ((int64_t)1 << 33) + 5, limit = ts_algorithm_library_elems(TS_F32);
    CU_ASSERT(limit * 4 < (int64_t)1 << 31);
    int64_t pieces = ts_pieces(huge, limit), covered = 0;
    for (int64_t i = 0; i < pieces; i++) {
        TsSpan piece = ts_span_piece((TsSpan){100, huge}, limit, i);
        CU_ASSERT_EQUAL(piece.first, 100 + covered);
        CU_ASSERT(piece.count > 0 && piece.count <= limit);
        covered += piece.count;
    }
    CU_ASSERT_EQUAL(covered, huge);
    CU_ASSERT_EQUAL(ts_span_piece((TsSpan){100, huge}, limit, pieces).count, 0);
    int64_t end = 0;
    for (int part = 0; part < 7; part++) {
        TsSpan span = ts_even_part(huge, 7, part);
        CU_ASSERT_EQUAL(span.first, end);
        CU_ASSERT(span.count <= huge / 7 + 16);
        end = span.first + span.count;
    }
    CU_ASSERT_EQUAL(end, huge);
}

/* A NaN of one rank reaches every rank, by whatever reduction: ranks decide alike on what they see. */
static void nan_reaches_all(void)
{
    enum { COUNT = 600 };
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world), wrong = 0;
    double *data = ts_alloc(COUNT * sizeof *data);
    for (int algorithm = 0; algorithm < TS_ALGORITHMS; algorithm++)
        for (int r = 0; r < REDUCTIONS; r++)
            for (int d = 0; d < 3; d++) { /* f32, f64, bf16 */
                for (int i = 0; i < COUNT; i++)
                    put(data, i, dtypes[d], rank);
                for (int i = rank; i < COUNT; i += size + 1) { /* each (size + 1)-th element has none */
                    if (dtypes[d] == TS_F32)
                        ((float *)data)[i] = NAN;
                    else if (dtypes[d] == TS_F64)
                        data[i] = (double)NAN;
                    else
                        ((TsBf16 *)data)[i] = ts_bf16_from_f32(NAN);
                }
                ts_all_reduce(test_world, (TsTransfer){.out = data,
                                                       .in = data,
                                                       .count_elems = COUNT,
                                                       .dtype = dtypes[d],
                                                       .reduction = reductions[r],
                                                       .algorithm = (TsAlgorithm)algorithm,
                                                       .label = "nan"});
                for (int i = 0; i < COUNT; i++)
                    wrong += !isnan(get(data, i, dtypes[d])) != (i % (size + 1) == size);
            }
    CU_ASSERT_EQUAL(wrong, 0);
    ts_free(data);
}

TEST_MAIN("collectives", {"every implementation, whole pieces", whole_pieces},
          {"every implementation, many pieces", many_pieces}, {"on subsets of the ranks", on_subsets},
          {"cuts of huge counts", cuts_of_huge_counts}, {"a NaN reaches all", nan_reaches_all})
