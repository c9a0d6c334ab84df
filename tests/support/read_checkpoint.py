#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads every array of checkpoints by h5py, and compares dtypes, shapes and the CRC-32C of each segment with the manifest.

usage: read_checkpoint.py CHECKPOINT...    several must hold the same values
"""
import json
import sys

import h5py
import numpy

TABLE = []
for byte in range(256):
    crc = byte
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    TABLE.append(crc)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


KINDS = {"f32": ("f", 4), "f64": ("f", 8), "bf16": ("f", 2), "f16": ("f", 2), "i32": ("i", 4), "i64": ("i", 8), "bool": ("b", 1)}


def read(path):
    with open(path + "/manifest.json") as file:
        manifest = json.load(file)
    values = {}
    with h5py.File(path + "/state.h5") as state:
        names = set()
        state.visititems(lambda name, item: names.add(name) if isinstance(item, h5py.Dataset) else None)
        assert names == {array["name"] for array in manifest["arrays"]}, "the datasets are not those of the manifest"
        for array in manifest["arrays"]:
            value = state[array["name"]][()]
            kind, width = KINDS[array["dtype"]]
            assert list(value.shape) == array["shape"], array["name"]
            assert (value.dtype.kind, value.dtype.itemsize) == (kind, width), (array["name"], value.dtype)
            data = numpy.ascontiguousarray(value).tobytes()
            size = manifest["segment_bytes"]
            sums = [f"{crc32c(data[i:i + size]):08x}" for i in range(0, len(data), size)]
            assert " ".join(sums) == array["crc32c"], array["name"] + ": another checksum"
            values[array["name"]] = data
    return values


first = None
for path in sys.argv[1:]:
    values = read(path)
    assert first is None or values == first, path + ": other values than " + sys.argv[1]
    first = values
    print(f"{path}: {len(values)} arrays")
