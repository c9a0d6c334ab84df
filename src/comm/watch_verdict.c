/* SPDX-License-Identifier: Apache-2.0
 *
 * The verdict of an inquiry. A wait is in vain if a rank that it waits for is dead to it: silent, or standing still
 * outside any collective, or itself in a wait that is in vain. So a ring of ranks that wait for one another is in vain,
 * and a rank that works on, however slowly, is not waited for in vain.
 *
 * Named are the ranks that are the cause: those that are silent, stand still, or called something else. Ranks that wait
 * for these in an earlier or another call did not arrive either, but are no cause; they are named only where ranks wait
 * for one another in a ring, so that there is no other cause.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/rank_list.h"
#include "comm/watch_internal.h"

enum { MOST_LINES = 16 }; /* ranks that are told one by one */

typedef struct Case {
    const TsWatchQuery *query;
    const TsWatchAnswer *answers; /* (ranks) */
    const char (*host)[TS_WATCH_HOST];
    int ranks;
    double limit_s;
    bool in_vain[TS_WATCH_QUESTIONS];
    int missing[TS_WATCH_QUESTIONS]; /* members of its group that gave no answer */
} Case;

static bool is_message(const TsWatchWait *wait)
{
    return wait->sequence == 0;
}

bool ts_watch_same_wait(const TsWatchWait *a, const TsWatchWait *b)
{
    return a->group_id == b->group_id && a->sequence == b->sequence && a->kind == b->kind &&
           strcmp(a->label, b->label) == 0 && (!is_message(a) || (a->rank == b->rank && a->peer == b->peer));
}

static bool answered(const Case *job, int rank)
{
    return job->answers[rank].number != 0;
}

static bool waits_in(const Case *job, int rank, int question)
{
    const TsWatchAnswer *answer = &job->answers[rank];
    for (int i = 0; answered(job, rank) && i < answer->waits; i++)
        if (ts_watch_same_wait(&answer->wait[i], &job->query->wait[question]))
            return true;
    return false;
}

/* Does the peer of a message wait for the same message at its other end? */
static bool peer_waits_too(const Case *job, const TsWatchWait *wait)
{
    const TsWatchAnswer *peer = &job->answers[wait->peer];
    for (int i = 0; i < peer->waits; i++)
        if (peer->wait[i].group_id == wait->group_id && is_message(&peer->wait[i]) &&
            peer->wait[i].kind != wait->kind && peer->wait[i].peer == wait->rank &&
            strcmp(peer->wait[i].label, wait->label) == 0)
            return true;
    return false;
}

/* Called something else as that number. */
static bool differs(const Case *job, int rank, int question)
{
    const TsWatchPlace *place = &job->answers[rank].place[question];
    const TsWatchWait *wait = &job->query->wait[question];
    return place->kind >= 0 && (place->kind != wait->kind || strcmp(place->label, wait->label) != 0);
}

/* Is `rank` one that those who wait in `question` wait for? */
static bool awaited(const Case *job, int rank, int question)
{
    const TsWatchWait *wait = &job->query->wait[question];
    if (is_message(wait))
        return rank == wait->peer && !(answered(job, rank) && peer_waits_too(job, wait));
    if (!answered(job, rank))
        return job->missing[question] > 0;
    const TsWatchPlace *place = &job->answers[rank].place[question];
    return place->member && !waits_in(job, rank, question) &&
           (place->arrivals < wait->sequence || differs(job, rank, question));
}

static bool stands_still(const Case *job, int rank)
{
    return job->answers[rank].idle_s >= 0.9 * job->limit_s; /* looks are a tick apart */
}

static bool dead(const Case *job, int rank)
{
    if (!answered(job, rank))
        return true;
    for (int q = 0; q < job->query->count; q++)
        if (waits_in(job, rank, q) && job->in_vain[q])
            return true;
    return job->answers[rank].waits == 0 && stands_still(job, rank);
}

static bool decide(const Case *job, int question)
{
    bool waited_in = false, someone_awaited = false, someone_dead = false, someone_moves = false;
    for (int r = 0; r < job->ranks; r++) {
        bool waits = waits_in(job, r, question);
        waited_in = waited_in || waits;
        someone_moves = someone_moves || (waits && !stands_still(job, r));
        if (!awaited(job, r, question))
            continue;
        someone_awaited = true;
        someone_dead = someone_dead || dead(job, r);
    }
    return waited_in && (someone_awaited ? someone_dead : !someone_moves);
}

static void count_missing(Case *job, int question)
{
    int silent = 0, members = 0;
    for (int r = 0; r < job->ranks; r++) {
        silent += !answered(job, r);
        members += answered(job, r) && job->answers[r].place[question].member;
    }
    int missing = job->query->wait[question].group_size - members;
    job->missing[question] = missing < silent ? missing : silent;
}

typedef struct Words {
    char text[320];
} Words;

/* all-reduce "grad" (call 17 of group data); receive "x" from rank 3 (group stage) */
static Words describe_wait(const TsWatchWait *wait)
{
    Words out;
    const char *kind = ts_comm_kind_name((TsCommKind)wait->kind);
    if (is_message(wait))
        snprintf(out.text, sizeof out.text, "%s \"%s\" %s rank %d (group %s)", kind, wait->label,
                 wait->kind == TS_COMM_SEND ? "to" : "from", wait->peer, wait->group);
    else
        snprintf(out.text, sizeof out.text, "%s \"%s\" (call %llu of group %s)", kind, wait->label,
                 (unsigned long long)wait->sequence, wait->group);
    return out;
}

static Words describe_silence(const Case *job, int rank)
{
    int others = 0, speaking = 0;
    for (int r = 0; r < job->ranks; r++)
        if (r != rank && strcmp(job->host[r], job->host[rank]) == 0) {
            others++;
            speaking += answered(job, r);
        }
    Words out;
    snprintf(out.text, sizeof out.text, "did not arrive: it does not answer; %s",
             speaking ? "its process is stopped or gone"
             : others ? "nor does any rank on its host, which is down or out of reach"
                      : "its process is stopped or gone, or its host is out of reach");
    return out;
}

static Words describe_rank(const Case *job, int rank, int question)
{
    const TsWatchAnswer *answer = &job->answers[rank];
    Words out;
    if (!answered(job, rank))
        return describe_silence(job, rank);
    const TsWatchWait *wait = &job->query->wait[question];
    if (!is_message(wait) && differs(job, rank, question)) {
        const TsWatchPlace *place = &answer->place[question];
        snprintf(out.text, sizeof out.text, "called %s \"%s\" in its place: ranks are in different collectives",
                 ts_comm_kind_name((TsCommKind)place->kind), place->label);
    } else if (answer->waits > 0) {
        snprintf(out.text, sizeof out.text, "did not arrive: it waits in %.280s", describe_wait(&answer->wait[0]).text);
    } else if (answer->last_kind < 0) {
        snprintf(out.text, sizeof out.text, "did not arrive: it has not been in any collective");
    } else {
        snprintf(out.text, sizeof out.text, "did not arrive: it is in no collective%s%s%s; its last was %s \"%s\"",
                 answer->alive_label[0] ? ", last known to work on \"" : "", answer->alive_label,
                 answer->alive_label[0] ? "\"" : "", ts_comm_kind_name((TsCommKind)answer->last_kind),
                 answer->last_label);
    }
    return out;
}

/* One line for each rank of `chosen`, up to a number; the rest in one. */
static void print_ranks(const Case *job, int question, bool *chosen)
{
    int lines = 0;
    bool rest = false;
    for (int r = 0; r < job->ranks; r++) {
        if (!chosen[r])
            continue;
        if (lines++ < MOST_LINES) {
            ts_log(TS_LOG_ERROR, "watchdog: rank %d on %s %s", r, job->host[r], describe_rank(job, r, question).text);
            chosen[r] = false;
        } else {
            rest = true;
        }
    }
    if (rest)
        ts_log(TS_LOG_ERROR, "watchdog: %d more did not arrive: %s", lines - MOST_LINES,
               ts_rank_list(chosen, job->ranks).text);
}

/* All have arrived, and none moves: those that began it but do not wait in it, if any, are why. */
static void print_arrived(const Case *job, int question)
{
    int found = 0;
    for (int r = 0; r < job->ranks && found < MOST_LINES && !is_message(&job->query->wait[question]); r++) {
        if (!answered(job, r) || !job->answers[r].place[question].member || job->answers[r].waits > 0)
            continue;
        ts_log(TS_LOG_ERROR, "watchdog: rank %d on %s began it, but is in no collective now", r, job->host[r]);
        found++;
    }
    if (!found)
        ts_log(TS_LOG_ERROR, "watchdog: all have arrived, and nothing moves: do their counts differ?");
}

/* Is the rank itself why those in `question` wait in vain, rather than one of many that wait? */
static bool is_cause(const Case *job, int rank, int question)
{
    if (!awaited(job, rank, question) || !dead(job, rank))
        return false;
    return !answered(job, rank) || job->answers[rank].waits == 0 ||
           (!is_message(&job->query->wait[question]) && differs(job, rank, question));
}

/* Does a rank that `question` waits for wait in `other`? */
static bool leads_to(const Case *job, int question, int other)
{
    for (int r = 0; r < job->ranks; r++)
        if (awaited(job, r, question) && waits_in(job, r, other))
            return true;
    return false;
}

/* Sets caused[q] where a rank is the cause of q's wait, or of one that q waits for, and so on. */
static void find_caused(const Case *job, bool *caused)
{
    int count = job->query->count;
    for (int q = 0; q < count; q++)
        for (int r = 0; r < job->ranks && job->in_vain[q]; r++)
            caused[q] = caused[q] || is_cause(job, r, q);
    for (bool changed = true; changed;) {
        changed = false;
        for (int q = 0; q < count; q++)
            for (int other = 0; other < count && job->in_vain[q] && !caused[q]; other++)
                changed = (caused[q] = caused[other] && leads_to(job, q, other)) || changed;
    }
}

/* Who waits in what; then those who are the cause and were not `named` before, or, where there is no cause, all who
 * are waited for. */
static void print_question(const Case *job, int question, bool caused, bool *named)
{
    bool *chosen = ts_calloc((size_t)job->ranks, sizeof *chosen);
    for (int r = 0; r < job->ranks; r++)
        chosen[r] = waits_in(job, r, question);
    ts_log(TS_LOG_ERROR, "watchdog: nothing moved for %g s: %s in %s", job->limit_s,
           ts_rank_list(chosen, job->ranks).text, describe_wait(&job->query->wait[question]).text);
    bool any = false;
    for (int r = 0; r < job->ranks; r++) {
        bool blamed = caused ? is_cause(job, r, question) : awaited(job, r, question) && dead(job, r);
        any = any || blamed;
        chosen[r] = blamed && !named[r];
        named[r] = named[r] || (blamed && job->answers[r].waits == 0);
    }
    if (any)
        print_ranks(job, question, chosen);
    else if (!caused)
        print_arrived(job, question);
    ts_free(chosen);
}

bool ts_watch_judge(const TsWatchQuery *query, const TsWatchAnswer *answers, const char (*host)[TS_WATCH_HOST],
                    int ranks, double limit_s)
{
    Case job = {.query = query, .answers = answers, .host = host, .ranks = ranks, .limit_s = limit_s};
    for (int q = 0; q < query->count; q++) {
        job.in_vain[q] = true;
        count_missing(&job, q);
    }
    for (bool changed = true; changed;) { /* what is not in vain frees others: the greatest fixed point */
        changed = false;
        for (int q = 0; q < query->count; q++)
            if (job.in_vain[q] && !decide(&job, q)) {
                job.in_vain[q] = false;
                changed = true;
            }
    }
    bool any = false, caused[TS_WATCH_QUESTIONS] = {false}, *named = ts_calloc((size_t)ranks, sizeof *named);
    find_caused(&job, caused);
    for (int q = 0; q < query->count; q++) {
        if (job.in_vain[q])
            print_question(&job, q, caused[q], named);
        any = any || job.in_vain[q];
    }
    ts_free(named);
    return any;
}
