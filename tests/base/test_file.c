/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static char directory[64]; /* of this run of the test */

static char *in_directory(const char *name)
{
    return ts_format("%s/%s", directory, name);
}

static void write_and_read(void)
{
    char *path = in_directory("a"), *bytes;
    size_t size_bytes;
    TEST_OK(ts_file_write(path, "one\0two", 7));
    TEST_OK(ts_file_read(&bytes, &size_bytes, path, 7));
    CU_ASSERT_EQUAL(size_bytes, 7);
    CU_ASSERT(bytes && memcmp(bytes, "one\0two", 8) == 0);
    ts_free(bytes);
    TEST_OK(ts_file_write(path, "", 0));
    TEST_OK(ts_file_read(&bytes, &size_bytes, path, 0));
    CU_ASSERT_EQUAL(size_bytes, 0);
    CU_ASSERT(bytes && !*bytes);
    ts_free(bytes);
    CU_ASSERT_TRUE(ts_file_exists(path));
    ts_free(path);
}

static void limits(void)
{
    char *path = in_directory("limit"), *bytes = (char *)path;
    size_t size_bytes = 1;
    TEST_OK(ts_file_write(path, "12345678", 8));
    TEST_ERROR(ts_file_read(&bytes, &size_bytes, path, 7), "/limit: 8 bytes, more than the 7 that are allowed here");
    CU_ASSERT_PTR_NULL(bytes);
    CU_ASSERT_EQUAL(size_bytes, 0);
    TEST_ERROR(ts_file_read(&bytes, &size_bytes, "/dev/zero", 100000),
               "/dev/zero: more than the 100000 bytes that are allowed here");
    TEST_OK(ts_file_read(&bytes, &size_bytes, "/proc/self/stat", SIZE_MAX)); /* its length is said to be 0 */
    CU_ASSERT(size_bytes > 10);
    ts_free(bytes);
    ts_free(path);
}

static void cannot_be_read(void)
{
    char *bytes;
    size_t size_bytes;
    TEST_ERROR(ts_file_read(&bytes, &size_bytes, "/no/such/file", 10), "/no/such/file: cannot open: No such file");
    TEST_ERROR(ts_file_read(&bytes, &size_bytes, directory, 10), "is a directory, expected a file");
    TsStatus status = ts_file_read(&bytes, &size_bytes, "/no/such/file", 10);
    CU_ASSERT_EQUAL(ts_status_code(status), TS_CODE_NOT_FOUND);
    ts_status_free(&status);
}

static int64_t entries(void)
{
    int64_t count = 0;
    char *command = ts_format("ls -A %s | wc -l", directory), line[32] = "";
    FILE *pipe = popen(command, "r");
    if (pipe && fgets(line, sizeof line, pipe))
        count = strtoll(line, NULL, 10);
    if (pipe)
        pclose(pipe);
    ts_free(command);
    return count;
}

/* A write that fails leaves the old file, and nothing beside it. */
static void failed_writes(void)
{
    char *path = in_directory("directory"), *inside = in_directory("directory/x"), *bytes;
    size_t size_bytes;
    TEST_OK(ts_file_make_directory(path));
    TEST_OK(ts_file_write(inside, "old", 3));
    int64_t before = entries();
    TEST_ERROR(ts_file_write(path, "new", 3), "/directory: cannot rename to this name");
    CU_ASSERT_EQUAL(entries(), before);
    TEST_ERROR(ts_file_write("/no/such/place", "new", 3), "/no/such/place: cannot write: No such file");
    TEST_ERROR(ts_file_write("/dev/full/x", "new", 3), "/dev/full/x: cannot write: Not a directory");
    TEST_OK(ts_file_read(&bytes, &size_bytes, inside, 10));
    CU_ASSERT(bytes && strcmp(bytes, "old") == 0);
    ts_free(bytes);
    ts_free(path);
    ts_free(inside);
}

static void directories(void)
{
    char *deep = in_directory("x/y//z/"), *file = in_directory("x/file"), *below = in_directory("x/file/more");
    char *top = in_directory("x"), *link = in_directory("x/y/link"), *kept = in_directory("kept");
    struct stat info;
    TEST_OK(ts_file_make_directory(deep));
    TEST_OK(ts_file_make_directory(deep));
    CU_ASSERT(stat(deep, &info) == 0 && S_ISDIR(info.st_mode));
    TEST_OK(ts_file_write(file, "x", 1));
    TEST_ERROR(ts_file_make_directory(file), "/x/file: is a file, expected a directory");
    TEST_ERROR(ts_file_make_directory(below), "/x/file: is a file, expected a directory");
    TEST_ERROR(ts_file_make_directory(""), "cannot make the directory");
    TEST_ERROR(ts_file_make_directory("/proc/none"), "/proc/none: cannot make the directory");
    TEST_OK(ts_file_sync(top));
    TEST_OK(ts_file_sync(file));
    TEST_ERROR(ts_file_sync(below), "cannot open");
    TEST_OK(ts_file_make_directory(kept));
    CU_ASSERT_EQUAL(symlink(kept, link), 0);
    TEST_OK(ts_file_remove(top));
    CU_ASSERT_FALSE(ts_file_exists(top));
    CU_ASSERT_TRUE(ts_file_exists(kept));
    TEST_OK(ts_file_remove(top)); /* not there any more */
    ts_free(deep);
    ts_free(file);
    ts_free(below);
    ts_free(top);
    ts_free(link);
    ts_free(kept);
}

static void parts_of_paths(void)
{
    static const char *const paths[][2] = {{"a/b/c", "a/b"}, {"c", "."}, {"/c", "/"}, {"/a/c", "/a"}, {"a/", "a"}};
    for (int i = 0; i < 5; i++) {
        char *found = ts_file_directory(paths[i][0]);
        CU_ASSERT_STRING_EQUAL(found, paths[i][1]);
        ts_free(found);
    }
}

static void begin(void)
{
    snprintf(directory, sizeof directory, "/tmp/tessera-test-file-%ld", (long)getpid());
    TEST_OK(ts_file_make_directory(directory));
}

static void end(void)
{
    TEST_OK(ts_file_remove(directory));
    CU_ASSERT_FALSE(ts_file_exists(directory));
}

TEST_MAIN("file", {"begin", begin}, {"write and read", write_and_read}, {"limits", limits},
          {"cannot be read", cannot_be_read}, {"failed writes", failed_writes}, {"directories", directories},
          {"parts of paths", parts_of_paths}, {"end", end})
