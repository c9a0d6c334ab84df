/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera doctor [DIRECTORY]
 */
#include "task/command/doctor.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"

static TsStatus doctor(TsGroup *world, int count, const char *const *words)
{
    if (count > 1 || (count == 1 && words[0][0] == '-'))
        return ts_status_error(TS_CODE_INVALID, "doctor: expected a directory or nothing behind it, got %s",
                               words[count - 1]);
    TsText page = {0};
    TsStatus status = ts_doctor(&page, NULL, world, count ? words[0] : ".");
    if (!status && ts_group_rank(world) == 0) {
        fputs(page.data, stdout);
        if (fflush(stdout) != 0 || ferror(stdout))
            status = ts_status_error(TS_CODE_IO, "the page could not be printed");
    }
    ts_text_free(&page);
    return ts_comm_agree(world, status);
}

const TsCommand ts_command_doctor = {
    .name = "doctor",
    .usage = "[DIRECTORY]",
    .help =
        "Looks at the ranks at hand before a long job, under the mpirun or srun that it will have: hosts, binding,\n"
        "threads, processors, and what products, memory, links and the file system of DIRECTORY (.) give while all\n"
        "ranks work; then what is wrong, and what to do about it.",
    .run = doctor};
