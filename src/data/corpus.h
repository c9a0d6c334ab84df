/* SPDX-License-Identifier: Apache-2.0
 *
 * Corpus: text files whose words are counted by all ranks together, to train a tokenizer from: each rank takes the
 * lines that begin in its part of each file. A gzipped file is one rank's.
 */
#pragma once

#include "base/status.h"
#include "comm/group.h"
#include "data/word_counts.h"

/* Counts the words of files, line by line, as GPT-2 cuts them; the line feed belongs to its line. The same counts for
 * any number of ranks, sorted. Collective on group; the same status on all ranks; `paths` must be the same on all.
 * *counts is owned by the caller. */
TS_MUST_USE TsStatus ts_corpus_count(TsWordCounts **counts, TsGroup *group, const char *const *paths, int path_count);
