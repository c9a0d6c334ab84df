/* SPDX-License-Identifier: Apache-2.0
 *
 * LanguageTask: `type: language_model`. Learns a text, of which the last part is kept for validation.
 */
#pragma once

#include "task/task.h"

extern const TsTaskKind ts_language_task;
extern const TsConfigTable ts_language_task_table;
