/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments: the CRC-32C of each 4 MiB of an array's bytes, from rectangles of it that are anywhere, in any order.
 *
 * A CRC without its two inversions is linear over XOR: that of a segment is the XOR of those of its parts, each in
 * place among zeros. So every rank adds what it has, the sums are XORed over the ranks, and the result is that of the
 * whole array, whatever the mesh, as long as each byte was added exactly once.
 *
 * `sums` of an array has ts_manifest_segments(dtype, shape) entries, zero at the start.
 */
#pragma once

#include "ckpt/manifest.h"

/* A rectangle of an array in memory: `data` holds `block`, row-major, of which `slab` is meant. */
typedef struct TsSegmentPart {
    TsDtype dtype;
    TsShape shape; /* global */
    TsBlockRange block, slab;
    const void *data;
} TsSegmentPart;

/* Adds a rectangle. Not collective. */
void ts_segments_add(uint32_t *sums, TsSegmentPart part);

/* sums = the XOR over all ranks of `group`. Collective on group. */
void ts_segments_reduce(TsGroup *group, uint32_t *sums, int64_t count);

/* Turns finished sums into the CRC-32C of each segment, as everybody computes it. Not collective. */
void ts_segments_finish(uint32_t *sums, TsDtype dtype, TsShape shape);

/* Compares with the checksums of the manifest; `sums` are finished. An error names the array and the bytes. */
TS_MUST_USE TsStatus ts_segments_compare(const uint32_t *sums, const TsManifestArray *array, const char *path);
