/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Checksums of segments: those of the whole array's bytes, from whatever rectangles it was put together.
 */
#include "ckpt/segments.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "ckpt/slab.h"
#include "test.h"

/* The reference: each segment of the whole in one go. */
static void expect_whole(const uint32_t *sums, TsDtype dtype, TsShape shape, const char *bytes)
{
    size_t total = (size_t)ts_shape_elems(shape) * ts_dtype_bytes(dtype);
    for (int64_t i = 0; i < ts_manifest_segments(dtype, shape); i++) {
        size_t first = (size_t)i * TS_SEGMENT_BYTES;
        size_t length = total - first < TS_SEGMENT_BYTES ? total - first : TS_SEGMENT_BYTES;
        CU_ASSERT_EQUAL(sums[i], ts_crc32c(0, bytes + first, length));
    }
}

static char *random_bytes(size_t count)
{
    char *bytes = ts_alloc(count);
    uint64_t state = 12345;
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (char)(state >> 56);
    }
    return bytes;
}

typedef struct Sum {
    uint32_t *sums;
    TsSegmentPart part;
    int pieces;
} Sum;

static TsStatus add_piece(TsBlockRange piece, void *context)
{
    Sum *sum = context;
    sum->part.slab = piece;
    sum->pieces++;
    ts_segments_add(sum->sums, sum->part);
    return TS_OK;
}

/* The array cut along every dim in turn, its shares in any order and cut again into pieces. */
static void any_rectangles(void)
{
    static const struct {
        TsDtype dtype;
        TsShape shape;
    } arrays[] = {{TS_F32, {2, {1500, 1700}}}, {TS_BF16, {3, {700, 3, 2100}}},
                  {TS_BOOL, {1, {4194305}}},   {TS_F64, {2, {1, 524288}}},
                  {TS_I32, {0, {0}}},          {TS_I32, {3, {4, 0, 3}}}};
    for (size_t a = 0; a < sizeof arrays / sizeof arrays[0]; a++) {
        TsShape shape = arrays[a].shape;
        TsDtype dtype = arrays[a].dtype;
        int64_t segments = ts_manifest_segments(dtype, shape);
        size_t total = (size_t)ts_shape_elems(shape) * ts_dtype_bytes(dtype);
        char *bytes = random_bytes(total);
        TsBlockRange whole = ts_slab_whole(shape);
        for (int parts = 1; parts <= 7; parts += 3) {
            uint32_t *sums = ts_calloc((size_t)segments, sizeof *sums);
            Sum sum = {.sums = sums, .part = {.dtype = dtype, .shape = shape, .block = whole, .data = bytes}};
            for (int part = parts - 1; part >= 0; part--) /* backwards, and the last dim cut too */
                for (int column = 0; column < 3; column++) {
                    TsBlockRange slab = ts_slab_share(whole, part, parts);
                    if (shape.dims == 0 && column > 0)
                        continue;
                    if (shape.dims > 0 && !ts_slab_empty(slab)) {
                        int last = shape.dims - 1;
                        int64_t size = slab.shape.size[last];
                        slab.first[last] += column * size / 3;
                        slab.shape.size[last] = (column + 1) * size / 3 - column * size / 3;
                    }
                    TEST_OK(ts_slab_pieces(slab, 100000, add_piece, &sum));
                }
            ts_segments_finish(sums, dtype, shape);
            expect_whole(sums, dtype, shape, bytes);
            CU_ASSERT(total < 1000000 || sum.pieces > 3);
            ts_free(sums);
        }
        ts_free(bytes);
    }
}

/* A block that is not the whole, in memory of its own. */
static void from_a_block(void)
{
    TsShape shape = ts_shape(5, 1000, 300);
    char *bytes = random_bytes((size_t)ts_shape_elems(shape) * 4);
    uint32_t sums[2] = {0};
    CU_ASSERT_EQUAL(ts_manifest_segments(TS_F32, shape), 2);
    for (int half = 0; half < 2; half++) {
        TsBlockRange block = {.shape = ts_shape(5, half ? 633 : 367, 300), .first = {0, half ? 367 : 0, 0}};
        char *mine = ts_alloc((size_t)ts_shape_elems(block.shape) * 4);
        size_t rows_bytes = (size_t)block.shape.size[1] * 300 * 4;
        for (size_t i = 0; i < 5; i++)
            memcpy(mine + i * rows_bytes, bytes + (i * 1000 + (size_t)block.first[1]) * 300 * 4, rows_bytes);
        TsSegmentPart part = {.dtype = TS_F32, .shape = shape, .block = block, .slab = block, .data = mine};
        part.slab.shape.size[2] = 100; /* two thirds first, */
        ts_segments_add(sums, part);
        part.slab.shape.size[2] = 200;
        part.slab.first[2] = 100; /* and the rest */
        ts_segments_add(sums, part);
        ts_free(mine);
    }
    ts_segments_finish(sums, TS_F32, shape);
    expect_whole(sums, TS_F32, shape, bytes);
    ts_free(bytes);
}

/* XOR over the ranks, on every bit. */
static void reduces(void)
{
    uint32_t sums[3], expected[3] = {0};
    for (int r = 0; r < ts_group_size(test_world); r++)
        for (uint32_t i = 0; i < 3; i++) {
            uint32_t value = 0x9e3779b9u * (uint32_t)(r + 1) + i * 0xdeadbeefu;
            expected[i] ^= value;
            if (r == ts_group_rank(test_world))
                sums[i] = value;
        }
    ts_segments_reduce(test_world, sums, 3);
    CU_ASSERT(memcmp(sums, expected, sizeof sums) == 0);
}

/* Shares are disjoint and complete. */
static void shares(void)
{
    TsBlockRange slab = {.shape = ts_shape(3, 8, 2), .first = {10, 20, 30}};
    for (int parts = 1; parts <= 20; parts++) {
        int64_t elems = 0;
        for (int part = 0; part < parts; part++) {
            TsBlockRange share = ts_slab_share(slab, part, parts);
            elems += ts_shape_elems(share.shape);
            for (int d = 0; d < 3; d++)
                CU_ASSERT(share.first[d] >= slab.first[d] &&
                          share.first[d] + share.shape.size[d] <= slab.first[d] + slab.shape.size[d]);
        }
        CU_ASSERT_EQUAL(elems, 48);
    }
    TsBlockRange scalar = ts_slab_whole(ts_scalar);
    CU_ASSERT_FALSE(ts_slab_empty(ts_slab_share(scalar, 0, 3)));
    CU_ASSERT_TRUE(ts_slab_empty(ts_slab_share(scalar, 2, 3)));
}

TEST_MAIN("segments", {"any rectangles", any_rectangles}, {"from a block", from_a_block}, {"reduces", reduces},
          {"shares", shares})
