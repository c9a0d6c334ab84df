/* ranks: 1 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Without arguments, the cases of the watchdog's verdict. With one, the name of a fault, a program that has it on
 * rank 1 (tests/comm/test_faults.sh runs these and reads what the watchdog says).
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "comm/watch_internal.h"
#include "test.h"

/* ---- the verdict ---- */

enum { RANKS = 4 };

typedef struct Scene {
    TsWatchQuery query;
    TsWatchAnswer answer[RANKS];
    char host[RANKS][TS_WATCH_HOST];
} Scene;

static Scene scene; /* every rank idle for long, in no collective, two ranks a host */

static TsWatchWait collective(uint64_t group, uint64_t sequence, TsCommKind kind, const char *label)
{
    TsWatchWait wait = {
        .group_id = group, .sequence = sequence, .kind = kind, .group_size = RANKS, .rank = -1, .peer = -1};
    snprintf(wait.group, sizeof wait.group, "g%d", (int)group);
    snprintf(wait.label, sizeof wait.label, "%s", label);
    return wait;
}

static TsWatchWait message(TsCommKind kind, int rank, int peer)
{
    TsWatchWait wait = collective(1, 0, kind, "act");
    wait.rank = rank;
    wait.peer = peer;
    return wait;
}

static int ask(TsWatchWait wait)
{
    int question = scene.query.count++;
    scene.query.wait[question] = wait;
    for (int r = 0; r < RANKS; r++)
        scene.answer[r].place[question] = (TsWatchPlace){.member = 1, .kind = -1, .arrivals = wait.sequence - 1};
    return question;
}

static void set_scene(void)
{
    memset(&scene, 0, sizeof scene);
    for (int r = 0; r < RANKS; r++) {
        scene.answer[r].number = 1;
        scene.answer[r].idle_s = 100;
        scene.answer[r].last_kind = TS_COMM_BROADCAST;
        snprintf(scene.answer[r].last_label, sizeof scene.answer[r].last_label, "config");
        snprintf(scene.host[r], sizeof scene.host[r], "h%d", r / 2);
    }
}

/* `rank` has arrived at the question's collective and waits in it. */
static void arrives(int rank, int question)
{
    const TsWatchWait *wait = &scene.query.wait[question];
    TsWatchAnswer *answer = &scene.answer[rank];
    answer->wait[answer->waits++] = *wait;
    answer->place[question] = (TsWatchPlace){.member = 1, .kind = wait->kind, .arrivals = wait->sequence};
    memcpy(answer->place[question].label, wait->label, sizeof wait->label);
}

static char said[4096]; /* what the last judge printed */

static bool judge(void)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/tessera-watchdog-said.%d", (int)getpid());
    TEST_OK(ts_log_open(path));
    fflush(stderr);
    int keep = dup(STDERR_FILENO);
    CU_ASSERT_PTR_NOT_NULL(freopen("/dev/null", "w", stderr));
    bool in_vain = ts_watch_judge(&scene.query, scene.answer, (const char(*)[TS_WATCH_HOST])scene.host, RANKS, 50);
    fflush(stderr);
    dup2(keep, STDERR_FILENO);
    close(keep);
    TEST_OK(ts_log_open(NULL));
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(said, 1, sizeof said - 1, file) : 0;
    said[length] = '\0';
    if (file)
        fclose(file);
    unlink(path);
    return in_vain;
}

static bool says(const char *words)
{
    return strstr(said, words) != NULL;
}

static void names_the_one_that_did_not_arrive(void)
{
    set_scene();
    int q = ask(collective(1, 17, TS_COMM_ALL_REDUCE, "grad"));
    arrives(0, q);
    arrives(1, q);
    arrives(3, q);
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("ranks 0-1, 3 in all-reduce \"grad\" (call 17 of group g1)"));
    CU_ASSERT_TRUE(says("rank 2 on h1 did not arrive: it is in no collective; its last was broadcast \"config\""));
    CU_ASSERT_FALSE(says("rank 0 on") || says("rank 1 on") || says("rank 3 on"));
}

static void work_that_goes_on_is_waited_for(void)
{
    set_scene();
    int q = ask(collective(1, 17, TS_COMM_ALL_REDUCE, "grad"));
    arrives(0, q);
    arrives(1, q);
    arrives(3, q);
    scene.answer[2].idle_s = 1;
    CU_ASSERT_FALSE(judge());
    CU_ASSERT_STRING_EQUAL(said, "");
}

/* 0 and 1 wait for 2 in one group, 2 waits for 3 in another, 3 works on: nobody waits in vain. */
static void a_chain_ends_at_its_root(void)
{
    set_scene();
    int q = ask(collective(1, 3, TS_COMM_BARRIER, "a")), p = ask(collective(2, 5, TS_COMM_BARRIER, "b"));
    arrives(0, q);
    arrives(1, q);
    arrives(2, p);
    scene.answer[3].place[q].arrivals = 3;
    scene.answer[0].place[p].arrivals = scene.answer[1].place[p].arrivals = 5;
    scene.answer[3].idle_s = 1;
    CU_ASSERT_FALSE(judge());
    scene.answer[3].idle_s = 100; /* now it does not */
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("ranks 0-1 in barrier \"a\" (call 3 of group g1)"));
    CU_ASSERT_TRUE(says("rank 2 in barrier \"b\" (call 5 of group g2)"));
    CU_ASSERT_TRUE(says("rank 3 on h1 did not arrive: it is in no collective"));
    CU_ASSERT_FALSE(says("rank 0 on") || says("rank 1 on") || says("rank 2 on"));
}

/* The host of 2 and 3 is gone in the middle of call 16: 0 had all it needs of that, and waits in 17 already. */
static void an_earlier_call_is_no_cause(void)
{
    set_scene();
    int later = ask(collective(1, 17, TS_COMM_BARRIER, "grad")), q = ask(collective(1, 16, TS_COMM_BARRIER, "grad"));
    arrives(0, later);
    arrives(1, q);
    scene.answer[0].place[q] = (TsWatchPlace){.member = 1, .kind = TS_COMM_BARRIER, .arrivals = 17, .label = "grad"};
    scene.answer[1].place[later].arrivals = 16;
    memset(&scene.answer[2], 0, sizeof scene.answer[2]);
    memset(&scene.answer[3], 0, sizeof scene.answer[3]);
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("rank 0 in barrier \"grad\" (call 17 of group g1)"));
    CU_ASSERT_TRUE(says("rank 1 in barrier \"grad\" (call 16 of group g1)"));
    CU_ASSERT_FALSE(says("rank 0 on") || says("rank 1 on"));
    for (int r = 2; r < RANKS; r++) {
        char words[] = "rank 2 on h1 did not arrive: it does not answer";
        words[5] = (char)('0' + r);
        const char *first = strstr(said, words);
        CU_ASSERT_TRUE(first && !strstr(first + 1, words)); /* once */
    }
}

static void ranks_that_wait_in_a_ring_are_in_vain(void)
{
    set_scene();
    int q = ask(collective(1, 3, TS_COMM_BARRIER, "a")), p = ask(collective(2, 5, TS_COMM_BARRIER, "b"));
    arrives(0, q);
    arrives(1, q);
    arrives(2, p);
    arrives(3, p);
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("rank 2 on h1 did not arrive: it waits in barrier \"b\""));
    CU_ASSERT_TRUE(says("rank 0 on h0 did not arrive: it waits in barrier \"a\""));
}

static void different_collectives_are_told(void)
{
    set_scene();
    int q = ask(collective(1, 9, TS_COMM_ALL_REDUCE, "grad")), p = ask(collective(1, 9, TS_COMM_BARRIER, "save"));
    for (int r = 0; r < RANKS; r++)
        arrives(r, r == 1 ? p : q);
    for (int r = 0; r < RANKS; r++) /* one number, one call */
        scene.answer[r].place[r == 1 ? q : p] = scene.answer[r].place[r == 1 ? p : q];
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("ranks 0, 2-3 in all-reduce \"grad\""));
    CU_ASSERT_TRUE(says("rank 1 in barrier \"save\""));
    CU_ASSERT_TRUE(says("rank 1 on h0 called barrier \"save\" in its place"));
    CU_ASSERT_TRUE(says("rank 2 on h1 called all-reduce \"grad\" in its place"));
}

static void silence_is_named(void)
{
    set_scene();
    int q = ask(collective(1, 2, TS_COMM_ALL_GATHER, "w"));
    arrives(0, q);
    arrives(1, q);
    memset(&scene.answer[2], 0, sizeof scene.answer[2]);
    arrives(3, q);
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("rank 2 on h1 did not arrive: it does not answer; its process is stopped or gone"));
    memset(&scene.answer[3], 0, sizeof scene.answer[3]);
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("rank 3 on h1 did not arrive: it does not answer; nor does any rank on its host"));
}

/* A silent rank that is no member of the group keeps nobody waiting in it. */
static void strangers_are_not_blamed(void)
{
    set_scene();
    TsWatchWait wait = collective(1, 2, TS_COMM_ALL_GATHER, "w");
    wait.group_size = 3;
    int q = ask(wait);
    arrives(0, q);
    arrives(1, q);
    memset(&scene.answer[3], 0, sizeof scene.answer[3]);
    scene.answer[2].idle_s = 1;
    CU_ASSERT_FALSE(judge());
}

static void messages_have_one_to_wait_for(void)
{
    set_scene();
    int q = ask(message(TS_COMM_RECEIVE, 0, 3));
    scene.answer[0].wait[scene.answer[0].waits++] = scene.query.wait[q];
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("rank 0 in receive \"act\" from rank 3 (group g1)"));
    CU_ASSERT_TRUE(says("rank 3 on h1 did not arrive"));
    CU_ASSERT_FALSE(says("rank 1 on") || says("rank 2 on"));
    scene.answer[3].idle_s = 1;
    CU_ASSERT_FALSE(judge());
    scene.answer[3].idle_s = 100; /* both ends are there, and nothing moves */
    scene.answer[3].wait[scene.answer[3].waits++] = message(TS_COMM_SEND, 3, 0);
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("all have arrived, and nothing moves"));
}

static void one_that_began_and_left_is_named(void)
{
    set_scene();
    int q = ask(collective(1, 2, TS_COMM_ALL_GATHER, "w"));
    for (int r = 0; r < RANKS; r++)
        arrives(r, q);
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("all have arrived, and nothing moves"));
    scene.answer[1].idle_s = 3; /* some still move within it */
    CU_ASSERT_FALSE(judge());
    scene.answer[1].idle_s = 100;
    scene.answer[1].waits = 0;
    CU_ASSERT_TRUE(judge());
    CU_ASSERT_TRUE(says("rank 1 on h0 began it, but is in no collective now"));
}

/* Steady work costs the watchdog nothing, and more waits than it keeps track of are no error. */
static void many_waits_are_fine(void)
{
    TsWatch watch[TS_WATCH_SLOTS + 8];
    for (int i = 0; i < TS_WATCH_SLOTS + 8; i++) {
        watch[i] = ts_watch_begin(test_world, TS_COMM_SEND, "many", 0);
        ts_watch_wait(&watch[i]);
        ts_watch_progress(&watch[i]);
    }
    CU_ASSERT_EQUAL(watch[TS_WATCH_SLOTS + 7].slot, -1);
    for (int i = 0; i < TS_WATCH_SLOTS + 8; i++)
        ts_watch_end(&watch[i]);
    TsWatch again = ts_watch_begin(test_world, TS_COMM_SEND, "again", 0);
    ts_watch_wait(&again);
    TsWatchWait wait;
    CU_ASSERT_TRUE(again.slot >= 0 && ts_watch_describe(again.slot, &wait));
    CU_ASSERT_STRING_EQUAL(wait.label, "again");
    int slot = again.slot;
    ts_watch_end(&again);
    CU_ASSERT_FALSE(ts_watch_describe(slot, &wait));
}

static const CU_TestInfo verdicts[] = {{"names the one that did not arrive", names_the_one_that_did_not_arrive},
                                       {"work that goes on is waited for", work_that_goes_on_is_waited_for},
                                       {"a chain ends at its root", a_chain_ends_at_its_root},
                                       {"an earlier call is no cause", an_earlier_call_is_no_cause},
                                       {"ranks that wait in a ring are in vain", ranks_that_wait_in_a_ring_are_in_vain},
                                       {"different collectives are told", different_collectives_are_told},
                                       {"silence is named", silence_is_named},
                                       {"strangers are not blamed", strangers_are_not_blamed},
                                       {"messages have one to wait for", messages_have_one_to_wait_for},
                                       {"one that began and left is named", one_that_began_and_left_is_named},
                                       {"many waits are fine", many_waits_are_fine},
                                       CU_TEST_INFO_NULL};

/* ---- the faults ---- */

static void work_for(double seconds, bool report)
{
    struct timespec nap = {.tv_nsec = 100000000};
    for (double passed_s = 0; passed_s < seconds; passed_s += 0.1) {
        nanosleep(&nap, NULL);
        if (report)
            ts_watch_alive("long work");
    }
}

static void meet(TsGroup *group)
{
    TsStatus agreed = ts_comm_agree(group, TS_OK);
    ts_status_free(&agreed);
}

static void reduce(TsGroup *group, int64_t count_elems)
{
    double *values = ts_calloc((size_t)count_elems, sizeof *values);
    ts_all_reduce(
        group, (TsTransfer){
                   .out = values, .in = values, .count_elems = count_elems, .dtype = TS_F64, .label = "layer_03/grad"});
    ts_free(values);
}

/* This rank has the fault if it is `mine`; false if there is no fault of that name. */
static bool run_fault(const char *fault, TsGroup *world, bool mine)
{
    if (strcmp(fault, "stop") == 0) {
        while (mine) /* also if something else wakes it */
            raise(SIGSTOP);
    } else if (strcmp(fault, "loop") == 0) {
        for (volatile bool on = mine; on;) {
        }
    } else if (strcmp(fault, "differ") == 0) {
        TsWatch watch = ts_watch_begin(world, mine ? TS_COMM_BARRIER : TS_COMM_ALL_REDUCE, mine ? "save" : "grad", -1);
        ts_watch_wait(&watch);
        work_for(1000, false);
    } else if (strcmp(fault, "late") == 0) {
        for (volatile bool on = mine; on;) {
        }
        reduce(world, 1000);
    } else if (strcmp(fault, "steps") == 0) { /* a minute of them: the fault comes from outside */
        for (int step = 0; step < 600; step++) {
            reduce(world, 1 << 16);
            work_for(0.1, false);
            if (step == 10)
                ts_log(TS_LOG_INFO, "ten steps done");
        }
    } else if (strcmp(fault, "alive") == 0) {
        if (mine)
            work_for(4, true);
    } else if (strcmp(fault, "exit") == 0) {
        if (mine)
            _exit(3);
    } else if (strcmp(fault, "leak") == 0) {
        TsGroup *left = ts_group_duplicate(world, "left");
        (void)left;
    } else if (strcmp(fault, "mpi") == 0) {
        int value = 0;
        if (mine)
            TS_MPI(MPI_Send(&value, 1, MPI_INT, 1000000, 0, world->comm));
    } else if (strcmp(fault, "check") == 0) {
        TS_CHECK(!mine, "rank %d has it", ts_group_rank(world));
    } else if (strcmp(fault, "check all") == 0) {
        TS_CHECK(false, "rank %d has it, as all", ts_group_rank(world));
    } else if (strcmp(fault, "none") != 0) {
        return false;
    }
    meet(world);
    return true;
}

int main(int argc, char **argv)
{
    if (argc == 1)
        return test_run("watchdog", verdicts);
    TsGroup *world = ts_runtime_start((TsRuntimeOptions){0});
    int chosen = argc > 2 ? atoi(argv[2]) : 1;
    bool mine = ts_group_rank(world) == chosen;
    if (strcmp(argv[1], "code") == 0)
        return ts_runtime_end(mine ? 7 : 0);
    meet(world);
    bool known = run_fault(argv[1], world, mine);
    return ts_runtime_end(known ? 0 : 2);
}
