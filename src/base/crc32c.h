/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C (Castagnoli): the checksum of all that is kept.
 *
 * A CRC is linear: the checksum of a segment is the XOR of what each of its pieces contributes in place among zeros. So
 * ranks that hold disjoint pieces of a segment compute its checksum without anyone seeing it whole. Uses the
 * instruction of SSE 4.2 where the processor has it. Safe from any thread; not collective.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` is the checksum of, followed by `data`; crc 0 for nothing yet. As in RFC 3720, B.4. */
uint32_t ts_crc32c(uint32_t crc, const void *data, size_t size_bytes);

/* The checksum of A followed by B, from those of A and of B and the length of B, in time of its logarithm. */
uint32_t ts_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t b_bytes);

/* What a piece contributes to the checksum of a segment in which `after_bytes` bytes follow it. Pieces may be uneven
 * and in any order; what no piece covers counts as zeros. */
uint32_t ts_crc32c_contribution(const void *data, size_t size_bytes, uint64_t after_bytes);

/* The checksum of a segment of `segment_bytes` from the XOR of the contributions of its pieces. */
uint32_t ts_crc32c_of_contributions(uint32_t contributions, uint64_t segment_bytes);

/* The two implementations behind ts_crc32c, which give the same; for tests and benches. Whether the instruction is
 * there. */
uint32_t ts_crc32c_portable(uint32_t crc, const void *data, size_t size_bytes);
int ts_crc32c_has_instruction(void);
