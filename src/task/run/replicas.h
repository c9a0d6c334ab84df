/* SPDX-License-Identifier: Apache-2.0
 *
 * Replicas: whether the ranks that hold copies of the same part of an array still hold the same bits. Memory that fails
 * silently shows there, before it gets into a checkpoint.
 *
 * Each rank takes the CRC-32C of what others hold too; four bytes an array go round.
 */
#pragma once

#include "task/run/hosts.h"
#include "tensor/batch.h"

/* Compares all arrays of the batch, which lie on meshes of all ranks of the group. An error (TS_CODE_CORRUPT) names the
 * rank and the host whose copy differs from that of most others, and the first array that does; where there is no
 * majority, all ranks that hold it. Collective on group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_replicas_compare(TsGroup *group, const TsHosts *hosts, const TsBatch *arrays);
