/* SPDX-License-Identifier: Apache-2.0
 *
 * A program outside the tree, built by the `install` suite against what was installed: the ranks agree on a success
 * and then on a failure of the last one.
 */
#include <stdio.h>
#include <string.h>
#include <tessera/tessera.h>

int main(void)
{
    TsGroup *world = ts_runtime_start((TsRuntimeOptions){.watchdog_s = 60});
    int rank = ts_group_rank(world), size = ts_group_size(world);
    TsStatus fine = ts_comm_agree(world, NULL);
    TsStatus bad = ts_comm_agree(world, rank == size - 1 ? ts_status_error(TS_CODE_INVALID, "as it should") : NULL);
    bool right = !fine && bad && strstr(ts_status_message(bad), "as it should");
    if (rank == 0)
        printf("consumer of %s on %d ranks: %s\n", ts_version(), size, right ? "right" : "wrong");
    ts_status_free(&fine);
    ts_status_free(&bad);
    return ts_runtime_end(right ? 0 : 1);
}
