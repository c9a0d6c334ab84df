/* SPDX-License-Identifier: Apache-2.0
 *
 * Cluster: the machine that a plan is for, as the config describes it or as a measurement finds it.
 *
 *     cluster: {flops: 1.2e11, memory_bandwidth: 2e10, memory: 64 GiB, nodes: 128, ranks_per_node: 16,
 *               link: {latency: 0.02 ms, bandwidth: 1.25e9}, local: {latency: 0.002 ms, bandwidth: 8e9},
 *               efficiency: {attend: 0.4}}
 *
 * Rates are those of one rank while all ranks of its node work. Training takes no notice of it.
 */
#pragma once

#include "base/config.h"
#include "comm/group.h"
#include "tensor/estimate.h"

typedef struct TsLinkConfig {
    double latency, bandwidth; /* seconds; bytes a second */
} TsLinkConfig;

typedef struct TsClusterConfig {
    double flops, half_flops, memory_bandwidth, op; /* op: seconds */
    int64_t memory;                                 /* bytes of a node */
    int64_t nodes, ranks_per_node;                  /* TS_AUTO: what the mesh needs; all on one node */
    TsLinkConfig link, local;
    TsMap efficiency; /* of double, by op */
} TsClusterConfig;

/* The keys of `cluster:`. */
extern const TsConfigTable ts_cluster_table;

/* What an estimate takes. `cluster` is borrowed for the life of the model. */
TsMachineModel ts_cluster_model(const TsClusterConfig *cluster, int ranks);

/* Appends `cluster:` as it is found here: rates with all ranks of the group working at the same time, links between
 * their nodes, and between the ranks of one. `config`, where given, is trained for a few steps, so that the efficiency
 * of every kind of op is known; its run.dir is not touched. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_cluster_measure(TsText *text, TsGroup *group, const TsConfig *config);
