/* SPDX-License-Identifier: Apache-2.0
 *
 * Which Tessera this is: for `--version`, the provenance of a run, and the manifest of a checkpoint.
 */
#pragma once

/* "0.1.0". Borrowed. */
const char *ts_version(void);

/* What `git describe --always --dirty` said when this was built; "" outside a clone. Borrowed. */
const char *ts_version_commit(void);
