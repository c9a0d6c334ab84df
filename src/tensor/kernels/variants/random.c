/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/real_math.h"

#include "tensor/kernels/random.h"

enum { GRAIN = 2048 };

/* Neighbours in the block that are neighbours in the whole. */
static int64_t run_elems(TsRandomBlock block)
{
    int64_t elems = 1;
    for (int d = block.shape.dims - 1; d >= 0; d--) {
        elems *= block.shape.size[d];
        if (block.shape.size[d] != block.whole.size[d])
            break;
    }
    return elems;
}

/* The index in the whole of element `index` of the block. */
static int64_t whole_index(TsRandomBlock block, int64_t index)
{
    int64_t whole = 0, step = 1;
    for (int d = block.shape.dims - 1; d >= 0; d--) {
        whole += (index % block.shape.size[d] + block.first[d]) * step;
        step *= block.whole.size[d];
        index /= block.shape.size[d];
    }
    return whole;
}

/* How many of the elements [at, last) of the block, at most GRAIN, lie in one run. */
static int64_t run_from(int64_t at, int64_t last, int64_t run)
{
    return smaller(GRAIN, smaller(last - at, run - at % run));
}

static void drop_run(void *out, const void *x, TsRandomBlock block, TsStream stream, double rate, int64_t first,
                     int64_t count)
{
    const uint64_t threshold = (uint64_t)(rate * 4294967296.0);
    const Real scale = (Real)(rate < 1 ? 1 / (1 - rate) : 0);
    uint32_t bits[GRAIN];
    int64_t run = run_elems(block), length;
    const Stored *in = x;
    Stored *to = out;
    for (int64_t at = 0; at < count; at += length) {
        length = run_from(first + at, first + count, run);
        ts_stream_fill_bits(stream, bits, whole_index(block, first + at), length);
        for (int64_t i = 0; i < length; i++) {
            Real value = load(in[at + i]);
            to[at + i] = store(bits[i] >= threshold ? value * scale : 0);
        }
    }
}

static void drop(void *out, const void *x, TsRandomBlock block, TsStream stream, double rate, int threads)
{
    int64_t count = ts_shape_elems(block.shape), grains = (count + GRAIN - 1) / GRAIN;
    threads = threads_worth(threads, 4 * count);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t grain = 0; grain < grains; grain++) {
        int64_t first = grain * GRAIN;
        drop_run((Stored *)out + first, (const Stored *)x + first, block, stream, rate, first,
                 smaller(GRAIN, count - first));
    }
}

static void fill_noise(float *out, TsNoise kind, TsStream stream, int64_t first, int64_t count)
{
    if (kind == TS_NOISE_NORMAL) {
        ts_stream_fill_normal_f32(stream, out, first, count);
        return;
    }
    ts_stream_fill_uniform_f32(stream, out, first, count);
    if (kind == TS_NOISE_UNIFORM)
        return;
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)-real_log(-real_log(out[i]));
}

static void noise(float *out, TsNoise kind, TsRandomBlock block, TsStream stream, int threads)
{
    int64_t count = ts_shape_elems(block.shape), run = run_elems(block), grains = (count + GRAIN - 1) / GRAIN;
    threads = threads_worth(threads, 4 * count);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t grain = 0; grain < grains; grain++) {
        int64_t last = smaller(count, (grain + 1) * GRAIN), length;
        for (int64_t at = grain * GRAIN; at < last; at += length) {
            length = run_from(at, last, run);
            fill_noise(out + at, kind, stream, whole_index(block, at), length);
        }
    }
}

const TsRandomKernels TS_TABLE(ts_random_kernels) = {.drop = drop, .drop_run = drop_run, .noise = noise};
