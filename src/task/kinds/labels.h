/* SPDX-License-Identifier: Apache-2.0
 *
 * Labels: the labels that stand in the cell of an example, one after the other.
 */
#pragma once

#include "data/records.h"

typedef enum TsLabelForm {
    TS_LABEL_WHOLE,     /* the cell is one label */
    TS_LABEL_SEPARATED, /* labels with a separator between; an empty cell has none */
    TS_LABEL_BYTES,     /* each byte is one */
    TS_LABEL_NUMBERS    /* not names */
} TsLabelForm;

typedef struct TsLabels {
    TsField cell; /* borrowed */
    TsLabelForm form;
    char separator;
    size_t at; /* where the next one begins; beyond the cell: there is none left */
} TsLabels;

/* The next label, not zero-terminated; false where there is none left. */
bool ts_labels_next(TsLabels *labels, TsField *label);
