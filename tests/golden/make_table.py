#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/table.h5: what a table of examples looks like that h5py wrote, a dataset of each type."""
import os

import h5py
import numpy as np

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "table.h5")
with h5py.File(path, "w", libver="earliest", track_order=False) as file:
    file.create_dataset("text", data=["one", "zw\u00f6lf", "", "a\nb"], dtype=h5py.string_dtype())
    file.create_dataset("fixed", data=np.array([b"ab", b"abcd", b"", b"x"], dtype="S4"))
    file["whole"] = np.array([1, -2, 3, 2**53 + 1], dtype=np.int64)
    file["small"] = np.array([1, 2, 3, 255], dtype=np.uint8)
    file["flag"] = np.array([True, False, True, True])
    file["real"] = np.array([0.1, -2.5, np.nan, 1e300])
    file["half"] = np.array([0.5, 1, 1.5, -2], dtype=np.float32)
    file["pair"] = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], dtype=np.int32)
    lists = file.create_dataset("list", (4,), dtype=h5py.vlen_dtype(np.float64))
    for i, values in enumerate([[1.5], [], [2, 3, 4], [0.25, -1]]):
        lists[i] = values
    file["group/deep"] = np.array([9, 8, 7, 6])
    file["short"] = np.array([1, 2])
    file["cube"] = np.zeros((4, 2, 2))
