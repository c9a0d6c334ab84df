/* SPDX-License-Identifier: Apache-2.0 */
#include "data/unpack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "data/stream.h"

/* Whether the file is there and gzipped. What is wrong with it else, whoever reads it says. */
static bool is_gzipped(const char *path)
{
    TsStream *stream = NULL;
    struct stat found;
    bool gzipped = false;
    if (stat(path, &found) != 0 || !S_ISREG(found.st_mode))
        return false;
    TsStatus status = ts_stream_open(&stream, path, &gzipped);
    ts_stream_close(&stream);
    gzipped = gzipped && !status;
    ts_status_free(&status);
    return gzipped;
}

static TsStatus copy(TsStream *from, FILE *to, const char *path)
{
    for (int byte; (byte = ts_stream_next(from)) >= 0;)
        if (putc(byte, to) == EOF)
            return ts_status_error(TS_CODE_IO, "%s: cannot be written: %s", path, strerror(errno));
    return ts_stream_status(from);
}

static TsStatus unpack(const char *plain, const char *path, const char *directory)
{
    TsStream *stream = NULL;
    char *making = ts_format("%s.tmp", plain);
    TsStatus status = ts_file_make_directory(directory);
    FILE *file = status ? NULL : fopen(making, "wb");
    if (!status && !file)
        status = ts_status_error(TS_CODE_IO, "%s: cannot be written: %s", making, strerror(errno));
    if (!status)
        status = ts_stream_open(&stream, path, NULL);
    if (!status)
        status = copy(stream, file, making);
    ts_stream_close(&stream);
    if (file && fclose(file) != 0 && !status)
        status = ts_status_error(TS_CODE_IO, "%s: cannot be written: %s", making, strerror(errno));
    if (!status)
        status = ts_file_rename(making, plain);
    ts_free(making);
    return status;
}

TsStatus ts_unpack(char **plain, TsGroup *group, const char *path, const char *directory)
{
    struct stat found = {0};
    int64_t mine[2] = {0}, root[2] = {0}; /* whether it is gzipped, and what its plain text is called after */
    TsStatus status = TS_OK;
    if (ts_group_rank(group) == 0 && is_gzipped(path) && stat(path, &found) == 0) {
        int64_t what[] = {(int64_t)found.st_size, (int64_t)found.st_mtim.tv_sec, (int64_t)found.st_mtim.tv_nsec};
        mine[0] = 1;
        mine[1] = ts_crc32c(ts_crc32c(0, path, strlen(path)), what, sizeof what);
    }
    ts_broadcast(group, (TsTransfer){.out = root, .in = mine, .count_elems = 2, .dtype = TS_I64, .label = "data/gzip"},
                 0);
    *plain = root[0] ? ts_format("%s/text_%08llx.txt", directory, (unsigned long long)root[1]) : ts_strdup(path);
    if (root[0] && ts_group_rank(group) == 0 && !ts_file_exists(*plain)) {
        ts_log(TS_LOG_INFO, "unpacking %s", path);
        status = unpack(*plain, path, directory);
    }
    status = ts_comm_agree(group, status);
    if (status) {
        ts_free(*plain);
        *plain = NULL;
    }
    return status;
}
