/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast GPT-2 124 M is decoded, greedily, with random weights: a token a step for one prompt beside the bandwidth of
 * reading memory, which bounds it, as every weight is read for every token; 512 tokens of a prompt beside the rate of
 * matrix products; 32 prompts together beside one; and all of it beside a peer, whose seconds stand in PEERS: lines
 * `f32 STEP READ STEP32`. One process, without a launcher. Called by bench/decode.sh.
 *
 *     decode PEERS
 */
#include <stdio.h>

#include "base/machine.h"
#include "base/memory.h"
#include "base/philox.h"
#include "comm/runtime.h"
#include "measure.h"
#include "model/language_model.h"
#include "target.h"
#include "tensor/matmul.h"

enum { PROMPT = 16, STEPS = 24, READ = 512, ROWS = 32, ROUNDS = 5, MOST = 64 };

static const TsLanguageModel gpt2 = {.backbone = {.layers = 12,
                                                  .heads = 12,
                                                  .width = 768,
                                                  .hidden = TS_AUTO,
                                                  .context = 1024,
                                                  .vocab = 50257,
                                                  .activation = TS_ACTIVATION_GELU_TANH,
                                                  .biases = true,
                                                  .tied = true,
                                                  .causal = true},
                                     .ignored = -100};
static int threads;

/* ---- limits ---- */

/* Bytes a second that all threads read together, the best of several passes. */
static double read_bandwidth(void)
{
    const int64_t count = (int64_t)1 << 27; /* of f32: 512 MiB, beyond every cache */
    float *values = ts_alloc((size_t)count * sizeof *values), sum = 0;
    double best_s = 1e9;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i++)
        values[i] = 1;
    for (int round = 0; round < ROUNDS; round++) {
        double begin = bench_now_s();
        sum = 0;
#pragma omp parallel for simd num_threads(threads) schedule(static) reduction(+ : sum)
        for (int64_t i = 0; i < count; i++)
            sum += values[i];
        double took = bench_now_s() - begin;
        best_s = took < best_s ? took : best_s;
    }
    TS_CHECK(sum > 0, "nothing was read");
    ts_free(values);
    return (double)count * sizeof *values / best_s;
}

/* Flops a second of a product such as those of a prompt. */
static double product_rate(TsDtype dtype)
{
    enum { M = READ, N = 3072, K = 768 };
    void *a = ts_calloc((size_t)M * K, 4), *b = ts_calloc((size_t)K * N, 4), *c = ts_calloc((size_t)M * N, 4);
    TsMatmul product = {
        .c = c, .a = a, .b = b, .m = M, .n = N, .k = K, .dtype = dtype, .out_dtype = dtype, .threads = threads};
    product.scratch = ts_calloc(1, ts_matmul_scratch_bytes(&product) + 64);
    double best_s = 1e9;
    for (int round = 0; round < 4 * ROUNDS; round++) {
        double begin = bench_now_s();
        ts_matmul(&product);
        double took = bench_now_s() - begin;
        best_s = took < best_s ? took : best_s;
    }
    ts_free(product.scratch);
    ts_free(a);
    ts_free(b);
    ts_free(c);
    return 2.0 * M * N * K / best_s;
}

/* ---- decoding ---- */

typedef struct Model {
    TsParameters *parameters;
    TsBatch *arrays, *narrow;
} Model;

static void open_model(Model *model)
{
    model->parameters = ts_parameters_create(NULL);
    TsGraph *graph = ts_graph_create();
    TsScope scope = {.graph = graph, .parameters = model->parameters, .dtype = TS_F32, .step = TS_NONE};
    (void)ts_language_model_logits(scope, &gpt2, ts_input(graph, "tokens", TS_I32, ts_shape(1, 1), ts_replicated),
                                   NULL);
    ts_graph_free(&graph);
    model->arrays = ts_parameters_initialize(model->parameters, 1);
    model->narrow = ts_weights_narrow(model->parameters, model->arrays);
}

static void close_model(Model *model)
{
    ts_batch_free(&model->narrow);
    ts_batch_free(&model->arrays);
    ts_parameters_free(&model->parameters);
}

/* Bytes of weights that a token takes: all but the table of positions. */
static double weight_bytes(const TsBatch *arrays)
{
    double bytes = 0;
    for (int i = 0; i < ts_batch_count(arrays); i++)
        if (!strstr(ts_batch_name(arrays, i), "positions/"))
            bytes += (double)ts_array_local_bytes(ts_batch_array(arrays, i));
    return bytes;
}

/* Seconds of a step of `rows` prompts, and of reading them. */
static void run(double *step_s, double *read_s, const Model *model, TsDtype dtype, int64_t rows, int64_t length,
                int64_t steps)
{
    static int32_t tokens[READ];
    const int32_t *row[MOST];
    int64_t lengths[MOST];
    for (int64_t t = 0; t < length; t++)
        tokens[t] = (int32_t)ts_stream_below(ts_stream(1, "bench/decode", 0), t, gpt2.backbone.vocab);
    for (int64_t i = 0; i < rows; i++) {
        row[i] = tokens;
        lengths[i] = length;
    }
    TsWeights weights = {.parameters = model->parameters,
                         .arrays = dtype == TS_BF16 ? model->narrow : model->arrays,
                         .dtype = dtype,
                         .narrow = dtype == TS_BF16,
                         .threads = threads};
    TsDecoded *decoded = NULL;
    TsStatus status = ts_language_model.decode(&decoded, &gpt2, weights,
                                               (TsPrompts){.count = rows, .tokens = row, .length_tokens = lengths},
                                               (TsDecodeOptions){.max_decode_steps = steps});
    TS_CHECK(!status, "%s", ts_status_message(status));
    *step_s = decoded->steps ? decoded->steps_s / (double)decoded->steps : 0;
    *read_s = decoded->read_s;
    ts_decoded_free(&decoded);
}

static double median_step(const Model *model, TsDtype dtype, int64_t rows, int64_t steps)
{
    double step_s[ROUNDS], read_s;
    for (int round = 0; round < ROUNDS; round++)
        run(&step_s[round], &read_s, model, dtype, rows, PROMPT, steps);
    return bench_median(step_s, ROUNDS);
}

static double median_read(const Model *model, TsDtype dtype)
{
    double step_s, read_s[ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
        run(&step_s, &read_s[round], model, dtype, 1, READ, 1);
    return bench_median(read_s, ROUNDS);
}

/* Products of a prompt of READ tokens, its attention (below the diagonal), and the scores behind its last token. */
static double read_flops(void)
{
    double layers = (double)gpt2.backbone.layers, width = (double)gpt2.backbone.width;
    return READ * layers * (2 * 12 * width * width + 2.0 * READ * width) + 2 * width * (double)gpt2.backbone.vocab;
}

/* The peer's seconds: a step of one row, reading, a step of ROWS rows; false where there is none. */
static bool find_peer(double *seconds, const char *path, const char *dtype)
{
    char line[256], name[16];
    FILE *file = path ? fopen(path, "r") : NULL;
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file))
        found = sscanf(line, "%15s %lf %lf %lf", name, &seconds[0], &seconds[1], &seconds[2]) == 4 &&
                strcmp(name, dtype) == 0;
    if (file)
        fclose(file);
    return found;
}

static void measure(const Model *model, TsDtype dtype, double bandwidth, const char *peers)
{
    const char *name = ts_dtype_name(dtype);
    double ours[3], peer[3], bytes = weight_bytes(dtype == TS_BF16 ? model->narrow : model->arrays);
    double rate = product_rate(dtype);
    ours[0] = median_step(model, dtype, 1, STEPS);
    ours[1] = median_read(model, dtype);
    ours[2] = median_step(model, dtype, ROWS, STEPS / 3);
    printf("%s: a step %.2f ms (%.1f GB/s of %.1f), %d tokens read in %.0f ms (%.0f GFLOP/s of %.0f), a step of %d "
           "rows %.1f ms\n",
           name, ours[0] * 1e3, bytes / ours[0] * 1e-9, bandwidth * 1e-9, READ, ours[1] * 1e3,
           read_flops() / ours[1] * 1e-9, rate * 1e-9, ROWS, ours[2] * 1e3);
    const double values[] = {bytes / ours[0] / bandwidth, read_flops() / ours[1] / rate, ROWS * ours[0] / ours[2]};
    static const char *const targets[2][3] = {{"decode/batch-1-f32", "decode/prefill-f32", "decode/batch-32-f32"},
                                              {"decode/batch-1-bf16", "decode/prefill-bf16", "decode/batch-32-bf16"}};
    static const char *const peer_targets[2][3] = {
        {"decode/batch-1-f32-peer", "decode/prefill-f32-peer", "decode/batch-32-f32-peer"},
        {"decode/batch-1-bf16-peer", "decode/prefill-bf16-peer", "decode/batch-32-bf16-peer"}};
    bool has_peer = find_peer(peer, peers, name);
    for (int i = 0; i < 3; i++) {
        bench_target(targets[dtype == TS_BF16][i], values[i]);
        if (has_peer)
            bench_target(peer_targets[dtype == TS_BF16][i], peer[i] / ours[i]);
    }
}

int main(int argc, char **argv)
{
    ts_matmul_settle(argv);
    TsMachine machine = ts_machine();
    threads = ts_machine_threads(&machine, 2, 1, NULL);
    Model model;
    open_model(&model);
    double bandwidth = read_bandwidth();
    measure(&model, TS_F32, bandwidth, argc > 1 ? argv[1] : NULL);
    measure(&model, TS_BF16, bandwidth, argc > 1 ? argv[1] : NULL);
    close_model(&model);
    return 0;
}
