/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/cluster.h"

#include <string.h>

static const TsKey link_keys[] = {
    TS_KEY_SECONDS(TsLinkConfig, latency, "of a message", .fallback = "0.03 ms", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsLinkConfig, bandwidth, "each way", .fallback = "1.25e9", .range = TS_ABOVE(0), .unit = "bytes/s"),
    TS_KEYS_END};
static const TsConfigTable link_table = {"link", "Messages between nodes.", sizeof(TsLinkConfig), link_keys, NULL};

static const TsKey local_keys[] = {
    TS_KEY_SECONDS(TsLinkConfig, latency, "of a collective", .fallback = "0.005 ms", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsLinkConfig, bandwidth, "of a whole that is reduced or gathered", .fallback = "5e9",
                .range = TS_ABOVE(0), .unit = "bytes/s"),
    TS_KEYS_END};
static const TsConfigTable local_table = {"local", "Collectives inside a node, which are work for its cores.",
                                          sizeof(TsLinkConfig), local_keys, NULL};

static const TsKey keys[] = {
    TS_KEY_REAL(TsClusterConfig, flops, "of a rank in large matrix products, while all ranks of its node work",
                .fallback = "1e11", .range = TS_ABOVE(0), .unit = "flops/s"),
    TS_KEY_REAL(TsClusterConfig, half_flops, "a product of so many flops runs at half of that rate", .fallback = "1e5",
                .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsClusterConfig, memory_bandwidth, "of a rank, while all ranks of its node work", .fallback = "1e10",
                .range = TS_ABOVE(0), .unit = "bytes/s"),
    TS_KEY_SECONDS(TsClusterConfig, op, "that every kernel costs beside its work", .fallback = "0.002 ms",
                   .range = TS_AT_LEAST(0)),
    TS_KEY_BYTES(TsClusterConfig, memory, "of a node", .fallback = "64 GiB", .range = TS_AT_LEAST(1)),
    TS_KEY_INT(TsClusterConfig, nodes, "how many there are; auto is as many as the mesh needs", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEY_INT(TsClusterConfig, ranks_per_node, "how many share a node; auto is all of them", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, 1 << 16), .unit = "ranks"),
    TS_KEY_STRUCT(TsClusterConfig, link, &link_table, "of a node to the others, shared by its ranks"),
    TS_KEY_STRUCT(TsClusterConfig, local, &local_table, "between ranks of a node"),
    TS_KEY_MAP(TsClusterConfig, efficiency, (&(const TsKey){.kind = TS_KIND_REAL, .range = TS_ABOVE(0)}),
               "how much of the roof an op reaches, by its name; 1 where none is given"),
    TS_KEYS_END};
const TsConfigTable ts_cluster_table = {
    "cluster",
    "The machine that a plan is for; tessera plan --measure describes the one at hand. Training takes no notice of it.",
    sizeof(TsClusterConfig), keys, NULL};

static double efficiency_of(const void *context, const char *op)
{
    const TsMap *map = &((const TsClusterConfig *)context)->efficiency;
    const double *items = map->items;
    for (int64_t i = 0; i < map->count; i++)
        if (strcmp(map->names[i], op) == 0)
            return items[i];
    return 1;
}

TsMachineModel ts_cluster_model(const TsClusterConfig *cluster, int ranks)
{
    int64_t nodes = cluster->nodes == TS_AUTO ? 1 : cluster->nodes;
    int64_t per_node = cluster->ranks_per_node == TS_AUTO ? (ranks + nodes - 1) / nodes : cluster->ranks_per_node;
    return (TsMachineModel){.flops = cluster->flops,
                            .half_flops = cluster->half_flops,
                            .memory_bandwidth = cluster->memory_bandwidth,
                            .op_s = cluster->op,
                            .ranks_per_node = per_node < ranks ? (int)per_node : ranks,
                            .link = {cluster->link.latency, cluster->link.bandwidth},
                            .local = {cluster->local.latency, cluster->local.bandwidth},
                            .efficiency = efficiency_of,
                            .context = cluster};
}
