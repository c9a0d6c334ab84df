/* SPDX-License-Identifier: Apache-2.0
 *
 * ClassNames: the names of classes and their numbers. Names that are all whole numbers stand in their order, others in
 * that of their bytes; names that were given stand as they were given.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "comm/group.h"

typedef struct TsClassNames TsClassNames;

TsClassNames *ts_class_names_create(void);
void ts_class_names_free(TsClassNames **names);

/* Adds a name behind the others, if it is new. */
void ts_class_names_add(TsClassNames *names, const char *text, size_t bytes);

/* All names of all ranks, sorted: the same on every rank. Collective. */
void ts_class_names_gather(TsClassNames *names, TsGroup *group);

int64_t ts_class_names_count(const TsClassNames *names);
const char *ts_class_names_at(const TsClassNames *names, int64_t number); /* borrowed */

/* The number of a name, or -1. Safe from any thread. */
int32_t ts_class_names_find(const TsClassNames *names, const char *text, size_t bytes);
