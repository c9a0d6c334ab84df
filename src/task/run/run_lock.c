/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

static const size_t lock_limit_bytes = 4096;
static const double patience_s = 3; /* for a holder that is ending */

/* What a lock says of its holder. */
typedef struct Holder {
    char host[256], kernel[128], job[64], token[33];
    long long process;
    unsigned long long started;
} Holder;

struct TsRunLock {
    char *path, *own_path; /* RUN/lock, and a name beside it that is this process's alone */
    Holder holder;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t ended; /* with `ending` */
    bool ending;
    atomic_bool lost;
    bool renewal_failed; /* said once */
};

/* ---- processes ---- */

/* Whether the process is there and not just waiting to be buried; *started is when it began, in the kernel's ticks. */
static bool process_lives(long long process, unsigned long long *started)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", process);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = '\0';
    const char *fields = strrchr(text, ')'); /* the name before it may hold anything */
    char state = 'X';
    if (!fields ||
        sscanf(fields + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state,
               started) != 2)
        return false;
    return state != 'Z' && state != 'X';
}

/* The machine's start and this process's space of processes: where they are equal, process numbers mean the same. */
static void read_kernel(char *out, size_t out_bytes)
{
    char boot[64] = "", space[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!file || fscanf(file, "%63s", boot) != 1)
        boot[0] = '\0';
    if (file)
        fclose(file);
    ssize_t length = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[length > 0 ? length : 0] = '\0';
    snprintf(out, out_bytes, "%s-%s", boot[0] ? boot : "unknown", space);
}

static Holder describe_self(void)
{
    Holder self = {.process = getpid()};
    const char *job = getenv("SLURM_JOB_ID");
    uint64_t token = 0;
    TS_CHECK(getrandom(&token, sizeof token, 0) == sizeof token, "no random number: %s", strerror(errno));
    process_lives(self.process, &self.started);
    snprintf(self.host, sizeof self.host, "%s", ts_log_host());
    read_kernel(self.kernel, sizeof self.kernel);
    snprintf(self.job, sizeof self.job, "%.63s", job && job[0] && !strpbrk(job, " \n\t") ? job : "-");
    snprintf(self.token, sizeof self.token, "%016" PRIx64, token);
    return self;
}

/* ---- the file ---- */

static char *holder_text(const Holder *holder)
{
    return ts_format("tessera run lock 1\nhost %s\nprocess %lld started %llu\nkernel %s\njob %s\ntoken %s\n",
                     holder->host, holder->process, holder->started, holder->kernel, holder->job, holder->token);
}

static bool parse_holder(Holder *holder, const char *text)
{
    *holder = (Holder){0};
    return sscanf(text,
                  "tessera run lock 1\nhost %255s\nprocess %lld started %llu\nkernel %127s\njob %63s\ntoken %32s\n",
                  holder->host, &holder->process, &holder->started, holder->kernel, holder->job, holder->token) == 6;
}

/* Reads the lock at `path`: false where there is none. One that cannot be read says of its holder nothing but its age,
 * with an empty token. */
static bool read_lock(Holder *holder, double *age_s, const char *path)
{
    struct stat found;
    struct timespec now;
    *holder = (Holder){0};
    int file = open(path, O_RDONLY | O_CLOEXEC); /* opened anew: network file systems then look at the server */
    if (file < 0 && errno == ENOENT)
        return false;
    char text[lock_limit_bytes];
    ssize_t bytes = file >= 0 ? read(file, text, sizeof text - 1) : -1;
    bool known = file >= 0 && fstat(file, &found) == 0;
    if (file >= 0)
        close(file);
    clock_gettime(CLOCK_REALTIME, &now);
    *age_s =
        known ? (double)(now.tv_sec - found.st_mtim.tv_sec) + 1e-9 * (double)(now.tv_nsec - found.st_mtim.tv_nsec) : 0;
    text[bytes > 0 ? bytes : 0] = '\0';
    if (!parse_holder(holder, text))
        *holder = (Holder){0};
    return true;
}

static bool same_token(const Holder *a, const Holder *b)
{
    return strcmp(a->token, b->token) == 0;
}

/* ---- whose it is ---- */

/* Whether `self` may take the lock of `holder` over, and why. */
static bool may_take_over(const char **why, const Holder *holder, double age_s, const Holder *self)
{
    bool seen = holder->token[0] && strcmp(holder->host, self->host) == 0 && strcmp(holder->kernel, self->kernel) == 0;
    unsigned long long started = 0;
    if (seen) {
        *why = "is gone";
        return !process_lives(holder->process, &started) || started != holder->started;
    }
    if (holder->token[0] && strcmp(self->job, "-") != 0 && strcmp(holder->job, self->job) == 0) {
        *why = "was an earlier start of this job";
        return true;
    }
    *why = "has not renewed its lock in time";
    return age_s > TS_RUN_LOCK_LEASE_S;
}

static TsStatus in_use(const TsRunLock *lock, const Holder *holder, double age_s)
{
    char *dir = ts_file_directory(lock->path);
    TsStatus status =
        holder->token[0]
            ? ts_status_error(TS_CODE_INVALID,
                              "%s: in use by a run on host %s, process %lld, Slurm job %s, which renewed its lock %.0f "
                              "s ago: end that run, or give another run.dir",
                              dir, holder->host, holder->process, holder->job[0] == '-' ? "none" : holder->job, age_s)
            : ts_status_error(
                  TS_CODE_INVALID,
                  "%s: cannot be read, and does not say who uses the directory; where nobody does, remove it",
                  lock->path);
    ts_free(dir);
    return status;
}

/* Takes the name away from a lock that may be taken over. Two that do so at once cannot both have it: who finds that it
 * took away another lock than it had looked at puts it back. */
static bool take_away(const TsRunLock *lock, const Holder *stale)
{
    Holder taken;
    double age_s;
    if (rename(lock->path, lock->own_path) != 0)
        return false;
    bool right = read_lock(&taken, &age_s, lock->own_path) && same_token(&taken, stale);
    if (!right && link(lock->own_path, lock->path) != 0)
        ts_log(TS_LOG_WARNING, "%s: cannot be put back: %s", lock->path, strerror(errno));
    unlink(lock->own_path);
    return right;
}

/* Makes the file, whole or not at all, where there is none. *made tells; errors are those of the file system. */
static TsStatus make_file(bool *made, const TsRunLock *lock)
{
    struct stat own;
    char *text = holder_text(&lock->holder);
    TsStatus status = ts_file_write(lock->own_path, text, strlen(text));
    ts_free(text);
    *made = false;
    TS_TRY(status);
    bool linked = link(lock->own_path, lock->path) == 0;
    int reason = errno;
    /* A network file system may have done it and lost the answer. */
    *made = linked || (stat(lock->own_path, &own) == 0 && own.st_nlink == 2);
    if (!*made && reason != EEXIST) { /* no links here: a rename where nothing is */
        *made = !ts_file_exists(lock->path) && rename(lock->own_path, lock->path) == 0;
        if (!*made)
            status = ts_status_error(TS_CODE_IO, "%s: cannot be made: %s", lock->path, strerror(reason));
    }
    unlink(lock->own_path);
    return status;
}

/* One attempt: takes the lock, or tells who has it. */
static TsStatus try_take(bool *taken, Holder *holder, double *age_s, const TsRunLock *lock)
{
    const char *why = NULL;
    *taken = false;
    if (read_lock(holder, age_s, lock->path)) {
        if (!may_take_over(&why, holder, *age_s, &lock->holder) || !take_away(lock, holder))
            return TS_OK;
        ts_log(TS_LOG_WARNING, "%s: taken over from host %s, process %lld, Slurm job %s, which %s", lock->path,
               holder->token[0] ? holder->host : "unknown", holder->process,
               holder->job[0] && holder->job[0] != '-' ? holder->job : "none", why);
    }
    return make_file(taken, lock);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static TsStatus take_patiently(const TsRunLock *lock)
{
    static const struct timespec pause = {.tv_nsec = 100000000};
    double until_s = now_s() + patience_s, age_s = 0;
    Holder holder = {0};
    for (bool taken = false;;) {
        TS_TRY(try_take(&taken, &holder, &age_s, lock));
        if (taken)
            return TS_OK;
        if (now_s() > until_s)
            return in_use(lock, &holder, age_s);
        nanosleep(&pause, NULL);
    }
}

/* ---- the lease ---- */

static void renew(TsRunLock *lock)
{
    Holder there;
    double age_s;
    if (!read_lock(&there, &age_s, lock->path) || (there.token[0] && !same_token(&there, &lock->holder))) {
        atomic_store(&lock->lost, true);
        return;
    }
    bool failed = !there.token[0] || utimensat(AT_FDCWD, lock->path, NULL, 0) != 0;
    if (failed && !lock->renewal_failed)
        ts_log(TS_LOG_WARNING, "%s: cannot be renewed: %s", lock->path, strerror(errno));
    lock->renewal_failed = failed;
}

static void *renew_until_end(void *argument)
{
    TsRunLock *lock = argument;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&lock->mutex);
    while (!lock->ending) {
        next.tv_sec += TS_RUN_LOCK_RENEW_S;
        while (!lock->ending && pthread_cond_timedwait(&lock->ended, &lock->mutex, &next) != ETIMEDOUT)
            ;
        if (lock->ending || atomic_load(&lock->lost))
            continue;
        pthread_mutex_unlock(&lock->mutex);
        renew(lock);
        pthread_mutex_lock(&lock->mutex);
        clock_gettime(CLOCK_MONOTONIC, &next);
    }
    pthread_mutex_unlock(&lock->mutex);
    return NULL;
}

static void start_renewing(TsRunLock *lock)
{
    sigset_t all, before;
    pthread_condattr_t attributes;
    pthread_mutex_init(&lock->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&lock->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int failure = pthread_create(&lock->thread, NULL, renew_until_end, lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    TS_CHECK(failure == 0, "no thread to renew a lock: %s", strerror(failure));
}

/* ---- */

static void lock_free(TsRunLock **lock)
{
    ts_free((*lock)->path);
    ts_free((*lock)->own_path);
    ts_free(*lock);
    *lock = NULL;
}

TsStatus ts_run_lock_take(TsRunLock **lock, const char *run_dir)
{
    TsRunLock *made = ts_calloc(1, sizeof *made);
    made->holder = describe_self();
    made->path = ts_format("%s/lock", run_dir);
    made->own_path = ts_format("%s/lock.%s", run_dir, made->holder.token);
    TsStatus status = take_patiently(made);
    if (status)
        lock_free(&made);
    else
        start_renewing(made);
    *lock = made;
    return status;
}

bool ts_run_lock_lost(const TsRunLock *lock)
{
    return atomic_load(&lock->lost);
}

void ts_run_lock_release(TsRunLock **lock)
{
    if (!*lock)
        return;
    TsRunLock *held = *lock;
    pthread_mutex_lock(&held->mutex);
    held->ending = true;
    pthread_cond_signal(&held->ended);
    pthread_mutex_unlock(&held->mutex);
    pthread_join(held->thread, NULL);
    pthread_cond_destroy(&held->ended);
    pthread_mutex_destroy(&held->mutex);
    Holder there;
    double age_s;
    if (read_lock(&there, &age_s, held->path) && same_token(&there, &held->holder))
        take_away(held, &held->holder);
    lock_free(lock);
}
