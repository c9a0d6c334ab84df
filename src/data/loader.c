/* SPDX-License-Identifier: Apache-2.0 */
#include "data/loader.h"

#include "base/check.h"
#include "base/memory.h"

struct TsLoader {
    const TsWindows *windows; /* borrowed */
    TsLoaderOptions options;
    TsBatch *batch;                     /* owned, with its arrays */
    TsArray *tokens, *labels, *weights; /* in the batch */
};

/* The placement of (B), given that of (B, T): dim 0 alone. */
static TsPlacement row_placement(TsPlacement placement)
{
    TsPlacement rows = ts_replicated;
    for (int i = 0; i < TS_AXES && placement.axis[0][i] != TS_AXIS_NONE; i++)
        rows = ts_shard(rows, 0, (TsAxis)placement.axis[0][i]);
    return rows;
}

TsLoader *ts_loader_create(const TsWindows *windows, const TsMesh *mesh, TsLoaderOptions options)
{
    TS_CHECK(options.rows >= 1, "a batch of %lld rows", (long long)options.rows);
    TS_CHECK(!options.placement.partial && !options.placement.at_axis, "a batch is not partial and lives everywhere");
    TsLoader *loader = ts_alloc(sizeof *loader);
    TsShape shape = ts_shape(options.rows, ts_windows_length(windows));
    TsArrayOptions plain = {0};
    *loader = (TsLoader){
        .windows = windows,
        .options = options,
        .batch = ts_batch_create(),
        .tokens = ts_array_create(mesh, TS_I32, shape, options.placement, plain),
        .labels = ts_array_create(mesh, TS_I32, shape, options.placement, plain),
        .weights = ts_array_create(mesh, TS_F32, ts_shape(options.rows), row_placement(options.placement), plain),
    };
    ts_batch_put(loader->batch, "tokens", loader->tokens);
    ts_batch_put(loader->batch, "labels", loader->labels);
    ts_batch_put(loader->batch, "weights", loader->weights);
    return loader;
}

void ts_loader_free(TsLoader **loader)
{
    if (!*loader)
        return;
    ts_batch_free(&(*loader)->batch);
    ts_free(*loader);
    *loader = NULL;
}

TsBatch *ts_loader_batch(const TsLoader *loader)
{
    return loader->batch;
}

/* Fills the local row `row` with the example `example`, or with nothing to predict where it is -1. */
static void fill_row(TsLoader *loader, int64_t row, int64_t example)
{
    int64_t first = loader->tokens->block.first[1], count = loader->tokens->block.shape.size[1];
    int32_t *tokens = (int32_t *)loader->tokens->data + row * count;
    int32_t *labels = (int32_t *)loader->labels->data + row * count;
    ((float *)loader->weights->data)[row] = example < 0 ? 0 : 1;
    if (example >= 0) {
        ts_windows_read(loader->windows, tokens, labels, example, first, count);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        tokens[i] = 0;
        labels[i] = TS_LABEL_IGNORED;
    }
}

void ts_loader_next(TsLoader *loader, int64_t *place)
{
    TsBlockRange block = loader->tokens->block;
    int64_t count = ts_windows_count(loader->windows);
    for (int64_t row = 0; row < block.shape.size[0]; row++)
        fill_row(loader, row,
                 ts_cursor_example(loader->options.order, loader->options.seed, count, *place + block.first[0] + row));
    *place += loader->options.rows;
}

int64_t ts_loader_batches(const TsLoader *loader)
{
    return (ts_windows_count(loader->windows) + loader->options.rows - 1) / loader->options.rows;
}
