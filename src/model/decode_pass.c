/* SPDX-License-Identifier: Apache-2.0 */
#include "model/decode_pass.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "model/binding.h"

/* What is compiled; its shapes are those of what it takes. */
typedef struct Trace {
    const TsDecodeLayout *layout;
    int64_t length, each;
} Trace;

static TsScope scope_of(TsGraph *graph, const TsDecodeLayout *layout)
{
    return (TsScope){.graph = graph,
                     .parameters = layout->weights.parameters,
                     .dtype = layout->weights.dtype,
                     .narrow = layout->weights.narrow,
                     .step = TS_NONE};
}

static void trace_encoder(TsGraph *graph, const void *context)
{
    const TsDecodeLayout *layout = ((const Trace *)context)->layout;
    TsShape shape = ts_shape(layout->prompts * layout->lines, layout->sources);
    TsTensor sources = ts_input(graph, "tokens", TS_I32, shape, ts_batch_placement());
    TsTensor seen = ts_input(graph, "sources_seen", TS_BOOL, shape, ts_batch_placement());
    TsCache cache = {.sources = layout->sources, .sources_seen = seen, .placement = ts_batch_placement()};
    layout->next.encode(scope_of(graph, layout), layout->next.options, sources, seen, &cache);
}

static void trace_decoder(TsGraph *graph, const void *context)
{
    const TsDecodeLayout *layout = ((const Trace *)context)->layout;
    int64_t length = ((const Trace *)context)->length, each = ((const Trace *)context)->each;
    TsPlacement rows = ts_batch_placement();
    int64_t count = layout->prompts * each * layout->lines;
    TsScope scope = scope_of(graph, layout);
    TsTensor tokens = ts_input(graph, "tokens", TS_I32, ts_shape(count, length), rows);
    TsCache cache = {.positions = layout->positions,
                     .first = ts_input(graph, "first", TS_I64, ts_scalar, ts_replicated),
                     .placement = rows};
    if (layout->padding) {
        cache.ids = ts_input(graph, "ids", TS_I32, ts_shape(count, length), rows);
        cache.seen = ts_input(graph, "seen", TS_BOOL, ts_shape(count, layout->positions), rows);
    } else {
        cache.ids = ts_input(graph, "ids", TS_I32, ts_shape(length), ts_replicated);
    }
    if (layout->sources) {
        cache.sources = layout->sources;
        cache.sources_seen = ts_input(graph, "sources_seen", TS_BOOL, ts_shape(count, layout->sources), rows);
    }
    TsTensor logits = layout->next.logits(scope, layout->next.options, tokens, &cache);
    ts_graph_set_path(graph, "decode");
    ts_output("log_probabilities", ts_log_softmax(ts_cast(logits, TS_F32)), rows);
}

/* Of a number for each line: that of the line of local row `row`. */
static int64_t of_line(const TsDecodePass *pass, const TsDecodeLayout *layout, const int64_t *numbers, int64_t row)
{
    int64_t global = ts_batch_find(pass->arrays, "tokens")->block.first[0] + row;
    return numbers[global / (pass->each * layout->lines) * layout->lines + global % layout->lines];
}

/* How many tokens of padding stand in front of it. */
static int64_t padding_of(const TsDecodePass *pass, const TsDecodeLayout *layout, int64_t row)
{
    return of_line(pass, layout, layout->padding, row);
}

static int64_t local_rows(const TsDecodePass *pass)
{
    return ts_batch_find(pass->arrays, "tokens")->block.shape.size[0];
}

static void hide_padding(const TsDecodePass *pass, const TsDecodeLayout *layout)
{
    bool *seen = ts_batch_find(pass->arrays, "seen")->data;
    for (int64_t row = 0; row < local_rows(pass); row++)
        for (int64_t at = 0; at < layout->positions; at++)
            seen[row * layout->positions + at] = at >= padding_of(pass, layout, row);
}

static void show_sources(const TsDecodePass *pass, const TsDecodeLayout *layout)
{
    bool *seen = ts_batch_find(pass->arrays, "sources_seen")->data;
    for (int64_t row = 0; row < local_rows(pass); row++)
        for (int64_t at = 0; at < layout->sources; at++)
            seen[row * layout->sources + at] = at < of_line(pass, layout, layout->source_tokens, row);
}

/* From the cache of the weights, or anew. */
static TsStatus find_program(TsDecodePass *pass, const TsDecodeLayout *layout, TsProgramTrace *trace)
{
    TsCompileOptions options = {.mesh = layout->mesh, .threads = layout->weights.threads};
    Trace traced = {.layout = layout, .length = pass->length, .each = pass->each};
    int64_t shapes[] = {trace == trace_encoder, layout->prompts, layout->lines,           pass->each,
                        pass->length,           layout->sources, layout->padding != NULL, layout->positions};
    TsProgramCache *programs = layout->weights.programs;
    pass->kept = programs != NULL;
    if (programs)
        return ts_program_cache_get(programs, &pass->program,
                                    (TsProgramKey){layout->next.options, shapes, sizeof shapes}, trace, &traced,
                                    options);
    TsGraph *graph = ts_graph_create();
    trace(graph, &traced);
    return ts_program_compile(&pass->program, graph, options);
}

/* Compiles and binds. */
static TsStatus compile(TsDecodePass *pass, const TsDecodeLayout *layout, TsProgramTrace *trace, TsBatch *caches)
{
    TS_TRY(find_program(pass, layout, trace));
    ts_bind_batch(pass->program, layout->weights.arrays);
    ts_bind_new(pass->program, pass->arrays, TS_BIND_INPUT, layout->mesh);
    ts_bind_new(pass->program, pass->arrays, TS_BIND_OUTPUT, layout->mesh);
    ts_bind_new(pass->program, caches, TS_BIND_STATE, layout->mesh);
    if (layout->sources)
        show_sources(pass, layout);
    return TS_OK;
}

TsStatus ts_decode_pass_create_encoder(TsDecodePass *pass, const TsDecodeLayout *layout, TsBatch *caches)
{
    *pass = (TsDecodePass){.length = layout->sources, .each = 1, .arrays = ts_batch_create()};
    return compile(pass, layout, trace_encoder, caches);
}

TsStatus ts_decode_pass_create(TsDecodePass *pass, const TsDecodeLayout *layout, int64_t length, int64_t each,
                               TsBatch *caches)
{
    *pass = (TsDecodePass){.length = length, .each = each, .arrays = ts_batch_create()};
    TS_TRY(compile(pass, layout, trace_decoder, caches));
    if (layout->padding)
        hide_padding(pass, layout);
    return TS_OK;
}

void ts_decode_pass_free(TsDecodePass *pass)
{
    if (!pass->kept)
        ts_program_free(&pass->program);
    ts_batch_free(&pass->arrays);
}

void ts_decode_pass_prompts(const TsDecodePass *pass, const TsDecodeLayout *layout, int64_t *first, int64_t *count)
{
    int64_t rows = pass->each * layout->lines, begin = ts_batch_find(pass->arrays, "tokens")->block.first[0];
    TS_CHECK(begin % rows == 0 && local_rows(pass) % rows == 0, "rows of one prompt on two ranks");
    *first = begin / rows;
    *count = local_rows(pass) / rows;
}

int32_t *ts_decode_pass_tokens(const TsDecodePass *pass, int64_t row)
{
    return (int32_t *)ts_batch_find(pass->arrays, "tokens")->data + row * pass->length;
}

float *ts_decode_pass_scores(const TsDecodePass *pass, int64_t row)
{
    const TsArray *scores = ts_batch_find(pass->arrays, "log_probabilities");
    return (float *)scores->data + row * scores->shape.size[1];
}

void ts_decode_pass_run(TsDecodePass *pass, const TsDecodeLayout *layout, int64_t first)
{
    if (!ts_batch_find(pass->arrays, "ids")) { /* an encoder's stand from 0 on */
        ts_program_run(pass->program);
        return;
    }
    int32_t *ids = ts_batch_find(pass->arrays, "ids")->data;
    *(int64_t *)ts_batch_find(pass->arrays, "first")->data = first;
    for (int64_t row = 0; row < (layout->padding ? local_rows(pass) : 1); row++)
        for (int64_t t = 0; t < pass->length; t++) {
            int64_t position = first + t - (layout->padding ? padding_of(pass, layout, row) : 0);
            int64_t last = layout->next.context - 1; /* of padding, and behind what has ended: nobody sees these */
            ids[row * pass->length + t] = (int32_t)(position < 0 ? 0 : position > last ? last : position);
        }
    ts_program_run(pass->program);
}

/* ---- caches ---- */

static size_t row_bytes(const TsArray *cache)
{
    int64_t rows = cache->block.shape.size[0];
    return rows ? ts_array_local_bytes(cache) / (size_t)rows : 0;
}

void ts_decode_caches_expand(TsBatch *to, const TsBatch *from, int64_t lines, int64_t each)
{
    for (int i = 0; i < ts_batch_count(from); i++) {
        const TsArray *one = ts_batch_array(from, i), *all = ts_batch_find(to, ts_batch_name(from, i));
        size_t bytes = row_bytes(one);
        for (int64_t row = 0; all && row < all->block.shape.size[0]; row++)
            memcpy((char *)all->data + (size_t)row * bytes,
                   (const char *)one->data + (size_t)(row / (each * lines) * lines + row % lines) * bytes, bytes);
    }
}

void ts_decode_caches_reorder(TsBatch *caches, int64_t prompt, const int64_t *parent, int64_t lines, int64_t each,
                              int64_t positions)
{
    for (int i = 0; i < ts_batch_count(caches); i++) {
        const TsArray *cache = ts_batch_array(caches, i);
        if (strncmp(ts_batch_name(caches, i), "memory/", 7) == 0) /* hypotheses of a prompt have one source */
            continue;
        size_t whole = row_bytes(cache), used = whole / (size_t)cache->shape.size[1] * (size_t)positions;
        size_t rows = (size_t)(each * lines);
        char *base = (char *)cache->data + (size_t)prompt * rows * whole, *before = ts_alloc(rows * used);
        for (size_t row = 0; row < rows; row++)
            memcpy(before + row * used, base + row * whole, used);
        for (int64_t h = 0; h < each; h++)
            for (int64_t line = 0; parent[h] != h && line < lines; line++)
                memcpy(base + (size_t)(h * lines + line) * whole, before + (size_t)(parent[h] * lines + line) * used,
                       used);
        ts_free(before);
    }
}
