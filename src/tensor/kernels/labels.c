/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/cross_entropy.h"

int64_t ts_kernel_labels_check(const TsCrossEntropyRows *shape)
{
    for (int64_t r = 0; r < shape->rows; r++) {
        int32_t label = shape->labels[r];
        if (label != shape->ignore && (label < 0 || label >= shape->whole_classes))
            return r;
    }
    return -1;
}
