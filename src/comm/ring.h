/* SPDX-License-Identifier: Apache-2.0
 *
 * Ring over some ranks of a group, as a part of larger collectives. Included by src/comm only.
 */
#pragma once

#include "comm/messages.h"

/* Starts messages->call among messages->members (messages->size of them, this rank at messages->index), whose blocks
 * are counted in that order. `group`, `call`, `members`, `size` and `index` are set by the caller; messages is then
 * polled. */
void ts_ring_start(TsMessages *messages);
