/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/shared.h"

#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "comm/group_internal.h"
#include "comm/request.h"
#include "comm/window.h"

/* A buffer of this process; its window is also in the list of windows, where collectives look. */
typedef struct Buffer {
    TsWindow *window;
    struct Buffer *next;
} Buffer;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Buffer *buffers;

void *ts_shared_alloc(TsGroup *group, size_t size_bytes)
{
    TsWatch watch = ts_request_meet(group, TS_COMM_SHARED_ALLOC, "shared alloc");
    Buffer *buffer = ts_calloc(1, sizeof *buffer);
    buffer->window = ts_window_create(group, size_bytes);
    void *data = buffer->window->base[buffer->window->index];
    memset(data, 0, size_bytes); /* its pages come to this rank's memory */
    TS_MPI(MPI_Barrier(group->node_comm));
    pthread_mutex_lock(&lock);
    buffer->next = buffers;
    buffers = buffer;
    pthread_mutex_unlock(&lock);
    ts_watch_end(&watch);
    ts_resource_count(TS_RESOURCE_SHARED_BUFFER, 1);
    return data;
}

void ts_shared_free(void *data)
{
    if (!data)
        return;
    pthread_mutex_lock(&lock);
    Buffer **link = &buffers;
    while (*link && (*link)->window->base[(*link)->window->index] != data)
        link = &(*link)->next;
    Buffer *buffer = *link;
    if (buffer)
        *link = buffer->next;
    pthread_mutex_unlock(&lock);
    TS_CHECK(buffer, "ts_shared_free of memory that is not from ts_shared_alloc");
    TsGroup *group = buffer->window->group;
    TsWatch watch = ts_request_meet(group, TS_COMM_SHARED_ALLOC, "shared free");
    ts_window_free(&buffer->window);
    ts_free(buffer);
    ts_watch_end(&watch);
    ts_resource_count(TS_RESOURCE_SHARED_BUFFER, -1);
}

void ts_shared_expect_none(const TsGroup *group)
{
    pthread_mutex_lock(&lock);
    const Buffer *buffer = buffers;
    while (buffer && buffer->window->group != group)
        buffer = buffer->next;
    pthread_mutex_unlock(&lock);
    TS_CHECK(!buffer, "group %s is freed before a shared buffer that was made with it", group->name);
}
