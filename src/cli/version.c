/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera version
 */
#include "cli/command.h"

#include <stdio.h>

#include "base/machine.h"
#include "base/version.h"

static TsStatus version(TsGroup *world, int count, const char *const *words)
{
    TsStatus status = TS_OK;
    (void)words;
    if (count > 0)
        return ts_status_error(TS_CODE_INVALID, "version: expected nothing behind it");
    if (ts_group_rank(world) == 0) {
        TsMachine machine = ts_machine();
        const char *commit = ts_version_commit();
        printf("tessera %s%s%s%s\n", ts_version(), *commit ? " (" : "", commit, *commit ? ")" : "");
        printf("%s, %s\n", machine.cpu, ts_machine_isa(&machine));
        if (fflush(stdout) != 0 || ferror(stdout))
            status = ts_status_error(TS_CODE_IO, "the version could not be printed");
    }
    return ts_comm_agree(world, status);
}

const TsCommand ts_command_version = {
    .name = "version", .usage = "", .help = "Prints the version, and the processor that it runs on.", .run = version};
