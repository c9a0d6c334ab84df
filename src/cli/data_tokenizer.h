/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera data tokenizer: trains a byte-pair encoding. A part of the command data.
 */
#pragma once

#include "comm/group.h"

/* The words behind "data tokenizer". Collective on world. */
TS_MUST_USE TsStatus ts_data_tokenizer(TsGroup *world, int count, const char *const *words);
