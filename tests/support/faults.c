/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that fails, in LD_PRELOAD: counts what a process does to files below a directory named `checkpoints`, and does
 * something at one of these operations; or writes them all down, for a test that cuts the power.
 *
 *   FAULT_RANK=1        only in this rank of the job (OMPI_COMM_WORLD_RANK); without it, in all
 *   FAULT_ON=STAGE      counts only operations of this stage, as FAULT_LOG names it: "rename STEP.tmp/COMMIT.tmp.N"
 *   FAULT_AT=17         at the 17th operation; without it, at none
 *   FAULT_KEEPS=1       and at all that follow
 *   FAULT=WORD          what happens:
 *     kill kill-all kill-launcher     SIGKILL to this process, to all ranks of this host, to their launcher
 *     enospc eio erofs                the operation fails; of a full disk only what takes space
 *     short                           a write writes half of what it should
 *     flip                            a write writes one bit wrong
 *     truncate                        the file loses its last half, silently
 *     vanish                          the directory of the checkpoint is moved away
 *     clock                           from then on the clock of the day runs an hour behind
 *   FAULT_LOG=FILE      one line is appended for each operation: its number and stage
 *   FAULT_RECORD=FILE   each operation is appended with all its data (power_cut.py reads it)
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 4096, PATH_BYTES = 512 };

static char paths[FILES][PATH_BYTES]; /* of open files that count; "" of others */
static atomic_int operations;
static atomic_bool clock_is_behind;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static bool counts(const char *path)
{
    return path && strstr(path, "/checkpoints") != NULL;
}

static const char *path_of(int file)
{
    return file >= 0 && file < FILES && paths[file][0] ? paths[file] : NULL;
}

/* ---- what is written down ---- */

static void append(const char *variable, const void *data, size_t bytes)
{
    const char *path = getenv(variable);
    int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (file < 0)
        return;
    (void)!syscall(SYS_write, file, data, bytes);
    syscall(SYS_close, file);
}

/* "WORD\tPATH\tOTHER\tOFFSET\tBYTES\n" and so many bytes of data. */
static void record(const char *word, const char *path, const char *other, long long offset, const void *data,
                   size_t bytes)
{
    char head[3 * PATH_BYTES];
    if (!getenv("FAULT_RECORD"))
        return;
    int length = snprintf(head, sizeof head, "%s\t%s\t%s\t%lld\t%zu\n", word, path, other, offset, data ? bytes : 0);
    char *whole = malloc((size_t)length + bytes);
    memcpy(whole, head, (size_t)length);
    if (data)
        memcpy(whole + length, data, bytes);
    append("FAULT_RECORD", whole, (size_t)length + (data ? bytes : 0));
    free(whole);
}

/* ---- what happens ---- */

static void kill_siblings(void)
{
    char path[64], text[4096] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", getppid(), getppid());
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    if (file >= 0)
        (void)!syscall(SYS_read, file, text, sizeof text - 1);
    for (char *at = text, *end; *at; at = end) {
        long process = strtol(at, &end, 10);
        if (end == at)
            break;
        if (process > 1 && process != getpid())
            kill((pid_t)process, SIGKILL);
    }
}

/* Moves the directory away that `path` is in. */
static void vanish(const char *path)
{
    char dir[PATH_BYTES], away[PATH_BYTES + 16];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (!slash || !strstr(dir, "/checkpoints/step_") || slash < strstr(dir, "/step_"))
        return;
    *slash = '\0';
    snprintf(away, sizeof away, "%s.gone", dir);
    syscall(SYS_rename, dir, away);
}

typedef enum Verdict { AS_USUAL, FAILS, HALF, WRONG } Verdict;

/* "WORD STEP.tmp/COMMIT.tmp.N": the path below `checkpoints`, without the numbers of steps and processes. */
static void name_stage(char *out, size_t out_bytes, const char *word, const char *path)
{
    const char *from = strstr(path, "/checkpoints");
    from += strlen("/checkpoints");
    from += *from == '/';
    if (strncmp(from, "step_", 5) == 0) {
        from += 5 + strspn(from + 5, "0123456789");
        snprintf(out, out_bytes, "%s STEP%s", word, from);
    } else {
        snprintf(out, out_bytes, "%s %s", word, *from ? from : "checkpoints");
    }
    size_t end = strlen(out);
    while (end > 0 && out[end - 1] >= '0' && out[end - 1] <= '9')
        end--;
    if (end > 0 && out[end] && out[end - 1] == '.')
        snprintf(out + end, out_bytes - end, "N");
}

/* Counts an operation, and says what becomes of it; errno is set where it fails. */
static Verdict operate(const char *word, const char *path)
{
    const char *rank = getenv("FAULT_RANK"), *mine = getenv("OMPI_COMM_WORLD_RANK"), *on = getenv("FAULT_ON");
    char stage[2 * PATH_BYTES], line[2 * PATH_BYTES + 32];
    if (rank && strcmp(rank, mine ? mine : "0") != 0)
        return AS_USUAL;
    name_stage(stage, sizeof stage, word, path);
    if (on && strcmp(on, stage) != 0)
        return AS_USUAL;
    int number = atomic_fetch_add(&operations, 1) + 1;
    int length = snprintf(line, sizeof line, "%d %s\n", number, stage);
    append("FAULT_LOG", line, (size_t)length);
    const char *at = getenv("FAULT_AT"), *fault = getenv("FAULT");
    if (!at || !fault || (getenv("FAULT_KEEPS") ? number < atoi(at) : number != atoi(at)))
        return AS_USUAL;
    if (strcmp(fault, "kill-all") == 0)
        kill_siblings();
    if (strcmp(fault, "kill-launcher") == 0)
        kill(getppid(), SIGKILL);
    if (strncmp(fault, "kill", 4) == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(fault, "vanish") == 0)
        vanish(path);
    if (strcmp(fault, "clock") == 0)
        atomic_store(&clock_is_behind, true);
    if (strcmp(fault, "truncate") == 0) {
        struct stat found;
        if (stat(path, &found) == 0 && S_ISREG(found.st_mode))
            syscall(SYS_truncate, path, found.st_size / 2);
    }
    bool takes_space = strcmp(word, "write") == 0 || strcmp(word, "grow") == 0 || strcmp(word, "create") == 0 ||
                       strcmp(word, "mkdir") == 0;
    if (strcmp(fault, "enospc") == 0 && !takes_space)
        return AS_USUAL;
    errno = strcmp(fault, "enospc") == 0 ? ENOSPC : strcmp(fault, "eio") == 0 ? EIO : EROFS;
    if (strcmp(fault, "enospc") == 0 || strcmp(fault, "eio") == 0 || strcmp(fault, "erofs") == 0)
        return FAILS;
    return strcmp(fault, "short") == 0 ? HALF : strcmp(fault, "flip") == 0 ? WRONG : AS_USUAL;
}

/* ---- opening ---- */

static int opened(int file, const char *path, int flags)
{
    if (file < 0 || file >= FILES)
        return file;
    snprintf(paths[file], PATH_BYTES, "%s", counts(path) ? path : "");
    if (counts(path) && flags & (O_CREAT | O_TRUNC))
        record(flags & O_TRUNC ? "create-empty" : "create", path, "", 0, NULL, 0);
    return file;
}

#define OPEN(name, ...)                                                                                                \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode = va_arg(arguments, mode_t);                                                                              \
        va_end(arguments);                                                                                             \
    }                                                                                                                  \
    if (counts(path) && flags & (O_CREAT | O_TRUNC) && operate("create", path) == FAILS)                               \
        return -1;                                                                                                     \
    return opened(REAL(name)(__VA_ARGS__ path, flags, mode), path, flags);

int open(const char *path, int flags, ...)
{
    OPEN(open, )
}

int open64(const char *path, int flags, ...)
{
    OPEN(open64, )
}

int openat(int dir, const char *path, int flags, ...)
{
    OPEN(openat, dir, )
}

int openat64(int dir, const char *path, int flags, ...)
{
    OPEN(openat64, dir, )
}

int close(int file)
{
    if (file >= 0 && file < FILES)
        paths[file][0] = '\0';
    return REAL(close)(file);
}

/* ---- writing ---- */

/* Writes at an offset, or where the file stands for -1. */
static ssize_t write_out(int file, const void *data, size_t bytes, off_t offset)
{
    const char *path = path_of(file);
    Verdict verdict = path ? operate("write", path) : AS_USUAL;
    char *wrong = NULL;
    if (verdict == FAILS)
        return -1;
    if (verdict == HALF && bytes > 1)
        bytes /= 2;
    if (verdict == WRONG && bytes > 0) {
        wrong = malloc(bytes);
        memcpy(wrong, data, bytes);
        wrong[bytes / 2] ^= 16;
        data = wrong;
    }
    off_t at = offset < 0 && path ? lseek(file, 0, SEEK_CUR) : offset;
    ssize_t written =
        offset < 0 ? syscall(SYS_write, file, data, bytes) : syscall(SYS_pwrite64, file, data, bytes, offset);
    if (path && written > 0)
        record("write", path, "", (long long)at, data, (size_t)written);
    free(wrong);
    return written;
}

ssize_t write(int file, const void *data, size_t bytes)
{
    return write_out(file, data, bytes, -1);
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t offset)
{
    return write_out(file, data, bytes, offset);
}

ssize_t pwrite64(int file, const void *data, size_t bytes, off_t offset)
{
    return write_out(file, data, bytes, offset);
}

static ssize_t write_vector(int file, const struct iovec *vector, int count, off_t offset)
{
    ssize_t all = 0;
    for (int i = 0; i < count; i++) {
        ssize_t written = write_out(file, vector[i].iov_base, vector[i].iov_len, offset < 0 ? -1 : offset + all);
        if (written < 0)
            return all > 0 ? all : -1;
        all += written;
        if ((size_t)written < vector[i].iov_len)
            break;
    }
    return all;
}

ssize_t writev(int file, const struct iovec *vector, int count)
{
    return path_of(file) ? write_vector(file, vector, count, -1) : REAL(writev)(file, vector, count);
}

ssize_t pwritev(int file, const struct iovec *vector, int count, off_t offset)
{
    return path_of(file) ? write_vector(file, vector, count, offset) : REAL(pwritev)(file, vector, count, offset);
}

ssize_t pwritev64(int file, const struct iovec *vector, int count, off_t offset)
{
    return path_of(file) ? write_vector(file, vector, count, offset) : REAL(pwritev64)(file, vector, count, offset);
}

#define ON_FILE(word, call, ...)                                                                                       \
    const char *path = path_of(file);                                                                                  \
    if (path && operate(word, path) == FAILS)                                                                          \
        return -1;                                                                                                     \
    int result = (int)(call);                                                                                          \
    if (path && result == 0)                                                                                           \
        record(word, path, "", __VA_ARGS__);                                                                           \
    return result;

int ftruncate(int file, off_t bytes)
{
    ON_FILE("resize", syscall(SYS_ftruncate, file, bytes), (long long)bytes, NULL, 0)
}

int ftruncate64(int file, off_t bytes)
{
    ON_FILE("resize", syscall(SYS_ftruncate, file, bytes), (long long)bytes, NULL, 0)
}

int fallocate(int file, int mode, off_t offset, off_t bytes)
{
    ON_FILE("grow", syscall(SYS_fallocate, file, mode, offset, bytes), (long long)(offset + bytes), NULL, 0)
}

int fallocate64(int file, int mode, off_t offset, off_t bytes)
{
    ON_FILE("grow", syscall(SYS_fallocate, file, mode, offset, bytes), (long long)(offset + bytes), NULL, 0)
}

int fsync(int file)
{
    ON_FILE("sync", syscall(SYS_fsync, file), 0, NULL, 0)
}

int fdatasync(int file)
{
    ON_FILE("sync", syscall(SYS_fdatasync, file), 0, NULL, 0)
}

/* ---- names ---- */

#define ON_NAME(word, named, other, call)                                                                              \
    if (counts(named) && operate(word, named) == FAILS)                                                                \
        return -1;                                                                                                     \
    int result = (int)(call);                                                                                          \
    if (counts(named) && result == 0)                                                                                  \
        record(word, named, other, 0, NULL, 0);                                                                        \
    return result;

int mkdir(const char *path, mode_t mode)
{
    ON_NAME("mkdir", path, "", syscall(SYS_mkdir, path, mode))
}

int rmdir(const char *path)
{
    ON_NAME("rmdir", path, "", syscall(SYS_rmdir, path))
}

int unlink(const char *path)
{
    ON_NAME("unlink", path, "", syscall(SYS_unlink, path))
}

int rename(const char *from, const char *to)
{
    ON_NAME("rename", from, to, syscall(SYS_rename, from, to))
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags){
    ON_NAME(flags & 2 ? "exchange" : "rename", from, to, syscall(SYS_renameat2, from_dir, from, to_dir, to, flags))}

/* ---- the clock ---- */

time_t time(time_t *out)
{
    time_t now = (time_t)syscall(SYS_time, NULL) - (atomic_load(&clock_is_behind) ? 3600 : 0);
    if (out)
        *out = now;
    return now;
}
