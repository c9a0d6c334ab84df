/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/shape.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

const TsShape ts_scalar = {0};

TsShape ts_shape_of(int dims, const int64_t *size)
{
    TS_CHECK(dims >= 0 && dims <= TS_MAX_DIMS, "a shape of %d dims; at most %d", dims, TS_MAX_DIMS);
    TsShape shape;
    memset(&shape, 0, sizeof shape); /* padding too: shapes lie in attributes, which are compared as bytes */
    shape.dims = dims;
    for (int d = 0; d < dims; d++) {
        TS_CHECK(size[d] >= 0, "dim %d of a shape is %lld", d, (long long)size[d]);
        shape.size[d] = size[d];
    }
    return shape;
}

int64_t ts_shape_elems(TsShape shape)
{
    int64_t elems = 1;
    for (int d = 0; d < shape.dims; d++)
        TS_CHECK(!__builtin_mul_overflow(elems, shape.size[d], &elems), "the elements of %s do not fit 63 bits",
                 ts_shape_text(shape).text);
    return elems;
}

bool ts_shape_equal(TsShape a, TsShape b)
{
    return a.dims == b.dims && !memcmp(a.size, b.size, sizeof a.size[0] * (size_t)a.dims);
}

TsShapeText ts_shape_text(TsShape shape)
{
    TsShapeText out = {"("};
    size_t length = 1;
    for (int d = 0; d < shape.dims; d++)
        length += (size_t)snprintf(out.text + length, sizeof out.text - length, d ? ", %lld" : "%lld",
                                   (long long)shape.size[d]);
    snprintf(out.text + length, sizeof out.text - length, ")");
    return out;
}
