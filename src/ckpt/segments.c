/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/segments.h"

#include <inttypes.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/memory.h"
#include "ckpt/slab.h"
#include "comm/collectives.h"

/* The CRC without inversions, `raw`, after more bytes. */
static uint32_t raw_bytes(uint32_t raw, const void *data, size_t bytes)
{
    return ~ts_crc32c(~raw, data, bytes);
}

/* The same after zeros. */
static uint32_t raw_zeros(uint32_t raw, int64_t bytes)
{
    return raw == 0 ? 0 : ts_crc32c_combine(raw, 0, (uint64_t)bytes);
}

/* A gap of zeros that comes again and again, between the rows of a rectangle: linear, so tabulated by byte. */
typedef struct Gap {
    int64_t bytes;
    uint32_t table[4][256];
} Gap;

static void gap_prepare(Gap *gap, int64_t bytes)
{
    gap->bytes = bytes;
    for (int lane = 0; lane < 4; lane++) {
        gap->table[lane][0] = 0;
        for (int bit = 0; bit < 8; bit++) {
            uint32_t image = raw_zeros((uint32_t)1 << (8 * lane + bit), bytes);
            for (int low = 0; low < 1 << bit; low++)
                gap->table[lane][(1 << bit) + low] = gap->table[lane][low] ^ image;
        }
    }
}

static uint32_t gap_apply(const Gap *gap, uint32_t raw)
{
    return gap->table[0][raw & 255] ^ gap->table[1][raw >> 8 & 255] ^ gap->table[2][raw >> 16 & 255] ^
           gap->table[3][raw >> 24];
}

/* Where the addition of one rectangle is: the segment, and how far in it. */
typedef struct Adder {
    uint32_t *sums;
    int64_t array_bytes, segment, position; /* position: bytes of the segment passed */
    uint32_t raw;                           /* of what was passed */
    int64_t last_gap;                       /* between the last two runs */
    Gap gap;
} Adder;

static int64_t segment_bytes(int64_t array_bytes, int64_t segment)
{
    int64_t left = array_bytes - segment * TS_SEGMENT_BYTES;
    return left < TS_SEGMENT_BYTES ? left : TS_SEGMENT_BYTES;
}

/* Closes the segment: what was passed, then zeros to its end. */
static void adder_flush(Adder *adder)
{
    if (adder->segment >= 0)
        adder->sums[adder->segment] ^=
            raw_zeros(adder->raw, segment_bytes(adder->array_bytes, adder->segment) - adder->position);
    adder->raw = 0;
    adder->position = 0;
}

static void adder_skip(Adder *adder, int64_t gap_bytes)
{
    if (gap_bytes == adder->gap.bytes) {
        adder->raw = gap_apply(&adder->gap, adder->raw);
    } else {
        adder->raw = raw_zeros(adder->raw, gap_bytes);
        if (gap_bytes == adder->last_gap)
            gap_prepare(&adder->gap, gap_bytes);
    }
    adder->last_gap = gap_bytes;
    adder->position += gap_bytes;
}

/* Adds a run of bytes at `offset` of the array; offsets only grow. */
static void adder_run(Adder *adder, const char *data, int64_t offset, int64_t bytes)
{
    while (bytes > 0) {
        int64_t segment = offset / TS_SEGMENT_BYTES, position = offset % TS_SEGMENT_BYTES;
        if (segment != adder->segment) {
            adder_flush(adder);
            adder->segment = segment;
            adder->position = position; /* zeros before the first byte change nothing */
        }
        if (position > adder->position)
            adder_skip(adder, position - adder->position);
        int64_t here = segment_bytes(adder->array_bytes, segment) - position;
        here = here < bytes ? here : bytes;
        adder->raw = raw_bytes(adder->raw, data, (size_t)here);
        adder->position = position + here;
        data += here;
        offset += here;
        bytes -= here;
    }
}

/* One rectangle on its way into the sums. */
typedef struct Addition {
    Adder *adder;
    const char *data;
    int64_t elem_bytes;
} Addition;

static TsStatus add_run(TsSlabRun run, void *context)
{
    const Addition *addition = context;
    int64_t bytes = addition->elem_bytes;
    adder_run(addition->adder, addition->data + run.block_elem * bytes, run.array_elem * bytes, run.elems * bytes);
    return TS_OK;
}

void ts_segments_add(uint32_t *sums, TsSegmentPart part)
{
    if (ts_slab_empty(part.slab))
        return;
    Addition addition = {
        .adder = ts_alloc(sizeof(Adder)), .data = part.data, .elem_bytes = (int64_t)ts_dtype_bytes(part.dtype)};
    Adder *adder = addition.adder;
    adder->sums = sums;
    adder->array_bytes = ts_shape_elems(part.shape) * addition.elem_bytes;
    adder->segment = adder->last_gap = adder->gap.bytes = -1;
    adder->position = 0;
    adder->raw = 0;
    TsStatus status = ts_slab_runs(part.shape, part.block, part.slab, add_run, &addition);
    TS_CHECK(!status, "adding checksums cannot fail");
    adder_flush(adder);
    ts_free(adder);
}

/* XOR as a sum: each bit is counted in a field of its own, wide enough for all ranks, and the count's lowest bit is the
 * XOR. Four fields an i64. */
enum { FIELD_BITS = 16, FIELDS = 4, WORDS = 32 / FIELDS };

void ts_segments_reduce(TsGroup *group, uint32_t *sums, int64_t count)
{
    int ranks = ts_group_size(group);
    TS_CHECK(ranks < 1 << FIELD_BITS, "%d ranks: checksums are XORed over fewer than 65536", ranks);
    if (ranks == 1 || count == 0)
        return;
    int64_t *words = ts_calloc((size_t)count * WORDS, sizeof *words);
    for (int64_t i = 0; i < count; i++)
        for (int bit = 0; bit < 32; bit++)
            words[i * WORDS + bit / FIELDS] |= (int64_t)(sums[i] >> bit & 1) << (bit % FIELDS * FIELD_BITS);
    ts_all_reduce(group, (TsTransfer){.out = words,
                                      .in = words,
                                      .count_elems = count * WORDS,
                                      .dtype = TS_I64,
                                      .reduction = TS_SUM,
                                      .label = "checkpoint: checksums"});
    for (int64_t i = 0; i < count; i++) {
        sums[i] = 0;
        for (int bit = 0; bit < 32; bit++)
            sums[i] |= (uint32_t)((uint64_t)words[i * WORDS + bit / FIELDS] >> (bit % FIELDS * FIELD_BITS) & 1) << bit;
    }
    ts_free(words);
}

void ts_segments_finish(uint32_t *sums, TsDtype dtype, TsShape shape)
{
    int64_t segments = ts_manifest_segments(dtype, shape);
    int64_t bytes = ts_shape_elems(shape) * (int64_t)ts_dtype_bytes(dtype);
    for (int64_t i = 0; i < segments; i++)
        sums[i] = ts_crc32c_of_contributions(sums[i], (uint64_t)segment_bytes(bytes, i));
}

TsStatus ts_segments_compare(const uint32_t *sums, const TsManifestArray *array, const char *path)
{
    int64_t bytes = ts_shape_elems(array->shape) * (int64_t)ts_dtype_bytes(array->dtype);
    for (int64_t i = 0; i < array->segments; i++) {
        int64_t first = i * TS_SEGMENT_BYTES, end = first + TS_SEGMENT_BYTES < bytes ? first + TS_SEGMENT_BYTES : bytes;
        if (sums[i] != array->crc[i])
            return ts_status_error(TS_CODE_CORRUPT,
                                   "%s: %s: bytes %lld to %lld are not what was saved (CRC-32C %08" PRIx32
                                   ", should be %08" PRIx32 ")",
                                   path, array->name, (long long)first, (long long)end - 1, sums[i], array->crc[i]);
    }
    return TS_OK;
}
