/* SPDX-License-Identifier: Apache-2.0 */
#include "data/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"

enum { BUFFER_BYTES = 1 << 17 };

struct TsStream {
    char *path;  /* owned */
    gzFile file; /* reads plain files as they are */
    unsigned char *buffer;
    int count, at;  /* bytes in the buffer, and the next one */
    int64_t passed; /* bytes before the buffer */
    bool failed;    /* zlib knows why */
    bool ended;
};

static TsStatus open_file(TsStream *stream, bool *gzipped)
{
    struct stat found;
    int file = open(stream->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer is not waited for */
    if (file < 0)
        return ts_status_error(errno == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: cannot be read: %s", stream->path,
                               strerror(errno));
    if (fstat(file, &found) != 0 || !S_ISREG(found.st_mode)) {
        close(file);
        return ts_status_error(TS_CODE_INVALID, "%s: is %s: expected a file of examples", stream->path,
                               S_ISDIR(found.st_mode) ? "a directory" : "not a regular file");
    }
    stream->file = gzdopen(file, "rb");
    if (!stream->file) {
        close(file);
        return ts_status_error(TS_CODE_RESOURCES, "%s: zlib cannot open it", stream->path);
    }
    gzbuffer(stream->file, BUFFER_BYTES);
    if (gzipped)
        *gzipped = !gzdirect(stream->file);
    return TS_OK;
}

TsStatus ts_stream_open(TsStream **stream, const char *path, bool *gzipped)
{
    TsStream *opened = ts_calloc(1, sizeof *opened);
    opened->path = ts_strdup(path);
    opened->buffer = ts_alloc(BUFFER_BYTES);
    TsStatus status = open_file(opened, gzipped);
    if (status)
        ts_stream_close(&opened);
    *stream = opened;
    return status;
}

void ts_stream_close(TsStream **stream)
{
    if (!*stream)
        return;
    if ((*stream)->file)
        gzclose_r((*stream)->file);
    ts_free((*stream)->path);
    ts_free((*stream)->buffer);
    ts_free(*stream);
    *stream = NULL;
}

TsStatus ts_stream_seek(TsStream *stream, int64_t byte)
{
    if (gzseek(stream->file, (z_off_t)byte, SEEK_SET) != (z_off_t)byte)
        return ts_status_error(TS_CODE_IO, "%s: there is no byte %lld", stream->path, (long long)byte);
    stream->passed = byte;
    stream->count = stream->at = 0;
    stream->ended = stream->failed = false;
    return TS_OK;
}

static bool fill(TsStream *stream)
{
    if (stream->ended)
        return false;
    stream->passed += stream->count;
    stream->at = 0;
    stream->count = gzread(stream->file, stream->buffer, BUFFER_BYTES);
    if (stream->count > 0)
        return true;
    int code = Z_OK;
    gzerror(stream->file, &code);
    stream->failed = stream->count < 0 || (code != Z_OK && code != Z_STREAM_END);
    stream->ended = true;
    stream->count = 0;
    return false;
}

int ts_stream_peek(TsStream *stream)
{
    return stream->at < stream->count || fill(stream) ? stream->buffer[stream->at] : -1;
}

int ts_stream_next(TsStream *stream)
{
    return stream->at < stream->count || fill(stream) ? stream->buffer[stream->at++] : -1;
}

int64_t ts_stream_position(const TsStream *stream)
{
    return stream->passed + stream->at;
}

TsStatus ts_stream_status(const TsStream *stream)
{
    if (!stream->failed)
        return TS_OK;
    int code = Z_OK;
    const char *reason = gzerror(stream->file, &code);
    return ts_status_error(TS_CODE_CORRUPT, "%s: cannot be read beyond byte %lld: %s", stream->path,
                           (long long)stream->passed, code == Z_ERRNO ? strerror(errno) : reason);
}

const char *ts_stream_path(const TsStream *stream)
{
    return stream->path;
}
