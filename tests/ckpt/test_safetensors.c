/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Safetensors: values through views and casts, files that an index names, and headers that lie.
 */
#include "ckpt/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "test.h"

static char directory[64];

/* Writes a file of the size, header and data that are given; what its name is, is owned by the caller. */
static char *write_raw(const char *name, uint64_t header_bytes, const char *header, const void *data, size_t data_bytes)
{
    TsText text = {0};
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)(header_bytes >> (8 * i));
    ts_text_append_bytes(&text, prefix, sizeof prefix);
    ts_text_append_bytes(&text, header, strlen(header));
    ts_text_append_bytes(&text, data, data_bytes);
    char *path = ts_format("%s/%s", directory, name);
    TEST_OK(ts_file_write(path, text.data, text.size_bytes));
    ts_text_free(&text);
    return path;
}

static char *write_file(const char *name, const char *header, const void *data, size_t data_bytes)
{
    return write_raw(name, strlen(header), header, data, data_bytes);
}

static TsSafetensors *open_good(const char *path)
{
    TsSafetensors *weights;
    TEST_OK(ts_safetensors_open(&weights, path));
    return weights;
}

static const float six[6] = {0, 1, 2, 3, 4, 5};

/* A whole tensor, its transpose, and a block of a column split: from an odd header length, so nothing is aligned. */
static void values_through_views(void)
{
    char *path = write_file("a.safetensors",
                            "{\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                            "\"__metadata__\":{\"format\":\"pt\"} }",
                            six, sizeof six);
    TsSafetensors *weights = open_good(path);
    if (weights) {
        CU_ASSERT_EQUAL(ts_safetensors_count(weights), 1);
        CU_ASSERT_EQUAL(ts_safetensors_find(weights, "v"), -1);
        int index = ts_safetensors_find(weights, "w");
        CU_ASSERT_STRING_EQUAL(ts_safetensors_entry(weights, index).dtype_name, "F32");
        float out[6];
        TsSafetensorsView view = ts_safetensors_whole(weights, index);
        TEST_OK(ts_safetensors_read(weights, out, view, (TsBlockRange){.shape = view.shape}, TS_F32));
        CU_ASSERT_EQUAL(memcmp(out, six, sizeof six), 0);

        TsSafetensorsView turned = {.index = index, .shape = ts_shape(3, 2), .stride_elems = {1, 3}};
        double wide[4];
        TsBlockRange lower = {.shape = ts_shape(2, 2), .first = {1, 0}};
        TEST_OK(ts_safetensors_read(weights, wide, turned, lower, TS_F64));
        CU_ASSERT_TRUE(wide[0] == 1 && wide[1] == 4 && wide[2] == 2 && wide[3] == 5);

        TsSafetensorsView beyond = {.index = index, .shape = ts_shape(3, 2), .first_elem = 1, .stride_elems = {1, 3}};
        TEST_ERROR(ts_safetensors_read(weights, wide, beyond, lower, TS_F64), "w is (2, 3), too small");
        TsSafetensorsView before = {.index = index, .shape = ts_shape(2), .stride_elems = {-1}};
        TEST_ERROR(ts_safetensors_read(weights, wide, before, (TsBlockRange){.shape = ts_shape(2)}, TS_F64),
                   "too small");
        TEST_ERROR(ts_safetensors_read(weights, out, view, (TsBlockRange){.shape = view.shape}, TS_I32),
                   "w is F32, which is not read as i32");
    }
    ts_safetensors_close(&weights);
    ts_free(path);
}

static void casts(void)
{
    /* f16: 1, -2, 2^-24, inf; bf16: 1.5; i64: 7, -1; u8: not read */
    static const unsigned char data[] = {0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x7c, 0xc0, 0x3f, 7,    0,    0, 0,
                                         0,    0,    0,    0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    char *path = write_file("casts.safetensors",
                            "{\"half\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},"
                            "\"brain\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]},"
                            "\"ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[10,26]},"
                            "\"bytes\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[26,27]}}",
                            data, sizeof data);
    TsSafetensors *weights = open_good(path);
    if (weights) {
        float half[4], brain;
        int32_t ids[2];
        TsSafetensorsView view = ts_safetensors_whole(weights, ts_safetensors_find(weights, "half"));
        TEST_OK(ts_safetensors_read(weights, half, view, (TsBlockRange){.shape = view.shape}, TS_F32));
        CU_ASSERT_TRUE(half[0] == 1 && half[1] == -2 && half[2] == 0x1p-24f && half[3] > 3e38f);
        view = ts_safetensors_whole(weights, ts_safetensors_find(weights, "brain"));
        TEST_OK(ts_safetensors_read(weights, &brain, view, (TsBlockRange){.shape = view.shape}, TS_F32));
        CU_ASSERT_EQUAL(brain, 1.5F);
        view = ts_safetensors_whole(weights, ts_safetensors_find(weights, "ids"));
        TEST_OK(ts_safetensors_read(weights, ids, view, (TsBlockRange){.shape = view.shape}, TS_I32));
        CU_ASSERT_TRUE(ids[0] == 7 && ids[1] == -1);
        view = ts_safetensors_whole(weights, ts_safetensors_find(weights, "bytes"));
        TEST_ERROR(ts_safetensors_read(weights, half, view, (TsBlockRange){.shape = view.shape}, TS_F32),
                   "bytes is U8 of a kind that this program does not read");
    }
    ts_safetensors_close(&weights);
    ts_free(path);
}

#define ONE(name) "{\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"

static void expect_directory_error(const char *index, const char *words)
{
    TsSafetensors *weights;
    char *path = ts_format("%s/sharded/model.safetensors.index.json", directory);
    char *folder = ts_format("%s/sharded", directory);
    TEST_OK(ts_file_write(path, index, strlen(index)));
    TEST_ERROR(ts_safetensors_open(&weights, folder), words);
    CU_ASSERT_PTR_NULL(weights);
    ts_free(path);
    ts_free(folder);
}

static void shards_and_their_index(void)
{
    char *folder = ts_format("%s/sharded", directory),
         *index_path = ts_format("%s/model.safetensors.index.json", folder);
    TsSafetensors *weights;
    TEST_OK(ts_file_make_directory(folder));
    TEST_ERROR(ts_safetensors_open(&weights, folder), "neither model.safetensors.index.json nor model.safetensors");
    ts_free(write_file("sharded/one.safetensors", ONE("a"), six, 8));
    ts_free(write_file("sharded/two.safetensors", ONE("b"), six + 2, 8));
    ts_free(write_file("sharded/again.safetensors", ONE("a"), six + 2, 8));
    const char *good = "{\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}";
    TEST_OK(ts_file_write(index_path, good, strlen(good)));
    weights = open_good(folder);
    if (weights) {
        float out[2];
        CU_ASSERT_EQUAL(ts_safetensors_count(weights), 2);
        TsSafetensorsView view = ts_safetensors_whole(weights, ts_safetensors_find(weights, "b"));
        TEST_OK(ts_safetensors_read(weights, out, view, (TsBlockRange){.shape = view.shape}, TS_F32));
        CU_ASSERT_TRUE(out[0] == 2 && out[1] == 3);
    }
    ts_safetensors_close(&weights);
    expect_directory_error("{\"weight_map\":{\"a\":\"three.safetensors\"}}", "names three.safetensors for a");
    expect_directory_error("{\"weight_map\":{\"a\":\"../a.safetensors\"}}", "a is not in a file of this directory");
    expect_directory_error("{\"weight_map\":{\"c\":\"one.safetensors\"}}",
                           "c is in one.safetensors, which has no such");
    expect_directory_error("{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"again.safetensors\"}}",
                           "two files hold a tensor a");
    expect_directory_error("{\"weight_map\":[]}", "has no weight_map");
    expect_directory_error("{\"weight_map\":", "index.json:1: not JSON");
    ts_free(index_path);
    ts_free(folder);
}

static void expect_error(const char *header, const char *words)
{
    TsSafetensors *weights;
    char *path = write_file("bad.safetensors", header, six, sizeof six);
    TEST_ERROR(ts_safetensors_open(&weights, path), words);
    CU_ASSERT_PTR_NULL(weights);
    ts_free(path);
}

#define TENSOR(name, dtype, shape, offsets)                                                                            \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void headers_that_lie(void)
{
    TsSafetensors *weights;
    char *path = ts_format("%s/none.safetensors", directory);
    TEST_ERROR(ts_safetensors_open(&weights, path), "none.safetensors: No such file");
    TEST_OK(ts_file_write(path, "1234", 4));
    TEST_ERROR(ts_safetensors_open(&weights, path), "4 bytes, and a safetensors file begins with 8");
    ts_free(path);
    path = write_raw("long.safetensors", 1000, "{}", NULL, 0);
    TEST_ERROR(ts_safetensors_open(&weights, path), "said to have 1000 bytes, and the file has 2");
    ts_free(path);
    path = write_raw("huge.safetensors", UINT64_MAX, "{}", NULL, 0);
    TEST_ERROR(ts_safetensors_open(&weights, path), "truncated, or not a safetensors file");
    ts_free(path);

    expect_error("{\"a\":", "its header is not JSON, at byte");
    expect_error("[]", "its header is not a JSON object");
    expect_error("{\"a\":1}", "a: lacks dtype, shape or data_offsets");
    expect_error("{" TENSOR("a", "F32", "[6]", "[0]") "}", "a: lacks dtype, shape or data_offsets");
    expect_error("{" TENSOR("a", "F32", "[6]", "[0,28]") "}", "bytes 0 to 28, and the file has 24");
    expect_error("{" TENSOR("a", "F32", "[6]", "[24,0]") "}", "bytes 24 to 0");
    expect_error("{" TENSOR("a", "F32", "[6]", "[-24,0]") "}", "bytes -24 to 0");
    expect_error("{" TENSOR("a", "F32", "[5]", "[0,24]") "}", "a: F32 (5) has 20 bytes, and 24 are given to it");
    expect_error("{" TENSOR("a", "F64", "[6]", "[0,24]") "}", "has 48 bytes, and 24 are given");
    expect_error("{" TENSOR("a", "F32", "[-6]", "[0,24]") "}", "size 0 of its shape");
    expect_error("{" TENSOR("a", "F32", "[6.0]", "[0,24]") "}", "size 0 of its shape");
    expect_error("{" TENSOR("a", "F32", "[4611686018427387904,2]", "[0,24]") "}", "more than 2^63 bytes");
    expect_error("{" TENSOR("a", "F32", "[9223372036854775808]", "[0,24]") "}", "not JSON");
    expect_error("{" TENSOR("a", "F32", "[3]", "[0,12]") "," TENSOR("b", "F32", "[4]", "[8,24]") "}",
                 "a and b overlap at byte 8");
    expect_error("{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("b", "F32", "[2]", "[16,24]") "}",
                 "bytes 8 to 16, after a, belong to no tensor");
    expect_error("{" TENSOR("a", "F32", "[2]", "[0,8]") "}", "bytes 8 to 24, after a, belong to no tensor");
    expect_error("{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("a", "F32", "[2]", "[8,16]") "}", "duplicate");
}

static void tidy_up(void)
{
    TEST_OK(ts_file_remove(directory));
}

int main(void)
{
    snprintf(directory, sizeof directory, "%s", "/tmp/test_safetensors.XXXXXX");
    if (!mkdtemp(directory))
        return 1;
    const CU_TestInfo cases[] = {{"values through views", values_through_views},
                                 {"casts", casts},
                                 {"shards and their index", shards_and_their_index},
                                 {"headers that lie", headers_that_lie},
                                 {"tidy up", tidy_up},
                                 CU_TEST_INFO_NULL};
    return test_run("safetensors", cases);
}
