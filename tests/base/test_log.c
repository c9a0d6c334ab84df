/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <ctype.h>
#include <pthread.h>
#include <string.h>

#include "base/child.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

static void speak(int rank)
{
    ts_log_set_rank(rank);
    ts_log(TS_LOG_DEBUG, "one");
    ts_log(TS_LOG_INFO, "two %d", 2);
    ts_log(TS_LOG_WARNING, "three");
    ts_log(TS_LOG_ERROR, "four");
}

static void speak_as_0(void)
{
    speak(0);
}

static void speak_as_3(void)
{
    speak(3);
}

static void speak_all(void)
{
    ts_log_set_level(TS_LOG_DEBUG);
    speak(0);
    ts_log_set_level(TS_LOG_ERROR);
    speak(0);
}

/* The file of a child's log; owned by the caller. */
static char *file_of(pid_t parent)
{
    return ts_format("/tmp/tessera-test-log-%ld.txt", (long)parent);
}

/* Far longer than what a line holds. */
static void speak_long(void)
{
    char *path = file_of(getppid());
    TsStatus status = ts_log_open(path);
    ts_log(TS_LOG_INFO, "%09999d", 1);
    if (!status)
        status = ts_log_open(NULL);
    ts_status_free(&status);
    ts_free(path);
}

static const Child children[] = {
    {"0", speak_as_0}, {"3", speak_as_3}, {"all", speak_all}, {"long", speak_long}, {NULL, NULL}};

static void levels_and_ranks(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("0", NULL, output), 0);
    CU_ASSERT_STRING_EQUAL(output, "two 2\ntessera: warning: three\ntessera: error: four\n");
    CU_ASSERT_EQUAL(run_child("3", NULL, output), 0);
    CU_ASSERT_STRING_EQUAL(output, "tessera: [rank 3] warning: three\ntessera: [rank 3] error: four\n");
    CU_ASSERT_EQUAL(run_child("all", NULL, output), 0);
    CU_ASSERT_STRING_EQUAL(output, "debug: one\ntwo 2\ntessera: warning: three\ntessera: error: four\n"
                                   "tessera: error: four\n");
}

/* What does not fit is cut, and says so; the line ends all the same. */
static void long_lines(void)
{
    char output[4096], *path = file_of(getpid()), *line = NULL;
    size_t length = 0;
    CU_ASSERT_EQUAL(run_child("long", NULL, output), 0);
    TEST_OK(ts_file_read(&line, &length, path, 1 << 20));
    CU_ASSERT(length > 4000 && length < 5000 && strcmp(line + length - 5, "0...\n") == 0);
    CU_ASSERT_EQUAL(strcspn(line, "\n"), length - 1);
    ts_free(line);
    TEST_OK(ts_file_remove(path));
    ts_free(path);
}

/* "2026-01-31T12:00:00Z " */
static bool has_stamp(const char *line)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ ";
    for (int i = 0; form[i]; i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)line[i]) : line[i] != form[i])
            return false;
    return true;
}

static void into_a_file(void)
{
    char *path = file_of(getpid()), *bytes = NULL;
    size_t size_bytes;
    TEST_OK(ts_log_open(path));
    ts_log(TS_LOG_INFO, "into the file");
    TEST_OK(ts_log_open(NULL));
    ts_log(TS_LOG_INFO, "not into the file");
    TEST_OK(ts_log_open(path));
    ts_log(TS_LOG_WARNING, "appended");
    TEST_OK(ts_log_open(NULL));
    TEST_OK(ts_file_read(&bytes, &size_bytes, path, 4096));
    if (bytes) {
        const char *second = strchr(bytes, '\n');
        CU_ASSERT(has_stamp(bytes));
        CU_ASSERT_EQUAL(strncmp(bytes + 21, "into the file\n", 14), 0);
        CU_ASSERT(second && has_stamp(second + 1));
        CU_ASSERT(second && strcmp(second + 22, "warning: appended\n") == 0);
    }
    ts_free(bytes);
    TEST_OK(ts_file_remove(path));
    ts_free(path);
    TEST_ERROR(ts_log_open("/nowhere/at/all/log.txt"),
               "/nowhere/at/all/log.txt: cannot open the log file: No such file");
}

static void *log_lines(void *unused)
{
    for (int i = 0; i < 200; i++)
        ts_log(TS_LOG_DEBUG, "%0200d", i);
    return unused;
}

/* Lines of threads do not mix. */
static void from_threads(void)
{
    char *path = file_of(getpid()), *bytes = NULL;
    size_t size_bytes;
    pthread_t threads[4];
    int standard_error = dup(STDERR_FILENO);
    FILE *nowhere = freopen("/dev/null", "w", stderr);
    CU_ASSERT_PTR_NOT_NULL(nowhere);
    TEST_OK(ts_log_open(path));
    ts_log_set_level(TS_LOG_DEBUG);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, log_lines, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ts_log_set_level(TS_LOG_INFO);
    TEST_OK(ts_log_open(NULL));
    fflush(stderr);
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    TEST_OK(ts_file_read(&bytes, &size_bytes, path, 1 << 20));
    int64_t lines = 0, wrong = 0;
    for (char *line = bytes; line && *line; lines++) {
        size_t length = strcspn(line, "\n");
        wrong += length != 21 + 7 + 200 || !has_stamp(line) || strncmp(line + 21, "debug: 000", 10) != 0;
        line += length + 1;
    }
    CU_ASSERT_EQUAL(lines, 800);
    CU_ASSERT_EQUAL(wrong, 0);
    ts_free(bytes);
    TEST_OK(ts_file_remove(path));
    ts_free(path);
}

TEST_MAIN("log", {"levels and ranks", levels_and_ranks}, {"long lines", long_lines}, {"into a file", into_a_file},
          {"from threads", from_threads})
