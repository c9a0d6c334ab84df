/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages: large blocks of private memory, from which ts_alloc takes what no other rank of the node looks at
 * (base/region.h). They come in huge pages where the system leaves that to programs: products of matrices read and
 * write whole columns of large matrices, and translate an address a row.
 */
#pragma once

#include <stddef.h>

/* Blocks of ts_alloc from here on are pages of their own, where they do not lie in a region. */
enum { TS_PAGES_LEAST_BYTES = 4 << 20 };

/* Takes `size_bytes` zeroed bytes; NULL where there are none, and with AddressSanitizer, which watches the heap. Safe
 * from any thread. To be given back by ts_pages_give. */
void *ts_pages_take(size_t size_bytes);

/* Gives them and their memory back. Safe from any thread. */
void ts_pages_give(void *pages, size_t size_bytes);
