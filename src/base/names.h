/* SPDX-License-Identifier: Apache-2.0
 *
 * Names: which texts have been met, each with the number that it was given, in a hash table of open addressing. For the
 * tables whose rows are asked for by name: parameters, what a Graph binds, its paths.
 */
#pragma once

#include <stdint.h>

/* All zero is an empty one. The texts are borrowed until it is freed. */
typedef struct TsNames {
    struct TsNamesSlot *slot; /* (capacity), owned */
    int64_t count, capacity;
} TsNames;

/* The number of a text, or -1. */
int64_t ts_names_find(const TsNames *names, const char *text);

/* Adds a text that is not there yet. */
void ts_names_add(TsNames *names, const char *text, int64_t number);

/* Leaves an empty one. */
void ts_names_free(TsNames *names);
