/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/watch_internal.h"

enum { TAG_REPORT = 1, TAG_QUERY, TAG_ANSWER };
enum { CANDIDATES = 6 }; /* who may be asked to inquire, in turn */

/* A message on its way; freed once it left. */
typedef struct Outgoing {
    struct Outgoing *next;
    MPI_Request request;
    char bytes[];
} Outgoing;

typedef enum Phase { PHASE_QUIET, PHASE_GATHERING, PHASE_ASKING } Phase;

/* All but `stop` belongs to the thread while it runs. */
static struct {
    MPI_Comm comm; /* owned */
    int rank, size;
    double limit_s, tick_s, grace_s;
    char (*host)[TS_WATCH_HOST]; /* (size) owned */
    int candidate[CANDIDATES];
    Outgoing *outgoing;

    uint64_t seen_activity;
    double idle_s;                  /* since this rank's activity moved */
    uint64_t seen[TS_WATCH_SLOTS];  /* progress of each wait when last looked at */
    double still_s[TS_WATCH_SLOTS]; /* for how long it has not moved */

    double report_in_s; /* until this rank reports its stalled waits again */
    int reports;        /* since the last query came: moves on to the next candidate */

    Phase phase; /* as inquirer */
    double phase_left_s;
    TsWatchQuery query;
    int answered;
    TsWatchAnswer *answers; /* (size) owned; NULL but while asking */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, stop;
} self = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void send_message(int to, int tag, const void *message, size_t size_bytes)
{
    Outgoing *out = ts_alloc(sizeof *out + size_bytes);
    memcpy(out->bytes, message, size_bytes);
    TS_MPI(MPI_Isend(out->bytes, (int)size_bytes, MPI_BYTE, to, tag, self.comm, &out->request));
    out->next = self.outgoing;
    self.outgoing = out;
}

static void free_what_left(void)
{
    for (Outgoing **link = &self.outgoing; *link;) {
        Outgoing *out = *link;
        int done = 0;
        TS_MPI(MPI_Test(&out->request, &done, MPI_STATUS_IGNORE));
        if (!done) {
            link = &out->next;
            continue;
        }
        *link = out->next;
        ts_free(out);
    }
}

/* As inquirer: one more wait to ask about. Reports that come while others are asked about come again later. */
static void note_report(const TsWatchWait *wait)
{
    if (self.phase == PHASE_ASKING)
        return;
    if (self.phase == PHASE_QUIET) {
        self.phase = PHASE_GATHERING;
        self.phase_left_s = 3 * self.tick_s; /* those who stalled together notice within a tick */
        self.query.count = 0;
    }
    for (int q = 0; q < self.query.count; q++) {
        const TsWatchWait *known = &self.query.wait[q];
        if (ts_watch_same_wait(known, wait))
            return;
    }
    if (self.query.count < TS_WATCH_QUESTIONS)
        self.query.wait[self.query.count++] = *wait;
}

static void answer_query(const TsWatchQuery *query, int inquirer)
{
    TsWatchAnswer answer = {.number = query->number, .idle_s = self.idle_s};
    ts_watch_answer(&answer, query);
    self.reports = 0;
    send_message(inquirer, TAG_ANSWER, &answer, sizeof answer);
}

static void take_answer(const TsWatchAnswer *answer, int from)
{
    if (self.phase != PHASE_ASKING || answer->number != self.query.number || self.answers[from].number != 0)
        return;
    self.answers[from] = *answer;
    self.answered++;
}

static void receive_messages(void)
{
    for (;;) {
        int there = 0;
        MPI_Status status;
        TS_MPI(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, self.comm, &there, &status));
        if (!there)
            return;
        union {
            TsWatchWait wait;
            TsWatchQuery query;
            TsWatchAnswer answer;
        } message;
        TS_MPI(MPI_Recv(&message, (int)sizeof message, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, self.comm,
                        MPI_STATUS_IGNORE));
        if (status.MPI_TAG == TAG_REPORT)
            note_report(&message.wait);
        else if (status.MPI_TAG == TAG_QUERY)
            answer_query(&message.query, status.MPI_SOURCE);
        else
            take_answer(&message.answer, status.MPI_SOURCE);
    }
}

/* Adds the time since the last look to what stands still. True if a wait has for the limit. */
static bool look(double passed_s)
{
    uint64_t now = ts_watch_activity();
    self.idle_s = now == self.seen_activity ? self.idle_s + passed_s : 0;
    self.seen_activity = now;
    bool stalled = false;
    for (int i = 0; i < TS_WATCH_SLOTS; i++) {
        uint64_t progress;
        bool waits = ts_watch_slot(i, &progress);
        self.still_s[i] = waits && progress == self.seen[i] ? self.still_s[i] + passed_s : 0;
        self.seen[i] = progress;
        stalled = stalled || self.still_s[i] >= self.limit_s;
    }
    return stalled;
}

static void report(void)
{
    int to = self.candidate[self.reports++ % CANDIDATES];
    self.report_in_s = 5 * self.tick_s + self.grace_s; /* long enough for a query to come */
    for (int i = 0; i < TS_WATCH_SLOTS; i++) {
        TsWatchWait wait;
        if (self.still_s[i] < self.limit_s || !ts_watch_describe(i, &wait))
            continue;
        if (to == self.rank)
            note_report(&wait);
        else
            send_message(to, TAG_REPORT, &wait, sizeof wait);
    }
}

static void ask_all(void)
{
    self.phase = PHASE_ASKING;
    self.phase_left_s = self.grace_s;
    self.query.number++;
    self.answered = 0;
    self.answers = ts_calloc((size_t)self.size, sizeof *self.answers);
    for (int r = 0; r < self.size; r++)
        send_message(r, TAG_QUERY, &self.query, sizeof self.query);
}

static void inquire(double passed_s)
{
    if (self.phase == PHASE_QUIET)
        return;
    self.phase_left_s -= passed_s;
    bool all = self.phase == PHASE_ASKING && self.answered == self.size;
    if (self.phase_left_s > 0 && !all)
        return;
    if (self.phase == PHASE_GATHERING) {
        ask_all();
        return;
    }
    ts_runtime_end_within(TS_EXIT_WATCHDOG, 30); /* also where printing hangs: a full pipe, a lock never given back */
    bool in_vain =
        ts_watch_judge(&self.query, self.answers, (const char(*)[TS_WATCH_HOST])self.host, self.size, self.limit_s);
    ts_free(self.answers);
    self.answers = NULL;
    self.phase = PHASE_QUIET;
    if (in_vain)
        ts_abort_job(TS_EXIT_WATCHDOG);
    ts_runtime_end_within(0, 0);
}

/* Seconds on a clock that neither jumps nor runs while the machine sleeps. */
static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Sleeps for a tick; false once it is time to stop. */
static bool sleep_a_tick(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)(self.tick_s * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&self.lock);
    while (!self.stop && pthread_cond_timedwait(&self.wake, &self.lock, &until) == 0) {
    }
    bool go_on = !self.stop;
    pthread_mutex_unlock(&self.lock);
    return go_on;
}

static void *watch(void *unused)
{
    (void)unused;
    double last_s = now_s();
    while (sleep_a_tick()) {
        /* A job that was suspended as a whole has not stood still: at most two ticks count a look. */
        double passed_s = now_s() - last_s;
        last_s += passed_s;
        passed_s = passed_s < 2 * self.tick_s ? passed_s : 2 * self.tick_s;
        bool stalled = look(passed_s);
        receive_messages();
        self.report_in_s -= passed_s;
        if (!stalled)
            self.report_in_s = 0;
        else if (self.report_in_s <= 0)
            report();
        inquire(passed_s);
        free_what_left();
    }
    return NULL;
}

/* Rank 0; another rank of its node, in case it is stopped; those of other nodes, in case its host is out of reach;
 * at last this rank itself. */
static void choose_candidates(const TsGroup *world)
{
    int here = world->node_of[world->rank];
    const int chosen[CANDIDATES] = {0,
                                    1 % self.size,
                                    ts_group_rank_at(world, 1 % world->nodes, 0),
                                    ts_group_rank_at(world, 2 % world->nodes, 0),
                                    ts_group_rank_at(world, here, 0),
                                    self.rank};
    int kept = 0;
    for (int i = 0; i < CANDIDATES; i++) {
        bool known = false;
        for (int k = 0; k < kept; k++)
            known = known || self.candidate[k] == chosen[i];
        if (!known)
            self.candidate[kept++] = chosen[i];
    }
    for (int k = kept; k < CANDIDATES; k++) /* round again */
        self.candidate[k] = self.candidate[k % kept];
}

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

void ts_watch_thread_start(const TsGroup *world, double limit_s)
{
    if (world->size == 1 || limit_s <= 0)
        return; /* nobody to wait for; off */
    self.rank = world->rank;
    self.size = world->size;
    self.limit_s = limit_s;
    self.tick_s = clamp(limit_s / 10, 0.1, 1);
    self.grace_s = clamp(limit_s / 10, 2, 10);
    TS_MPI(MPI_Comm_dup(world->comm, &self.comm));
    self.host = ts_calloc((size_t)self.size, sizeof *self.host);
    char host[TS_WATCH_HOST];
    memset(host, 0, sizeof host);
    snprintf(host, sizeof host, "%s", ts_log_host());
    TS_MPI(MPI_Allgather(host, TS_WATCH_HOST, MPI_CHAR, self.host, TS_WATCH_HOST, MPI_CHAR, self.comm));
    choose_candidates(world);

    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&self.wake, &clock);
    pthread_condattr_destroy(&clock);
    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&self.thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    TS_CHECK(failed == 0, "no thread for the watchdog: %s", strerror(failed));
    pthread_setname_np(self.thread, "ts-watchdog");
    self.running = true;
}

void ts_watch_thread_stop(void)
{
    if (!self.running)
        return;
    pthread_mutex_lock(&self.lock);
    self.stop = true;
    pthread_cond_signal(&self.wake);
    pthread_mutex_unlock(&self.lock);
    pthread_join(self.thread, NULL);
    self.running = false;
    while (self.outgoing)
        free_what_left();
    ts_free(self.answers);
    self.answers = NULL;
    ts_free(self.host);
    pthread_cond_destroy(&self.wake);
    TS_MPI(MPI_Comm_free(&self.comm));
}
