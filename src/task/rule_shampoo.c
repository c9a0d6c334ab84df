/* SPDX-License-Identifier: Apache-2.0
 *
 * Shampoo (Gupta, Koren, Singer 2018; Anil et al. 2021): a matrix's mean gradient M becomes L^(-1/4) M R^(-1/4), where
 * L and R are decaying sums of G G^T and G^T G, with the length of Adam's update.
 *
 * Large dims are cut into blocks, of which L and R keep the squares along the diagonal: (blocks, block, block) of rows
 * and of columns, cut along data: each rank adds up its blocks, and takes the roots of its blocks, by eigenvalues,
 * every so many steps. Rows and columns beyond the last whole block count as zeros. Until there are roots, and for what
 * is no matrix, the update is Adam's.
 */
#include <stdio.h>

#include "base/check.h"
#include "task/optimizer.h"
#include "tensor/ops.h"
#include "tensor/roots.h"

enum { ROOT = 4 };

/* One side of a matrix in blocks. */
typedef struct Side {
    const char *factor, *root; /* "left", "left_root": the names of its states */
    int64_t size, block, count;
} Side;

static Side side_of(const char *factor, const char *root, int64_t size, int64_t most)
{
    int64_t count = (size + most - 1) / most;
    count = count > 0 ? count : 1;
    return (Side){factor, root, size, (size + count - 1) / count, count};
}

/* Rows and columns of the parameter; false: it is no matrix. */
static bool sides_of(Side side[2], const TsParameter *row, const TsOptimizerConfig *options)
{
    int64_t size[2] = {1, 1};
    for (int d = 0, split = ts_update_split(row->shape); d < row->shape.dims; d++)
        size[d >= split] *= row->shape.size[d];
    side[0] = side_of("left", "left_root", size[0], options->block);
    side[1] = side_of("right", "right_root", size[1], options->block);
    return row->shape.dims > 1 && size[0] > 0 && size[1] > 0;
}

typedef struct Name {
    char text[256];
} Name;

static Name state_name(const TsParameter *row, const char *what)
{
    Name name;
    snprintf(name.text, sizeof name.text, "optimizer/%s/%s", what, row->path);
    return name;
}

static TsTensor blocks_of(const TsUpdate *update, const Side *side, const char *what)
{
    return ts_state(update->graph, state_name(update->row, what).text, update->row->dtype,
                    ts_shape(side->count, side->block, side->block), ts_shard(ts_replicated, 0, TS_AXIS_DATA));
}

/* (rows, columns) with zeros behind the last row -> (blocks, block, columns) */
static TsTensor in_blocks(TsTensor x, const Side *side)
{
    int64_t columns = ts_dim(x, 1), missing = side->count * side->block - side->size;
    if (missing) {
        TsTensor parts[] = {x, ts_constant(x.graph, ts_dtype_of(x), ts_shape(missing, columns), 0)};
        x = ts_concatenate(parts, 2, 0);
    }
    return ts_reshape(x, ts_shape(side->count, side->block, columns));
}

static TsTensor turn(TsTensor x)
{
    static const int order[] = {1, 0};
    return ts_transpose(x, order);
}

static TsTensor cast_like(TsTensor x, TsTensor like)
{
    return ts_cast(x, ts_dtype_of(like));
}

/* factor = beta factor + (1 - beta) G G^T of its blocks; a skipped step leaves it as it is. */
static void add_squares(const TsUpdate *update, TsTensor gradient, const Side *side)
{
    double beta = update->options->factor_decay;
    TsTensor factor = blocks_of(update, side, side->factor), blocks = in_blocks(gradient, side);
    TsTensor squares = ts_batch_dot(blocks, blocks, false, true);
    TsTensor by = cast_like(ts_mul(update->scalars.factor, update->scalars.factor), squares);
    TsTensor fresh = ts_add(ts_scale(factor, beta), ts_scale(ts_mul(squares, by), 1 - beta));
    TsTensor zero = ts_constant(update->graph, TS_F32, ts_scalar, 0);
    ts_assign(factor, ts_where(ts_greater(update->scalars.factor, zero), fresh, factor));
}

/* root x, by blocks of rows: (rows, columns) */
static TsTensor precondition(const TsUpdate *update, TsTensor x, const Side *side)
{
    TsTensor turned = ts_batch_dot(blocks_of(update, side, side->root), in_blocks(x, side), false, false);
    turned = ts_reshape(ts_constrain(turned, ts_replicated), ts_shape(side->count * side->block, ts_dim(x, 1)));
    return side->count * side->block == side->size ? turned : ts_slice(turned, 0, 0, side->size);
}

static TsTensor whole_matrix(TsTensor x, const Side side[2])
{
    return ts_reshape(ts_constrain(x, ts_replicated), ts_shape(side[0].size, side[1].size));
}

TsTensor ts_rule_shampoo(const TsUpdate *update)
{
    const TsOptimizerConfig *options = update->options;
    Side side[2];
    TsTensor mean = ts_update_state(update, "mean"), variance = ts_update_state(update, "variance");
    TsOptimizerRuleOptions moments = {.beta1 = options->beta1, .beta2 = options->beta2, .epsilon = options->epsilon};
    TsOptimizerOut adam = ts_adam_update(mean, variance, update->parameter, update->gradient, update->scalars, moments);
    TsTensor one = ts_constant(update->graph, update->row->dtype == TS_F64 ? TS_F64 : TS_F32, ts_scalar, 1);
    TsOptimizerRuleOptions decay = {.decay = update->decay};
    ts_assign(mean, adam.first);
    ts_assign(variance, adam.second);
    if (!sides_of(side, update->row, options))
        return ts_descend(update->parameter, adam.third, one, update->scalars, decay);

    TsTensor gradient = whole_matrix(update->gradient, side);
    add_squares(update, gradient, &side[0]);
    add_squares(update, turn(gradient), &side[1]);
    TsTensor x = precondition(update, whole_matrix(adam.first, side), &side[0]);
    x = turn(precondition(update, turn(x), &side[1]));
    x = ts_constrain(ts_reshape(x, update->row->shape), update->row->state);

    TsTensor length = ts_sqrt(ts_update_squares(update, x)), wanted = ts_sqrt(ts_update_squares(update, adam.third));
    TsTensor zero = ts_constant(update->graph, ts_dtype_of(length), ts_scalar, 0);
    TsTensor has_roots = ts_greater(length, zero);
    TsTensor ratio = ts_div(wanted, ts_where(has_roots, length, one));
    TsTensor out = ts_where(has_roots, ts_mul(x, cast_like(ratio, x)), adam.third);
    return ts_descend(update->parameter, out, one, update->scalars, decay);
}

TsStatus ts_rule_shampoo_after(const TsAfterUpdate *after)
{
    Side side[2];
    if (after->step % after->options->every || !sides_of(side, after->row, after->options))
        return TS_OK;
    for (int k = 0; k < 2; k++) {
        const TsArray *factor = ts_batch_find(after->state, state_name(after->row, side[k].factor).text);
        TsArray *root = ts_batch_find(after->state, state_name(after->row, side[k].root).text);
        TS_CHECK(factor && root, "%s has no factors", after->row->path);
        TS_TRY(ts_status_annotate(ts_inverse_roots(root->data, factor->data, factor->block.shape.size[0], side[k].block,
                                                   ROOT, after->options->ridge, factor->dtype),
                                  "shampoo: %s: %s", after->row->path, side[k].factor));
    }
    return TS_OK;
}
