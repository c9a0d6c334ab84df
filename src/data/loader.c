/* SPDX-License-Identifier: Apache-2.0 */
#include "data/loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/permutation.h"

enum { MAX_COLUMNS = 16 };

/* A batch that is read ahead: the rows of this rank, whole, as `fill` wrote them. */
typedef struct Ahead {
    int64_t place; /* that it begins at; -1: nothing was read */
    int length;    /* index */
    int64_t *examples;
    char *rows[MAX_COLUMNS]; /* (local rows, width), owned */
} Ahead;

/* An example in the sorting of a window. */
typedef struct Sized {
    int64_t length, position, example;
} Sized;

typedef struct Reader {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t wanted; /* the place to read; -1: nothing */
    bool ends, busy;
} Reader;

struct TsLoader {
    TsRows rows;
    TsLoaderOptions options;
    TsBatch *batch[TS_MAX_LENGTHS]; /* owned, with their arrays */
    int64_t local_rows;
    int64_t *row;      /* (local_rows): which of the batch each is */
    int64_t *examples; /* (local_rows) of the last batch */
    Sized *window;     /* (sort_batches * B): the window that is sorted, in its order */
    int64_t window_number;
    Ahead ahead;
    Reader reader;
};

/* ---- which examples ---- */

static int by_length(const void *a, const void *b)
{
    const Sized *one = a, *other = b;
    if (one->length != other->length)
        return one->length < other->length ? -1 : 1;
    return one->position < other->position ? -1 : one->position > other->position;
}

static int64_t example_at(const TsLoader *loader, int64_t place)
{
    return ts_cursor_example(loader->options.order, loader->options.seed, loader->rows.count, place);
}

static bool is_sorted(const TsLoader *loader)
{
    return loader->options.sort_batches > 1 && loader->options.order == TS_ORDER_SHUFFLED && loader->rows.length;
}

/* The examples of a window of places, by length; ties as the permutation has them. */
static void sort_window(TsLoader *loader, int64_t number)
{
    if (loader->window_number == number)
        return;
    int64_t count = loader->options.sort_batches * loader->options.rows;
    for (int64_t i = 0; i < count; i++) {
        int64_t example = example_at(loader, number * count + i);
        loader->window[i] = (Sized){loader->rows.length(loader->rows.self, example), i, example};
    }
    qsort(loader->window, (size_t)count, sizeof *loader->window, by_length);
    loader->window_number = number;
}

/* Row `row` of the global batch that begins at `place`. */
static int64_t example_of_row(TsLoader *loader, int64_t place, int64_t row)
{
    if (!is_sorted(loader))
        return example_at(loader, place + row);
    int64_t batches = loader->options.sort_batches, batch = place / loader->options.rows;
    sort_window(loader, batch / batches);
    TsPermutation dealt = ts_permutation(ts_stream(loader->options.seed, "data/batches", batch / batches), batches);
    return loader->window[ts_permute(&dealt, batch % batches) * loader->options.rows + row].example;
}

/* The index of the shortest length that holds all rows of the batch: the same on all ranks. */
static int length_of_batch(TsLoader *loader, int64_t place)
{
    int last = loader->options.length_count - 1, index = 0;
    for (int64_t row = 0; row < loader->options.rows && last > 0 && index < last; row++) {
        int64_t example = example_of_row(loader, place, row);
        int64_t tokens = example < 0 ? 0 : loader->rows.length(loader->rows.self, example);
        while (index < last && loader->options.lengths[index] < tokens)
            index++;
    }
    return index;
}

/* ---- reading ---- */

static int64_t width_of(const TsRowColumn *column, int64_t length)
{
    return column->width == TS_ROW_LENGTH ? length : column->width ? column->width : 1;
}

/* Reads this rank's rows of the batch at `place`. */
static void read_batch(TsLoader *loader, Ahead *ahead, int64_t place)
{
    ahead->length = length_of_batch(loader, place);
    int64_t length = loader->options.lengths[ahead->length];
    for (int64_t row = 0; row < loader->local_rows; row++) {
        int64_t global = loader->row[row];
        void *cells[MAX_COLUMNS];
        for (int c = 0; c < loader->rows.column_count; c++) {
            const TsRowColumn *column = &loader->rows.columns[c];
            cells[c] = ahead->rows[c] + (size_t)(row * width_of(column, length)) * ts_dtype_bytes(column->dtype);
        }
        ahead->examples[row] = example_of_row(loader, place, global);
        loader->rows.fill(loader->rows.self, cells, length, ahead->examples[row], place + global);
    }
    ahead->place = place;
}

static void *read_ahead(void *argument)
{
    TsLoader *loader = argument;
    Reader *reader = &loader->reader;
    pthread_mutex_lock(&reader->lock);
    while (!reader->ends) {
        if (reader->wanted < 0) {
            pthread_cond_wait(&reader->changed, &reader->lock);
            continue;
        }
        int64_t place = reader->wanted;
        reader->wanted = -1;
        reader->busy = true;
        pthread_mutex_unlock(&reader->lock);
        read_batch(loader, &loader->ahead, place);
        pthread_mutex_lock(&reader->lock);
        reader->busy = false;
        pthread_cond_broadcast(&reader->changed);
    }
    pthread_mutex_unlock(&reader->lock);
    return NULL;
}

/* Waits until the thread reads nothing; then the loader is the caller's. */
static void wait_for_reader(Reader *reader)
{
    pthread_mutex_lock(&reader->lock);
    while (reader->busy || reader->wanted >= 0)
        pthread_cond_wait(&reader->changed, &reader->lock);
    pthread_mutex_unlock(&reader->lock);
}

static void start_reading(Reader *reader, int64_t place)
{
    pthread_mutex_lock(&reader->lock);
    reader->wanted = place;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
}

/* ---- the loader ---- */

/* The placement of (B), given that of (B, T): dim 0 alone. */
static TsPlacement row_placement(TsPlacement placement)
{
    TsPlacement rows = ts_replicated;
    for (int i = 0; i < TS_AXES && placement.axis[0][i] != TS_AXIS_NONE; i++)
        rows = ts_shard(rows, 0, (TsAxis)placement.axis[0][i]);
    return rows;
}

static TsArray *make_column(const TsLoader *loader, const TsRowColumn *column, int64_t length, const TsMesh *mesh)
{
    int64_t rows = loader->options.rows;
    TsPlacement whole = loader->options.placement, cut = row_placement(whole);
    TsShape shape = column->width ? ts_shape(rows, width_of(column, length)) : ts_shape(rows);
    return ts_array_create(mesh, column->dtype, shape, column->width == TS_ROW_LENGTH ? whole : cut,
                           (TsArrayOptions){.micros = loader->options.micros});
}

static void make_ahead(TsLoader *loader)
{
    int64_t longest = loader->options.lengths[loader->options.length_count - 1];
    loader->ahead.place = -1;
    loader->ahead.examples = ts_calloc((size_t)loader->local_rows, sizeof(int64_t));
    for (int c = 0; c < loader->rows.column_count; c++) {
        const TsRowColumn *column = &loader->rows.columns[c];
        loader->ahead.rows[c] =
            ts_calloc((size_t)(loader->local_rows * width_of(column, longest)), ts_dtype_bytes(column->dtype));
    }
}

static void check_options(const TsRows *rows, const TsLoaderOptions *options)
{
    TS_CHECK(options->rows >= 1, "a batch of %lld rows", (long long)options->rows);
    TS_CHECK(!options->placement.partial && !options->placement.at_axis, "a batch is not partial and lives everywhere");
    TS_CHECK(options->length_count >= 1 && options->length_count <= TS_MAX_LENGTHS, "%d lengths",
             options->length_count);
    TS_CHECK(options->length_count == 1 || rows->length, "several lengths of examples that have none");
    TS_CHECK(rows->column_count <= MAX_COLUMNS, "%d columns", rows->column_count);
}

/* Which rows of a batch this rank holds, in the order in which they lie in an Array of micro-batches. */
static void find_rows(TsLoader *loader, const TsMesh *mesh)
{
    const TsLoaderOptions *options = &loader->options;
    TsArray *rows = ts_array_create(mesh, TS_I32, ts_shape(options->rows), row_placement(options->placement),
                                    (TsArrayOptions){.micros = options->micros});
    loader->local_rows = ts_array_local_elems(rows);
    loader->row = ts_calloc((size_t)loader->local_rows, sizeof *loader->row);
    int64_t *next = loader->row;
    for (int micro = 0; micro < rows->micros; micro++) {
        TsBlockRange block = ts_array_block(rows, micro);
        for (int64_t row = 0; row < block.shape.size[0]; row++)
            *next++ = block.first[0] + row;
    }
    ts_array_free(&rows);
}

TsLoader *ts_loader_create(TsRows rows, const TsMesh *mesh, TsLoaderOptions options)
{
    check_options(&rows, &options);
    TsLoader *loader = ts_calloc(1, sizeof *loader);
    *loader = (TsLoader){.rows = rows, .options = options, .window_number = -1};
    find_rows(loader, mesh);
    loader->examples = ts_calloc((size_t)loader->local_rows, sizeof *loader->examples);
    if (is_sorted(loader))
        loader->window = ts_calloc((size_t)(options.sort_batches * options.rows), sizeof *loader->window);
    for (int k = 0; k < options.length_count; k++) {
        loader->batch[k] = ts_batch_create();
        for (int c = 0; c < rows.column_count; c++)
            ts_batch_put(loader->batch[k], rows.columns[c].name,
                         make_column(loader, &rows.columns[c], options.lengths[k], mesh));
    }
    make_ahead(loader);
    loader->reader.wanted = -1;
    pthread_mutex_init(&loader->reader.lock, NULL);
    pthread_cond_init(&loader->reader.changed, NULL);
    int failed = pthread_create(&loader->reader.thread, NULL, read_ahead, loader);
    TS_CHECK(!failed, "no thread to read ahead: %s", strerror(failed));
    return loader;
}

TsLoader *ts_loader_on(const TsLoader *loader, const TsMesh *mesh)
{
    return ts_loader_create(loader->rows, mesh, loader->options);
}

void ts_loader_free(TsLoader **loader)
{
    if (!*loader)
        return;
    TsLoader *ended = *loader;
    wait_for_reader(&ended->reader);
    pthread_mutex_lock(&ended->reader.lock);
    ended->reader.ends = true;
    pthread_cond_broadcast(&ended->reader.changed);
    pthread_mutex_unlock(&ended->reader.lock);
    pthread_join(ended->reader.thread, NULL);
    pthread_mutex_destroy(&ended->reader.lock);
    pthread_cond_destroy(&ended->reader.changed);
    for (int k = 0; k < ended->options.length_count; k++)
        ts_batch_free(&ended->batch[k]);
    for (int c = 0; c < ended->rows.column_count; c++)
        ts_free(ended->ahead.rows[c]);
    ts_free(ended->ahead.examples);
    ts_free(ended->examples);
    ts_free(ended->window);
    ts_free(ended->row);
    ts_free(ended);
    *loader = NULL;
}

int ts_loader_lengths(const TsLoader *loader)
{
    return loader->options.length_count;
}

TsBatch *ts_loader_batch(const TsLoader *loader, int length_index)
{
    return loader->batch[length_index];
}

/* Hands over what was read: of columns that are cut along T too, this rank's part. */
static void hand_over(const TsLoader *loader)
{
    const TsBatch *batch = loader->batch[loader->ahead.length];
    int64_t length = loader->options.lengths[loader->ahead.length];
    for (int c = 0; c < loader->rows.column_count; c++) {
        const TsRowColumn *column = &loader->rows.columns[c];
        TsArray *array = ts_batch_array(batch, c);
        size_t elem_bytes = ts_dtype_bytes(column->dtype);
        size_t row_bytes = (size_t)width_of(column, length) * elem_bytes;
        size_t first = column->width ? (size_t)array->block.first[1] * elem_bytes : 0;
        size_t local = column->width ? (size_t)array->block.shape.size[1] * elem_bytes : elem_bytes;
        for (int64_t row = 0; row < loader->local_rows; row++)
            memcpy((char *)array->data + (size_t)row * local, loader->ahead.rows[c] + (size_t)row * row_bytes + first,
                   local);
    }
    memcpy(loader->examples, loader->ahead.examples, (size_t)loader->local_rows * sizeof(int64_t));
}

int ts_loader_next(TsLoader *loader, int64_t *place)
{
    TS_CHECK(!is_sorted(loader) || *place % loader->options.rows == 0, "place %lld in sorted batches of %lld",
             (long long)*place, (long long)loader->options.rows);
    wait_for_reader(&loader->reader);
    if (loader->ahead.place != *place)
        read_batch(loader, &loader->ahead, *place);
    int length = loader->ahead.length;
    hand_over(loader);
    *place += loader->options.rows;
    if (loader->options.order == TS_ORDER_SHUFFLED || *place < loader->rows.count)
        start_reading(&loader->reader, *place);
    return length;
}

int64_t ts_loader_batches(const TsLoader *loader)
{
    return (loader->rows.count + loader->options.rows - 1) / loader->options.rows;
}

int64_t ts_loader_count(const TsLoader *loader)
{
    return loader->rows.count;
}

int64_t ts_loader_rows(const TsLoader *loader)
{
    return loader->options.rows;
}

int64_t ts_loader_local_rows(const TsLoader *loader)
{
    return loader->local_rows;
}

const int64_t *ts_loader_examples(const TsLoader *loader)
{
    return loader->examples;
}
