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
#include "task/learner/optimizer.h"
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

static TsTensor turn(TsTensor x)
{
    static const int order[] = {1, 0};
    return ts_transpose(x, order);
}

static TsTensor cast_like(TsTensor x, TsTensor like)
{
    return ts_cast(x, ts_dtype_of(like));
}

/* A matrix (rows, columns) as blocks of one side: of rows (blocks, block, columns), with zeros behind the last row. Of
 * columns the same of what is turned; where all are one block it stays as it lies, (1, rows, columns). */
typedef struct Blocks {
    TsTensor x;
    bool turned; /* its rows are the matrix's columns */
    bool across; /* the block is of its columns */
} Blocks;

static Blocks in_blocks(TsTensor x, const Side side[2], int of)
{
    Blocks made = {.turned = of == 1 && side[1].count > 1, .across = of == 1 && side[1].count == 1};
    x = made.turned ? turn(x) : x;
    int64_t count = side[of].count, columns = ts_dim(x, 1), missing = count * side[of].block - side[of].size;
    if (missing) {
        TsTensor parts[] = {x, ts_constant(x.graph, ts_dtype_of(x), ts_shape(missing, columns), 0)};
        x = ts_concatenate(parts, 2, 0);
    }
    made.x = ts_reshape(x, ts_shape(count, made.across ? ts_dim(x, 0) : side[of].block, columns));
    return made;
}

/* What a step does to a factor: factor = keep factor + by G G^T, of its blocks. Scalars. */
typedef struct Decay {
    TsTensor keep, by;
} Decay;

static void add_squares(const TsUpdate *update, TsTensor gradient, const Side side[2], int of, Decay decay)
{
    TsTensor factor = blocks_of(update, &side[of], side[of].factor);
    Blocks blocks = in_blocks(gradient, side, of);
    TsTensor squares = ts_batch_dot(blocks.x, blocks.x, blocks.across, !blocks.across);
    ts_assign(factor, ts_add(ts_mul(factor, decay.keep), ts_mul(squares, decay.by)));
}

/* root x, by blocks of rows, or x root, by blocks of columns: (rows, columns) */
static TsTensor precondition(const TsUpdate *update, TsTensor x, const Side side[2], int of)
{
    TsTensor root = blocks_of(update, &side[of], side[of].root);
    Blocks blocks = in_blocks(x, side, of);
    TsTensor out =
        blocks.across ? ts_batch_dot(blocks.x, root, false, false) : ts_batch_dot(root, blocks.x, false, false);
    int64_t rows = ts_dim(out, 0) * ts_dim(out, 1), most = blocks.across ? rows : side[of].size;
    out = ts_reshape(ts_constrain(out, ts_replicated), ts_shape(rows, ts_dim(out, 2)));
    out = rows == most ? out : ts_slice(out, 0, 0, most);
    return blocks.turned ? turn(out) : out;
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

    TsTensor zero = ts_constant(update->graph, TS_F32, ts_scalar, 0);
    TsTensor steps = ts_greater(update->scalars.factor, zero); /* a skipped step leaves the factors as they are */
    TsTensor nothing = ts_constant(update->graph, ts_dtype_of(update->gradient), ts_scalar, 0);
    TsTensor gradient = whole_matrix(ts_where(steps, update->gradient, nothing), side);
    Decay squares = {
        .keep = cast_like(ts_where(steps, ts_scale(one, options->factor_decay), one), gradient),
        .by = cast_like(ts_scale(ts_mul(update->scalars.factor, update->scalars.factor), 1 - options->factor_decay),
                        gradient)};
    TsTensor x = whole_matrix(adam.first, side);
    for (int of = 0; of < 2; of++) {
        add_squares(update, gradient, side, of, squares);
        x = precondition(update, x, side, of);
    }
    x = ts_constrain(ts_reshape(x, update->row->shape), update->row->state);

    TsTensor length = ts_sqrt(ts_update_squares(update, x)), wanted = ts_sqrt(ts_update_squares(update, adam.third));
    TsTensor none = ts_constant(update->graph, ts_dtype_of(length), ts_scalar, 0);
    TsTensor has_roots = ts_greater(length, none);
    TsTensor ratio = ts_where(has_roots, ts_div(wanted, ts_where(has_roots, length, one)), none);
    TsTensor out = ts_add(ts_mul(x, cast_like(ratio, x)),
                          ts_mul(adam.third, cast_like(ts_where(has_roots, none, one), adam.third)));
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
