/* SPDX-License-Identifier: Apache-2.0 */
#include "task/kinds/labels.h"

#include <string.h>

bool ts_labels_next(TsLabels *labels, TsField *label)
{
    size_t left = labels->at <= labels->cell.bytes ? labels->cell.bytes - labels->at : 0, bytes = left;
    const char *begin = labels->cell.text + labels->at, *end;
    if (labels->at > labels->cell.bytes || labels->cell.bytes == 0)
        return false;
    if (labels->form == TS_LABEL_BYTES) {
        *label = (TsField){begin, 1};
        labels->at++;
        return left > 0;
    }
    if (labels->form == TS_LABEL_SEPARATED && (end = memchr(begin, labels->separator, left)))
        bytes = (size_t)(end - begin);
    *label = (TsField){begin, bytes};
    labels->at += bytes + 1; /* behind the separator, or the end */
    return true;
}
