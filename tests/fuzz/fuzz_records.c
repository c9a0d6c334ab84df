/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers of records against any bytes: whatever a file holds, they end, and their cells lie in memory that is theirs.
 * The first byte says the format, the second where a range begins and what is asked for; the rest is the file.
 *
 * sources: src/data/records*.c src/data/stream.c src/data/hdf5_file.c
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads all that there is; each cell to its end. */
static void read_all(const char *path, TsRecordsOptions options)
{
    static const char *const columns[] = {"text", "labels", "SET"};
    TsRecords *records = NULL;
    int count = options.format == TS_FORMAT_TEXT ? 1 : options.format == TS_FORMAT_FASTA ? (options.labels ? 3 : 1) : 2;
    TsStatus status = ts_records_open(&records, path, columns, count, options);
    for (bool there = !status; there;) {
        TsField fields[3] = {{0}};
        ts_status_free(&status);
        status = ts_records_next(records, fields, &there);
        for (int c = 0; c < count && !status && there; c++)
            if (fields[c].text && (fields[c].text[fields[c].bytes] != '\0' ||
                                   (!options.takes_any_bytes && !ts_is_utf8(fields[c].text, fields[c].bytes))))
                __builtin_trap();
    }
    ts_status_free(&status);
    ts_records_close(&records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    static const TsFormat formats[] = {TS_FORMAT_TSV, TS_FORMAT_CSV, TS_FORMAT_JSONL, TS_FORMAT_FASTA, TS_FORMAT_TEXT};
    int file = memfd_create("records", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    TsRecordsOptions options = {.format = formats[data[0] % 5], .takes_any_bytes = data[0] & 64};
    if (options.format == TS_FORMAT_FASTA && data[0] & 128)
        options.labels = path;
    if (options.labels && data[0] & 32)
        options.mask = path;
    if (file >= 0 && write(file, data + 2, size - 2) == (ssize_t)(size - 2)) {
        read_all(path, options);
        options.first_byte = data[1];
        options.starts_inside_quote = data[1] & 1;
        read_all(path, options);
        options.first_byte = 0;
        options.end_byte = data[1];
        read_all(path, options);
    }
    close(file);
    return 0;
}
