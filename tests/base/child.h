/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of a test that end their process: the test program runs itself once more, and the part runs in a constructor,
 * before MPI, so that the child is no rank of the job. Define CHILDREN, then call run_child(name, ...).
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Child {
    const char *name;
    void (*run)(void);
} Child;

static const Child children[]; /* ends with a NULL name; defined by the test */

static __attribute__((constructor)) void run_as_child(void)
{
    const char *name = getenv("TESSERA_TEST_CHILD");
    for (const Child *child = children; name && child->name; child++)
        if (strcmp(child->name, name) == 0) {
            child->run();
            _exit(0);
        }
}

/* Runs the child with "NAME=value" added to the environment (or NULL). Returns its exit code, or -1 - signal; *output
 * gets what it wrote to standard error, at most 4 KiB. */
static int run_child(const char *name, const char *setting, char output[4096])
{
    int ends[2];
    size_t held = 0;
    if (pipe(ends) != 0)
        return -1000;
    pid_t pid = fork();
    if (pid == 0) {
        char *copy = setting ? strdup(setting) : NULL;
        setenv("TESSERA_TEST_CHILD", name, 1);
        if (copy)
            putenv(copy);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "child", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    for (ssize_t got; held < 4095 && (got = read(ends[0], output + held, 4095 - held)) > 0;)
        held += (size_t)got;
    output[held] = '\0';
    close(ends[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1 - WTERMSIG(status);
}
