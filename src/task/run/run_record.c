/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/run_record.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/version.h"
#include "task/run/hosts.h"

/* "2026-01-31T12:00:00Z" */
static json_t *time_now(void)
{
    char text[32];
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return json_string(text);
}

/* [{"host": NAME, "ranks": N}, ...] in the order of ranks. Collective. */
static json_t *gather_hosts(TsGroup *group)
{
    TsHosts *named = ts_hosts_create(group);
    json_t *hosts = json_array();
    for (int r = 0; r < named->ranks; r++) {
        const char *name = named->name[r];
        json_t *last = json_array_get(hosts, json_array_size(hosts) - 1); /* NULL where there is none */
        const char *before = json_string_value(json_object_get(last, "host"));
        if (before && strcmp(before, name) == 0)
            json_object_set_new(last, "ranks", json_integer(json_integer_value(json_object_get(last, "ranks")) + 1));
        else
            json_array_append_new(hosts, json_pack("{s:s, s:i}", "host", name, "ranks", 1));
    }
    ts_hosts_free(&named);
    return hosts;
}

/* What the file holds; a new one where it is not there, or is not ours. */
static json_t *read_record(const char *run_dir)
{
    char *path = ts_format("%s/run.json", run_dir), *bytes = NULL;
    size_t size_bytes = 0;
    json_t *record = NULL;
    if (ts_file_exists(path)) {
        TsStatus status = ts_file_read(&bytes, &size_bytes, path, (size_t)1 << 24);
        record = status ? NULL : json_loadb(bytes, size_bytes, 0, NULL);
        ts_status_free(&status);
        ts_free(bytes);
    }
    ts_free(path);
    if (!json_is_array(json_object_get(record, "starts"))) {
        json_decref(record);
        record = json_pack("{s:[]}", "starts");
    }
    return record;
}

static TsStatus write_record(const char *run_dir, const json_t *record)
{
    char *path = ts_format("%s/run.json", run_dir), *text = json_dumps(record, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    TsStatus status = ts_file_write(path, text, strlen(text));
    free(text); /* jansson's */
    ts_free(path);
    return status;
}

static json_t *newest_start(const json_t *record)
{
    json_t *starts = json_object_get(record, "starts");
    return json_array_get(starts, json_array_size(starts) - 1);
}

TsStatus ts_run_record_begin(TsRunStart start)
{
    TsGroup *group = ts_mesh_all(start.mesh);
    json_t *hosts = gather_hosts(group);
    TsStatus status = TS_OK;
    if (ts_group_rank(group) == 0) {
        json_t *record = read_record(start.run_dir);
        json_array_append_new(json_object_get(record, "starts"),
                              json_pack("{s:s, s:s, s:o, s:I, s:s, s:i, s:O}", "version", ts_version(), "commit",
                                        ts_version_commit(), "began", time_now(), "from_step", (json_int_t)start.step,
                                        "mesh", ts_mesh_text(ts_mesh_shape(start.mesh)).text, "threads", start.threads,
                                        "hosts", hosts));
        status = write_record(start.run_dir, record);
        json_decref(record);
    }
    json_decref(hosts);
    return ts_comm_agree(group, status);
}

void ts_run_record_end(const char *run_dir, const char *outcome)
{
    json_t *record = read_record(run_dir), *start = newest_start(record);
    json_object_set_new(start, "ended", time_now());
    json_object_set_new(start, "outcome", json_string(outcome));
    TsStatus status = start ? write_record(run_dir, record) : TS_OK;
    if (status)
        ts_log(TS_LOG_WARNING, "%s", ts_status_message(status));
    ts_status_free(&status);
    json_decref(record);
}

bool ts_run_record_ended(const char *run_dir)
{
    json_t *record = read_record(run_dir);
    bool ended = json_object_get(newest_start(record), "ended") != NULL;
    json_decref(record);
    return ended;
}
