/* SPDX-License-Identifier: Apache-2.0
 *
 * Labels: what the accounting and the watchdog call a collective, kept until the runtime ends.
 *
 * Both hold on to the pointers that they are given. A caller whose names may go before (layer paths of a Program) gives
 * them labels instead: equal texts are one label, so that programs compiled again and again take no more memory.
 */
#pragma once

/* The label of that text. Borrowed; there until ts_runtime_end. Not collective. Safe from any thread. */
const char *ts_label(const char *text);

/* Forgets all of them. Called by ts_runtime_end, when nobody asks for a label any more. */
void ts_label_free_all(void);
