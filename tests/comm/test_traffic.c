/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * The accounting against the counters of the interface e0 of virtual hosts, one rank each (tests/suites/cluster.sh);
 * where there is no such interface, or all ranks are on one node, nothing is measured.
 */
#include "comm/accounting.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "test.h"

/* Bytes that went out through an interface ("e0:") so far; negative: there is none of that name. */
static double interface_bytes(const char *name)
{
    FILE *file = fopen("/proc/self/net/dev", "r");
    char line[512];
    double out_bytes = -1;
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        double field[9];
        if (!colon || !strstr(line, name))
            continue;
        int read = sscanf(colon + 1, "%lf %lf %lf %lf %lf %lf %lf %lf %lf", &field[0], &field[1], &field[2], &field[3],
                          &field[4], &field[5], &field[6], &field[7], &field[8]);
        out_bytes = read == 9 ? field[8] : -1;
    }
    if (file)
        fclose(file);
    return out_bytes;
}

/* What a few steps of training would send: uneven blocks among them. */
static void send_much(int64_t elems)
{
    int size = ts_group_size(test_world), rank = ts_group_rank(test_world);
    float *whole = ts_calloc((size_t)elems, sizeof *whole), *part = ts_calloc((size_t)elems, sizeof *part);
    int64_t *first = ts_calloc((size_t)size + 1, sizeof *first);
    for (int r = 0; r <= size; r++)
        first[r] = elems * r / size;
    TsTransfer transfer = {.count_elems = elems, .first_elem = first, .dtype = TS_F32, .label = "traffic"};
    for (int i = 0; i < 4; i++) {
        transfer.in = transfer.out = whole;
        ts_all_reduce(test_world, transfer);
        transfer.out = part;
        ts_reduce_scatter(test_world, transfer);
        transfer.in = whole + first[rank];
        transfer.out = whole;
        ts_all_gather(test_world, transfer);
    }
    ts_free(whole);
    ts_free(part);
    ts_free(first);
}

static void counts_what_goes_out(void)
{
    double before = interface_bytes("e0:");
    CU_ASSERT_TRUE(interface_bytes("lo:") >= 0); /* every host has that one */
    int size = ts_group_size(test_world);
    if (before < 0 || ts_group_nodes(test_world) < size || size == 1) {
        if (ts_group_rank(test_world) == 0)
            fprintf(stderr, "no hosts with an interface e0 for each rank: nothing is measured\n");
        return;
    }
    send_much(1 << 10); /* connections are made */
    ts_barrier(test_world, "traffic");
    ts_account_reset();
    before = interface_bytes("e0:");
    send_much(1000003);
    ts_barrier(test_world, "traffic");
    usleep(100000); /* what is still on its way out */
    double sent = interface_bytes("e0:") - before, accounted = (double)ts_account_total(0, TS_COMM_KINDS).bytes;
    fprintf(stderr, "rank %d: %.0f bytes accounted for, %.0f went out: %.4f\n", ts_group_rank(test_world), accounted,
            sent, sent / accounted);
    CU_ASSERT_TRUE(accounted > 4e6);
    CU_ASSERT_TRUE(sent / accounted > 0.95 && sent / accounted < 1.05);
}

TEST_MAIN("traffic", {"the accounting counts what goes out", counts_what_goes_out})
