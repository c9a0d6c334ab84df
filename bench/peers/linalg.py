#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seconds of scikit-learn's ridge (100,000 x 4096 f32, solver cholesky), or of one call of LAPACK's ssyevd (4096 x 4096).

usage: linalg.py ridge|eigen      (numpy, scipy, scikit-learn; threads by OPENBLAS_NUM_THREADS)
"""
import sys
import time

import numpy as np
from scipy.linalg import lapack
from sklearn.linear_model import Ridge

random = np.random.default_rng(1)
if sys.argv[1] == "ridge":
    x = random.random((100000, 4096), dtype=np.float32)
    y = x[:, 0] + random.random(100000, dtype=np.float32)
    best = 1e9
    for _ in range(2):
        start = time.perf_counter()
        Ridge(alpha=1.0, solver="cholesky").fit(x, y)
        best = min(best, time.perf_counter() - start)
else:
    a = random.random((4096, 4096), dtype=np.float32)
    a = np.asfortranarray(a + a.T)
    start = time.perf_counter()
    w, v, info = lapack.ssyevd(a, overwrite_a=1)
    best = time.perf_counter() - start
    assert info == 0
print("%.3f" % best)
