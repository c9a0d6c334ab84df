/* SPDX-License-Identifier: Apache-2.0
 *
 * WordCounts: how often each word stands in some texts, in a hash table; and the counts of all ranks together.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "comm/group.h"

typedef struct TsWordCounts TsWordCounts;

TsWordCounts *ts_word_counts_create(void);

/* Sets *counts to NULL; NULL is fine. */
void ts_word_counts_free(TsWordCounts **counts);

/* Adds `times` to the count of a word. */
void ts_word_counts_add(TsWordCounts *counts, const char *word, size_t word_bytes, int64_t times);

/* How many different words there are. */
int64_t ts_word_counts_size(const TsWordCounts *counts);

/* A word, borrowed until it is freed, and how often it stands there. */
const char *ts_word_counts_at(const TsWordCounts *counts, int64_t index, size_t *word_bytes, int64_t *times);

/* Sorts the words by their bytes: from then on their numbers depend on nothing else. Nothing may be added after it. */
void ts_word_counts_sort(TsWordCounts *counts);

/* Adds up the counts of all ranks on each, sorted: a rank gathers the words whose hash is its own, and then all of them
 * are exchanged. Collective on group. */
void ts_word_counts_share(TsWordCounts **counts, TsGroup *group);
