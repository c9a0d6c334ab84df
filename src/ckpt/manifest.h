/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifest: what a checkpoint says of itself, as JSON. Not collective.
 *
 *   {"format": "tessera checkpoint", "version": 1, "step": 1000,
 *    "state": {…},                                    what the trainer keeps beside its arrays
 *    "provenance": {"time": "2026-01-31T12:00:00Z", "host": …, "ranks": 8, "mesh": {"data": 4, "model": 2}, …},
 *    "segment_bytes": 4194304,
 *    "arrays": [{"name": "params/wte", "dtype": "f32", "shape": [50257, 768],
 *                "placement": "0: data", "crc32c": "89abcdef 01234567 …"}, …]}
 *
 * crc32c holds the CRC-32C of each segment of 4 MiB of the array's bytes, row-major, little-endian; the last segment
 * may be shorter, and an array of no elements has none. placement is for people: reading does not depend on it.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "tensor/batch.h"

enum { TS_SEGMENT_BYTES = 4 << 20 };

typedef struct TsManifestArray {
    char *name; /* owned */
    TsDtype dtype;
    TsShape shape;
    int64_t segments;
    uint32_t *crc;   /* (segments), owned */
    char *placement; /* how it lay on the mesh that saved it, as ts_placement_text has it; NULL: not known. Owned */
} TsManifestArray;

typedef struct TsManifest {
    int64_t step;
    int count;
    TsManifestArray *arrays; /* (count), owned */
    json_t *state;           /* owned; an object */
    json_t *provenance;      /* owned; an object, once it is known where it comes from */
} TsManifest;

/* How many segments an array has. */
int64_t ts_manifest_segments(TsDtype dtype, TsShape shape);

/* A manifest of `arrays`, with all checksums zero yet, and a copy of `state`. Owned by the caller: ts_manifest_free. */
TsManifest *ts_manifest_create(int64_t step, const TsBatch *arrays, const json_t *state);

/* Sets *manifest to NULL; NULL is fine. */
void ts_manifest_free(TsManifest **manifest);

/* The index of the array of that name, or -1. */
int ts_manifest_find(const TsManifest *manifest, const char *name);

/* The text of the manifest, which has a provenance. Owned by the caller: ts_free. */
char *ts_manifest_text(const TsManifest *manifest);

/* Reads the text back. Fails on what is not such a manifest, or of a newer version: names `path` and what is wrong. */
TS_MUST_USE TsStatus ts_manifest_parse(TsManifest **manifest, const char *text, size_t text_bytes, const char *path);
