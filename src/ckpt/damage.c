/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/damage.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "ckpt/directory.h"

#define MARK  TS_CHECKPOINT_DAMAGED_MARK
#define TITLE "damaged: "

static const size_t limit_bytes = 1 << 20;

static int is_of_checkpoint(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && strncmp(entry->d_name, MARK, strlen(MARK)) != 0;
}

/* "state.h5 1048576 bytes, time 1770000000.123456789", a line a file, by name. */
static void append_stamps(TsText *text, const char *dir)
{
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, is_of_checkpoint, alphasort);
    for (int i = 0; i < count; i++) {
        struct stat found;
        char *path = ts_file_join(dir, entries[i]->d_name);
        if (stat(path, &found) == 0)
            ts_text_append(text, "%s %lld bytes, time %lld.%09ld\n", entries[i]->d_name, (long long)found.st_size,
                           (long long)found.st_mtim.tv_sec, found.st_mtim.tv_nsec);
        ts_free(path);
        free(entries[i]); /* the C library's */
    }
    free(entries);
}

void ts_damage_note(const char *dir, const char *reason)
{
    TsText text = {0};
    size_t length = strcspn(reason, "\n");
    ts_text_append(&text, TITLE "%.*s\n", (int)(length < 4096 ? length : 4096), reason);
    append_stamps(&text, dir);
    char *path = ts_file_join(dir, MARK);
    TsStatus status = ts_file_write(path, text.data, text.size_bytes);
    ts_status_free(&status);
    ts_free(path);
    ts_text_free(&text);
}

bool ts_damage_known(char **reason, const char *dir)
{
    char *path = ts_file_join(dir, MARK), *text = NULL;
    size_t bytes = 0;
    TsStatus status = ts_file_read(&text, &bytes, path, limit_bytes);
    bool read = !status;
    ts_status_free(&status);
    ts_free(path);
    if (!read)
        return false;
    TsText stamps = {0};
    append_stamps(&stamps, dir);
    char *end = strchr(text, '\n');
    bool known = strncmp(text, TITLE, strlen(TITLE)) == 0 && end && stamps.data && strcmp(end + 1, stamps.data) == 0;
    if (known && reason) {
        *end = '\0';
        *reason = ts_strdup(text + strlen(TITLE));
    }
    ts_text_free(&stamps);
    ts_free(text);
    return known;
}
