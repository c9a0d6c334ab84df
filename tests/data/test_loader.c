/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches: the same global ones on every number of ranks, exact resumption, every window once.
 */
#include "data/text_tokens.h"
#include "data/windows.h"

#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "test.h"

static const char *const text_path = "tests/data/alice.txt";

/* A loader on a mesh whose `data` axis is all ranks, and what it hangs on. */
typedef struct Fixture {
    TsMesh *mesh;
    TsSource *source;
    TsTokenizer *tokenizer;
    TsTextTokens *text;
    TsWindows *windows;
    TsLoader *loader;
    int64_t rows, length;
} Fixture;

static TsLoader *make_loader(const TsWindows *windows, const TsMesh *mesh, TsLoaderOptions options)
{
    options.lengths[0] = ts_windows_length(windows);
    options.length_count = 1;
    return ts_loader_create(ts_windows_rows(windows), mesh, options);
}

/* Windows of the text from a fraction of it on. */
static Fixture set_up(double begin, int64_t length, TsLoaderOptions options)
{
    Fixture fixture = {.rows = options.rows, .length = length};
    TsMeshShape shape = {.size[TS_AXIS_DATA] = ts_group_size(test_world)};
    TEST_OK(ts_mesh_create(&fixture.mesh, test_world, shape));
    TEST_OK(ts_source_open_text(&fixture.source, test_world, text_path));
    TEST_OK(ts_tokenizer_create(&fixture.tokenizer, "bytes"));
    TEST_OK(ts_text_tokens_open(
        &fixture.text,
        (TsTextSetting){
            .group = test_world, .source = fixture.source, .tokenizer = fixture.tokenizer, .begin = begin, .end = 1}));
    TEST_OK(ts_windows_create(&fixture.windows, ts_text_tokens_stream(fixture.text),
                              (TsWindowsOptions){.length_tokens = length}));
    fixture.loader = make_loader(fixture.windows, fixture.mesh, options);
    return fixture;
}

static void tear_down(Fixture *fixture)
{
    ts_loader_free(&fixture->loader);
    ts_windows_free(&fixture->windows);
    ts_text_tokens_close(&fixture->text);
    ts_tokenizer_free(&fixture->tokenizer);
    ts_source_free(&fixture->source);
    ts_mesh_free(&fixture->mesh);
}

/* The whole of a batch's array on every rank, when rows alone are cut: rows x width elements of 4 bytes. */
static void gather_rows(const Fixture *fixture, void *whole, const char *name, int64_t width)
{
    const TsArray *array = ts_batch_find(ts_loader_batch(fixture->loader, 0), name);
    int size = ts_group_size(test_world);
    int64_t *first = ts_alloc((size_t)(size + 1) * sizeof *first);
    for (int r = 0; r <= size; r++)
        first[r] = r * fixture->rows / size * width;
    ts_all_gather(
        test_world,
        (TsTransfer){
            .out = whole, .in = array->data, .first_elem = first, .dtype = array->dtype, .label = "test: gather rows"});
    ts_free(first);
}

/* The whole text; owned by the caller. */
static char *text_of(const TsSource *source)
{
    char *text = ts_alloc(ts_source_bytes(source));
    ts_source_read(source, text, 0, ts_source_bytes(source));
    return text;
}

static TsLoaderOptions by_rows(int64_t rows, TsOrder order, uint64_t seed)
{
    return (TsLoaderOptions){
        .rows = rows, .placement = ts_shard(ts_replicated, 0, TS_AXIS_DATA), .order = order, .seed = seed};
}

/* Row r of the global batch is the example that the cursor says, whatever the number of ranks. */
static void same_on_any_ranks(void)
{
    enum { ROWS = 7, LENGTH = 50 };
    Fixture fixture = set_up(0, LENGTH, by_rows(ROWS, TS_ORDER_SHUFFLED, 5));
    int32_t tokens[ROWS * LENGTH], labels[ROWS * LENGTH];
    char *text = text_of(fixture.source);
    int64_t bytes = (int64_t)ts_source_bytes(fixture.source), place = 0, count = ts_windows_count(fixture.windows);
    for (int batch = 0; batch < 3; batch++) {
        int64_t begin = place;
        ts_loader_next(fixture.loader, &place);
        CU_ASSERT_EQUAL(place, begin + ROWS);
        gather_rows(&fixture, tokens, "tokens", LENGTH);
        gather_rows(&fixture, labels, "labels", LENGTH);
        for (int row = 0; row < ROWS; row++) {
            int64_t at = ts_cursor_example(TS_ORDER_SHUFFLED, 5, count, begin + row) * LENGTH;
            bool same = true;
            for (int i = 0; i < LENGTH && at + i + 1 < bytes; i++)
                same = same && tokens[row * LENGTH + i] == text[at + i] && labels[row * LENGTH + i] == text[at + i + 1];
            CU_ASSERT_TRUE(same);
        }
    }
    ts_free(text);
    tear_down(&fixture);
}

/* Another cut of the same batch: rows and columns, rows that no rank has, and ranks that have no row. */
static void columns_cut_too(void)
{
    Fixture fixture = set_up(0, 10, by_rows(1, TS_ORDER_SEQUENTIAL, 0));
    int size = ts_group_size(test_world);
    TsMesh *mesh;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size[TS_AXIS_SEQ] = size}));
    TsLoaderOptions options = {
        .rows = 2, .placement = ts_shard(ts_replicated, 1, TS_AXIS_SEQ), .order = TS_ORDER_SEQUENTIAL};
    TsLoader *loader = make_loader(fixture.windows, mesh, options);
    int64_t place = 3, row = 3;
    ts_loader_next(loader, &place);
    const TsArray *tokens = ts_batch_find(ts_loader_batch(loader, 0), "tokens");
    int64_t width = tokens->block.shape.size[1], first = tokens->block.first[1];
    char *text = text_of(fixture.source);
    CU_ASSERT_EQUAL(tokens->block.shape.size[0], 2);
    for (int64_t i = 0; i < 2 * width; i++)
        CU_ASSERT_EQUAL(((int32_t *)tokens->data)[i], text[(row + i / width) * 10 + first + i % width]);
    ts_free(text);
    CU_ASSERT_EQUAL(ts_array_local_elems(ts_batch_find(ts_loader_batch(loader, 0), "weights")), 2);
    ts_loader_free(&loader);
    ts_mesh_free(&mesh);

    place = 0; /* one row over all ranks: one has it */
    ts_loader_next(fixture.loader, &place);
    int64_t rows = ts_batch_find(ts_loader_batch(fixture.loader, 0), "tokens")->block.shape.size[0], all_rows;
    ts_all_reduce(
        test_world,
        (TsTransfer){.out = &all_rows, .in = &rows, .count_elems = 1, .dtype = TS_I64, .label = "test: rows"});
    CU_ASSERT_EQUAL(all_rows, 1);
    tear_down(&fixture);
}

/* A loader that begins in the middle gives what one that came there gives, across the end of an epoch. */
static void resumes_exactly(void)
{
    enum { ROWS = 4, LENGTH = 1000 };
    Fixture fixture = set_up(0, LENGTH, by_rows(ROWS, TS_ORDER_SHUFFLED, 9));
    int64_t epoch = ts_windows_count(fixture.windows), place = 0;
    CU_ASSERT(epoch % ROWS != 0);
    while (place < epoch + 3 * ROWS)
        ts_loader_next(fixture.loader, &place);
    int64_t kept = place;
    Fixture again = set_up(0, LENGTH, by_rows(ROWS, TS_ORDER_SHUFFLED, 9));
    for (int i = 0; i < 3; i++) {
        ts_loader_next(fixture.loader, &place);
        ts_loader_next(again.loader, &kept);
        CU_ASSERT_EQUAL(place, kept);
        const TsArray *expected = ts_batch_find(ts_loader_batch(fixture.loader, 0), "tokens");
        const TsArray *found = ts_batch_find(ts_loader_batch(again.loader, 0), "tokens");
        CU_ASSERT(memcmp(expected->data, found->data, ts_array_local_bytes(expected)) == 0);
    }
    tear_down(&again);
    tear_down(&fixture);
}

/* Evaluation: each byte but the first is a label once, in order; rows beyond the last example weigh nothing. */
static void evaluates_once(void)
{
    enum { ROWS = 4, LENGTH = 64 };
    Fixture fixture = set_up(0.97, LENGTH, by_rows(ROWS, TS_ORDER_SEQUENTIAL, 0));
    int64_t tokens = ts_text_tokens_bytes(fixture.text), batches = ts_loader_batches(fixture.loader);
    char *whole = text_of(fixture.source);
    const char *text = whole + ts_source_bytes(fixture.source) - tokens;
    CU_ASSERT(ts_windows_count(fixture.windows) % ROWS != 0);
    int32_t labels[ROWS * LENGTH];
    float weights[ROWS];
    int64_t place = 0, next = 1, heavy = 0;
    bool in_order = true;
    for (int64_t batch = 0; batch < batches; batch++) {
        ts_loader_next(fixture.loader, &place);
        gather_rows(&fixture, labels, "labels", LENGTH);
        gather_rows(&fixture, weights, "weights", 1);
        for (int row = 0; row < ROWS; row++) {
            heavy += weights[row] == 1;
            CU_ASSERT(weights[row] == 0 || weights[row] == 1);
            for (int i = 0; i < LENGTH; i++)
                if (labels[row * LENGTH + i] != TS_LABEL_IGNORED) {
                    in_order = in_order && weights[row] == 1 && labels[row * LENGTH + i] == text[next];
                    next++;
                }
        }
    }
    CU_ASSERT_TRUE(in_order);
    CU_ASSERT_EQUAL(next, tokens);
    CU_ASSERT_EQUAL(heavy, ts_windows_count(fixture.windows));
    ts_free(whole);
    tear_down(&fixture);
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = 0, .tv_nsec = ms * 1000000}, NULL);
}

/* Rows that take long to read. */
static void fill_slowly(const void *self, void *const *row, int64_t length, int64_t example, int64_t draw)
{
    (void)self;
    (void)length;
    (void)draw;
    sleep_ms(1);
    *(float *)row[0] = (float)example;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* While a step runs that takes longer than reading, the next batch is read: whoever asks for it does not wait. */
static void steps_do_not_wait(void)
{
    enum { ROWS = 8, STEPS = 20, STEP_MS = 30 };
    static const TsRowColumn columns[] = {{"value", TS_F32, 0}};
    TsMesh *mesh;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size[TS_AXIS_DATA] = ts_group_size(test_world)}));
    TsRows rows = {.count = 1000, .columns = columns, .column_count = 1, .fill = fill_slowly};
    TsLoader *loader = ts_loader_create(
        rows, mesh, (TsLoaderOptions){.rows = ROWS, .order = TS_ORDER_SEQUENTIAL, .lengths = {1}, .length_count = 1});
    double waited_s = 0;
    int64_t place = 0;
    for (int step = 0; step < STEPS; step++) {
        double begin_s = seconds_now();
        ts_loader_next(loader, &place);
        waited_s += step ? seconds_now() - begin_s : 0; /* the first one nobody could know of */
        const float *values = ts_batch_find(ts_loader_batch(loader, 0), "value")->data;
        CU_ASSERT(values[0] == (float)(ROWS * step) && values[ROWS - 1] == (float)(ROWS * step + ROWS - 1));
        sleep_ms(STEP_MS);
    }
    double reading_s = (STEPS - 1) * ROWS * 1e-3;
    if (waited_s > 0.25 * reading_s)
        fprintf(stderr, "waited %g s for what takes %g s to read\n", waited_s, reading_s);
    CU_ASSERT(waited_s < 0.25 * reading_s);
    ts_loader_free(&loader);
    ts_mesh_free(&mesh);
}

TEST_MAIN("loader", {"the same global batch on any number of ranks", same_on_any_ranks},
          {"columns cut, and ranks without a row", columns_cut_too}, {"resumes exactly", resumes_exactly},
          {"evaluates every example once", evaluates_once}, {"steps do not wait", steps_do_not_wait})
