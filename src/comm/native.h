/* SPDX-License-Identifier: Apache-2.0
 *
 * The communicator behind a Group, for the file that hands it to a library: src/tensor/dist_linalg.c, to BLACS. No
 * other file outside src/comm includes this.
 */
#pragma once

#include <mpi.h>

#include "comm/group.h"

/* Borrowed. Messages sent on it meet those of the group: use a duplicate (ts_group_duplicate). */
MPI_Comm ts_group_native(const TsGroup *group);
