/* SPDX-License-Identifier: Apache-2.0
 *
 * f32 by dnnl_sgemm; bf16 by matmul primitives, which each thread keeps in a small cache of its own: a primitive must
 * not run on two threads at once. f64, which the library lacks, goes to OpenBLAS.
 */
#include "tensor/matmul.h"

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>

#include "base/check.h"

#define DNNL_CHECK(call) TS_CHECK((call) == dnnl_success, "oneDNN refused a matrix product")

/* What a primitive is made for. Compared by bytes: no padding. */
typedef struct Key {
    int64_t m, n, k, row_a, row_b, row_c;
    int32_t transpose_a, transpose_b, out_dtype, unused;
    double alpha, beta;
} Key;

typedef struct Entry {
    Key key;
    dnnl_primitive_t primitive; /* NULL: empty */
    dnnl_memory_t a, b, c;
} Entry;

enum { ENTRIES = 128 };
static _Thread_local Entry cache[ENTRIES];
static _Thread_local dnnl_stream_t stream;

static dnnl_engine_t engine;

static void create_engine(void)
{
    DNNL_CHECK(dnnl_engine_create(&engine, dnnl_cpu, 0));
}

static void create_stream(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, create_engine);
    DNNL_CHECK(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
}

static dnnl_memory_desc_t matrix(int64_t rows, int64_t columns, int64_t row, bool transposed, TsDtype dtype)
{
    dnnl_memory_desc_t description;
    dnnl_dims_t dims = {rows, columns}, strides = {transposed ? 1 : row, transposed ? row : 1};
    DNNL_CHECK(
        dnnl_memory_desc_init_by_strides(&description, 2, dims, dtype == TS_BF16 ? dnnl_bf16 : dnnl_f32, strides));
    return description;
}

static dnnl_primitive_attr_t attributes_of(const Key *key)
{
    dnnl_primitive_attr_t attributes;
    float alpha = (float)key->alpha;
    DNNL_CHECK(dnnl_primitive_attr_create(&attributes));
    if (key->alpha != 1)
        DNNL_CHECK(dnnl_primitive_attr_set_output_scales(attributes, 1, 0, &alpha));
    if (key->beta != 0) {
        dnnl_post_ops_t operations;
        DNNL_CHECK(dnnl_post_ops_create(&operations));
        DNNL_CHECK(dnnl_post_ops_append_sum(operations, (float)key->beta));
        DNNL_CHECK(dnnl_primitive_attr_set_post_ops(attributes, operations));
        DNNL_CHECK(dnnl_post_ops_destroy(operations));
    }
    return attributes;
}

static void empty(Entry *entry)
{
    if (!entry->primitive)
        return;
    DNNL_CHECK(dnnl_primitive_destroy(entry->primitive));
    DNNL_CHECK(dnnl_memory_destroy(entry->a));
    DNNL_CHECK(dnnl_memory_destroy(entry->b));
    DNNL_CHECK(dnnl_memory_destroy(entry->c));
    entry->primitive = NULL;
}

static void fill(Entry *entry, const Key *key)
{
    dnnl_memory_desc_t a = matrix(key->m, key->k, key->row_a, key->transpose_a, TS_BF16);
    dnnl_memory_desc_t b = matrix(key->k, key->n, key->row_b, key->transpose_b, TS_BF16);
    dnnl_memory_desc_t c = matrix(key->m, key->n, key->row_c, false, (TsDtype)key->out_dtype);
    dnnl_matmul_desc_t product;
    dnnl_primitive_desc_t description;
    dnnl_primitive_attr_t attributes = attributes_of(key);
    empty(entry);
    DNNL_CHECK(dnnl_matmul_desc_init(&product, &a, &b, NULL, &c));
    DNNL_CHECK(dnnl_primitive_desc_create(&description, &product, attributes, engine, NULL));
    DNNL_CHECK(dnnl_primitive_create(&entry->primitive, description));
    DNNL_CHECK(dnnl_primitive_desc_destroy(description));
    DNNL_CHECK(dnnl_primitive_attr_destroy(attributes));
    DNNL_CHECK(dnnl_memory_create(&entry->a, &a, engine, DNNL_MEMORY_NONE));
    DNNL_CHECK(dnnl_memory_create(&entry->b, &b, engine, DNNL_MEMORY_NONE));
    DNNL_CHECK(dnnl_memory_create(&entry->c, &c, engine, DNNL_MEMORY_NONE));
    entry->key = *key;
}

/* FNV-1a. */
static uint64_t hash(const Key *key)
{
    const unsigned char *byte = (const unsigned char *)key;
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof *key; i++)
        sum = (sum ^ byte[i]) * 0x100000001b3u;
    return sum ^ sum >> 32;
}

static void multiply_bf16(const TsMatmul *p)
{
    Key key = {
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .row_a = p->row_a,
        .row_b = p->row_b,
        .row_c = p->row_c,
        .transpose_a = p->transpose_a,
        .transpose_b = p->transpose_b,
        .out_dtype = (int32_t)p->out_dtype,
        .alpha = p->alpha,
        .beta = p->beta,
    };
    if (!stream)
        create_stream();
    Entry *entry = &cache[hash(&key) % ENTRIES];
    if (!entry->primitive || memcmp(&entry->key, &key, sizeof key) != 0)
        fill(entry, &key);
    DNNL_CHECK(dnnl_memory_set_data_handle(entry->a, (void *)p->a));
    DNNL_CHECK(dnnl_memory_set_data_handle(entry->b, (void *)p->b));
    DNNL_CHECK(dnnl_memory_set_data_handle(entry->c, p->c));
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, entry->a}, {DNNL_ARG_WEIGHTS, entry->b}, {DNNL_ARG_DST, entry->c}};
    DNNL_CHECK(dnnl_primitive_execute(entry->primitive, stream, 3, arguments));
    DNNL_CHECK(dnnl_stream_wait(stream));
}

static void multiply(const TsMatmul *p)
{
    if (p->dtype == TS_F64) {
        ts_matmul_openblas.multiply(p);
        return;
    }
    int threads = omp_get_max_threads(); /* the library would take them all */
    omp_set_num_threads(1);
    if (p->dtype == TS_BF16)
        multiply_bf16(p);
    else
        DNNL_CHECK(dnnl_sgemm(p->transpose_a ? 'T' : 'N', p->transpose_b ? 'T' : 'N', p->m, p->n, p->k, (float)p->alpha,
                              p->a, p->row_a, p->b, p->row_b, (float)p->beta, p->c, p->row_c));
    omp_set_num_threads(threads);
}

/* With AVX-512 alone it does so at half the rate of f32. */
static bool multiplies_bf16_here(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
}

const TsMatmulBackend ts_matmul_onednn = {
    .name = "onednn", .multiplies_bf16 = multiplies_bf16_here, .multiply = multiply};
